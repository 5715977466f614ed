"""Batches are recorded whole, once."""

import pytest

from alservice.acquisition.batch import BatchPolicy, draw_batch
from alservice.errors import BadInput, Conflict

IDS = [f"g{i}" for i in range(40)]


def draw(seed: int = 3):
    """Draw a batch with all three kinds of fields: scores, none, and reasons of exclusion."""
    policy = BatchPolicy(rule="power", informative=5, random=3)
    scores = [0.1 * i for i in range(40)]
    return draw_batch(IDS, scores, policy=policy, seed=seed, excluded={"g39": "labelled"})


def test_what_is_saved_comes_back(stores, cycle) -> None:
    """Order, arms, scores and probabilities survive to the last bit."""
    assert stores.acquisitions.get(cycle.id) is None
    batch = draw()
    stores.acquisitions.save(cycle.id, batch, n_votes=40)
    assert tuple(stores.acquisitions.get(cycle.id)) == batch.galaxies


def test_votes_may_differ_between_galaxies(stores, cycle) -> None:
    """Each drawn galaxy has the votes it was given; one without a number takes the batch back."""
    batch = draw()
    votes = {galaxy.galaxy_id: 5 + galaxy.rank for galaxy in batch.galaxies}
    with pytest.raises(BadInput, match="no votes are named for galaxy"):
        stores.acquisitions.save(cycle.id, batch, n_votes={})
    stores.acquisitions.save(cycle.id, batch, n_votes=votes)
    assert stores.acquisitions.votes(cycle.id) == votes
    assert stores.acquisitions.votes(cycle.id + 1) == {}


def test_a_cycle_keeps_its_first_batch(stores, cycle) -> None:
    """A draw that runs twice leaves one batch."""
    stores.acquisitions.save(cycle.id, draw(3), n_votes=40)
    stores.acquisitions.save(cycle.id, draw(4), n_votes=20)
    assert tuple(stores.acquisitions.get(cycle.id)) == draw(3).galaxies


def test_an_empty_batch_is_a_batch(stores, cycle) -> None:
    """A pool that ran out is drawn from, not still to be drawn from."""
    empty = draw_batch(
        IDS,
        None,
        policy=BatchPolicy(rule="random", informative=0, random=1),
        seed=1,
        excluded=dict.fromkeys(IDS, "labelled"),
    )
    stores.acquisitions.save(cycle.id, empty, n_votes=40)
    assert stores.acquisitions.get(cycle.id) == []


def test_half_a_batch_is_none(stores, cycle) -> None:
    """A galaxy that breaks a rule takes the whole batch back."""
    with pytest.raises(Conflict, match="ck_acquired_n_votes"):
        stores.acquisitions.save(cycle.id, draw(), n_votes=0)
    assert stores.acquisitions.get(cycle.id) is None
