"""A machine of one core, for what computes on all of them unless told otherwise."""

import pytest


@pytest.fixture
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have commands that are run as printed train with one thread: two wait by spinning for each other and other tests."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
