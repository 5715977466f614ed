"""Which code runs: the release, and the commit when it runs from a checkout."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import alservice

_ROOT = Path(alservice.__file__).resolve().parents[1]


@cache
def code_revision() -> str:
    """Return ``version+commit``, ``.dirty`` at its end where the checkout has changes, or the version alone."""
    git = shutil.which("git")
    if git is None or not (_ROOT / ".git").exists():
        return alservice.__version__
    described = subprocess.run(
        [git, "-C", str(_ROOT), "describe", "--always", "--abbrev=12", "--dirty=.dirty", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    commit = described.stdout.strip()
    return f"{alservice.__version__}+{commit}" if commit else alservice.__version__
