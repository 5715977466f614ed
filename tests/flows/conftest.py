"""Prefect for flows: a server with workers, which takes a minute to start, or one for runs of this process alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.prefect_server import Server, prefect_server


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    """A server with every deployment and a worker per pool; what a file of tests opens, it closes."""
    with prefect_server() as server:
        yield server


@pytest.fixture(scope="package")
def prefect_here() -> Iterator[None]:
    """Prefect on a database of its own, for flows that run in this process."""
    from prefect.testing.utilities import prefect_test_harness  # loads the whole server

    with prefect_test_harness(server_startup_timeout=240):
        yield
