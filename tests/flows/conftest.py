"""One Prefect server for all tests of this folder: starting it takes a minute."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.prefect_server import Server, prefect_server


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    """A server with every deployment and a worker per pool; what a file of tests opens, it closes."""
    with prefect_server() as server:
        yield server
