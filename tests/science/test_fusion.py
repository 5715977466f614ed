"""Fractions, majorities and tempering of the posterior after votes, against sampling and calibrated worlds."""

import numpy as np
import pytest
from scipy import special

from alservice.errors import BadInput, BadVotes
from alservice.science.fusion import (
    expected_asked,
    fit_temper,
    fraction_moments,
    majority_gain,
    majority_probability,
)
from alservice.science.pmf import beta_cdf
from alservice.science.posterior import Mixture, answer_probabilities, update
from alservice.science.tree import load_tree
from alservice.science.votes import count_walks, walk

TREE = load_tree("gz2")
ROOT, BAR = TREE.slices[0], TREE.slices[TREE.index("bar")]


def mixture(n_galaxies=4, n_draws=5, seed=0):
    """Return galaxies whose draws differ in mean, precision and weight."""
    rng = np.random.default_rng(seed)
    alpha = np.exp(rng.normal(0.5, 1.2, (n_galaxies, n_draws, TREE.n_answers)))
    return Mixture(rng.dirichlet(np.ones(n_draws), n_galaxies), alpha)


def fractions(found, galaxy, answers, n=200_000):
    """Return n fractions drawn from one question of one galaxy's mixture."""
    rng = np.random.default_rng(9)
    component = rng.choice(found.weights.shape[1], size=n, p=found.weights[galaxy])
    gamma = rng.standard_gamma(found.concentrations[galaxy, component, answers])
    return gamma / gamma.sum(axis=1, keepdims=True)


def test_moments_are_those_of_drawn_fractions():
    """Mean and standard deviation hold the spread within the Dirichlets and between them."""
    found = mixture()
    mean, sd = fraction_moments(TREE, found)
    for answers in (ROOT, BAR):
        drawn = fractions(found, 1, answers)
        np.testing.assert_allclose(mean[1, answers], drawn.mean(axis=0), atol=0.004)
        np.testing.assert_allclose(sd[1, answers], drawn.std(axis=0), atol=0.004)


def test_majorities_are_those_of_drawn_fractions():
    """Two answers exactly, three and six within four standard errors of 20,000 samples; each question sums to 1."""
    found = mixture()
    chances = majority_probability(TREE, found, seed=3, samples=20_000)
    arms = TREE.slices[TREE.index("spiral-arm-count")]
    for answers, tolerance in ((BAR, 0.005), (ROOT, 0.015), (arms, 0.015)):
        drawn = fractions(found, 2, answers).argmax(axis=1)
        expected = np.bincount(drawn, minlength=answers.stop - answers.start) / len(drawn)
        np.testing.assert_allclose(chances[2, answers], expected, atol=tolerance)
        np.testing.assert_allclose(chances[:, answers].sum(axis=1), 1)


ODD = TREE.index("something-odd")  # two answers, asked of everyone
ODD_ANSWERS = TREE.slices[ODD]


def enumerated_gain(alpha, further):
    """Return the certainty of one galaxy's majority on a question of two answers, and its rise: all outcomes looked at."""
    a, b = alpha[:, ODD_ANSWERS].T
    first = float(np.mean(special.betaincc(a, b, 0.5)))
    certainty = max(first, 1 - first)
    after = 0.0
    for k in range(further + 1):
        chance = np.exp(special.betaln(a + k, b + further - k) - special.betaln(a, b)) * special.binom(further, k)
        first = np.sum(chance * special.betaincc(a + k, b + further - k, 0.5)) / len(a)
        after += max(first, chance.mean() - first)
    return certainty, after - certainty


@pytest.mark.parametrize("further", [4, 16, 40])
def test_what_further_votes_gain_is_close_to_enumeration(further):
    """Sure and unsure galaxies, sharp and wide draws: a third too low at most where it is not small."""
    rng = np.random.default_rng(5)
    alpha = np.ones((40, 12, TREE.n_answers))
    shares = rng.uniform(0.1, 0.9, (40, 1)) + rng.uniform(-0.1, 0.1, (40, 12))
    sizes = rng.uniform(2, 30, (40, 1))
    alpha[..., ODD_ANSWERS] = np.stack([shares * sizes, (1 - shares) * sizes], axis=-1)
    certainty, expected = np.array([enumerated_gain(each, further) for each in alpha]).T
    given = np.full((40, TREE.n_questions), np.nan)
    given[:, ODD] = certainty
    posterior = Mixture(np.full((40, 12), 1 / 12), alpha)
    found = majority_gain(TREE, posterior, given, np.full((40, 1), further))[:, 0]
    np.testing.assert_allclose(found[:, ODD], expected, rtol=0.35, atol=0.006)
    assert 0.7 < found[:, ODD].sum() / expected.sum() < 1.05
    assert np.corrcoef([found[:, ODD], expected])[0, 1] > 0.99
    assert np.isnan(np.delete(found, ODD, axis=1)).all()
    assert expected.max() > 0.05  # galaxies that have something to gain are among them


def test_a_majority_of_two_is_the_betas_upper_half():
    """The first answer's chance is P(fraction > 1/2), weighted over draws, to rounding."""
    found = mixture()
    alpha = found.concentrations[..., BAR]
    expected = (found.weights * special.betaincc(alpha[..., 0], alpha[..., 1], 0.5)).sum(axis=1)
    np.testing.assert_allclose(majority_probability(TREE, found, seed=0)[:, BAR.start], expected, rtol=1e-9)


def test_answers_that_take_all_or_nothing_win_by_their_share():
    """At concentrations of 1e-4 one answer takes everything: its chance is its mean fraction, not the first's."""
    found = mixture(1, 1)
    found.concentrations[0, 0, ROOT] = [1e-4, 2e-4, 7e-4]
    chances = majority_probability(TREE, found, seed=1, samples=4000)[0, ROOT]
    np.testing.assert_allclose(chances, [0.1, 0.2, 0.7], atol=0.03)


def test_a_draw_without_weight_wins_nothing():
    """Components are drawn by their weights alone."""
    found = mixture(1, 2)
    found.concentrations[0, :, ROOT] = [[100, 1, 1], [1, 1, 100]]
    only = Mixture(np.array([[0.0, 1.0]]), found.concentrations)
    assert majority_probability(TREE, only, seed=1)[0, ROOT][2] > 0.999
    both = Mixture(np.array([[0.25, 0.75]]), found.concentrations)
    np.testing.assert_allclose(majority_probability(TREE, both, seed=1)[0, ROOT], [0.25, 0, 0.75], atol=0.005)


def test_a_galaxys_majorities_do_not_depend_on_the_others_and_follow_the_seed():
    """Alone or among others, all questions or one, the same numbers; another seed differs."""
    found = mixture()
    whole = majority_probability(TREE, found, seed=3)
    alone = majority_probability(TREE, Mixture(found.weights[2:3], found.concentrations[2:3]), seed=3)
    np.testing.assert_array_equal(alone[0], whole[2])
    wanted = np.zeros((4, TREE.n_questions), dtype=bool)
    wanted[2, 0] = True
    one = majority_probability(TREE, found, seed=3, wanted=wanted)
    np.testing.assert_array_equal(one[2, ROOT], whole[2, ROOT])
    assert np.isfinite(one).sum() == 3
    assert (majority_probability(TREE, found, seed=4)[:, ROOT] != whole[:, ROOT]).any()


def test_impossible_majorities_are_refused():
    """No samples, or questions of another shape."""
    with pytest.raises(BadInput, match="samples"):
        majority_probability(TREE, mixture(), seed=0, samples=0)
    with pytest.raises(BadInput, match="questions"):
        majority_probability(TREE, mixture(), seed=0, wanted=np.ones((4, 2), dtype=bool))


def test_the_expected_share_of_askers_is_weighted_over_draws():
    """Everyone is asked the first question; what half the weight sends on is asked of half."""
    found = mixture(1, 2)
    found.concentrations[0, :, ROOT] = [[1e6, 1e-6, 1e-6], [1e-6, 1e6, 1e-6]]
    share = expected_asked(TREE, Mixture(np.array([[0.75, 0.25]]), found.concentrations))
    assert share[0, 0] == 1
    assert share[0, TREE.index("disk-edge-on")] == pytest.approx(0.25, abs=1e-6)


def world(n_galaxies, boast, seed=0):
    """Return what a model says that is `boast` times surer than it should be, true fractions, and walks of 44."""
    rng = np.random.default_rng(seed)
    truth = np.empty((n_galaxies, TREE.n_answers))
    alpha = np.exp(rng.normal(0.5, 0.8, (n_galaxies, 1, TREE.n_answers)))
    alpha = alpha * np.exp(0.1 * rng.normal(size=(n_galaxies, 6, TREE.n_answers)))
    for galaxy in range(n_galaxies):
        for answers in TREE.slices:
            truth[galaxy, answers] = rng.dirichlet(alpha[galaxy, rng.integers(6), answers])
    walks = [walk(TREE, fractions, 44, rng) for fractions in truth]
    return boast * alpha, truth, walks


def coverage(alpha, truth, counts, temper):
    """Return how often the 90 % interval of the fused posterior holds the true fraction of the first answer."""
    weights, concentrations = update(TREE, alpha, counts, temper=temper)
    own, total = concentrations[..., 0], concentrations[..., ROOT].sum(axis=-1)
    below = (weights * beta_cdf(own, total - own, truth[:, None, 0])).sum(axis=1)
    return np.mean((below > 0.05) & (below < 0.95))


def test_tempering_restores_the_coverage_of_a_model_too_sure_of_itself():
    """Ten times too sure: with five votes in, 90 % intervals hold 60 % of the truth or less; tempered, 87 to 93 %.

    The factors come from other galaxies, whose votes are counted in full.
    """
    alpha, _, walks = world(400, boast=10, seed=1)
    temper = fit_temper(TREE, alpha, np.array([count_walks(TREE, w) for w in walks]))
    np.testing.assert_allclose(temper, 0.1, rtol=0.6)
    assert temper[0] == pytest.approx(0.1, rel=0.25)
    alpha, truth, walks = world(1500, boast=10, seed=2)
    first_votes = np.array([count_walks(TREE, w[:5]) for w in walks])
    assert coverage(alpha, truth, first_votes, None) < 0.6
    assert 0.87 < coverage(alpha, truth, first_votes, temper) < 0.93


def test_a_calibrated_model_keeps_its_factor():
    """Near 1 where votes are many, and exactly 1 where a question has none."""
    alpha, _, walks = world(400, boast=1, seed=3)
    counts = np.array([count_walks(TREE, w) for w in walks])
    counts[:, BAR] = 0
    temper = fit_temper(TREE, alpha, counts)
    assert temper[0] == pytest.approx(1, rel=0.25)
    assert temper[TREE.index("bar")] == 1


def test_factors_maximise_the_likelihood_with_its_prior():
    """No factor on a grid is better, for one question's votes and the stated prior of ln of the factor."""
    alpha, _, walks = world(40, boast=4, seed=4)
    counts = np.array([count_walks(TREE, w) for w in walks])
    found = np.log(fit_temper(TREE, alpha, counts)[0])

    def loss(log_factor):
        a, k = alpha[..., ROOT] * np.exp(log_factor), counts[:, None, ROOT]
        total, n = a.sum(axis=-1), k.sum(axis=-1)
        nats = special.gammaln(a + k).sum(-1) - special.gammaln(a).sum(-1)
        nats = nats - special.gammaln(total + n) + special.gammaln(total)
        return log_factor**2 / 2 - special.logsumexp(nats, axis=1, b=1 / 6).sum()

    grid = found + np.array([-0.02, -0.005, 0.0, 0.005, 0.02])
    assert np.argmin([loss(x) for x in grid]) == 2


def test_people_outvote_a_model_that_is_wrong_and_sure():
    """Thirty votes of bar: a model with concentrations of 1e4 against it gives in once tempered."""
    alpha = np.ones((1, 3, TREE.n_answers))
    alpha[..., BAR] = [1, 1e4]
    counts = np.zeros((1, TREE.n_answers), dtype=np.int64)
    for column in ("smooth-or-featured_featured-or-disk", "disk-edge-on_no", "bar_yes"):
        counts[0, TREE.column(column)] = 30
    temper = np.ones(TREE.n_questions)
    stubborn = majority_probability(TREE, update(TREE, alpha, counts), seed=0)[0, BAR.start]
    temper[TREE.index("bar")] = 1e-3
    fused = majority_probability(TREE, update(TREE, alpha, counts, temper=temper), seed=0)[0, BAR.start]
    assert stubborn < 0.01
    assert fused > 0.99


def test_votes_that_no_walk_gives_fit_nothing():
    """Counts are checked as for an update."""
    counts = np.zeros((4, TREE.n_answers), dtype=np.int64)
    counts[1, BAR.start] = 3
    with pytest.raises(BadVotes, match="galaxy 1: question 'bar'"):
        fit_temper(TREE, answer_probabilities(TREE, mixture().concentrations), counts)
