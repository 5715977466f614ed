"""Policies by name, and the score that looks at the survey instead of the weights."""

import itertools
import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alservice.acquisition.policies import RULES, classification_entropy, easy_galaxies, policy_scores
from alservice.campaigns.policies import PolicyName
from alservice.errors import BadInput, NumericalFault
from alservice.science.information import (
    dirichlet_multinomial_mutual_information,
    joint_information,
    threshold_probability,
    tree_predictive_information,
)
from alservice.science.posterior import answer_probabilities
from alservice.science.tree import load_tree

TREE = load_tree("gz2")
ONES = np.ones(TREE.n_questions)
FEATURED = "smooth-or-featured_featured-or-disk"


def concentrations(n_galaxies, n_draws=6, seed=0, spread=0.7):
    """Return float32 (N, T, A) concentrations that differ between draws."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(n_galaxies, 1, TREE.n_answers))
    return np.exp(1 + centre + spread * rng.normal(size=(n_galaxies, n_draws, TREE.n_answers))).astype(np.float32)


def scores(policy, draws, target=None):
    """Return a policy's scores with plain settings."""
    return policy_scores(policy, TREE, draws, votes=20, weights=ONES, answer=FEATURED, target=target)


def epig_reference(draws, target):
    """Return EPIG by its definition, with loops over every pair of galaxies, draws and answers."""
    p, p_star = (answer_probabilities(TREE, x.astype(np.float64)) for x in (draws, target))
    asked, asked_star = (TREE.asked_probability(x).mean(axis=1) for x in (p, p_star))
    result = np.zeros(len(p))
    for i, m in itertools.product(range(len(p)), range(len(p_star))):
        for q, answers in enumerate(TREE.slices):
            joint = sum(np.outer(a, b) for a, b in zip(p[i][:, answers], p_star[m][:, answers], strict=True))
            joint /= p.shape[1]
            independent = np.outer(joint.sum(axis=1), joint.sum(axis=0))
            nats = math.fsum((joint * np.log(joint / independent)).ravel())
            result[i] += asked[i, q] * asked_star[m, q] * nats / len(p_star)
    return result


def test_epig_is_its_definition():
    """The matrix products give the sum over pairs, answers and draws."""
    draws, target = concentrations(4), concentrations(5, seed=1)
    expected = epig_reference(draws, target)
    np.testing.assert_allclose(tree_predictive_information(TREE, draws, target, ONES), expected, atol=1e-10)


@given(seed=st.integers(0, 10_000), spread=st.floats(0.01, 3))
def test_epig_is_at_most_what_a_vote_teaches_about_the_weights(seed, spread):
    """Votes on a survey galaxy know the weights no better than the weights do: 0 <= EPIG <= BALD at one vote."""
    draws, target = concentrations(3, seed=seed, spread=spread), concentrations(4, seed=seed + 1, spread=spread)
    asked = TREE.asked_probability(answer_probabilities(TREE, draws)).mean(axis=1, dtype=np.float64)
    one_vote = [dirichlet_multinomial_mutual_information(draws[..., answers], 1) for answers in TREE.slices]
    bald = (asked * np.stack(one_vote, axis=-1)).sum(axis=1)
    epig = tree_predictive_information(TREE, draws, target, ONES)
    assert (epig >= 0).all()
    assert (epig <= bald + 1e-9).all()
    assert (epig <= math.log(draws.shape[1]) * TREE.n_questions).all()


@given(seed=st.integers(0, 10_000))
def test_epig_is_blind_to_the_order_of_draws_and_of_the_target(seed):
    """Permuting draws in both, or the target's galaxies, changes nothing; permuting draws in one does."""
    rng = np.random.default_rng(seed)
    draws, target = concentrations(3, seed=seed), concentrations(4, seed=seed + 1)
    expected = tree_predictive_information(TREE, draws, target, ONES)
    order = rng.permutation(draws.shape[1])
    together = tree_predictive_information(TREE, draws[:, order], target[:, order], ONES)
    np.testing.assert_allclose(together, expected, atol=1e-10)
    other = tree_predictive_information(TREE, draws, target[rng.permutation(4)], ONES)
    np.testing.assert_allclose(other, expected, atol=1e-10)
    apart = tree_predictive_information(TREE, draws[:, np.roll(np.arange(draws.shape[1]), 1)], target, ONES)
    assert not np.allclose(apart, expected, atol=1e-6)


def test_epig_is_zero_where_draws_agree():
    """A galaxy, or a survey, on which all draws agree has nothing to learn or to gain."""
    draws, target = concentrations(3), concentrations(4, seed=1)
    same = np.repeat(draws[:, :1], draws.shape[1], axis=1)
    assert (tree_predictive_information(TREE, same, target, ONES) < 1e-9).all()
    settled = np.repeat(target[:, :1], draws.shape[1], axis=1)
    assert (tree_predictive_information(TREE, draws, settled, ONES) < 1e-9).all()


def test_epig_passes_over_what_the_survey_does_not_hold():
    """A doubt that no survey galaxy shares: BALD wants its votes most, EPIG does not."""
    pattern = np.array([1, -1] * 4), np.repeat([1, -1], 4)  # independent over the eight draws
    target = np.full((6, 8, TREE.n_answers), 5.0)
    target[:, :, 0] *= np.exp(0.3 * pattern[0])
    artefact = np.full((1, 8, TREE.n_answers), 5.0)
    artefact[:, :, 0] *= np.exp(1.5 * pattern[1])
    pool = np.concatenate([target[:1], artefact])
    bald = joint_information(TREE, pool, 20, question_weights=np.eye(TREE.n_questions)[0])
    epig = tree_predictive_information(TREE, pool, target, ONES)
    assert bald[1] > 2 * bald[0] > 0
    assert epig[1] < 1e-9 < 1e-4 < epig[0]


def test_epig_does_not_depend_on_the_shard():
    """A galaxy scores the same alone as among many, whatever chunk it falls in."""
    draws, target = concentrations(700), concentrations(60, seed=1)
    whole = tree_predictive_information(TREE, draws, target, ONES)
    parts = [tree_predictive_information(TREE, part, target, ONES) for part in np.array_split(draws, 5)]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-12)


def test_epig_refuses_what_it_cannot_compare():
    """Another number of draws, no target, bad weights and bad rows raise; rows are named."""
    draws, target = concentrations(3), concentrations(4)
    for wrong in (target[:, :-1], target[:0]):
        with pytest.raises(BadInput, match="target"):
            tree_predictive_information(TREE, draws, wrong, ONES)
    with pytest.raises(BadInput, match="weights"):
        tree_predictive_information(TREE, draws, target, -ONES)
    draws[1, 0, 0] = np.nan
    with pytest.raises(NumericalFault, match="row 1"):
        tree_predictive_information(TREE, draws, target, ONES)


@pytest.mark.parametrize("policy", sorted(set(get_args(PolicyName)) - {"random"}))
def test_every_policy_scores(policy):
    """Scores are finite and not negative, and some galaxy has one; every policy has a rule."""
    found = scores(policy, concentrations(40), concentrations(5, seed=1))
    assert found.shape == (40,)
    assert ((found >= 0) & (found < np.inf)).all()
    assert found.max() > 0
    assert set(RULES) == set(get_args(PolicyName))


@pytest.mark.parametrize("policy", ["bald", "power_bald", "softmax_bald"])
def test_bald_is_the_information_of_all_votes_together(policy):
    """It counts each question by its weight, and never exceeds what the draws hold."""
    draws, weights = concentrations(10, spread=2), np.linspace(0, 2, TREE.n_questions)
    found = policy_scores(policy, TREE, draws, votes=20, weights=weights, answer=FEATURED, target=None)
    np.testing.assert_array_equal(found, joint_information(TREE, draws, 20, question_weights=weights))
    unweighted = policy_scores(policy, TREE, draws, votes=1e4, weights=ONES, answer=FEATURED, target=None)
    assert (unweighted <= math.log(draws.shape[1])).all()
    assert unweighted.max() > 0.9 * math.log(draws.shape[1])


def test_what_needs_more_than_draws_says_so():
    """Random scores nothing, and the policies of the survey need its sample."""
    for policy in ("random", "epig", "batch_epig"):
        with pytest.raises(BadInput, match=policy):
            scores(policy, concentrations(2))


def test_threshold_marks_what_kade_would_show():
    """1 where P(featured > 0.2) is at least 0.8, else 0."""
    draws = concentrations(60)
    column = TREE.column(FEATURED)
    probability = threshold_probability(draws[..., :3], column)
    np.testing.assert_array_equal(scores("threshold", draws), probability >= 0.8)
    assert 0 < scores("threshold", draws).mean() < 1


def test_entropy_of_a_classification_counts_questions_by_how_often_they_are_asked():
    """It is the weighted sum of the entropies of the mean answers, and is drawn to noise that teaches nothing."""
    draws = concentrations(3)
    p = answer_probabilities(TREE, draws.astype(np.float64))
    asked = TREE.asked_probability(p).mean(axis=1)
    mean = p.mean(axis=1)
    expected = sum(
        asked[:, q] * -(mean[:, a] * np.log(mean[:, a])).sum(axis=1) * (q + 1.0) for q, a in enumerate(TREE.slices)
    )
    weights = np.arange(1.0, TREE.n_questions + 1)
    np.testing.assert_allclose(classification_entropy(TREE, draws, weights), expected, rtol=1e-9)
    noise = np.full((1, 6, TREE.n_answers), 5.0)
    assert classification_entropy(TREE, noise, ONES)[0] > 0.9 * expected.max() / TREE.n_questions
    assert joint_information(TREE, noise, 20).sum() < 1e-9


def test_easy_galaxies_are_those_volunteers_agree_on():
    """Only the questions that everybody is asked decide."""
    draws = np.ones((3, 2, TREE.n_answers), dtype=np.float32)
    draws[0, :, 0] = 8.1  # 0.802 of the votes
    draws[1, :, 0] = 7.9  # 0.798
    draws[2, :, TREE.column("bar_yes")] = 100.0
    np.testing.assert_array_equal(
        easy_galaxies(TREE, answer_probabilities(TREE, draws).mean(axis=1)), [True, False, False]
    )
