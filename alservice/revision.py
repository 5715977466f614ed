"""Which code runs: the release, and the commit when it runs from a checkout."""

from __future__ import annotations

import logging
import shutil
import subprocess
from functools import cache
from pathlib import Path

import alservice

_ROOT = Path(alservice.__file__).resolve().parents[1]

_log = logging.getLogger(__name__)

_GIT_S = 60.0
"""Seconds for git to say where it stands; one that hangs, as on a dead network disk, is one that does not know."""


@cache
def code_revision() -> str:
    """Return ``version+commit``, ``.dirty`` at its end where the checkout has changes, or the version alone."""
    git = shutil.which("git")
    if git is None or not (_ROOT / ".git").exists():
        return alservice.__version__
    try:
        described = subprocess.run(
            [git, "-C", str(_ROOT), "describe", "--always", "--abbrev=12", "--dirty=.dirty", "--exclude=*"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_GIT_S,
        )
    except subprocess.TimeoutExpired:
        _log.warning("git did not say within %g s which commit this is: models name the version alone", _GIT_S)
        return alservice.__version__
    commit = described.stdout.strip()
    return f"{alservice.__version__}+{commit}" if commit else alservice.__version__
