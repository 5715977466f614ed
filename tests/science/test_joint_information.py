"""The joint information of all questions' votes against simulated walks, and what any information obeys."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from alservice.errors import BadInput, BadVotes, NumericalFault
from alservice.science.information import (
    dirichlet_multinomial_mutual_information,
    joint_information,
    joint_information_bounds,
    score_note,
    simulated_joint_information,
)
from alservice.science.pmf import compositions, log_factorials
from alservice.science.tree import Question, Tree, load_tree
from tests.support.posteriors import network_posterior

TREE = load_tree("gz2")
PAIR = Tree(
    name="pair",
    questions=tuple(
        Question(
            name=name,
            text=name,
            answers=("yes", "no"),
            labels=("Yes", "No"),
            parents=(),
            task=task,
            task_answers=("yes", "no"),
        )
        for name, task in (("ring", "T0"), ("bar", "T1"))
    ),
)


def posterior(n_galaxies, **rest):
    """Return (N, T, A) draws for the whole tree, as networks give them."""
    return network_posterior(TREE, n_galaxies, **rest)


@pytest.mark.parametrize("votes", [1, 5, 40])
def test_the_estimate_is_within_five_per_cent_of_simulated_walks(votes):
    """Fixed seeds: means over galaxies agree within 4 %, galaxies within 5 % on average, and in their order."""
    draws = posterior(30)
    found = joint_information(TREE, draws, votes)
    simulated = simulated_joint_information(TREE, draws, votes, seed=1, samples=1800)
    assert found.mean() == pytest.approx(simulated.mean(), rel=0.04)
    assert np.abs(found - simulated).mean() < 0.05 * simulated.mean()
    assert stats.spearmanr(found, simulated).statistic > 0.98


def test_bounds_hold_the_simulated_truth():
    """Every galaxy's simulated information lies between its bounds, but for the error of 1,800 samples."""
    draws = posterior(30)
    lower, upper = joint_information_bounds(TREE, draws, 20.0)
    simulated = simulated_joint_information(TREE, draws, 20, seed=2, samples=1800)
    assert (lower < simulated + 0.05).all()
    assert (simulated < upper + 0.05).all()


def test_simulation_agrees_with_enumeration():
    """One question alone: the walks' estimate is that of every outcome counted, within 4.5 standard errors."""
    rng = np.random.default_rng(3)
    alpha = np.exp(rng.normal(1, 1, (4, 6, 4)))
    alpha[..., 2:] = 5  # the other question tells nothing
    exact = dirichlet_multinomial_mutual_information(alpha[..., :2], 7)
    runs = np.array([simulated_joint_information(PAIR, alpha, 7, seed=s, samples=120) for s in range(20)])
    standard_error = runs.std(axis=0, ddof=1) / np.sqrt(len(runs))
    assert (np.abs(runs.mean(axis=0) - exact) < 4.5 * standard_error + 1e-3).all()
    assert (simulated_joint_information(PAIR, alpha, 0, seed=0) == 0).all()


@pytest.mark.parametrize("votes", [1, 2, 3])
def test_few_votes_are_told_apart_as_their_probabilities_say(votes):
    """Up to three votes on questions that everyone is asked: distances of enumerated votes, pair by pair."""
    alpha = np.exp(np.random.default_rng(4).normal(0, 1.2, (1, 3, 4)))
    weights = np.array([1.0, 0.4])
    distance = np.zeros((3, 3))
    states = compositions(votes, 2)
    for weight, answers in zip(weights, PAIR.slices, strict=True):
        log_p = np.array([_log_pmf(draw, states) for draw in alpha[0, :, answers]])
        for t, s in np.ndindex(3, 3):
            distance[t, s] += weight * ((np.exp(log_p[t]) - np.exp(log_p[s])) * (log_p[t] - log_p[s])).sum()
    expected = [-np.log(np.exp(-distance / part).mean(axis=1)).mean() for part in (8, 2)]
    found = joint_information_bounds(PAIR, alpha, float(votes), question_weights=weights)
    np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-5 if votes == 1 else 0.01)
    assert joint_information(PAIR, alpha, float(votes), question_weights=weights)[0] == pytest.approx(
        np.sqrt(found[0][0] * found[1][0])
    )


@pytest.mark.parametrize("precision", [0.3, 3.0, 30.0])
def test_many_votes_are_told_apart_within_15_per_cent(precision):
    """Forty votes, concentrations below and above 1: as the distances of enumerated votes say."""
    rng = np.random.default_rng(7)
    share = 1 / (1 + np.exp(-rng.normal(-0.5, 0.8, (30, 1))))
    alpha = precision * np.exp(0.3 * rng.normal(size=(30, 1))) * np.concatenate([share, 1 - share], axis=1)
    log_p = np.array([_log_pmf(draw, compositions(40, 2)) for draw in alpha])
    p = np.exp(log_p)
    distance = ((p[:, None] - p) * (log_p[:, None] - log_p)).sum(axis=-1)
    draws = np.concatenate([alpha, np.ones((30, 2))], axis=1)[None]
    for part, found in zip((8, 2), joint_information_bounds(PAIR, draws, 40.0), strict=True):
        expected = -np.log(np.exp(-distance / part).mean(axis=1)).mean()
        assert found[0] == pytest.approx(expected, rel=0.15)


def test_questions_count_by_the_votes_that_reach_them():
    """A question that nobody is asked tells nothing; one that half are asked tells what half the votes would."""
    draws = np.repeat(posterior(1, n_draws=1), 2, axis=1).astype(np.float64)
    bar = TREE.slices[TREE.index("bar")]
    draws[0, :, bar] = [[2, 30], [30, 2]]
    for parent in ("smooth-or-featured", "disk-edge-on"):
        draws[..., TREE.slices[TREE.index(parent)]] = 1e-9
    draws[..., TREE.column("disk-edge-on_no")] = 1e6
    draws[..., TREE.column("smooth-or-featured_smooth")] = 1e6
    assert joint_information(TREE, draws, 20.0)[0] < 1e-6
    draws[..., TREE.column("smooth-or-featured_featured-or-disk")] = 1e6
    half = joint_information(TREE, draws, 20.0)[0]
    draws[..., TREE.column("smooth-or-featured_smooth")] = 1e-9
    assert joint_information(TREE, draws, 10.0)[0] == pytest.approx(half, rel=0.02)
    assert half > 0.1


def grid(first, second):
    """Return draws of two questions that share nothing: every draw of one with every draw of the other."""
    a, b = np.repeat(first, len(second), axis=0), np.tile(second, (len(first), 1))
    return np.concatenate([a, b], axis=1)[None]


def test_independent_questions_add_up():
    """Bounds add exactly; their geometric mean is at least the sum and at most a little more."""
    rng = np.random.default_rng(5)
    first, second = (np.exp(rng.normal(1, 1, (k, 2))) for k in (3, 4))
    both = grid(first, second)
    bounds = np.array(joint_information_bounds(PAIR, both, 12.0))
    parts = [joint_information_bounds(PAIR, both, 12.0, question_weights=np.eye(2)[q]) for q in range(2)]
    np.testing.assert_allclose(bounds, np.sum(parts, axis=0), rtol=1e-5)
    alone = sum(np.sqrt(lower * upper) for lower, upper in parts)
    assert alone[0] * (1 - 1e-5) <= joint_information(PAIR, both, 12.0)[0] <= 1.05 * alone[0]


def test_what_one_question_told_the_next_cannot_tell_again():
    """Two questions that always vary together never tell more than ln T, where each alone tells nearly that."""
    draws = np.array([[[900, 100, 900, 100], [100, 900, 100, 900]]], dtype=np.float64)
    alone = joint_information(PAIR, draws, 100.0, question_weights=np.array([1.0, 0.0]))[0]
    together = joint_information(PAIR, draws, 100.0)[0]
    assert 0.95 * np.log(2) < alone <= together + 1e-9
    assert together <= np.log(2)


def test_draws_that_agree_teach_nothing():
    """Whatever a posterior's noise and precision, votes cannot tell equal draws apart."""
    draws = np.repeat(posterior(5, n_draws=1), 30, axis=1)
    assert (joint_information(TREE, draws, 1e6) < 1e-9).all()
    assert (joint_information(TREE, draws[:, :1], 40.0) == 0).all()


def test_small_differences_are_not_lost_in_rounding():
    """Information falls with the square of the draws' spread, down to 1e-4 of a logit."""
    logits = np.log(posterior(3, n_draws=10).astype(np.float64))
    centre = logits.mean(axis=1, keepdims=True)
    base = joint_information(TREE, np.exp(centre + 1e-2 * (logits - centre)), 10.0)
    tiny = joint_information(TREE, np.exp(centre + 1e-4 * (logits - centre)), 10.0)
    np.testing.assert_allclose(tiny, base * 1e-4, rtol=0.02)


@settings(max_examples=40, deadline=None)
@given(
    alpha=st.lists(
        st.lists(st.floats(1e-8, 1e8), min_size=4, max_size=4).filter(lambda row: sum(row) > 0), min_size=1, max_size=6
    ),
    votes=st.floats(0, 1e6),
)
def test_information_stays_within_its_bounds(alpha, votes):
    """Any concentrations and votes: 0 <= lower <= estimate <= upper <= ln T."""
    draws = np.array([alpha])
    lower, upper = joint_information_bounds(PAIR, draws, votes)
    found = joint_information(PAIR, draws, votes)
    assert 0 <= lower[0] <= found[0] * (1 + 1e-9) + 1e-8
    assert found[0] <= upper[0] <= np.log(len(alpha))


@pytest.mark.parametrize("seed", [0, 1])
def test_more_votes_never_tell_less(seed):
    """From a tenth of a vote to three hundred, whole or not, galaxy by galaxy."""
    draws = posterior(40, seed=seed)
    numbers = [0.1, 0.7, 1, 1.1, 1.9, 2, 2.2, 3, 3.4, 4, 5, 6, 8, 10, 14, 20, 28, 40, 60, 100, 300]
    found = np.array([joint_information(TREE, draws, n) for n in numbers])
    assert (np.diff(found, axis=0) > 0).all()


@pytest.mark.parametrize("alpha", [1e-300, 1e-20, 1e20, 1e300])
def test_concentrations_without_end_are_scored(alpha):
    """However soft or sharp one draw is, and however many the votes: finite, and within the draws' bound."""
    draws = np.ones((1, 3, 4))
    draws[0, 1, 0] = alpha
    for votes in (0.5, 40.0, 1e9, 1e30):
        assert 0 < joint_information(PAIR, draws, votes)[0] <= np.log(3)


def test_the_order_of_draws_and_the_company_of_galaxies_do_not_count():
    """Shuffled draws and any shard give the same scores."""
    draws = posterior(70)
    votes = np.linspace(0, 40, 70)
    whole = joint_information(TREE, draws, votes)
    shuffled = draws[:, np.random.default_rng(1).permutation(30)]
    np.testing.assert_allclose(joint_information(TREE, shuffled, votes), whole, rtol=1e-4)
    alone = [joint_information(TREE, draws[i : i + 1], votes[i])[0] for i in range(70)]
    np.testing.assert_allclose(whole, alone, rtol=1e-5)
    assert whole[0] == 0
    assert joint_information(TREE, draws[:0], 40.0).shape == (0,)


def test_a_draw_counts_by_its_weight():
    """Two copies of a draw are one of twice the weight, and a draw without weight is no draw."""
    draws = posterior(4, n_draws=3)
    copied = joint_information(TREE, draws[:, [0, 1, 1, 2]], 15.0)
    weighted = joint_information(TREE, draws, 15.0, draw_weights=np.tile([0.25, 0.5, 0.25], (4, 1)))
    np.testing.assert_allclose(weighted, copied, rtol=1e-4)
    dropped = joint_information(TREE, draws, 15.0, draw_weights=np.tile([0.5, 0.5, 0.0], (4, 1)))
    np.testing.assert_allclose(dropped, joint_information(TREE, draws[:, :2], 15.0), rtol=1e-4)


@pytest.mark.parametrize("weights", [[[1.0, 1.0]], [[1.5, -0.5]], [[np.nan, 1.0]], [[1.0]]])
def test_impossible_chances_of_draws_are_refused(weights):
    """They must be (N, T) and sum to 1."""
    with pytest.raises(BadInput, match="draws need weights"):
        joint_information(PAIR, np.ones((1, 2, 4)), 3.0, draw_weights=np.array(weights))


def test_enumerated_votes_of_two_questions_are_met_by_simulation():
    """Both questions at once, every outcome counted: the joint truth, within 4.5 standard errors."""
    alpha = np.exp(np.random.default_rng(6).normal(0.5, 1, (1, 4, 4)))
    states = compositions(4, 2)
    log_p = np.zeros((4, len(states), len(states)))
    for draw in range(4):
        a, b = (_log_pmf(alpha[0, draw, answers], states) for answers in PAIR.slices)
        log_p[draw] = a[:, None] + b
    p = np.exp(log_p)
    exact = (p * (log_p - np.log(p.mean(axis=0)))).sum(axis=(1, 2)).mean()
    runs = np.array([simulated_joint_information(PAIR, alpha, 4, seed=s, samples=400)[0] for s in range(20)])
    assert abs(runs.mean() - exact) < 4.5 * runs.std(ddof=1) / np.sqrt(len(runs))
    lower, upper = joint_information_bounds(PAIR, alpha, 4.0)
    assert lower[0] < exact < upper[0]


def _log_pmf(alpha, states):
    total, n = alpha.sum(), states[0].sum()
    terms = [
        sum(np.log(alpha[j] + i) for j, k in enumerate(state) for i in range(k)) - log_factorials(n)[state].sum()
        for state in states
    ]
    return np.array(terms) + log_factorials(n)[n] - sum(np.log(total + i) for i in range(n))


def test_the_note_beside_scores_names_their_bound():
    """What people read on pages is the most that so many draws can hold."""
    assert "at most ln 2 = 0.69, the most that 2 draws can hold" in score_note(2)
    assert "at most ln 30 = 3.40" in score_note(30)


@pytest.mark.parametrize("votes", [-1.0, np.nan, np.inf, np.array([1.0])])
def test_impossible_votes_are_refused(votes):
    """Expected votes must be one number or one per galaxy, finite and not negative."""
    with pytest.raises(BadVotes):
        joint_information(TREE, posterior(2), votes)


def test_simulated_votes_are_whole():
    """Nobody gives half a classification."""
    with pytest.raises(BadVotes, match="integer"):
        simulated_joint_information(TREE, posterior(1), 2.5, seed=0)


def test_impossible_draws_and_weights_are_refused():
    """Another tree's width, a concentration of zero (its row is named) and a negative weight raise."""
    draws = posterior(3)
    with pytest.raises(BadInput, match="37 answers"):
        joint_information(TREE, draws[..., :-1], 40)
    with pytest.raises(BadInput, match="37 answers"):
        simulated_joint_information(TREE, draws[..., :-1], 40, seed=0)
    with pytest.raises(BadInput, match="weights"):
        joint_information(TREE, draws, 40, question_weights=-np.ones(TREE.n_questions))
    draws[1, 0, 0] = 0
    with pytest.raises(NumericalFault, match="row 1"):
        joint_information(TREE, draws, 40)
