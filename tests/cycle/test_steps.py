"""Steps of a cycle: what each asks of which service."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from alservice.campaigns.campaign import ZooniverseTarget
from alservice.campaigns.store import CampaignRow
from alservice.cycle import steps
from alservice.votes.service import CollectReport
from tests.support.fake_ledger import a_cycle
from tests.support.publishing import CAMPAIGN


@pytest.mark.parametrize(("retirement", "told"), [("own", ["collected", 1]), ("panoptes", ["collected"])])
def test_after_each_ingest_our_tallies_retire_where_they_decide(retirement, told) -> None:
    """Collecting is not over, and yet what has its votes retires; the workflow's own rule is left alone."""
    done = []
    report = CollectReport(read=0, new=0, requested=1, counted=0, is_over=False)

    def collect(*_: object) -> CollectReport:
        done.append("collected")
        return report

    step = steps.collect(
        lambda _campaign: SimpleNamespace(run=collect),
        lambda _campaign: SimpleNamespace(run=done.append),
        snapshot=None,
        cycles=None,
        snapshots=None,
    )
    campaign = replace(CAMPAIGN, zooniverse=ZooniverseTarget(retirement=retirement))
    assert step(CampaignRow(id=1, version=1, campaign=campaign), a_cycle()) is None
    assert done == told
