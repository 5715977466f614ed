"""A campaign of the release that stored draws goes on: nothing of it is lost, made again or read otherwise."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from sqlalchemy import Engine

from alservice.access import Scope
from alservice.campaigns.cycle import Cycle, CycleState
from alservice.science.information import joint_information
from alservice.science.posterior import answer_probabilities
from alservice.states import SubjectState
from alservice.storage.postgres import check_schema, make_engine, transaction, upgrade
from alservice.web.application import create_app
from tests.cycle.test_cycle import N_GALAXIES, Loop, faked
from tests.support.fake_zooniverse import FakeSubject, FakeZooniverse
from tests.support.postgres import scratch_database
from tests.support.shared import ROOT
from tests.support.web_server import served
from tests.support.worlds import TREE

RELEASE = ROOT / "tests" / "data" / "release-0011"
"""What ``record_release.py`` wrote by the code of revision 0011."""

DRAWS = 5


class Continued(Loop):
    """The recorded campaign in today's code; its Zooniverse has the subjects that the release put there."""

    first_vote = 500_100_001

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.zooniverse = FakeZooniverse()
        self.factory = faked(engine, folder, self.zooniverse)
        self.campaign = self.factory.campaigns.get("test")
        for row in self.factory.ledger.of_campaign(self.campaign.id):
            image = self.factory.objects.get(row.image_key)
            self.zooniverse.subjects[row.zooniverse_id] = FakeSubject({"#survey_id": row.galaxy_id}, "image/png", image)
        self.zooniverse.uploaded = len(self.zooniverse.subjects)

    @property
    def newest(self) -> Cycle:
        """The newest cycle."""
        return self.factory.cycles.list(self.campaign.id)[-1]


@pytest.fixture(scope="module")
def release(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Continued]:
    """The database restored and brought forward, beside its objects."""
    folder = tmp_path_factory.mktemp("release")
    with zipfile.ZipFile(RELEASE.with_suffix(".zip")) as archive:
        archive.extractall(folder / "objects")
    for url in scratch_database(postgres_url, "template0"):
        engine = make_engine(url)
        with transaction(engine) as connection:
            connection.exec_driver_sql(RELEASE.with_suffix(".sql").read_text(encoding="utf-8").replace("%", "%%"))
        upgrade(engine)
        check_schema(engine)
        yield Continued(engine, folder)
        engine.dispose()


def test_stored_draws_are_read_and_scored(release: Continued) -> None:
    """Every galaxy of the catalogue has its draws, and summaries and scores that are of these draws."""
    app, settings, cycle = release.factory, release.campaign.settings, release.newest
    assert cycle.state is CycleState.ACQUIRING
    shards = app.models.posterior_shards(cycle.champion_id, cycle.catalogue_id, "catalogue")
    assert len(shards) > 1
    assert all(shard.key.startswith("posteriors/") for shard in shards)
    stored = app.prediction.stored
    names = []
    for shard in shards:
        (drawn,), (found,) = stored.draws(settings, [shard]), stored.predictions(settings, [shard])
        assert drawn.concentrations.shape == (shard.n_galaxies, DRAWS, TREE.n_answers)
        assert drawn.galaxy_ids == found.galaxy_ids
        np.testing.assert_allclose(found.mean, answer_probabilities(TREE, drawn.concentrations).mean(axis=1), atol=1e-3)
        scores = joint_information(TREE, drawn.concentrations, settings.acquisition.votes_per_galaxy)
        np.testing.assert_allclose(found.scores, scores, rtol=1e-5)
        assert scores.min() > 0
        some = found.galaxy_ids[1::2]
        (part,) = stored.draws(settings, [shard], {*some})
        np.testing.assert_array_equal(part.concentrations, drawn.concentrations[1::2])
        names += found.galaxy_ids
    assert names == [galaxy.galaxy_id for galaxy in app.catalogues.galaxies(cycle.catalogue_id)]
    assert len(names) == N_GALAXIES


def test_pages_show_what_the_release_recorded(release: Continued) -> None:
    """Campaign, cycles and a galaxy's card with its stored draws."""
    app = release.factory
    secret = app.access.create(scope=Scope.READ, expires_days=1, name=None)[1]
    headers = {"Authorization": f"Bearer {secret}"}
    asked = next(iter(app.ledger.of_campaign(release.campaign.id))).galaxy_id
    with served(create_app(app, figures_life_s=0)) as url, httpx.Client(base_url=url, headers=headers) as client:
        base = "/api/v1/campaigns/test"
        assert [c["state"] for c in client.get(f"{base}/cycles").json()["items"]] == ["acquiring", "done"]
        assert client.get(f"{base}/galaxies/{asked}").json()["galaxy_id"] == asked
        shown = client.get(f"{base}/predictions", params={"limit": 3}).json()["items"]
        assert [bool(each["questions"]) for each in shown] == [True] * 3
    card = app.ops.card_of(release.campaign, release.newest.catalogue_id, asked)
    assert card.model is not None
    assert {answer.model is None for question in card.questions for answer in question.answers} == {False}


def test_the_open_cycle_goes_on_to_its_end(release: Continued) -> None:
    """A batch is drawn from stored draws, votes are counted, a candidate trained and compared, and the next one starts."""
    app, before = release.factory, release.newest
    objects = {*app.objects.keys("posteriors/")}
    votes = app.classifications.counted(release.campaign.id)
    done = release.run(before)
    assert (done.id, done.number) == (before.id, 1)
    drawn = app.acquisitions.get(done.id)
    assert len(drawn) == 5
    subjects = app.ledger.of_cycle(done.id)
    assert {row.galaxy_id for row in subjects} == {galaxy.galaxy_id for galaxy in drawn}
    assert SubjectState.FAILED not in {row.state for row in subjects}
    assert app.classifications.counted(release.campaign.id) == votes + 3 * len(drawn)
    assert app.models.decision(done.id) is not None
    assert {*app.objects.keys("posteriors/")} == objects
    third = release.run(release.start(), until=CycleState.ACQUIRING)
    shards = app.models.posterior_shards(third.champion_id, third.catalogue_id, "catalogue")
    assert sum(shard.n_galaxies for shard in shards) == N_GALAXIES
