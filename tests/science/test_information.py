"""Information scores against brute-force enumeration, and the properties they must have."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from alservice.errors import BadInput, BadVotes, NumericalFault
from alservice.science import information as acquisition
from alservice.science.information import (
    binomial_mutual_information,
    dirichlet_multinomial_mutual_information,
    fast_binomial_mutual_information,
    threshold_probability,
)
from alservice.science.pmf import MAX_ERROR_NATS, binomial_pmf, entropy
from alservice.science.posterior import score_by_votes

EXTREMES = [0.0, 1e-12, 1e-6, 1e-3, 0.3, 0.5, 0.7, 1 - 1e-3, 1 - 1e-12, 1.0]


def information(pmfs):
    """Return H[<p>] - <H[p]> of one galaxy's (T, states) probabilities, summed in plain Python."""

    def entropy(p):
        return -math.fsum(x * math.log(x) for x in p if x > 0)

    return entropy(np.mean(pmfs, axis=0)) - math.fsum(map(entropy, pmfs)) / len(pmfs)


def binomial_reference(rho, n):
    """Return eq. 24 for one galaxy's draws."""
    return information(stats.binom.pmf(np.arange(n + 1), n, np.asarray(rho, dtype=float)[:, None]))


def dirichlet_reference(alpha, n):
    """Return the mutual information for one galaxy's (T, A) concentrations, over every outcome."""
    outcomes = [k for k in itertools.product(range(n + 1), repeat=alpha.shape[1]) if sum(k) == n]
    return information([[stats.dirichlet_multinomial.pmf(k, a, n) for k in outcomes] for a in alpha])


def draws(n_galaxies, n_draws=30, seed=0):
    """Return rho draws from certain to undecided, narrow to wide, with ends and duplicates among them."""
    rng = np.random.default_rng(seed)
    mean = rng.beta(0.5, 0.5, (n_galaxies, 1))
    precision = np.exp(rng.uniform(-1, 9, (n_galaxies, 1)))
    rho = rng.beta(mean * precision + 1e-3, (1 - mean) * precision + 1e-3, (n_galaxies, n_draws))
    far_apart = np.where(rng.random(rho.shape) < rng.random(mean.shape), mean, rng.random(mean.shape))
    near_zero = 10 ** rng.uniform(-8, 0, rho.shape)
    return np.concatenate([rho, far_apart, near_zero, 1 - near_zero, np.broadcast_to(mean, rho.shape)])


def concentrations(n_galaxies, n_draws, n_answers, seed=0, spread=1.0):
    """Return concentrations whose means differ between draws by `spread` in logit."""
    rng = np.random.default_rng(seed)
    centre = rng.dirichlet(np.ones(n_answers), (n_galaxies, 1))
    mean = centre * np.exp(spread * rng.normal(size=(n_galaxies, n_draws, n_answers)))
    precision = np.exp(rng.normal(3, 1, (n_galaxies, 1, 1)))
    return precision * mean / mean.sum(axis=-1, keepdims=True) + 0.01


@pytest.mark.parametrize("n", [0, 1, 40, 1000])
@pytest.mark.parametrize("score", [binomial_mutual_information, fast_binomial_mutual_information])
def test_binomial_information_equals_enumeration_at_extremes(score, n):
    """Every pair of extreme draws, and all together, give eq. 24; the fast path within its stated bound."""
    pairs = np.array([*itertools.product(EXTREMES, repeat=2)])
    together = np.array([EXTREMES])
    tolerance = 1e-10 if score is binomial_mutual_information else MAX_ERROR_NATS
    for rho in (pairs, together):
        expected = [binomial_reference(row, n) for row in rho]
        np.testing.assert_allclose(score(rho, n), expected, atol=tolerance)


def test_small_information_is_not_lost_in_rounding():
    """Draws 1e-12 apart at the end teach 1e-11 nats, not 0 and not noise."""
    rho = np.array([[0.0, 1e-12]])
    expected = math.log(2) * 40e-12 / 2
    assert binomial_mutual_information(rho, 40)[0] == pytest.approx(expected, rel=1e-3)


def test_two_certain_draws_that_disagree_teach_one_bit():
    """Rho = 0 and rho = 1 are told apart by any number of votes: ln 2."""
    scores = binomial_mutual_information(np.array([[0.0, 1.0]] * 3), np.array([1, 40, 1000]))
    np.testing.assert_allclose(scores, math.log(2), rtol=1e-14)


@pytest.mark.parametrize("n", [1, 3, 12, 40, 150, 1000])
def test_fast_information_keeps_its_bound(n):
    """On draws of all kinds the table's error stays below the stated 1e-3 nats."""
    rho = draws(150 if n <= 150 else 20, seed=n)
    difference = fast_binomial_mutual_information(rho, n) - binomial_mutual_information(rho, n)
    assert np.abs(difference).max() < MAX_ERROR_NATS


def test_votes_may_differ_between_galaxies():
    """Each galaxy is scored with its own number of votes; none gives exactly 0."""
    rho = draws(20)
    votes = np.random.default_rng(1).integers(0, 6, len(rho)) * 20
    scores = binomial_mutual_information(rho, votes)
    alone = [binomial_mutual_information(rho[i : i + 1], int(n))[0] for i, n in enumerate(votes)]
    np.testing.assert_allclose(scores, alone, atol=1e-13)
    assert (scores[votes == 0] == 0).all()
    np.testing.assert_allclose(fast_binomial_mutual_information(rho, votes), scores, atol=MAX_ERROR_NATS)


@given(
    rho=st.lists(st.floats(0, 1), min_size=1, max_size=8),
    n=st.integers(0, 60),
    seed=st.integers(0, 1000),
)
def test_binomial_information_properties(rho, n, seed):
    """It is within 0..min(ln T, predictive entropy), and blind to the order of draws and to swapping the answers."""
    row = np.array([rho])
    score = binomial_mutual_information(row, n)[0]
    assert 0 <= score <= math.log(len(rho)) + 1e-12
    assert score <= entropy(binomial_pmf(row, n).mean(axis=1))[0] + 1e-12
    shuffled = np.random.default_rng(seed).permutation(row, axis=1)
    assert binomial_mutual_information(shuffled, n)[0] == pytest.approx(score, abs=1e-11)
    assert binomial_mutual_information(1 - row, n)[0] == pytest.approx(score, abs=1e-9)


def test_binomial_information_grows_with_votes_by_less_and_less():
    """I(N) is concave in N: the first vote teaches most."""
    rho = draws(10)
    gains = np.diff([binomial_mutual_information(rho, n) for n in range(12)], axis=0)
    assert (gains > -1e-12).all()
    assert (np.diff(gains, axis=0) < 1e-12).all()


def test_scores_do_not_depend_on_neighbours_or_shards():
    """A galaxy scores the same in the whole pool, reversed, and alone, whatever the chunk it falls in."""
    rho = draws(400)
    whole = binomial_mutual_information(rho, 40)
    np.testing.assert_array_equal(whole[::-1], binomial_mutual_information(rho[::-1], 40))
    fast = fast_binomial_mutual_information(rho, 40)
    shards = [fast_binomial_mutual_information(part, 40) for part in np.array_split(rho, 7)]
    np.testing.assert_allclose(np.concatenate(shards), fast, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e-9, 1 + 1e-9])
@pytest.mark.parametrize("score", [binomial_mutual_information, fast_binomial_mutual_information])
def test_impossible_draws_name_their_rows(score, value):
    """A draw that is no probability raises with its rows; it is not scored around."""
    rho = np.full((6, 3), 0.5)
    rho[2, 1] = rho[4, 0] = value
    with pytest.raises(NumericalFault, match="rho of row 2 is impossible, and rows 4 ") as caught:
        score(rho, 40)
    assert caught.value.evidence["rows"] == [2, 4]


@pytest.mark.parametrize(
    "votes", [-1, 2.0, 10**9, 10**30, [[1], [2, 3]], np.array([1, 2]), np.array([1, 2, -3]), np.full((3, 1), 4)]
)
@pytest.mark.parametrize("score", [binomial_mutual_information, fast_binomial_mutual_information])
def test_impossible_votes_are_refused(score, votes):
    """Negative, fractional, ragged or misshapen votes raise, and so do more than any memory holds."""
    with pytest.raises(BadVotes):
        score(np.full((3, 2), 0.5), votes)


@pytest.mark.parametrize("values", [[["a", "b"]], [[0.5], [0.2, 0.3]], [[0.5, 0.5j]], [[0.5, None]]])
def test_what_is_no_number_is_refused_by_name(values):
    """Text, ragged rows, complex numbers and holes raise, and the message says which argument they are."""
    with pytest.raises(BadInput, match="rho"):
        binomial_mutual_information(values, 4)
    with pytest.raises(BadInput, match="concentrations"):
        dirichlet_multinomial_mutual_information([values], 4)
    with pytest.raises(BadInput, match="concentrations"):
        threshold_probability([values], 0)


def test_beyond_the_table_the_fast_score_is_the_exact_one():
    """A table of many votes would fill gigabytes, and its error is not bounded there."""
    rho = np.random.default_rng(3).random((3, 4))
    exact = binomial_mutual_information(rho, 20_000)
    np.testing.assert_array_equal(fast_binomial_mutual_information(rho, 20_000), exact)


@pytest.mark.parametrize("shape", [(5,), (5, 0), (2, 3, 4)])
def test_misshapen_draws_are_refused(shape):
    """Draws must be (galaxies, draws)."""
    with pytest.raises(BadInput):
        binomial_mutual_information(np.full(shape, 0.5), 4)


@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf])
def test_an_impossible_score_raises_by_name(value):
    """A score that is negative beyond rounding or not finite raises; rounding is reported as 0."""
    with pytest.raises(NumericalFault, match="score of row 1"):
        score_by_votes(np.array([1, 1]), lambda rows, n: np.array([0.2, value]), tolerance=1e-8)
    assert score_by_votes(np.array([1]), lambda rows, n: np.array([-1e-9]), tolerance=1e-8)[0] == 0


def test_no_galaxies_give_no_scores():
    """An empty shard is scored, by its empty list of votes too."""
    assert binomial_mutual_information(np.empty((0, 3)), []).shape == (0,)
    assert binomial_mutual_information(np.empty((0, 30)), 40).shape == (0,)
    assert fast_binomial_mutual_information(np.empty((0, 30)), 40).shape == (0,)
    assert dirichlet_multinomial_mutual_information(np.empty((0, 30, 3)), 40).shape == (0,)


@pytest.mark.parametrize(("n_answers", "n"), [(2, 11), (3, 6), (4, 4)])
def test_dirichlet_information_equals_enumeration(n_answers, n):
    """While outcomes are few, the score is the sum over all of them."""
    alpha = concentrations(8, 5, n_answers)
    expected = [dirichlet_reference(galaxy, n) for galaxy in alpha]
    np.testing.assert_allclose(dirichlet_multinomial_mutual_information(alpha, n), expected, atol=1e-10)


@pytest.mark.parametrize("n", [0, 1, 40, 1000])
def test_two_answers_equal_the_beta_binomial_at_extremes(n):
    """Concentrations from 1e-6 to 1e6, galaxies with unequal votes among them, against scipy's pmf."""
    extremes = [1e-6, 0.3, 5.0, 1e6]
    alpha = np.array([[[a, b], [b, a], [a, 1.0]] for a, b in itertools.product(extremes, repeat=2)])
    votes = np.full(len(alpha), n)
    votes[::3] = 7
    k = [np.arange(v + 1) for v in votes]
    expected = [
        information([stats.betabinom.pmf(k[i], votes[i], *draw) for draw in galaxy]) for i, galaxy in enumerate(alpha)
    ]
    np.testing.assert_allclose(dirichlet_multinomial_mutual_information(alpha, votes), expected, atol=1e-7)


def test_sharp_dirichlet_draws_score_as_binomials():
    """At concentrations of 1e9 two answers are a binomial."""
    rho = draws(6, n_draws=5)[:, :, None].clip(0.01, 0.99)
    alpha = 1e9 * np.concatenate([rho, 1 - rho], axis=2)
    np.testing.assert_allclose(
        dirichlet_multinomial_mutual_information(alpha, 40), binomial_mutual_information(rho[..., 0], 40), atol=1e-6
    )


def test_draws_of_equal_mean_but_other_precision_need_two_votes():
    """One vote cannot tell two precisions apart, two can: I is not concave here."""
    alpha = np.array([[[0.2, 0.2], [50.0, 50.0]]])
    assert dirichlet_multinomial_mutual_information(alpha, 1)[0] == pytest.approx(0, abs=1e-12)
    assert dirichlet_multinomial_mutual_information(alpha, 2)[0] > 0.05


def test_simulated_information_agrees_with_enumeration():
    """Over many seeds simulation is unbiased, and one seed's error is what the docstring says."""
    alpha = concentrations(12, 30, 3)
    exact = dirichlet_multinomial_mutual_information(alpha, 20)
    runs = np.array(
        [dirichlet_multinomial_mutual_information(alpha, 20, seed=seed, max_states=0) for seed in range(40)]
    )
    error = runs - exact
    assert exact.mean() > 0.4
    assert np.sqrt((error**2).mean()) < 0.035
    standard_error = runs.std(axis=0, ddof=1) / math.sqrt(len(runs))
    assert (np.abs(error.mean(axis=0)) < 4.5 * standard_error).all()


def test_simulated_information_of_one_vote_more_has_nearly_the_same_error():
    """Errors at n and n + 1 cancel in their difference, which interpolation and marginal gains rest on."""
    alpha = concentrations(12, 30, 3)

    def error(n, seed):
        simulated = dirichlet_multinomial_mutual_information(alpha, n, seed=seed, max_states=0)
        return simulated - dirichlet_multinomial_mutual_information(alpha, n)

    steps = np.array([error(21, seed) - error(20, seed) for seed in range(10)])
    levels = np.array([error(20, seed) for seed in range(10)])
    assert steps.std() < 0.5 * levels.std()


def test_simulated_information_survives_enormous_concentrations():
    """Beyond 2^53 a vote no longer changes a concentration; it is counted all the same."""
    alpha = 1e20 * np.array([[[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]])
    exact = dirichlet_multinomial_mutual_information(alpha, 10)
    np.testing.assert_allclose(
        dirichlet_multinomial_mutual_information(alpha, 10, max_states=0, samples=20_000), exact, atol=0.01
    )


def test_simulated_information_is_exact_where_nothing_is_random():
    """Equal draws teach nothing; draws that exclude each other teach ln T: no sampling error in either."""
    same = np.broadcast_to(np.array([2.0, 1.0, 4.0, 3.0]), (1, 30, 4))
    assert dirichlet_multinomial_mutual_information(same, 40, max_states=0)[0] < 1e-12
    apart = 1e6 * np.eye(3)[None] + 1e-6
    score = dirichlet_multinomial_mutual_information(apart, 40, max_states=0)[0]
    assert score == pytest.approx(math.log(3), abs=1e-6)


def test_simulated_information_does_not_depend_on_the_shard():
    """Neighbours with more votes do not change a galaxy's random numbers; another seed does."""
    alpha = concentrations(10, 6, 6)
    votes = np.arange(10) * 4
    whole = dirichlet_multinomial_mutual_information(alpha, votes, seed=3)
    parts = [dirichlet_multinomial_mutual_information(alpha[i : i + 1], int(n), seed=3) for i, n in enumerate(votes)]
    np.testing.assert_allclose(whole, np.concatenate(parts), atol=1e-12)
    other = dirichlet_multinomial_mutual_information(alpha, votes, seed=4)
    assert not np.allclose(whole[-1], other[-1], atol=1e-6)


@given(seed=st.integers(0, 10_000), n=st.integers(0, 8), n_answers=st.integers(2, 4))
def test_dirichlet_information_properties(seed, n, n_answers):
    """It is within 0..ln T and blind to the order of draws and of answers."""
    alpha = concentrations(2, 4, n_answers, seed=seed)
    score = dirichlet_multinomial_mutual_information(alpha, n)
    assert ((score >= 0) & (score <= math.log(4) + 1e-12)).all()
    assert n > 0 or (score == 0).all()
    rng = np.random.default_rng(seed)
    for axis in (1, 2):
        shuffled = rng.permutation(alpha, axis=axis)
        np.testing.assert_allclose(dirichlet_multinomial_mutual_information(shuffled, n), score, atol=1e-10)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_impossible_concentrations_name_their_rows(value):
    """A concentration that is not finite and positive raises with its row."""
    alpha = np.ones((4, 3, 2))
    alpha[3, 0, 1] = value
    with pytest.raises(NumericalFault, match="row 3"):
        dirichlet_multinomial_mutual_information(alpha, 2)
    with pytest.raises(NumericalFault, match="row 3"):
        threshold_probability(alpha, 0)


def test_a_question_needs_two_answers():
    """One answer is not a question."""
    with pytest.raises(BadInput):
        dirichlet_multinomial_mutual_information(np.ones((4, 3, 1)), 2)


def test_threshold_probability_is_the_mixtures_tail():
    """It is the mean over draws of each Beta's probability above the threshold."""
    alpha = concentrations(20, 6, 3)
    rest = alpha.sum(axis=-1) - alpha[..., 1]
    expected = stats.beta.sf(0.2, alpha[..., 1], rest).mean(axis=1)
    np.testing.assert_allclose(threshold_probability(alpha, 1), expected, atol=1e-3)


@pytest.mark.parametrize("threshold", [0.0, 1.0, np.nan])
def test_a_threshold_must_be_inside_the_unit_interval(threshold):
    """A threshold that no fraction can straddle is refused."""
    with pytest.raises(BadInput):
        threshold_probability(np.ones((1, 1, 2)), 0, threshold=threshold)


def test_scores_are_offered_by_their_public_names():
    """The names that users rely on exist, in one module."""
    names = (
        "binomial_mutual_information",
        "dirichlet_multinomial_mutual_information",
        "fast_binomial_mutual_information",
        "joint_information",
        "simulated_joint_information",
        "threshold_probability",
    )
    assert all(callable(getattr(acquisition, name)) for name in names)


def test_as_many_states_as_allowed_are_enumerated():
    """At the limit the score is exact: it does not depend on the seed of a simulation."""
    alpha = concentrations(3, 4, 2)
    at_limit = [dirichlet_multinomial_mutual_information(alpha, 6, max_states=7, samples=4, seed=s) for s in (0, 1)]
    np.testing.assert_array_equal(*at_limit)
    below = [dirichlet_multinomial_mutual_information(alpha, 6, max_states=6, samples=4, seed=s) for s in (0, 1)]
    assert (below[0] != below[1]).any()
