"""The Laplace head against autograd, its calibration on simulated votes, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from alservice.errors import BadInput, BadVotes, NumericalFault
from alservice.science.information import joint_information
from alservice.science.laplace import (
    Features,
    LaplaceHead,
    Prior,
    choose_prior,
    contrasts,
    fit_head,
    fit_question,
    mixture_nll,
)
from alservice.science.tree import load_tree
from alservice.shapes import FloatArray, IntArray

PRIOR = Prior(prior_precision=0.3, precision=12.0)
BIAS_PRECISION = 0.1


def simulated(n: int, answers: int, *, seed: int, precision: float = 12.0) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return features (n, 4), true logits (n, answers) with weights of `PRIOR`, and over-dispersed votes."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.standard_normal((n, 3)), np.ones((n, 1))], axis=1)
    scale = 1 / np.sqrt([PRIOR.prior_precision] * 3 + [BIAS_PRECISION])
    weights = scale[:, None] * rng.standard_normal((4, answers - 1)) @ contrasts(answers).T
    logits = x @ weights
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    fractions = np.array([rng.dirichlet(np.maximum(precision * p, 1e-6)) for p in shares])
    votes = np.array([rng.multinomial(rng.integers(0, 40), f / f.sum()) for f in fractions])
    return x, logits, votes


def covered(*, assumed: float, true: float) -> float:
    """Return how often central 90 % intervals of logits hold the truth, over 150 simulated training sets."""
    noise = np.random.default_rng(2).standard_normal((200, 4))
    ranks = []
    for seed in range(150):
        x, logits, votes = simulated(25, 2, seed=1000 + seed, precision=true)
        fitted = fit_question(x, votes, replace(PRIOR, precision=assumed))
        drawn = np.einsum("nf,tfa->tna", x[:3], fitted.weights(noise))[..., 0]
        ranks.append((drawn < logits[:3, 0]).mean(axis=0))
    return float((np.abs(np.array(ranks) - 0.5) < 0.45).mean())


@pytest.mark.parametrize("answers", [2, 4])
def test_mode_and_hessian_are_those_of_autograd(answers: int) -> None:
    """The gradient vanishes at the mode, and the factor is that of the Hessian there."""
    x, _, votes = simulated(50, answers, seed=answers)
    fitted = fit_question(x, votes, PRIOR)
    basis, n = torch.from_numpy(contrasts(answers)), votes.sum(axis=1)
    worth = torch.from_numpy((1 + PRIOR.precision) / (n + PRIOR.precision))
    prior = torch.tensor([PRIOR.prior_precision] * 3 + [BIAS_PRECISION], dtype=torch.float64)

    def negative_log_posterior(flat: torch.Tensor) -> torch.Tensor:
        mode = flat.view(answers - 1, 4).T
        log_shares = torch.log_softmax(torch.from_numpy(x) @ mode @ basis.T, dim=1)
        loss = -(worth[:, None] * torch.from_numpy(votes).double() * log_shares).sum()
        return loss + 0.5 * (prior[:, None] * mode**2).sum()

    flat = torch.from_numpy(fitted.mode.T.ravel().copy())
    gradient = torch.autograd.functional.jacobian(negative_log_posterior, flat)
    hessian = torch.autograd.functional.hessian(negative_log_posterior, flat)
    assert gradient.abs().max() < 1e-4
    np.testing.assert_allclose(fitted.root @ fitted.root.T, hessian.numpy(), rtol=1e-6, atol=1e-8)


def test_the_result_does_not_depend_on_the_start() -> None:
    """The posterior has one mode."""
    x, _, votes = simulated(30, 3, seed=5)
    far = np.random.default_rng(1).normal(scale=20, size=(4, 2))
    np.testing.assert_allclose(
        fit_question(x, votes, PRIOR, start=far).mode, fit_question(x, votes, PRIOR).mode, atol=1e-5
    )


def test_draws_have_the_covariance_of_the_posterior_and_a_temper_widens_it() -> None:
    """Covariance is the inverse Hessian; a quarter of the evidence doubles the standard deviation."""
    x, _, votes = simulated(60, 2, seed=6)
    fitted = fit_question(x, votes, PRIOR)
    noise = np.random.default_rng(0).standard_normal((20_000, 4))
    covariance = np.linalg.inv(fitted.root @ fitted.root.T)
    along = fitted.weights(noise) @ contrasts(2)[:, 0]
    np.testing.assert_allclose(np.cov(along.T), covariance, atol=0.05 * covariance.max())
    wide = replace(fitted, prior=replace(PRIOR, temper=0.25)).weights(noise) @ contrasts(2)[:, 0]
    np.testing.assert_allclose(wide.std(axis=0), 2 * along.std(axis=0), rtol=1e-9)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Truth from the prior, votes over-dispersed: 90 % intervals hold about 90 %."""
    # 150 fits: a standard error of about 2 points.
    assert 0.83 < covered(assumed=12.0, true=12.0) < 0.97


def test_without_over_dispersion_intervals_are_too_narrow() -> None:
    """Votes that scatter more than a multinomial, taken at their full number, give false certainty."""
    assert covered(assumed=1e6, true=2.0) < covered(assumed=2.0, true=2.0) - 0.1


def test_the_prior_chosen_gives_votes_held_out_a_higher_likelihood() -> None:
    """The choice sees the scatter of the votes and beats a prior that lets nothing be learned."""
    x, _, votes = simulated(160, 3, seed=11, precision=3.0)
    held = np.arange(160) % 4 == 0
    found = choose_prior(x, votes, held, seed=0)
    assert found.precision <= 8  # votes scatter with precision 3
    noise = np.random.default_rng(3).standard_normal((50, 8))
    asked = held & (votes.sum(axis=1) > 0)

    def nll(prior: Prior) -> float:
        fitted = fit_question(x[~held], votes[~held], prior)
        return mixture_nll(fitted.concentrations(x[asked], noise), votes[asked])

    assert nll(found) < nll(Prior(prior_precision=100.0, precision=64.0))


def test_nobody_to_judge_leaves_the_first_prior() -> None:
    """Without a validation part nothing is chosen."""
    x, _, votes = simulated(8, 2, seed=12)
    assert choose_prior(x, votes, np.zeros(8, dtype=bool), seed=0, first=PRIOR) == PRIOR


def test_draws_score_as_those_of_any_model_and_more_votes_leave_less_to_learn() -> None:
    """The loop scores the draws of a head; a head that learned more has less to learn."""
    tree = load_tree("gz2")
    rng = np.random.default_rng(13)
    embeddings = rng.standard_normal((120, 6))
    features = Features.of(embeddings, most=4)(embeddings)
    shares = np.full(tree.n_answers, 0.3)
    few = rng.binomial(4, shares, size=(120, tree.n_answers))
    heads = [fit_head(tree, features[:n], few[:n], [PRIOR] * tree.n_questions) for n in (12, 120)]
    drawn = [head.concentrations(features, draws=8, seed=1) for head in heads]
    assert drawn[0].shape == (120, 8, tree.n_answers)
    scores = [joint_information(tree, each, 40.0).mean() for each in drawn]
    assert scores[0] > scores[1] > 0


def test_weights_on_embeddings_say_the_same_as_features_do_and_draws_are_nested() -> None:
    """The map to features can be folded into the weights."""
    rng = np.random.default_rng(14)
    embeddings = 3 + rng.standard_normal((40, 6)) @ rng.standard_normal((6, 6))
    features = Features.of(embeddings, most=5)
    tree = load_tree("gz2")
    votes = rng.integers(0, 9, size=(40, tree.n_answers))
    head: LaplaceHead = fit_head(tree, features(embeddings), votes, [PRIOR] * tree.n_questions)
    weights = head.weights(draws=6, seed=2)
    matrices, constants = features.on_embeddings(weights)
    direct = np.einsum("ne,tea->nta", embeddings, matrices) + constants
    np.testing.assert_allclose(direct, np.einsum("nf,tfa->nta", features(embeddings), weights), atol=1e-9)
    np.testing.assert_allclose(head.weights(draws=3, seed=2), weights[:3], rtol=1e-9)


def test_features_have_mean_square_length_one() -> None:
    """So that one prior suits embeddings of any encoder."""
    embeddings = np.random.default_rng(15).standard_normal((50, 7)) * np.arange(1, 8)
    found = Features.of(embeddings, most=3)(embeddings)
    assert found.shape == (50, 4)
    np.testing.assert_allclose((found[:, :-1] ** 2).sum(axis=1).mean(), 1)
    np.testing.assert_array_equal(found[:, -1], 1)


@pytest.mark.parametrize(
    ("error", "features", "votes"),
    [
        (BadInput, np.ones((3, 2)), np.ones((4, 2))),
        (BadInput, np.ones((3, 2)), np.ones((3, 1))),
        (BadVotes, np.ones((3, 2)), -np.ones((3, 2))),
        (BadVotes, np.ones((3, 2)), np.full((3, 2), np.nan)),
        (NumericalFault, np.full((3, 2), np.inf), np.ones((3, 2))),
    ],
)
def test_what_cannot_be_fitted_is_refused(error: type[Exception], features: FloatArray, votes: FloatArray) -> None:
    """By name."""
    with pytest.raises(error):
        fit_question(features, votes, PRIOR)


def test_embeddings_without_a_difference_and_impossible_priors_are_refused() -> None:
    """By name."""
    with pytest.raises(BadInput, match="the same"):
        Features.of(np.ones((5, 3)), most=2)
    with pytest.raises(BadInput, match="two galaxies"):
        Features.of(np.ones((1, 3)), most=2)
    with pytest.raises(NumericalFault):
        Features.of(np.full((5, 3), np.nan), most=2)
    with pytest.raises(BadInput, match="positive"):
        Prior(prior_precision=0.0)
