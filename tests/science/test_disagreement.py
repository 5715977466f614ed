"""Labels of model and few votes against labels of all votes: no more apart than calibrated posteriors allow."""

import math

import numpy as np
import pytest

from alservice.errors import BadInput, BadVotes
from alservice.science.disagreement import WHOLE_TREE, label_disagreements
from alservice.science.fusion import dirichlet_draws
from alservice.science.tree import load_tree
from tests.support.miscalibrated import WRONG, calibrated_world

TREE = load_tree("gz2")
BAR = TREE.slices[TREE.index("bar")]


def world(n_galaxies, seed, volunteers=40):
    """Return draws (N, T, A) and counts (N, A) that they describe truly."""
    alpha, _, counts = calibrated_world(TREE, n_galaxies, volunteers=volunteers, seed=seed)
    return alpha, counts


def compare(alpha, counts, seed=0, **rest):
    """Return the figures by question."""
    rng = np.random.default_rng(seed)
    return {figure.question: figure for figure in label_disagreements(TREE, alpha, counts, rng=rng, **rest)}


@pytest.mark.parametrize("first_votes", [0, 3])
def test_a_calibrated_model_disagrees_as_often_as_it_says(first_votes: int) -> None:
    """Over 40 sets of 60 galaxies no question's excess is off zero, though every third label or so differs."""
    found = [compare(*world(60, seed), seed, first_votes=first_votes) for seed in range(40)]
    for name in found[0]:
        own = [each[name] for each in found if name in each]
        excess = np.array([figure.excess for figure in own])
        assert abs(excess.mean()) < 4 * excess.std(ddof=1) / math.sqrt(len(excess)), name
        assert np.mean([figure.observed for figure in own]) > 0.05


def test_false_alarms_are_no_more_than_stated() -> None:
    """Of 100 calibrated sets at most one in five goes beyond chance anywhere when one in five may; none at 1 in 1,000."""
    sets = [world(40, 1000 + seed) for seed in range(100)]
    alarms = [
        any(f.excess > f.chance for f in compare(*each, seed, false_alarms=0.2).values())
        for seed, each in enumerate(sets)
    ]
    assert np.mean(alarms) < 0.2 + 3 * math.sqrt(0.2 * 0.8 / 100)
    strict = [any(f.excess > f.chance for f in compare(*each, seed).values()) for seed, each in enumerate(sets)]
    assert not any(strict)


def test_votes_alone_of_few_people_may_differ_by_chance() -> None:
    """A model that knows the fractions to be near a half is right, and so are the votes that say otherwise."""
    rng = np.random.default_rng(5)
    alpha = np.full((400, 1, TREE.n_answers), 200.0)
    alpha[..., BAR] = 210, 190
    counts = np.zeros((400, TREE.n_answers), dtype=np.int64)
    counts[:, 1] = 12  # featured, face-on
    counts[:, TREE.slices[1].start + 1] = 12
    barred = rng.binomial(12, rng.beta(210, 190, 400))
    counts[:, BAR] = np.stack([barred, 12 - barred], axis=1)
    bar = compare(alpha, counts)["bar"]
    assert bar.observed > 0.3
    assert abs(bar.excess) < bar.chance
    assert bar.galaxies == 400


@pytest.mark.parametrize("name", ["temperature 0.3", "answers permuted", "galaxies permuted"])
def test_a_model_that_is_wrong_and_sure_is_found_in_one_look(name: str) -> None:
    """400 members of the evaluation stream with 40 votes are enough, over the tree and on its first question."""
    alpha, counts = world(400, 7)
    found = compare(WRONG[name](TREE, alpha), counts)
    for question in ("smooth-or-featured", WHOLE_TREE):
        assert found[question].excess > found[question].chance
    assert all(abs(f.excess) < f.chance for f in compare(alpha, counts).values())


@pytest.mark.parametrize("name", ["temperature 3", "precision / 3"])
def test_a_model_that_is_too_modest_does_no_harm(name: str) -> None:
    """It asks for more votes than it needs, and its labels differ less often than it says."""
    alpha, counts = world(400, 7)
    found = compare(WRONG[name](TREE, alpha), counts)
    assert not any(figure.excess > figure.chance for figure in found.values())
    assert found[WHOLE_TREE].excess < 0


def test_a_factor_on_the_model_is_applied_before() -> None:
    """Tempered to what it was, a model that is ten times too sure is calibrated again."""
    alpha, counts = world(300, 11)
    temper = np.full(TREE.n_questions, 0.1)
    assert compare(10 * alpha, counts, temper=temper) == compare(alpha, counts)
    assert compare(10 * alpha, counts)[WHOLE_TREE].excess > 0.02


def test_a_label_is_compared_where_votes_are_enough() -> None:
    """Nobody is compared below the least number; ties of the votes count half, and the bound is Bernstein's."""
    counts = np.zeros((3, TREE.n_answers), dtype=np.int64)
    counts[:, 0] = [9, 10, 0]
    counts[2, :2] = 5, 5
    alpha = np.full((3, 2, TREE.n_answers), 0.01)
    alpha[..., 0] = 1e6  # smooth, for certain
    found = compare(alpha, counts)
    assert set(found) == {"smooth-or-featured", WHOLE_TREE}
    figure = found["smooth-or-featured"]
    assert (figure.galaxies, figure.observed, figure.expected) == (2, 0.25, 0.0)
    assert figure.chance == pytest.approx(2 / 3 * math.log(2 / 1e-3) / 2)
    assert compare(alpha[:1], counts[:1]) == {}


@pytest.mark.parametrize(
    ("error", "rest"),
    [(BadInput, {"first_votes": 10}), (BadInput, {"first_votes": -1}), (BadInput, {"false_alarms": 0.0})],
)
def test_impossible_numbers_are_refused(error, rest) -> None:
    """Later votes must be left, and a share of false alarms be one."""
    with pytest.raises(error, match="cannot compare"):
        compare(*world(2, 0), **rest)


def test_weighted_votes_are_refused() -> None:
    """Which of them were first is not defined."""
    alpha, counts = world(2, 0)
    with pytest.raises(BadVotes, match="whole"):
        compare(alpha, counts * 0.5)


def test_drawn_fractions_are_those_of_the_dirichlet() -> None:
    """Mean and variance, and finite where an answer takes all or nothing."""
    rng = np.random.default_rng(2)
    drawn = dirichlet_draws(np.broadcast_to([2.0, 5.0, 1.0], (40_000, 3)), rng)
    np.testing.assert_allclose(drawn.mean(axis=0), np.array([2, 5, 1]) / 8, atol=0.005)
    np.testing.assert_allclose(drawn.var(axis=0), np.array([2 * 6, 5 * 3, 1 * 7]) / (64 * 9), atol=0.002)
    tiny = dirichlet_draws(np.full((50, 3), 1e-5), rng)
    np.testing.assert_allclose(tiny.sum(axis=1), 1)
    assert np.isfinite(tiny).all()
