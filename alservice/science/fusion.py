"""What a galaxy's posterior after votes says: fractions, majorities, and how far the model may be trusted."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from alservice.errors import BadInput
from alservice.science.pmf import beta_cdf, digamma, row_slices
from alservice.science.posterior import (
    Mixture,
    answer_probabilities,
    checked_counts,
    question_evidence,
    question_totals,
    tempered,
)
from alservice.science.tree import Tree
from alservice.shapes import BoolArray, FloatArray, IntArray


class FractionMoments(NamedTuple):
    """Mean and standard deviation of every answer's fraction among those asked: float64 (N, A) each."""

    mean: FloatArray
    sd: FloatArray


def fraction_moments(tree: Tree, mixture: Mixture) -> FractionMoments:
    """Return mean and standard deviation of the fractions: both the spread within the Dirichlets and between them.

    Parameters
    ----------
    tree
        The tree that the mixture follows.
    mixture
        N galaxies, as `alservice.science.posterior.update` returns them.
    """
    weights = mixture.weights[..., None]
    share = answer_probabilities(tree, mixture.concentrations)
    totals = question_totals(tree, mixture.concentrations)[..., tree.question_of_answer]
    mean = (weights * share).sum(axis=1)
    within = share * (1 - share) / (totals + 1)
    variance = (weights * (within + (share - mean[:, None]) ** 2)).sum(axis=1)
    return FractionMoments(mean, np.sqrt(np.maximum(variance, 0)))


def expected_asked(tree: Tree, mixture: Mixture) -> FloatArray:
    """Return the share (N, Q) of volunteers that each question is expected to be asked of."""
    asked = tree.asked_probability(answer_probabilities(tree, mixture.concentrations))
    share: FloatArray = (mixture.weights[..., None] * asked).sum(axis=1)
    return share


def next_vote_information(tree: Tree, mixture: Mixture) -> FloatArray:
    """Return what one more classification is expected to tell about the fractions of each question.

    The entropy of the predicted answer less the entropy that remains once the fractions are known, as often as the
    question is asked. It holds what the classification tells about the network too, since fractions
    depend on votes only through their draw; it falls to zero with growing votes, even where all draws agree.

    Parameters
    ----------
    tree, mixture
        As `fraction_moments`.

    Returns
    -------
    FloatArray
        (N, Q) nats. Their sum over questions is exact for questions asked one after the other, and an upper bound
        where some are asked after the same answer, or of everyone, and vary together.
    """
    alpha, owner = mixture.concentrations, tree.question_of_answer
    totals = question_totals(tree, alpha)
    share = answer_probabilities(tree, alpha)
    asked = mixture.weights[..., None] * tree.asked_probability(share)
    chosen = (asked[..., owner] * share).sum(axis=1)
    reached = asked.sum(axis=1)
    fraction = np.divide(chosen, reached[:, owner], out=np.ones_like(chosen), where=chosen > 0)
    predicted = -question_totals(tree, chosen * np.log(fraction))
    known = digamma(totals + 1) - question_totals(tree, share * digamma(alpha + 1))
    information: FloatArray = np.maximum(predicted - (asked * known).sum(axis=1), 0)
    return information


_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(16)


def majority_gain(tree: Tree, mixture: Mixture, certainty: FloatArray, further: IntArray) -> FloatArray:
    """Return by how much further classifications are expected to raise the certainty of each question's majority.

    The lead of the likeliest answer over the next is taken as normal: its variance and the noise of an answer are the
    mixture's, its mean is such that the lead is positive with the certainty given. n further answers move the mean by
    a normal amount, whose variance is that of the lead less what remains after them. They gain where they turn the lead
    round, by as much as the new majority is then likelier than the old one. Beside exact enumeration on two answers it
    is a fifth too low, or a third; what is compared with one threshold are rates that differ a hundredfold.

    Parameters
    ----------
    tree, mixture
        As `fraction_moments`.
    certainty
        (N, Q) the largest of `majority_probability`; NaN where a question does not matter.
    further
        (N, M) classifications to come: several numbers of each galaxy, positive.

    Returns
    -------
    FloatArray
        (N, M, Q) float64, not negative: a question that hardly anybody is asked gains nothing. NaN as `certainty`.
    """
    asked = expected_asked(tree, mixture)[:, None] * further[..., None]
    spread, noise = (each[:, None] for each in _leads(tree, mixture))
    slope = spread * np.sqrt(np.maximum(asked, _LEAST) / noise)
    moved = slope / np.sqrt(1 + slope**2)
    turned = np.minimum(_normal_quantile(certainty)[:, None] / moved, _FAR)[..., None]
    # Over the mean's values on the other side, in units of how far it moves.
    reach = 8 / np.maximum(turned, 4 / 3)
    beyond = reach * (_NODES + 1) / 2
    density = np.exp(-((turned + beyond) ** 2) / 2) / math.sqrt(2 * math.pi)
    likelier = _erf(beyond * slope[..., None] / math.sqrt(2))
    gain: FloatArray = (density * likelier * _NODE_WEIGHTS).sum(axis=-1) * reach[..., 0] / 2
    return gain


_FAR: Final = 40.0
"""Standard deviations beyond which nothing is turned round."""


def _leads(tree: Tree, mixture: Mixture) -> tuple[FloatArray, FloatArray]:
    """Return the sd of the likeliest answer's lead over the next, and the variance of one answer: (N, Q) each."""
    weights, totals = mixture.weights, question_totals(tree, mixture.concentrations)
    share = answer_probabilities(tree, mixture.concentrations)
    spread, noise = (np.empty((len(weights), tree.n_questions)) for _ in range(2))
    for question, answers in enumerate(tree.slices):
        own, total = share[..., answers], totals[..., question]
        order = np.argsort(-(weights[..., None] * own).sum(axis=1), axis=-1)[:, None]
        first, second = (np.take_along_axis(own, order[..., place, None], axis=-1)[..., 0] for place in (0, 1))
        lead = first - second
        alone = first + second - lead**2
        between = (lead - (weights * lead).sum(axis=1, keepdims=True)) ** 2
        spread[:, question] = np.sqrt((weights * (alone / (total + 1) + between)).sum(axis=1))
        noise[:, question] = (weights * alone * total / (total + 1)).sum(axis=1)
    return np.maximum(spread, _LEAST), np.maximum(noise, _LEAST)


_LEAST: Final = 1e-9
"""Least spread, noise and share of the asked: what concentrations and rounding may take away."""

_SUREST: Final = 1 - 5e-4
"""Certainty that drawn majorities can tell from 1."""


def _normal_quantile(probability: FloatArray) -> FloatArray:
    """Return standard normal quantiles of 1/2 to `_SUREST`, to 5e-4 (Abramowitz and Stegun 1964, 26.2.23)."""
    t = np.sqrt(-2 * np.log(1 - np.clip(probability, 0.5, _SUREST)))
    above = (0.010328 * t + 0.802853) * t + 2.515517
    below = ((0.001308 * t + 0.189269) * t + 1.432788) * t + 1
    quantile: FloatArray = np.maximum(t - above / below, 0)
    return quantile


def _erf(x: FloatArray) -> FloatArray:
    """Return the error function of values that are not negative, to 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26)."""
    t = 1 / (1 + 0.3275911 * x)
    series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
    value: FloatArray = 1 - series * np.exp(-(x**2))
    return value


def majority_probability(
    tree: Tree, mixture: Mixture, *, seed: int, samples: int = 1000, wanted: BoolArray | None = None
) -> FloatArray:
    """Return the probability that each answer's fraction is the largest of its question.

    For two answers it is the probability that the fraction exceeds one half, a sum of incomplete beta functions. For
    more, `samples` fractions are drawn, from every Dirichlet as many as its weight says; the standard error is at most
    0.016 for 1000 and 0.007 where the probability is 0.95. Their Gamma variates are made of normal ones (Wilson and
    Hilferty 1931, PNAS 17, 684), which is off by less. All galaxies share their random numbers, so that a galaxy's
    result does not depend on the others.

    Parameters
    ----------
    tree, mixture
        As `fraction_moments`.
    seed
        Of the drawn fractions.
    samples
        Drawn fractions, at least 1.
    wanted
        (N, Q) questions to look at; all where None.

    Returns
    -------
    FloatArray
        (N, A) float64, summing to 1 over a question's answers; NaN where not wanted.

    Raises
    ------
    BadInput
        If there are no samples, or `wanted` has another shape.
    """
    shape = (len(mixture.weights), tree.n_questions)
    wanted = np.ones(shape, dtype=bool) if wanted is None else np.asarray(wanted, dtype=bool)
    if samples < 1 or wanted.shape != shape:
        raise BadInput(f"majorities need samples, not {samples}, and questions {shape}, not {wanted.shape}")
    found = np.full((shape[0], tree.n_answers), np.nan)
    for question, answers in enumerate(tree.slices):
        rows = np.flatnonzero(wanted[:, question])
        weights, alpha = mixture.weights[rows], mixture.concentrations[rows, :, answers]
        if alpha.shape[-1] == 2:
            first = (weights * beta_cdf(alpha[..., 1], alpha[..., 0], 0.5)).sum(axis=1)
            found[rows, answers] = np.stack([first, 1 - first], axis=-1)
        else:
            variates = _variates(alpha.shape[-1], seed=seed, samples=samples)
            for part in row_slices(len(rows), samples * alpha.shape[-1]):
                found[rows[part], answers] = _drawn_majority(weights[part], alpha[part], variates)
    return found


class _Variates(NamedTuple):
    """Random numbers of S drawn fractions: rising levels float64 (S,), normal and exponential ones float32 (A, S)."""

    levels: FloatArray
    normal: FloatArray
    exponential: FloatArray


def _variates(n_answers: int, *, seed: int, samples: int) -> _Variates:
    rng, shape = np.random.default_rng(seed), (n_answers, samples)
    levels = (np.arange(samples) + rng.random()) / samples
    return _Variates(
        levels,
        rng.standard_normal(shape).astype(np.float32),
        rng.standard_exponential(shape).astype(np.float32),
    )


_LEAST_ROOT: Final = np.float32(1e-3)
"""Cube root of a Gamma variate over its shape, at least: the normal approximation may fall below zero."""


def _drawn_majority(weights: FloatArray, alpha: FloatArray, variates: _Variates) -> FloatArray:
    """Return how often each answer (n, A) has the largest of the fractions that are drawn.

    Parameters
    ----------
    weights, alpha
        (n, T) and (n, T, A): T Dirichlets of one question for each galaxy, and how likely each is.
    """
    samples = len(variates.levels)
    until = np.searchsorted(variates.levels, np.cumsum(weights, axis=1)[:, :-1].ravel()).reshape(len(weights), -1)
    times = np.diff(until, axis=1, prepend=0, append=samples)
    component = np.repeat(np.arange(times.size), times.ravel()).reshape(len(weights), samples)
    log_gamma = []
    for normal, exponential, own in zip(variates.normal, variates.exponential, np.moveaxis(alpha, -1, 0), strict=True):
        # Gamma(a) is Gamma(a + 1) U^(1/a), whose logarithm does not underflow where an answer takes nearly nothing.
        shape = own.ravel() + 1
        terms = np.stack([1 / (3 * np.sqrt(shape)), 1 - 1 / (9 * shape), np.log(shape), 1 / own.ravel()])
        slope, middle, size, rarity = terms.astype(np.float32)[:, component]
        root = np.maximum(normal * slope + middle, _LEAST_ROOT)
        log_gamma.append(3 * np.log(root) + size - exponential * rarity)
    largest = np.maximum.reduce(log_gamma)
    wins: FloatArray = np.stack([(each == largest).mean(axis=1) for each in log_gamma], axis=-1)
    wins /= wins.sum(axis=1, keepdims=True)
    return wins


def dirichlet_draws(alpha: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return one draw of fractions (..., A) from each Dirichlet (..., A), finite for any concentrations."""
    # Gamma(a) is Gamma(a + 1) U^(1/a), whose logarithm does not underflow where an answer takes nearly nothing.
    logs = np.log(rng.standard_gamma(alpha + 1)) - rng.standard_exponential(alpha.shape) / alpha
    drawn = np.exp(logs - logs.max(axis=-1, keepdims=True))
    fractions: FloatArray = drawn / drawn.sum(axis=-1, keepdims=True)
    return fractions


_REACH: Final = math.log(1000)
"""Factors are sought within a thousandth and a thousand."""

_PRIOR_WIDTH: Final = 1.0
"""Standard deviation of ln of a factor before any vote: a question with few votes keeps a factor near 1."""

_GOLDEN: Final = (math.sqrt(5) - 1) / 2
_STEPS: Final = 30
"""Steps of the golden section, after which ln of the factor is known to 1e-5."""


def fit_temper(tree: Tree, concentrations: FloatArray, counts: IntArray | FloatArray) -> FloatArray:
    """Return the factor on each question's concentrations under which a model predicts votes best.

    Maximises the likelihood of each question's votes under the mean over draws, with a normal prior of ln of the
    factor around 0. A model too sure of itself gets factors below 1: in `update`, it then counts as so many fewer
    votes, and cannot outvote people.

    Parameters
    ----------
    tree
        The tree of the Q questions and A answers.
    concentrations
        (N, T, A) posterior draws for the evaluation stream; its votes must not have trained the model.
    counts
        (N, A) votes of these galaxies. A question's galaxies without votes do not count.

    Returns
    -------
    FloatArray
        (Q,) float64 within 1e-3..1e3; 1 where there are no votes.

    Raises
    ------
    NumericalFault, BadVotes, BadInput
        As `alservice.science.posterior.update`.
    """
    draws = tempered(tree, concentrations, None)
    votes = checked_counts(tree, counts, len(draws))

    def loss(log_factor: FloatArray) -> FloatArray:
        nats = log_factor**2 / (2 * _PRIOR_WIDTH**2)
        for rows in row_slices(len(draws), draws.shape[1] * draws.shape[2]):
            scaled = draws[rows] * np.exp(log_factor)[tree.question_of_answer]
            evidence = question_evidence(tree, scaled, votes[rows])
            nats -= _log_mean_exp(evidence).sum(axis=0)
        return nats

    low, high = np.full(tree.n_questions, -_REACH), np.full(tree.n_questions, _REACH)
    for _ in range(_STEPS):
        reach = _GOLDEN * (high - low)
        left, right = high - reach, low + reach
        left_is_better = loss(left) < loss(right)
        low, high = np.where(left_is_better, low, left), np.where(left_is_better, right, high)
    factors: FloatArray = np.exp((low + high) / 2)
    factors[question_totals(tree, votes).sum(axis=0) == 0] = 1
    return factors


def _log_mean_exp(values: FloatArray) -> FloatArray:
    """Return ln of the mean over draws of exp (N, T, Q): (N, Q)."""
    largest = values.max(axis=1, keepdims=True)
    mean: FloatArray = largest[:, 0] + np.log(np.exp(values - largest).mean(axis=1))
    return mean
