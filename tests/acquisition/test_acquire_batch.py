"""Batches drawn from a whole catalogue by every policy, and the votes that each galaxy gets."""

from datetime import UTC, date, datetime, timedelta
from typing import get_args

import numpy as np
import pytest

from alservice.acquisition import service
from alservice.acquisition.batch import SurveySample
from alservice.acquisition.service import AskedGalaxies, ForecastVotes, ScorePool, exclusion_reason
from alservice.campaigns.campaign import AllocatedVotes
from alservice.campaigns.policies import Arm, PolicyName
from alservice.errors import BadConfig, NotFound
from alservice.ids import seed_of
from alservice.prediction.stored import Predictions
from alservice.science.information import joint_information
from alservice.testing import MemoryApp, memory_campaign
from alservice.testing.memory import CHAMPION
from tests.support.worlds import NOON, TREE

N, FAILED = 48, "g05"


def world(**policy: object) -> MemoryApp:
    """Return a catalogue with a champion's posterior: copies in threes, and one galaxy without an image."""
    return MemoryApp(campaign=memory_campaign(**policy)).catalogue(N).posterior(seed=7, failed=[FAILED])


def row_of(galaxy_id: str) -> int:
    """Return the row of a galaxy."""
    return int(galaxy_id[1:])


@pytest.mark.parametrize("policy", get_args(PolicyName))
@pytest.mark.parametrize("diversity", [0.0, 0.05])
def test_every_policy_draws_from_the_whole_catalogue(policy, diversity):
    """Arms of the sizes asked for, no member for information, no galaxy without an image, and the same again."""
    if diversity and policy.startswith("batch_"):
        with pytest.raises(BadConfig, match="near-copies apart by itself"):
            world(policy=policy, diversity_share=diversity)
        return
    memory = world(policy=policy, diversity_share=diversity)
    batch, votes = memory.acquire()
    assert (batch.offered, batch.excluded) == (N, {"failed image": 1})
    arms = {arm: [g for g in batch.galaxies if g.arm == arm] for arm in ("informative", "random", "easy")}
    assert len(arms["random"]) == (12 if policy == "random" else 2)
    assert len(arms["easy"]) == (0 if policy == "random" else 1)
    if policy not in ("random", "threshold"):  # which may find too few, and then draws no others
        assert len(arms["informative"]) == 9
    assert not any(memory.galaxies[row_of(g.galaxy_id)].evaluation for g in [*arms["informative"], *arms["easy"]])
    assert FAILED not in {g.galaxy_id for g in batch.galaxies}
    assert all(0 < g.inclusion_probability <= 1 for g in batch.galaxies)
    assert set(votes.values()) == {20}
    again = world(policy=policy, diversity_share=diversity)
    assert again.acquire()[0] == batch
    if diversity:
        copies = [row_of(g.galaxy_id) // 3 for g in arms["informative"]]
        assert len(set(copies)) == len(copies)


def test_the_policies_differ():
    """Names are not all one rule."""
    drawn = {
        policy: tuple(g.galaxy_id for g in world(policy=policy).acquire()[0].galaxies)
        for policy in get_args(PolicyName)
    }
    assert len(set(drawn.values())) == len(drawn)


def test_votes_follow_information_within_the_budget():
    """Informative galaxies get tiers, the rest a fixed number; who teaches more per vote gets no fewer."""
    tiers = (5, 10, 20, 40)
    memory = world(allocated=AllocatedVotes(tiers=tiers, budget=140))
    batch, votes = memory.acquire()
    informative = [g.galaxy_id for g in batch.galaxies if g.arm == "informative"]
    assert {votes[g.galaxy_id] for g in batch.galaxies if g.arm != "informative"} == {20}
    assert {votes[name] for name in informative} <= set(tiers)
    assert len({votes[name] for name in informative}) > 1
    assert 140 - 5 < sum(votes.values()) <= 140
    rows = [row_of(name) for name in informative]
    weights = np.ones(TREE.n_questions)
    draws = memory.drawn_posterior(seed=7).concentrations[rows]
    curves = [joint_information(TREE, draws, n, question_weights=weights) for n in tiers]
    first_climb = np.subtract(curves[1], curves[0])
    asked = np.array([votes[name] for name in informative])
    assert first_climb[asked > 5].mean() > first_climb[asked == 5].mean()


@pytest.mark.parametrize("allocated", [None, AllocatedVotes(tiers=(2, 5), budget=400)])
def test_who_judges_has_votes_of_its_own(allocated):
    """Random galaxies get the reference's number, easy and informative ones that of the batch or their tier."""
    batch, votes = world(votes_per_galaxy=5, reference_votes=30, random_share=0.3, allocated=allocated).acquire()
    asked = {arm: {votes[g.galaxy_id] for g in batch.galaxies if g.arm == arm} for arm in Arm}
    assert (asked[Arm.RANDOM], asked[Arm.EASY]) == ({30}, {5})
    assert asked[Arm.INFORMATIVE] == {5}


def test_without_a_budget_the_forecast_is_spent():
    """The lower end of what volunteers will give until the deadline; without a week of history, fixed votes' cost."""
    days = [(NOON - timedelta(days=k)).date() for k in range(1, 20)]
    spent = {}
    for name, per_day in {"quiet": 20, "busy": 60, "new": 0}.items():
        memory = world(allocated=AllocatedVotes(tiers=(5, 40)))
        memory.daily_votes.per_day = dict.fromkeys(days, per_day) if per_day else {}
        spent[name] = sum(memory.acquire()[1].values())
    assert spent["quiet"] < 6 * 20  # the deadline is after six days
    assert spent["quiet"] < spent["new"] <= 12 * 20 < spent["busy"]


def test_a_slow_week_still_asks_for_the_first_tier():
    """The lowest tier is a floor, whatever the forecast."""
    memory = world(allocated=AllocatedVotes(tiers=(5, 40)))
    memory.daily_votes.per_day = {(NOON - timedelta(days=k)).date(): 1 for k in range(1, 9)}
    batch, votes = memory.acquire()
    assert {votes[g.galaxy_id] for g in batch.galaxies if g.arm == "informative"} == {5}


def test_history_is_whole_days_with_gaps_as_zero():
    """Today is not over, what is older than four weeks is forgotten, and a day without votes counts as one."""
    memory = world()
    at = datetime(2026, 3, 31, 23, 59, tzinfo=UTC)
    memory.daily_votes.per_day = {
        date(2026, 3, 31): 99,
        date(2026, 3, 30): 4,
        date(2026, 3, 20): 2,
        date(2026, 1, 1): 50,
    }
    forecasts = ForecastVotes(classifications=memory.daily_votes)
    assert forecasts.history(1, at=at).tolist() == [2, *[0] * 9, 4]
    forecast = forecasts.run(1, at=at, horizon_days=5)
    assert forecast is not None
    assert (forecast.history_days, forecast.mean) == (11, pytest.approx(30 / 11))
    memory.daily_votes.per_day = {date(2026, 3, 30): 4}
    assert forecasts.run(1, at=at, horizon_days=5) is None


def test_the_survey_is_sampled_without_the_draws_of_all(monkeypatch):
    """The same galaxies as of a sample that is offered everything, failed ones passed over, draws made of few."""
    memory = world(survey_galaxies=5)
    stored, cycle, settings = memory.acquisition.stored, memory.cycle, memory.row.settings
    unbiased = {galaxy.galaxy_id for galaxy in memory.galaxies if galaxy.unbiased}
    whole = SurveySample(5, seed=seed_of(settings.seed, "survey"))
    for posterior in stored.draws(settings, memory.models.posterior_shards(CHAMPION, cycle.catalogue_id, "catalogue")):
        whole.offer(posterior, np.array([name in unbiased for name in posterior.galaxy_ids]))
    made, drawn = [], Predictions.drawn
    monkeypatch.setattr(Predictions, "drawn", lambda *given: made.append(drawn(*given)) or made[-1])
    scores = ScorePool(catalogues=memory.catalogues, models=memory.models, stored=stored)
    sample = scores.survey(memory.row, cycle)
    assert sample.galaxy_ids == whole.draw().galaxy_ids
    np.testing.assert_array_equal(sample.concentrations, whole.draw().concentrations)
    assert sum(len(posterior.galaxy_ids) for posterior in made) <= 10


def test_a_catalogue_that_is_not_predicted_whole_is_refused():
    """A shard that is missing would make the draw forget its galaxies."""
    memory = MemoryApp().catalogue(N).posterior(seed=7, shards=5)
    with pytest.raises(NotFound, match="whole catalogue"):
        memory.acquire()


def test_ids_that_share_a_hash_are_told_apart(monkeypatch):
    """Two hashes stand for an id: one alone may be another's."""
    memory = world()
    memory.subject("g01", state="live")
    monkeypatch.setattr(service, "_hashes", lambda name: (7, hash(f":{name}")))
    asked = AskedGalaxies(memory.ledger.of_campaign(memory.row.id))
    monkeypatch.setattr(service, "hash", lambda _: 7, raising=False)
    assert asked.reasons(["g00", "g01", "g02"]) == {"g01": "in flight"}


def test_what_the_ledger_holds_is_excluded_with_its_reason():
    """In flight, retired, labelled and failed galaxies are counted; stale ones may return."""
    memory = world()
    memory.subject("g01", state="live").subject("g02", state="retired").subject(FAILED, state="planned")
    memory.subject("g03", state="withdrawn", reason="labelled")
    memory.subject("g04", state="withdrawn", reason="retired: flagged")
    memory.subject("g07", state="failed", reason="no image")
    memory.subject("g08", state="withdrawn", reason="stale: not chosen in cycle 1")
    batch, _ = memory.acquire()
    assert batch.excluded == {"failed": 1, "in flight": 2, "labelled": 1, "retired": 2}
    assert not {g.galaxy_id for g in batch.galaxies} & {"g01", "g02", "g03", "g04", "g07", FAILED}
    (stale,) = [row for row in memory.ledger.rows.values() if row.galaxy_id == "g08"]
    assert exclusion_reason(stale) is None
