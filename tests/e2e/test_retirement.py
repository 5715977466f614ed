"""Votes per galaxy on the real parts: volunteers classify on the stand-in, ingest retires by our own tallies."""

from pathlib import Path

import pytest

from alservice.app import open_app
from alservice.campaigns.campaign import ZooniverseTarget
from alservice.campaigns.cycle import CycleState
from alservice.rehearsal.run import ask_volunteers
from alservice.settings import Settings
from alservice.states import SubjectState
from tests.support.worlds import import_rows, make_campaign, make_row

pytestmark = pytest.mark.e2e


def test_subjects_retire_once_they_have_their_votes_and_reconcile_agrees(tmp_path: Path) -> None:
    """Nothing retires before anyone was asked; afterwards ledger and stand-in say the same, with evidence."""
    campaign = make_campaign(zooniverse=ZooniverseTarget(retirement="own"))
    with open_app(Settings(workdir=tmp_path)) as factory, factory.sites.local.opened():
        row = import_rows(factory, campaign, [make_row(n) for n in range(12)])
        cycle = factory.cycle.start(row.settings.name, actor="test")
        while cycle.state is not CycleState.COLLECTING:
            cycle = factory.cycle.advance(cycle.id, actor="test")
        assert factory.cycle.advance(cycle.id, actor="test").state is CycleState.COLLECTING
        assert not factory.ledger.of_cycle(cycle.id, (SubjectState.RETIRED,))

        ask_volunteers(factory, cycle.id)
        factory.cycle.advance(cycle.id, actor="test")

        counted = factory.classifications.counted_of_galaxies(row.id)
        subjects = factory.ledger.of_cycle(cycle.id)
        full = {s.galaxy_id for s in subjects if counted.get(s.galaxy_id, 0) >= s.n_votes}
        retired = {s.galaxy_id: s.zooniverse_id for s in subjects if s.state is SubjectState.RETIRED}
        assert full
        assert retired.keys() == full
        statuses = factory.sites.zooniverse(campaign).statuses(list(retired.values()))
        assert all(status.is_retired and status.reason == "other" for status in statuses.values())
        (event,) = [e for e in factory.events.list(row.id) if e.kind == "subjects.retired"]
        assert {subject["galaxy"] for subject in event.detail["subjects"]} == full
        (outcome,) = factory.subjects.reconcile("test", repair=False, actor="test")
        assert outcome.is_clean
