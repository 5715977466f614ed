"""The crowd: seeded by galaxy and cycle, over-dispersed by the stated amount, and faithful when told to replay."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alservice.errors import BadInput, BadVotes
from alservice.rehearsal.volunteers import PEOPLE, Crowd
from alservice.science.tree import Tree, load_tree
from alservice.science.votes import count_walks

TREE = load_tree("gz2")
ONE = load_tree("gz-rings")
"""One question of two answers, where many volunteers are needed."""


def probabilities(smooth: float = 0.5) -> np.ndarray:
    """Return uniform answers, but for the first question: smooth, featured, never an artifact."""
    uniform = np.concatenate([np.full(part.stop - part.start, 1 / (part.stop - part.start)) for part in TREE.slices])
    uniform[:3] = [smooth, 1 - smooth, 0.0]
    return uniform


def crowd(*, precision: float | None = None, bias: float = 0.0, seed: int = 1, tree: Tree = TREE) -> Crowd:
    """Return a crowd; by default one that replays."""
    return Crowd(tree, seed=seed, precision=precision, bias=bias)


def yes_counts(of: Crowd, galaxies: int, n: int, yes: float) -> np.ndarray:
    """Return how many of `n` volunteers say yes to the one question, for many galaxies that are alike."""
    given = np.array([yes, 1 - yes])
    return np.array([count_walks(ONE, of.answers(f"g{i}", given, n, 1)) for i in range(galaxies)])[:, 0]


@pytest.mark.parametrize(("precision", "bias"), [(None, 0.0), (20.0, 0.0), (None, 0.4), (20.0, 0.4)])
@given(n=st.integers(0, 30), k=st.integers(0, 30))
@settings(max_examples=20, deadline=None)
def test_the_first_volunteers_do_not_depend_on_how_many_come(precision, bias, n, k):
    """Asking for more volunteers appends to those who came anyway."""
    of = crowd(precision=precision, bias=bias)
    few, many = sorted((n, k))
    np.testing.assert_array_equal(
        of.answers("g", probabilities(), few, 2), of.answers("g", probabilities(), many, 2)[:few]
    )


def test_answers_depend_on_galaxy_cycle_and_seed_and_on_nothing_else():
    """Two crowds of one seed agree in any order of galaxies; another galaxy, cycle or seed does not."""
    a, b = crowd(precision=20.0, bias=0.3), crowd(precision=20.0, bias=0.3)
    first = a.answers("g1", probabilities(), 50, 1)
    b.answers("g2", probabilities(), 50, 1)
    np.testing.assert_array_equal(first, b.answers("g1", probabilities(), 50, 1))
    assert not np.array_equal(first, a.answers("g2", probabilities(), 50, 1))
    assert not np.array_equal(first, a.answers("g1", probabilities(), 50, 2))
    assert not np.array_equal(first, crowd(precision=20.0, bias=0.3, seed=2).answers("g1", probabilities(), 50, 1))


@pytest.mark.parametrize(("precision", "inflation"), [(None, 1.0), (10.0, 1 + 39 / 11), (40.0, 1 + 39 / 41)])
def test_votes_are_over_dispersed_by_the_stated_precision(precision, inflation):
    """The variance of a count is the Dirichlet-multinomial's, or the binomial's in a replay; the mean stays."""
    n, yes = 40, 0.3
    counts = yes_counts(crowd(precision=precision, tree=ONE), galaxies=2500, n=n, yes=yes)
    assert counts.mean() / n == pytest.approx(yes, abs=0.01)
    assert counts.var() / (n * yes * (1 - yes)) == pytest.approx(inflation, rel=0.12)


def test_leanings_pull_averages_towards_the_middle_by_the_stated_amount():
    """The documented side effect of personal leanings is the measured one."""
    counts = yes_counts(crowd(bias=0.5, tree=ONE), galaxies=10, n=1500, yes=0.1)
    assert counts.mean() / 1500 - 0.1 == pytest.approx(0.5**2 * 0.1 * 0.9 * 0.8, abs=0.006)


def test_an_impossible_answer_stays_impossible():
    """Neither the crowd's draw nor leanings create votes for an answer of probability zero."""
    walks = crowd(precision=5.0, bias=1.0).answers("g", probabilities(), 500, 1)
    assert count_walks(TREE, walks)[TREE.column("smooth-or-featured_artifact")] == 0


@pytest.mark.parametrize(("precision", "bias"), [(None, 0.0), (20.0, 0.3)])
def test_a_question_that_nothing_is_known_about_is_not_asked(precision, bias):
    """NaN fractions of a partly recorded galaxy lead to no votes, not to invented ones."""
    partly = probabilities(0.0)
    partly[TREE.slices[TREE.index("bar")]] = np.nan
    walks = crowd(precision=precision, bias=bias).answers("g", partly, 60, 1)
    assert np.all(walks[:, TREE.index("bar")] == -1)
    assert np.any(walks[:, TREE.index("has-spiral-arms")] >= 0)


@pytest.mark.parametrize("precision", [None, 20.0])
def test_probabilities_that_are_no_distribution_are_refused_by_galaxy_and_question(precision):
    """A perturbation never hides a bad input behind its own normalisation."""
    bad = probabilities()
    bad[TREE.slices[TREE.index("bar")]] = [0.9, 0.9]
    with pytest.raises(BadVotes, match=r"galaxy g7.*bar"):
        crowd(precision=precision).answers("g7", bad, 5, 1)


@pytest.mark.parametrize("n", [-1, PEOPLE + 1])
def test_numbers_of_volunteers_that_cannot_come_are_refused(n):
    """Nobody sees a galaxy twice, so the pool is the limit."""
    with pytest.raises(BadInput, match=str(n)):
        crowd(bias=0.1).answers("g", probabilities(), n, 1)


@pytest.mark.parametrize(
    "habits", [{"precision": 0.5}, {"precision": float("inf")}, {"precision": float("nan")}, {"bias": -0.1}]
)
def test_habits_out_of_range_are_refused(habits):
    """A precision below one vote or a negative spread is bad input."""
    with pytest.raises(BadInput, match=next(iter(habits))):
        crowd(**habits)
