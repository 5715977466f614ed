"""Logs of this process: one format, on standard error, so that standard output stays for results."""

from __future__ import annotations

import logging
import sys


def configure_logging(level: int = logging.INFO) -> None:
    """Send our records from `level`, and others' warnings, to standard error.

    Called by programs before heavy imports: panoptes_client configures the root logger when it is imported, unless
    somebody has.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("alservice").setLevel(level)
