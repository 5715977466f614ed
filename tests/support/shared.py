"""Where the real galaxies are, or a skip with a reason."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def shared_data() -> Path:
    """Return the folder of real data beside the project, or skip the test that asked; CI fails instead."""
    folder = Path(os.environ.get("ALSERVICE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse(f"real data is absent: {folder.name} not found beside the project")
    return folder
