"""Which tests go to one process together, and which go first, where several processes share the suite.

A file of tests is one piece of work, since its fixtures are; files that look at one server, or one rehearsal, are one. Whoever is
free takes the next piece, so the longest begin first: one that began last would be waited for.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

TOGETHER = {
    "tests/flows/test_alarms.py": "server",
    "tests/flows/test_deployments.py": "server",
    "tests/flows/test_lost_runs.py": "server",
    "tests/flows/test_naming.py": "prefect here",
    "tests/flows/test_ready.py": "prefect here",
    "tests/e2e/test_backfill.py": "prefect's API",
    "tests/e2e/test_canary.py": "rehearsed",
    "tests/e2e/test_kill.py": "rehearsed",
    "tests/e2e/test_registry.py": "rehearsed",
    "tests/e2e/test_rehearse.py": "rehearsed",
    "tests/e2e/test_rings.py": "prefect's API",
}
"""Files by the piece that they belong to; every other file is a piece of its own."""

FIRST = (
    "server",
    "rehearsed",
    "tests/test_engines.py",
    "tests/benchmarks/test_benchmarks.py",
    "prefect's API",
    "tests/attack/test_files.py",
    "tests/e2e/test_stop.py",
    "prefect here",
    "tests/network/test_ranks.py",
    "tests/e2e/test_alone.py",
)
"""Pieces by the time they take, longest first; the rest come as they are collected."""


def piece(nodeid: str) -> str:
    """Return the piece of a test."""
    file = nodeid.partition("::")[0]
    return TOGETHER.get(file, file)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest pieces first; the order within a piece stays."""
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(piece(item.nodeid), len(places)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give out whole pieces, in this order; ``--dist each`` gives every test to every process."""
    if config.option.dist == "each":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Pieces(LoadScopeScheduling):
        """Scheduling by pieces."""

        def _split_scope(self, nodeid: str) -> str:
            return piece(nodeid)

    config.option.loadscopereorder = False
    return Pieces(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return a process per core and one more: half of the suite's time is spent waiting for servers and processes."""
    return (os.cpu_count() or 1) + 1
