"""Logs of this process: one format, on standard error, so that standard output stays for results."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

from alservice.errors import AlserviceError


def configure_logging(level: int = logging.INFO, *, form: Literal["text", "json"] = "text") -> None:
    """Send our records from `level`, and others' warnings, to standard error.

    Called by programs before heavy imports: panoptes_client configures the root logger when it is imported, unless
    somebody has.
    """
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if form == "json" else text)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("alservice").setLevel(level)


class JsonFormatter(logging.Formatter):
    """One JSON document per record, for a log store: time (UTC), level, logger, message, and an error's code."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds")
        document: dict[str, Any] = {
            "at": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            document["error"] = type(error).__name__
            if isinstance(error, AlserviceError):
                document["code"] = error.code
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False)
