"""Moving on the real parts: one campaign's uploads are another's pool."""

from pathlib import Path

import pytest

from alservice.app import open_app
from alservice.campaigns.campaign import ZooniverseTarget
from alservice.campaigns.cycle import CycleState
from alservice.settings import Settings
from alservice.states import SubjectState
from alservice.subjects.subject import draft_subject
from tests.support.worlds import import_rows, make_campaign, make_row

pytestmark = pytest.mark.e2e

POOL = "the survey's own"


def test_a_cycle_moves_its_batch_out_of_the_pool(tmp_path: Path) -> None:
    """The batch is linked to the active set, nothing is uploaded, and ledger and stand-in agree."""
    with open_app(Settings(workdir=tmp_path)) as factory, factory.sites.local.opened():
        survey = import_rows(
            factory,
            make_campaign(name="survey", zooniverse=ZooniverseTarget(subject_set=POOL)),
            [make_row(n) for n in range(12)],
        )
        uploading = factory.cycle.start(survey.settings.name, actor="test")
        galaxies = factory.catalogues.galaxies(uploading.catalogue_id)
        drafts = [draft_subject("survey", 0, galaxy) for galaxy in galaxies]
        factory.subjects.deliver(uploading, survey.settings, drafts, 3, actor="test")
        uploaded = {s.galaxy_id: s.zooniverse_id for s in factory.ledger.of_cycle(uploading.id)}

        campaign = make_campaign(zooniverse=ZooniverseTarget(mode="move", pool_subject_set=POOL))
        moving = import_rows(factory, campaign, [make_row(n) for n in range(12)])
        cycle = factory.cycle.start(moving.settings.name, actor="test")
        while cycle.state is not CycleState.COLLECTING:
            cycle = factory.cycle.advance(cycle.id, actor="test")

        rows = factory.ledger.of_cycle(cycle.id)
        assert {row.state for row in rows} == {SubjectState.LIVE}
        assert all(row.zooniverse_id == uploaded[row.galaxy_id] and row.attempts == 0 for row in rows)
        zooniverse = factory.sites.zooniverse(campaign)
        active = zooniverse.find_subject_set(campaign.zooniverse.subject_set)
        assert zooniverse.linked(active) == {row.zooniverse_id for row in rows}
        assert {subject.zooniverse_id for subject in zooniverse.subjects_above(0)} == set(uploaded.values())
        for name in ("test", "survey"):
            (outcome,) = factory.subjects.reconcile(name, repair=False, actor="test")
            assert outcome.is_clean
