"""The mixture after votes against Bayes' theorem written out, outcome by outcome."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from alservice.errors import BadInput, BadVotes, NumericalFault
from alservice.science.pmf import beta_cdf, log_beta
from alservice.science.posterior import update
from alservice.science.tree import Question, Tree, load_tree
from alservice.science.votes import walked_counts

GZ2 = load_tree("gz2")
SMALL = Tree(
    name="small",
    questions=(
        Question(
            name="shape",
            text="Shape?",
            answers=("smooth", "disk", "star"),
            labels=("Smooth", "Disk", "Star"),
            parents=(),
            task="T0",
            task_answers=("smooth", "disk", "star"),
        ),
        Question(
            name="bar",
            text="Bar?",
            answers=("yes", "no"),
            labels=("Yes", "No"),
            parents=("shape_disk",),
            task="T1",
            task_answers=("yes", "no"),
        ),
    ),
)


def draws(n_galaxies=3, n_draws=4, seed=0, tree=SMALL):
    """Return (N, T, A) concentrations that differ between draws."""
    return np.exp(np.random.default_rng(seed).normal(0.7, 1, (n_galaxies, n_draws, tree.n_answers)))


def urn_probability(alpha, sequence):
    """Return the probability that volunteers walk as they did, one by one: each adds to the concentrations."""
    alpha, probability = alpha.copy(), 1.0
    for walk in sequence:
        for question, answer in enumerate(walk):
            if answer is not None:
                answers = SMALL.slices[question]
                probability *= alpha[answers.start + answer] / alpha[answers].sum()
                alpha[answers.start + answer] += 1
    return probability


def outcomes(n):
    """Return every sequence of n walks through the small tree."""
    walks = [(0, None), (1, 0), (1, 1), (2, None)]
    return itertools.product(walks, repeat=n)


def counted(sequence):
    """Return the (A,) votes of walks."""
    counts = np.zeros(SMALL.n_answers, dtype=np.int64)
    for walk in sequence:
        for question, answer in enumerate(walk):
            if answer is not None:
                counts[SMALL.slices[question].start + answer] += 1
    return counts


def test_weights_are_the_posterior_of_the_draws_for_every_outcome_of_three_volunteers():
    """All 64 sequences of three walks, each vote's chance multiplied by hand."""
    alpha = draws(1)
    total = np.zeros(4)
    for sequence in outcomes(3):
        chances = np.array([urn_probability(own, sequence) for own in alpha[0]])
        total += chances
        weights, concentrations = update(SMALL, alpha, counted(sequence)[None])
        np.testing.assert_allclose(weights[0], chances / chances.sum(), rtol=1e-10)
        np.testing.assert_array_equal(concentrations[0], alpha[0] + counted(sequence))
    np.testing.assert_allclose(total, 1)


def test_votes_in_two_parts_are_votes_at_once():
    """The second update of a draw's own Dirichlet, weighted by the first, is the update by the sum."""
    alpha = draws(5, tree=GZ2)
    chances = np.full((10, GZ2.n_answers), 0.3)
    for answers in GZ2.slices:
        chances[:, answers] = 1 / (answers.stop - answers.start)
    counts = walked_counts(GZ2, chances, [f"g{i}" for i in range(10)], volunteers=12, seed=1)
    first, second = counts[:5], counts[5:]
    one = update(GZ2, alpha, first)
    two = update(GZ2, one.concentrations, second)
    both = update(GZ2, alpha, first + second)
    product = one.weights * two.weights
    np.testing.assert_allclose(both.weights, product / product.sum(axis=1, keepdims=True), rtol=1e-9)
    np.testing.assert_allclose(both.concentrations, two.concentrations)


def test_without_votes_the_prior_stays():
    """Equal weights, the concentrations as they were, and the model's array untouched."""
    alpha = draws(tree=GZ2).astype(np.float32)
    before = alpha.copy()
    weights, concentrations = update(GZ2, alpha, np.zeros((3, GZ2.n_answers), dtype=np.int64))
    np.testing.assert_array_equal(weights, 0.25)
    np.testing.assert_array_equal(concentrations, alpha)
    update(GZ2, alpha, np.eye(GZ2.n_answers)[[0, 0, 0]])
    np.testing.assert_array_equal(alpha, before)


def test_tempering_scales_a_question_before_its_votes():
    """A factor of 0.5 on one question is a prior of half its concentrations; votes count in full."""
    alpha, counts = draws(), np.array([[1, 3, 0, 1, 2], [0, 0, 2, 0, 0], [4, 1, 0, 1, 0]])
    scaled = alpha.copy()
    scaled[..., 3:] /= 2
    found, expected = update(SMALL, alpha, counts, temper=np.array([1, 0.5])), update(SMALL, scaled, counts)
    np.testing.assert_allclose(found.weights, expected.weights)
    np.testing.assert_allclose(found.concentrations, expected.concentrations)


def test_weights_survive_votes_that_no_draw_expected():
    """A million votes against concentrations of 1e6: weights stay finite, sum to 1, and favour the nearer draw."""
    alpha = np.array([[[1e6, 1, 1, 1, 1], [1e6, 2, 1, 1, 1]]])
    weights, _ = update(SMALL, alpha, np.array([[0, 1_000_000, 0, 10**6, 0]]))
    assert weights.sum() == pytest.approx(1)
    assert weights[0, 1] > 0.999


@settings(max_examples=40, deadline=None)
@given(
    order=st.permutations(range(4)),
    disks=st.integers(0, 30),
    smooth=st.integers(0, 30),
    barred=st.floats(0, 1),
)
def test_weights_are_chances_whatever_the_order_of_draws(order, disks, smooth, barred):
    """They sum to 1, follow their draws when these are shuffled, and do not depend on the other galaxies."""
    alpha = draws(2)
    bars = round(disks * barred)
    counts = np.array([[smooth, disks, 1, bars, disks - bars], [1, 1, 1, 1, 0]])
    weights, _ = update(SMALL, alpha, counts)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert (weights >= 0).all()
    shuffled, _ = update(SMALL, alpha[:, order], counts)
    np.testing.assert_allclose(shuffled, weights[:, order], rtol=1e-9)
    np.testing.assert_allclose(update(SMALL, alpha[:1], counts[:1]).weights[0], weights[0], rtol=1e-12)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([[1, 0, 0, 1, 0]], "'bar'"),
        ([[-1, 0, 0, 0, 0]], "'shape'"),
        ([[np.nan, 0, 0, 0, 0]], "'shape'"),
        ([[1, 0, 0]], "votes must be numbers"),
        ([[1, 0, 0, 0, 0]] * 2, "votes must be numbers"),
        ([["1", "0", "0", "0", "0"]], "votes must be numbers"),
    ],
)
def test_counts_that_no_walk_gives_are_refused(counts, message):
    """Answers below a parent that nobody chose, negative or missing numbers and other shapes raise BadVotes."""
    with pytest.raises(BadVotes, match=message):
        update(SMALL, draws(1), np.array(counts))


def test_impossible_draws_and_factors_are_refused():
    """Another tree's width, a concentration of zero (its row is named), and factors that are none."""
    counts = np.zeros((3, 5), dtype=np.int64)
    with pytest.raises(BadInput, match="5 answers"):
        update(SMALL, draws()[..., :-1], counts)
    for temper in ([1.0], [1.0, 0.0], [1.0, np.nan], [1.0, np.inf]):
        with pytest.raises(BadInput, match="factors"):
            update(SMALL, draws(), counts, temper=np.array(temper))
    alpha = draws()
    alpha[2, 1, 0] = 0
    with pytest.raises(NumericalFault, match="row 2"):
        update(SMALL, alpha, counts)


def test_the_beta_distribution_function_is_scipys():
    """Shapes from 1e-6 to 5e6, both tails and the ends."""
    rng = np.random.default_rng(0)
    a, b = np.exp(rng.uniform(-14, 15, (2, 400)))
    x = rng.uniform(0, 1, 400)
    near = np.clip(a / (a + b) + rng.normal(size=400) * np.sqrt(a * b / (a + b + 1)) / (a + b), 0, 1)
    for at in (x, near, 0.5, 0.0, 1.0):
        np.testing.assert_allclose(beta_cdf(a, b, at), special.betainc(a, b, at), atol=1e-9)
    np.testing.assert_allclose(log_beta(a, b), special.betaln(a, b), rtol=1e-10, atol=1e-8)


def test_sharper_betas_than_ten_million_are_steps():
    """A precision of 1e15 is widened, not refused; what is not finite is refused."""
    assert beta_cdf(np.array([6e14]), np.array([4e14]), 0.5)[0] < 1e-12
    assert math.isclose(beta_cdf(np.array([5e14]), np.array([5e14]), 0.5)[0], 0.5, abs_tol=1e-8)
    with pytest.raises(NumericalFault):
        beta_cdf(np.array([np.nan]), np.array([1.0]), 0.5)
