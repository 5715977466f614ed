"""Tiers on the real parts: each number of votes has a workflow and a set of its own, and the votes of all count."""

from pathlib import Path

import pytest
from sqlalchemy import text

from alservice.app.opening import open_factory
from alservice.app.rehearsal import ask_volunteers
from alservice.app.standin import open_standin
from alservice.campaigns.campaign import Tier, ZooniverseTarget
from alservice.campaigns.cycle import CycleState
from alservice.settings import Settings
from alservice.zooniverse.workflow import RetirementRule
from tests.support.worlds import import_rows, make_campaign, make_row

pytestmark = pytest.mark.e2e


def test_each_galaxy_gets_the_votes_of_its_tier_and_all_count(tmp_path: Path) -> None:
    """Two workflows are given the tree and their own rule; ledger, sets and tallies agree tier by tier."""
    with open_factory(Settings(workdir=tmp_path)) as factory, open_standin(factory):
        first = factory.zooniverse(make_campaign())
        wanted = {"display_name": "few", "primary_language": "en", "tasks": {}, "links": {"project": "1"}}
        second = int(first._api.post("/workflows", "workflows", {"workflows": wanted})["id"])
        tiers = (
            Tier(votes=3, subject_set="full", workflow_id=10),
            Tier(votes=2, subject_set="quick", workflow_id=second),
        )
        campaign = make_campaign(zooniverse=ZooniverseTarget(tiers=tiers))
        row = import_rows(factory, campaign, [make_row(n) for n in range(12)])
        cycle = factory.start_cycle().run(row, actor="test")
        advance = factory.advance_cycle("test")
        while cycle.state is not CycleState.PUBLISHING:
            cycle = advance.run(cycle.id)
        with factory.engine.begin() as connection:
            connection.execute(text("UPDATE acquired SET n_votes = 2 WHERE rank % 2 = 0"))
        cycle = advance.run(cycle.id)
        assert cycle.state is CycleState.COLLECTING

        asked = {subject.galaxy_id: subject.n_votes for subject in factory.ledger.of_cycle(cycle.id)}
        assert set(asked.values()) == {2, 3}
        for tier in campaign.by_tier().values():
            assert factory.zooniverse(tier).retirement() == RetirementRule(count=tier.acquisition.votes_per_galaxy)
        assert [found.is_clean for found in factory.reconcile_campaign("test", repair=False, actor="test")] == [
            True
        ] * 2
        assert {answers.version for answers in factory.validate_campaign("test")}

        ask_volunteers(factory, cycle.id)
        assert advance.run(cycle.id).state is CycleState.TRAINING
        assert factory.classifications.counted_of_galaxies(row.id) == asked
