"""Floors of the error and of the likelihood, against simulations that know the truth."""

import numpy as np
import pytest

from alservice.backfill.plan import target_of
from alservice.backfill.savings import likelihood_floor, vote_noise
from alservice.errors import BadVotes
from alservice.science.pmf import log_factorials
from alservice.science.tree import load_tree

TREE = load_tree("gz2")
SMOOTH = target_of(TREE, "smooth")


def test_the_noise_of_votes_is_what_a_perfect_prediction_would_be_off_by() -> None:
    """Estimated from counts alone."""
    rng = np.random.default_rng(0)
    share = rng.uniform(size=20_000)
    k = rng.binomial(40, share)
    counts = np.stack([k, 40 - k, np.zeros_like(k)], axis=1)
    truth = np.sqrt(np.mean((k / 40 - share) ** 2))
    assert vote_noise(SMOOTH, counts, min_votes=10) == pytest.approx(truth, rel=0.02)
    assert vote_noise(target_of(TREE, "all"), np.ones((3, TREE.n_answers), dtype=int), min_votes=10) is None
    with pytest.raises(BadVotes, match="smooth-or-featured"):
        vote_noise(SMOOTH, counts[:0], min_votes=10)


@pytest.mark.parametrize("votes", [5, 40])
def test_the_floor_of_the_likelihood_is_just_below_what_the_truth_pays(votes) -> None:
    """Never above in the mean, and within a few per cent where votes are many."""
    rng = np.random.default_rng(1)
    truth = rng.dirichlet([1.0, 1.0, 0.5], size=4000)
    counts = rng.multinomial(votes, truth)
    choices = log_factorials(votes)
    coefficient = choices[votes] - choices[counts].sum(axis=1)
    paid = -(coefficient + (counts * np.log(truth)).sum(axis=1)).sum() / counts.sum()
    floor = likelihood_floor(SMOOTH, counts)
    assert floor < paid
    assert floor > (0.94 if votes == 40 else 0.7) * paid


def test_unanimous_votes_have_no_floor() -> None:
    """Whoever knows the answer pays nothing; questions that nobody was asked count for nothing."""
    everything = target_of(TREE, "all")
    counts = np.zeros((3, TREE.n_answers), dtype=np.int64)
    counts[:, 0] = 40
    assert likelihood_floor(everything, counts) == 0
    with pytest.raises(BadVotes, match="no votes"):
        likelihood_floor(everything, counts * 0)


def test_questions_of_a_tree_add_up() -> None:
    """The floor of a tree is that of its questions, weighted by their votes."""
    rng = np.random.default_rng(2)
    counts = rng.integers(0, 9, size=(50, TREE.n_answers))
    alone = [target_of(TREE, question.name) for question in TREE.questions]
    nats = sum(likelihood_floor(one, counts[:, one.columns]) * counts[:, one.columns].sum() for one in alone)
    assert likelihood_floor(target_of(TREE, "all"), counts) == pytest.approx(nats / counts.sum())
