"""A paused campaign: what is scheduled ends at once, and touches no cycle."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
from sqlalchemy import Engine

from alservice.cycle.readiness import Flight
from flows import cycle as cycles
from tests.support.worlds import make_campaign, make_factory

NOTHING = Flight(name="a run")
"""What needs nothing."""


def test_a_paused_campaign_is_left_alone(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run completes in the state Paused, saying who and why, before it looks for a cycle."""
    factory = make_factory(engine, tmp_path)
    factory.campaigns.save(make_campaign(name="calm"))
    monkeypatch.setattr(cycles, "opened", lambda: nullcontext(factory))
    looked: list[str] = []

    def find(name: str) -> None:
        looked.append(name)

    assert cycles._work("calm", NOTHING, find, lambda summary: summary).name == "NothingToDo"
    factory.ops.pause("calm", actor="token:anna", reason="storage is moved")
    state = cycles._work("calm", NOTHING, find, lambda summary: summary)
    assert state.name == "Paused"
    assert "token:anna: storage is moved" in str(state.message)
    assert looked == ["calm"]
