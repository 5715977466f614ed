"""Weights that undo a selection by votes."""

import numpy as np
import pytest

from alservice.errors import BadVotes
from alservice.science.reweighting import survey_weights
from alservice.science.tree import load_tree

TREE = load_tree("gz2")
RNG = np.random.default_rng(0)
SURVEY = RNG.uniform(0, 1, 20_000)
FAIR = np.arange(len(SURVEY)) < 4000
KEPT = FAIR | (np.abs(SURVEY - 0.5) > 0.35) | (RNG.random(len(SURVEY)) < 0.1)


def votes(smooth, *, n=40):
    """Return counts (N, A) of galaxies with these shares of Smooth."""
    counts = np.zeros((len(smooth), TREE.n_answers), dtype=np.int64)
    counts[:, 0] = np.random.default_rng(1).binomial(n, smooth)
    counts[:, 1] = n - counts[:, 0]
    return counts


def test_a_selection_of_clear_cases_is_undone():
    """Weighted, shares of Smooth are distributed as in the survey."""
    shares, fair = SURVEY[KEPT], FAIR[KEPT]
    weights = survey_weights(TREE, votes(shares), fair)
    assert weights.mean() == pytest.approx(1)
    assert (weights > 0).all()
    unclear = (shares > 0.3) & (shares < 0.7)
    assert unclear.mean() < 0.25
    assert weights[unclear].sum() / weights.sum() == pytest.approx(0.4, abs=0.02)
    assert weights.sum() ** 2 / (weights**2).sum() > 1.5 * fair.sum()


def test_without_a_fair_part_of_its_own_all_count_alike():
    """Everything fair, or nothing: weights of 1; five fair galaxies move them little."""
    counts = votes(SURVEY[KEPT])
    for fair in (np.ones(len(counts), dtype=bool), np.zeros(len(counts), dtype=bool)):
        np.testing.assert_allclose(survey_weights(TREE, counts, fair), 1)
    few = survey_weights(TREE, counts, np.arange(len(counts)) < 5)
    assert 0.5 < few.min() < few.max() < 2


def test_galaxies_that_nobody_answered_for_are_a_stratum():
    """They count as the fair ones among them say, and no share is made up for them."""
    counts = votes(SURVEY[KEPT])
    counts[::2] = 0
    fair = FAIR[KEPT] & (np.arange(len(counts)) % 2 == 1)
    weights = survey_weights(TREE, counts, fair)
    assert len(set(weights[::2])) == 1
    assert weights[0] < 0.2


def test_marks_that_do_not_fit_are_refused():
    """One mark per row of votes."""
    with pytest.raises(BadVotes, match="marks of shape"):
        survey_weights(TREE, votes(SURVEY[:10]), np.ones(9, dtype=bool))


def test_certain_and_nearly_certain_galaxies_are_one_stratum():
    """A share of exactly 1 belongs to the last tenth, not to one of its own or to those nobody answered for."""
    counts = np.zeros((4, TREE.n_answers), dtype=np.int64)
    counts[:, TREE.slices[0]] = [[20, 0, 0], [19, 1, 0], [19, 1, 0], [4, 16, 0]]
    fair = np.array([True, False, False, True])
    weights = survey_weights(TREE, counts, fair)
    assert weights[0] == weights[1] == weights[2] != weights[3]
