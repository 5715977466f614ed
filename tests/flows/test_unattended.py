"""Flows beside the cycle that need no server to be understood."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from alservice.campaigns.campaign import IngestPolicy
from flows.unattended import forget_in_every_campaign
from tests.support.worlds import make_campaign, make_factory
from tests.votes.test_classification import raw
from tests.votes.test_collect_classifications import START, World


def test_what_expired_is_forgotten_in_every_campaign_that_says_so(
    engine: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old rows of the campaign with a rule become anonymous, once; a campaign without one keeps everything."""
    monkeypatch.setenv("ALSERVICE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALSERVICE_WORKDIR", str(tmp_path))
    world = World(make_factory(engine, tmp_path))
    world.factory.campaigns.save(make_campaign(name="other"))
    old, new = datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC)
    world.listing.rows = [raw(START + n, user_hash=f"{n}", created_at=at) for n, at in enumerate([old, old, new])]
    world.run()
    assert forget_in_every_campaign.fn() == {"other": 0, "test": 0}
    world.factory.campaigns.save(replace(world.campaign.settings, ingest=IngestPolicy(retention_days=30)))
    assert forget_in_every_campaign.fn() == {"other": 0, "test": 2}
    assert forget_in_every_campaign.fn() == {"other": 0, "test": 0}
