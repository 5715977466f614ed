"""Budgets proposed from what volunteers gave."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from alservice.campaigns.campaign import AcquisitionPolicy, AllocatedVotes, CollectingPolicy, ZooniverseTarget
from alservice.cli.campaigns import cycles
from alservice.errors import NotFound
from tests.support.worlds import NOON, make_campaign, make_factory
from tests.votes.test_classification_store import land, sitting


def test_a_budget_is_what_volunteers_gave(engine: Engine, tmp_path: Path) -> None:
    """Twelve days of ten classifications promise some sixty in six, and a batch of fifteen votes takes days."""
    factory = make_factory(engine, tmp_path)
    row = factory.campaigns.save(make_campaign(collecting=CollectingPolicy(deadline_hours=144)))
    with pytest.raises(NotFound, match="0 whole days"):
        factory.acquisition.propose_budget("test", None)
    made = [NOON - timedelta(days=1 + i // 10) for i in range(120)]
    land(factory, row, [sitting(1 + i, created_at=at) for i, at in enumerate(made)])
    proposal = factory.acquisition.propose_budget("test", None)
    assert (proposal.forecast.history_days, proposal.forecast.horizon_days) == (12, 6)
    assert proposal.forecast.mean == pytest.approx(60)
    assert proposal.forecast.low < 60 < proposal.forecast.high
    assert proposal.galaxies == proposal.forecast.low // 3
    assert proposal.asked == 15
    assert proposal.days_needed in (2, 3)
    assert "60 expected" in proposal.text()
    assert factory.acquisition.propose_budget("test", 12).forecast.mean == pytest.approx(120)
    bought = replace(
        row.settings,
        acquisition=AcquisitionPolicy(batch_galaxies=5, votes_per_galaxy=3, allocated=AllocatedVotes(budget=40)),
        zooniverse=ZooniverseTarget(retirement="own"),
    )
    factory.campaigns.save(bought)
    assert factory.acquisition.propose_budget("test", None).asked == 40


def test_the_command_is_there() -> None:
    """`alservice cycle forecast` is how a person asks."""
    assert "forecast" in {command.name for command in cycles.registered_commands}
