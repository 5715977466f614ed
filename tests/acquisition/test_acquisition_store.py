"""Batches are recorded whole, once: in Postgres and in memory."""

import pytest

from alservice.acquisition.batch import BatchPolicy, draw_batch
from alservice.errors import BadInput, Conflict
from alservice.testing import MemoryBatches

IDS = [f"g{i}" for i in range(40)]


def draw(seed: int = 3):
    """Draw a batch with all three kinds of fields: scores, none, and reasons of exclusion."""
    policy = BatchPolicy(rule="power", informative=5, random=3)
    scores = [0.1 * i for i in range(40)]
    return draw_batch(IDS, scores, policy=policy, seed=seed, excluded={"g39": "labelled"})


@pytest.fixture(params=["postgres", "memory"])
def batches(request: pytest.FixtureRequest):
    """An empty store of each kind."""
    return MemoryBatches() if request.param == "memory" else request.getfixturevalue("stores").acquisitions


@pytest.fixture
def cycle_id(request: pytest.FixtureRequest, batches) -> int:
    """The id of a cycle that may have a batch."""
    return 1 if isinstance(batches, MemoryBatches) else request.getfixturevalue("cycle").id


def test_what_is_saved_comes_back(batches, cycle_id) -> None:
    """Order, arms, scores and probabilities survive to the last bit."""
    assert batches.get(cycle_id) is None
    batch = draw()
    batches.save(cycle_id, batch, n_votes=40)
    assert tuple(batches.get(cycle_id)) == batch.galaxies


def test_votes_may_differ_between_galaxies(batches, cycle_id) -> None:
    """Each drawn galaxy has the votes it was given; one without a number takes the batch back."""
    batch = draw()
    votes = {galaxy.galaxy_id: 5 + galaxy.rank for galaxy in batch.galaxies}
    with pytest.raises(BadInput, match="no votes are named for galaxy"):
        batches.save(cycle_id, batch, n_votes={})
    batches.save(cycle_id, batch, n_votes=votes)
    assert batches.votes(cycle_id) == votes
    assert batches.votes(cycle_id + 1) == {}


def test_a_cycle_keeps_its_first_batch(batches, cycle_id) -> None:
    """A draw that runs twice leaves one batch."""
    batches.save(cycle_id, draw(3), n_votes=40)
    batches.save(cycle_id, draw(4), n_votes=20)
    assert tuple(batches.get(cycle_id)) == draw(3).galaxies


def test_an_empty_batch_is_a_batch(batches, cycle_id) -> None:
    """A pool that ran out is drawn from, not still to be drawn from."""
    empty = draw_batch(
        IDS,
        None,
        policy=BatchPolicy(rule="random", informative=0, random=1),
        seed=1,
        excluded=dict.fromkeys(IDS, "labelled"),
    )
    batches.save(cycle_id, empty, n_votes=40)
    assert batches.get(cycle_id) == []


def test_half_a_batch_is_none(batches, cycle_id) -> None:
    """A galaxy that breaks a rule takes the whole batch back."""
    with pytest.raises(Conflict, match="ck_acquired_n_votes"):
        batches.save(cycle_id, draw(), n_votes=0)
    assert batches.get(cycle_id) is None
