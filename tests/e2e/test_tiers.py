"""Tiers on the real parts: each number of votes has a workflow and a set of its own, and the votes of all count."""

from pathlib import Path

import pytest
from sqlalchemy import text

from alservice.app import open_app
from alservice.campaigns.campaign import Tier, ZooniverseTarget
from alservice.campaigns.cycle import CycleState
from alservice.rehearsal.run import ask_volunteers
from alservice.settings import Settings
from alservice.zooniverse.workflow import RetirementRule
from tests.support.worlds import import_rows, make_campaign, make_row

pytestmark = pytest.mark.e2e


def test_each_galaxy_gets_the_votes_of_its_tier_and_all_count(tmp_path: Path) -> None:
    """Two workflows are given the tree and their own rule; ledger, sets and tallies agree tier by tier."""
    with open_app(Settings(workdir=tmp_path)) as factory, factory.sites.local.opened():
        first = factory.sites.zooniverse(make_campaign())
        wanted = {"display_name": "few", "primary_language": "en", "tasks": {}, "links": {"project": "1"}}
        second = int(first._api.post("/workflows", "workflows", {"workflows": wanted})["id"])
        tiers = (
            Tier(votes=3, subject_set="full", workflow_id=10),
            Tier(votes=2, subject_set="quick", workflow_id=second),
        )
        campaign = make_campaign(zooniverse=ZooniverseTarget(tiers=tiers))
        row = import_rows(factory, campaign, [make_row(n) for n in range(12)])
        cycle = factory.cycle.start(row.settings.name, actor="test")
        while cycle.state is not CycleState.PUBLISHING:
            cycle = factory.cycle.advance(cycle.id, actor="test")
        with factory.engine.begin() as connection:
            connection.execute(text("UPDATE acquired SET n_votes = 2 WHERE rank % 2 = 0"))
        cycle = factory.cycle.advance(cycle.id, actor="test")
        assert cycle.state is CycleState.COLLECTING

        asked = {subject.galaxy_id: subject.n_votes for subject in factory.ledger.of_cycle(cycle.id)}
        assert set(asked.values()) == {2, 3}
        for tier in campaign.by_tier().values():
            assert factory.sites.zooniverse(tier).retirement() == RetirementRule(
                count=tier.acquisition.votes_per_galaxy
            )
        assert [found.is_clean for found in factory.subjects.reconcile("test", repair=False, actor="test")] == [
            True
        ] * 2
        assert {answers.version for answers in factory.subjects.validate(campaign)}

        ask_volunteers(factory, cycle.id)
        assert factory.cycle.advance(cycle.id, actor="test").state is CycleState.TRAINING
        assert factory.classifications.counted_of_galaxies(row.id) == asked
