"""One small rehearsal for all tests that only look at what it left."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.canary import Canary, open_canary
from tests.support.prefect_server import prefect_api
from tests.support.rehearsals import SMALL, lines_of, run_alservice


@pytest.fixture(scope="session")
def canary() -> Iterator[Canary]:
    """Listen where the Zooniverse library's variables point."""
    with open_canary() as opened:
        yield opened


@pytest.fixture(scope="session")
def prefect_url() -> Iterator[str]:
    """Address of one server for commands that would each start their own, which takes longer than most commands."""
    with prefect_api() as api:
        yield api


@pytest.fixture(scope="session")
def rehearsed(canary: Canary) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """Work folder and table of a finished small rehearsal, run as by somebody who has the library's variables set."""
    with tempfile.TemporaryDirectory(prefix="alservice-rehearsed-") as folder:
        workdir = Path(folder)
        yield workdir, lines_of(run_alservice(workdir, *SMALL, **canary.environment))
