"""One small rehearsal for all tests that only look at what it left."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.rehearsals import SMALL, lines_of, run_alservice


@pytest.fixture(scope="session")
def rehearsed() -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """Work folder and table of a finished small rehearsal."""
    with tempfile.TemporaryDirectory(prefix="alservice-rehearsed-") as folder:
        workdir = Path(folder)
        yield workdir, lines_of(run_alservice(workdir, *SMALL))
