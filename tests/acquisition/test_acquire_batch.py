"""Batches drawn from a whole catalogue by every policy, and the votes that each galaxy gets."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import get_args

import numpy as np
import pytest

from alservice.acquisition.service import AcquireBatch, ForecastVotes, ScorePool, exclusion_reason
from alservice.campaigns.campaign import AcquisitionPolicy, AllocatedVotes, ZooniverseTarget
from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.policies import PolicyName
from alservice.campaigns.store import CampaignRow
from alservice.catalogue.galaxies import Catalogue, Galaxy, Shard
from alservice.errors import NotFound
from alservice.progress import NoProgress
from alservice.science.information import joint_information
from alservice.science.posterior import Posterior
from alservice.states import SubjectState
from alservice.storage import arrays as packs
from alservice.subjects.subject import draft_subject
from tests.support.fake_ledger import FakeLedger, a_cycle
from tests.support.worlds import NOON, TREE, make_campaign

N, SHARD, FAILED = 48, 8, "g05"


class World:
    """A catalogue in memory with a champion's posterior: copies in threes, and one galaxy without an image.

    It stands in for the stores that a batch is drawn from.
    """

    def __init__(self, **policy: object) -> None:
        rng = np.random.default_rng(7)
        spread = rng.uniform(0.1, 1.5, (N, 1, 1))
        draws = np.exp(1 + rng.normal(size=(N, 1, TREE.n_answers)) + spread * rng.normal(size=(N, 6, TREE.n_answers)))
        draws[::4, :, 0] *= 200  # volunteers would agree on every fourth
        self.concentrations = draws.astype(np.float32)
        self.embeddings = np.repeat(rng.normal(size=(N, 4)), 3, axis=0)[:N].astype(np.float16)
        self.rows = [
            Galaxy(
                row=i,
                galaxy_id=f"g{i:02}",
                ra_deg=None,
                dec_deg=None,
                image_key=f"images/{i}",
                unbiased=i % 2 == 0,
                evaluation=i % 6 == 0,
            )
            for i in range(N)
        ]
        acquisition = AcquisitionPolicy(
            **{"batch_galaxies": 12, "votes_per_galaxy": 20, "survey_galaxies": 10, "easy_share": 0.1, **policy}
        )
        campaign = make_campaign(
            acquisition=acquisition,
            zooniverse=ZooniverseTarget(endpoint="http://127.0.0.1:9", retirement="own"),
        )
        self.campaign = CampaignRow(id=1, version=1, campaign=campaign)
        self.cycle: Cycle = replace(a_cycle(), state=CycleState.ACQUIRING, champion_id=3, created_at=NOON)
        self.ledger = FakeLedger()
        self.per_day: dict[date, int] = {}
        self.saved: dict[int, tuple[object, object]] = {}
        self.reads: list[str] = []

    def of(self, galaxy_id: str) -> int:
        """Return the row of a galaxy."""
        return int(galaxy_id[1:])

    def draw(self):
        """Run the service; return the batch and the votes."""
        pool = ScorePool(catalogues=self, models=self, objects=self)
        service = AcquireBatch(
            catalogues=self,
            acquisitions=Batches(self),
            ledger=self.ledger,
            scores=pool,
            forecast=ForecastVotes(classifications=self),
            progress=NoProgress(),
        )
        assert service.run(self.campaign, self.cycle) == self.saved[self.cycle.id][0].galaxies
        return self.saved[self.cycle.id]

    def galaxies(self, _catalogue_id, *, first_row=0, limit=None):
        """Return galaxies from a row on."""
        return self.rows[first_row : first_row + limit]

    def posterior_shards(self, _model_id, _catalogue_id, _scope):
        """Return every shard; one lacks a galaxy."""
        missing = [int(self.of(FAILED) // SHARD == i) for i in range(N // SHARD)]
        return [Shard(index=i, key=str(i), n_galaxies=SHARD - m, n_failed=m) for i, m in enumerate(missing)]

    def counted_per_day(self, _campaign_id, *, since, until):
        """Return classifications per day."""
        return {day: n for day, n in self.per_day.items() if since.date() <= day < until.date()}

    def get(self, key):
        """Return the catalogue, or the bytes of a posterior shard."""
        if isinstance(key, int):
            return Catalogue(id=1, campaign_id=1, source="test", digest="0", n_galaxies=N, n_failed=0, votes_key=None)
        rows = [i for i in range(int(key) * SHARD, (int(key) + 1) * SHARD) if self.rows[i].galaxy_id != FAILED]
        return packs.encode_posterior(
            Posterior(
                galaxy_ids=tuple(self.rows[i].galaxy_id for i in rows),
                concentrations=self.concentrations[rows],
                embeddings=self.embeddings[rows],
                tree_hash=TREE.hash,
                model="m",
            )
        )


class Batches:
    """An acquisition store in memory."""

    def __init__(self, world):
        self.world = world

    def get(self, cycle_id):
        """Return what was drawn."""
        return self.world.saved[cycle_id][0].galaxies if cycle_id in self.world.saved else None

    def save(self, cycle_id, batch, *, n_votes):
        """Keep a batch and its votes."""
        self.world.saved[cycle_id] = batch, n_votes


@pytest.mark.parametrize("policy", get_args(PolicyName))
@pytest.mark.parametrize("diversity", [0.0, 0.05])
def test_every_policy_draws_from_the_whole_catalogue(policy, diversity):
    """Arms of the sizes asked for, no member for information, no galaxy without an image, and the same again."""
    world = World(policy=policy, diversity_share=diversity)
    batch, votes = world.draw()
    assert (batch.offered, batch.excluded) == (N, {"failed image": 1})
    arms = {arm: [g for g in batch.galaxies if g.arm == arm] for arm in ("informative", "random", "easy")}
    assert len(arms["random"]) == (12 if policy == "random" else 2)
    assert len(arms["easy"]) == (0 if policy == "random" else 1)
    if policy not in ("random", "threshold"):  # which may find too few, and then draws no others
        assert len(arms["informative"]) == 9
    assert not any(world.rows[world.of(g.galaxy_id)].evaluation for g in [*arms["informative"], *arms["easy"]])
    assert FAILED not in {g.galaxy_id for g in batch.galaxies}
    assert all(0 < g.inclusion_probability <= 1 for g in batch.galaxies)
    assert votes == 20
    again = World(policy=policy, diversity_share=diversity)
    assert again.draw()[0] == batch
    if diversity:
        copies = [world.of(g.galaxy_id) // 3 for g in arms["informative"]]
        assert len(set(copies)) == len(copies)


def test_the_policies_differ():
    """Names are not all one rule."""
    drawn = {
        policy: tuple(g.galaxy_id for g in World(policy=policy).draw()[0].galaxies) for policy in get_args(PolicyName)
    }
    assert len(set(drawn.values())) == len(drawn)


def test_votes_follow_information_within_the_budget():
    """Informative galaxies get tiers, the rest a fixed number; who teaches more per vote gets no fewer."""
    tiers = (5, 10, 20, 40)
    world = World(allocated=AllocatedVotes(tiers=tiers, budget=140))
    batch, votes = world.draw()
    informative = [g.galaxy_id for g in batch.galaxies if g.arm == "informative"]
    assert {votes[g.galaxy_id] for g in batch.galaxies if g.arm != "informative"} == {20}
    assert {votes[name] for name in informative} <= set(tiers)
    assert len({votes[name] for name in informative}) > 1
    assert 140 - 5 < sum(votes.values()) <= 140
    rows = [world.of(name) for name in informative]
    weights = np.ones(TREE.n_questions)
    curves = [joint_information(TREE, world.concentrations[rows], n, question_weights=weights) for n in tiers]
    first_climb = np.subtract(curves[1], curves[0])
    asked = np.array([votes[name] for name in informative])
    assert first_climb[asked > 5].mean() > first_climb[asked == 5].mean()


def test_without_a_budget_the_forecast_is_spent():
    """The lower end of what volunteers will give until the deadline; without a week of history, fixed votes' cost."""
    days = [(NOON - timedelta(days=k)).date() for k in range(1, 20)]
    spent = {}
    for name, per_day in {"quiet": 20, "busy": 60, "new": 0}.items():
        world = World(allocated=AllocatedVotes(tiers=(5, 40)))
        world.per_day = dict.fromkeys(days, per_day) if per_day else {}
        spent[name] = sum(world.draw()[1].values())
    assert spent["quiet"] < 6 * 20  # the deadline is after six days
    assert spent["quiet"] < spent["new"] <= 12 * 20 < spent["busy"]


def test_a_slow_week_still_asks_for_the_first_tier():
    """The lowest tier is a floor, whatever the forecast."""
    world = World(allocated=AllocatedVotes(tiers=(5, 40)))
    world.per_day = {(NOON - timedelta(days=k)).date(): 1 for k in range(1, 9)}
    batch, votes = world.draw()
    assert {votes[g.galaxy_id] for g in batch.galaxies if g.arm == "informative"} == {5}


def test_history_is_whole_days_with_gaps_as_zero():
    """Today is not over, what is older than four weeks is forgotten, and a day without votes counts as one."""
    world = World()
    at = datetime(2026, 3, 31, 23, 59, tzinfo=UTC)
    world.per_day = {date(2026, 3, 31): 99, date(2026, 3, 30): 4, date(2026, 3, 20): 2, date(2026, 1, 1): 50}
    service = ForecastVotes(classifications=world)
    assert service.history(1, at=at).tolist() == [2, *[0] * 9, 4]
    forecast = service.run(1, at=at, horizon_days=5)
    assert forecast is not None
    assert (forecast.history_days, forecast.mean) == (11, pytest.approx(30 / 11))
    world.per_day = {date(2026, 3, 30): 4}
    assert service.run(1, at=at, horizon_days=5) is None


def test_a_catalogue_that_is_not_predicted_whole_is_refused():
    """A shard that is missing would make the draw forget its galaxies."""
    world = World()
    world.posterior_shards = lambda *_: World.posterior_shards(world, 0, 0, "")[1:]
    with pytest.raises(NotFound, match="whole catalogue"):
        world.draw()


def test_what_the_ledger_holds_is_excluded_with_its_reason():
    """In flight, retired, labelled and failed galaxies are counted; stale ones may return."""
    world = World()
    states = {
        "g01": (SubjectState.LIVE, None),
        "g02": (SubjectState.RETIRED, None),
        "g03": (SubjectState.WITHDRAWN, "labelled"),
        "g04": (SubjectState.WITHDRAWN, "retired: flagged"),
        "g07": (SubjectState.FAILED, "no image"),
        "g08": (SubjectState.WITHDRAWN, "stale: not chosen in cycle 1"),
        FAILED: (SubjectState.PLANNED, None),
    }
    drafts = [draft_subject("test", 0, galaxy) for galaxy in world.rows if galaxy.galaxy_id in states]
    for row in world.ledger.plan(a_cycle(), drafts, n_votes=20):
        state, error = states[row.galaxy_id]
        world.ledger.rows[row.id] = replace(row, state=state, error=error)
    batch, _ = world.draw()
    assert batch.excluded == {"failed": 1, "in flight": 2, "labelled": 1, "retired": 2}
    assert not {g.galaxy_id for g in batch.galaxies} & (set(states) - {"g08"})
    (stale,) = [row for row in world.ledger.rows.values() if row.galaxy_id == "g08"]
    assert exclusion_reason(stale) is None
