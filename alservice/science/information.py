"""How much the votes on a galaxy would teach the network: mutual information of votes and weights, in nats.

The score is Walmsley et al. 2020, eq. 24: for one answer (`binomial_mutual_information`), for all answers of
a question (`dirichlet_multinomial_mutual_information`) and for a whole tree (`tree_information`).
`random_score`, `predictive_entropy` and `threshold_probability` are the rules of simpler systems, kept as
baselines. `alservice.acquisition.policies` lists the policies that campaigns choose by name, EPIG among them.
A score that is not finite, or negative beyond rounding, raises `NumericalFault`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from alservice.errors import BadInput, BadVotes, NumericalFault
from alservice.ids import stable_fraction
from alservice.science.pmf import (
    MAX_ERROR_NATS,
    MAX_TABLE_VOTES,
    BinomialTable,
    binomial_pmf,
    compositions,
    dirichlet_multinomial_entropy,
    entropy,
    log_factorials,
    mixture_cdf,
    n_compositions,
    row_slices,
    sequence_log_probability,
)
from alservice.science.posterior import (
    ROUNDING_NATS,
    answer_probabilities,
    check_concentrations,
    check_rho,
    check_weights,
    real_numbers,
    refuse_rows,
    score_by_votes,
    votes_per_galaxy,
)
from alservice.science.tree import Tree
from alservice.shapes import FloatArray, IntArray

_ENUMERATED_STATES = 5_000
_SAMPLES = 128


def binomial_mutual_information(rho: FloatArray, votes: int | IntArray) -> FloatArray:
    """Return the mutual information of a galaxy's votes and the weights, by full enumeration.

    I = H[<Bin(k; rho_t, N)>] - <H[Bin(k; rho_t, N)]>, averages over draws t (Walmsley et al. 2020, eq. 24).

    Parameters
    ----------
    rho
        (N, T) posterior draws of the probability that a volunteer gives the answer; 0 and 1 are exact.
    votes
        Votes to be cast: one number, or (N,) integers. A galaxy with none scores 0.

    Returns
    -------
    FloatArray
        (N,) float64 nats, within 0..ln T.

    Raises
    ------
    NumericalFault
        If a row of `rho` is not finite or outside [0, 1] (rows are named), or a score is impossible.
    BadVotes
        If votes are negative, beyond a million, not integers or not one per galaxy.
    """
    return _binomial(rho, votes, lambda n: partial(_exact_information, votes=n), tolerance=ROUNDING_NATS)


def fast_binomial_mutual_information(rho: FloatArray, votes: int | IntArray) -> FloatArray:
    """Return `binomial_mutual_information` to within 1e-3 nats, about twenty times faster.

    Takes, returns and raises the same; interpolates a table of pmfs (`binomial_table`) for up to 1000 votes, for
    which that bound is tested, and enumerates beyond them.
    """

    def scorer(n: int) -> Callable[[FloatArray], FloatArray]:
        return BinomialTable(n).information if n <= MAX_TABLE_VOTES else partial(_exact_information, votes=n)

    return _binomial(rho, votes, scorer, tolerance=MAX_ERROR_NATS)


def predictive_entropy(rho: FloatArray, votes: int | IntArray) -> FloatArray:
    """Return the entropy of the predicted votes, the first term of eq. 24: a baseline drawn to plain noise.

    Takes and raises the same as `binomial_mutual_information`; returns (N,) nats.
    """
    return _binomial(rho, votes, lambda n: partial(_exact_entropy, votes=n), tolerance=ROUNDING_NATS)


def threshold_probability(alpha: FloatArray, answer: int, *, threshold: float = 0.2) -> FloatArray:
    """Return P(fraction of an answer > threshold): the rule deployed with *featured* and 0.2 (KaDE).

    Parameters
    ----------
    alpha
        (N, T, A) posterior draws of the concentrations of one question.
    answer
        Index of the answer among the A.
    threshold
        Answer fraction, within (0, 1).

    Returns
    -------
    FloatArray
        (N,) probability under the mixture of the draws.

    Raises
    ------
    NumericalFault
        If a concentration is not finite and positive (rows are named).
    BadInput
        If the threshold is not within (0, 1), or there is no such answer.
    """
    if not 0 < threshold < 1:
        raise BadInput(f"the threshold of an answer fraction must lie in (0, 1), not {threshold}")
    alpha = np.asarray(real_numbers(alpha, "concentrations"), dtype=np.float64)
    check_concentrations(alpha)
    if not -alpha.shape[-1] <= answer < alpha.shape[-1]:
        raise BadInput(f"there is no answer {answer} among {alpha.shape[-1]}")
    rest = np.delete(alpha, answer, axis=-1).sum(axis=-1)
    return np.subtract(1, mixture_cdf(alpha[..., answer], rest, threshold))


def random_score(galaxy_ids: Sequence[str], seed: int | str) -> FloatArray:
    """Return (N,) scores in [0, 1) that depend on seed and id alone: the baseline that looks at nothing."""
    return np.array([stable_fraction(seed, galaxy_id) for galaxy_id in galaxy_ids], dtype=np.float64)


def dirichlet_multinomial_mutual_information(
    alpha: FloatArray,
    votes: int | IntArray,
    *,
    seed: int = 0,
    max_states: int = _ENUMERATED_STATES,
    samples: int = _SAMPLES,
) -> FloatArray:
    """Return the mutual information of votes on one question with any number of answers, and the weights.

    Parameters
    ----------
    alpha
        (N, T, A) posterior draws of the concentrations of one question.
    votes
        Votes to be cast: one number, or (N,) integers. A galaxy with none scores 0.
    seed
        Of the simulated votes where outcomes are too many to enumerate; the same numbers serve every galaxy.
    max_states
        Enumerate a galaxy with at most this many outcomes: exact up to rounding.
    samples
        Simulated outcomes per galaxy otherwise, rounded up to a multiple of T; 128 have a standard error of
        about 0.025 nats at T = 30.

    Returns
    -------
    FloatArray
        (N,) float64 nats, within 0..ln T.

    Raises
    ------
    NumericalFault
        If a concentration is not finite and positive (rows are named), or a score is impossible.
    BadVotes
        If votes are negative, beyond a million, not integers or not one per galaxy.
    """
    alpha = real_numbers(alpha, "concentrations")
    check_concentrations(alpha)
    counts = votes_per_galaxy(votes, len(alpha))
    score = partial(question_information, max_states=max_states, samples=samples, seed=seed)
    return score_by_votes(counts, lambda rows, n: score(alpha[rows], n), tolerance=ROUNDING_NATS)


def _binomial(
    rho: FloatArray,
    votes: int | IntArray,
    scorer: Callable[[int], Callable[[FloatArray], FloatArray]],
    *,
    tolerance: float,
) -> FloatArray:
    """Score draws of rho in chunks of flat memory; `scorer` prepares the function for one number of votes."""
    rho = real_numbers(rho, "rho")
    check_rho(rho)

    def score(rows: IntArray, n: int) -> FloatArray:
        prepared = scorer(n)
        pieces = row_slices(len(rows), rho.shape[1] * (n + 1))
        return np.concatenate([prepared(rho[rows[piece]]) for piece in pieces])

    return score_by_votes(votes_per_galaxy(votes, len(rho)), score, tolerance=tolerance)


def _exact_information(rho: FloatArray, votes: int) -> FloatArray:
    pmf = binomial_pmf(rho, votes)
    information: FloatArray = entropy(pmf.mean(axis=1)) - entropy(pmf).mean(axis=-1)
    return information


def _exact_entropy(rho: FloatArray, votes: int) -> FloatArray:
    return entropy(binomial_pmf(rho, votes).mean(axis=1))


def tree_predictive_information(
    tree: Tree, concentrations: FloatArray, target: FloatArray, weights: FloatArray
) -> FloatArray:
    """Return what one classification of each galaxy is expected to tell about one of a survey galaxy.

    Parameters
    ----------
    tree
        The tree of the Q questions and A answers.
    concentrations
        (N, T, A) posterior draws of the galaxies to score.
    target
        (M, T, A) draws of a uniform sample of the survey; draw t must be the same network in both.
    weights
        (Q,) science weight of each question, finite and not negative.

    Returns
    -------
    FloatArray
        (N,) float64, in nats where the weights are 1. Time is O(N M T sum A_q^2), memory does not grow with N.

    Raises
    ------
    NumericalFault
        If a concentration is not finite and positive (rows are named), or a score is impossible.
    BadInput
        If shapes do not fit the tree or each other, the sample is empty, or a weight is negative or not finite.
    """
    concentrations, target = np.asarray(concentrations), np.asarray(target)
    check_concentrations(concentrations)
    check_concentrations(target)
    weights = check_weights(tree, weights)
    if not len(target) or concentrations.shape[1:] != target.shape[1:] or target.shape[2] != tree.n_answers:
        raise BadInput(
            f"a target of {target.shape} cannot judge draws of {concentrations.shape} on {tree.n_answers} answers"
        )
    probabilities = answer_probabilities(tree, target.astype(np.float64))
    asked = tree.asked_probability(probabilities).mean(axis=1)
    scores = np.zeros(len(concentrations))
    widest = max(len(question.answers) for question in tree.questions)
    for rows in row_slices(len(concentrations), len(target) * widest**2):
        draws = answer_probabilities(tree, concentrations[rows].astype(np.float64))
        own = tree.asked_probability(draws).mean(axis=1)
        for question, answers in enumerate(tree.slices):
            information = _one_vote_each(draws[..., answers], probabilities[..., answers])
            scores[rows] += weights[question] * own[:, question] * (information @ asked[:, question]) / len(target)
    refuse_rows(~((scores >= -ROUNDING_NATS) & (scores < np.inf)), "the score", NumericalFault)
    return np.maximum(scores, 0)


def _one_vote_each(galaxies: FloatArray, target: FloatArray) -> FloatArray:
    """Return the mutual information (N, M) of a vote on each galaxy and a vote on each target galaxy.

    Parameters
    ----------
    galaxies, target
        (N, T, A) and (M, T, A) probabilities of the answers of one question.
    """
    n_draws = galaxies.shape[1]
    joint = np.tensordot(galaxies, target, axes=(1, 1)) / n_draws
    of_pair = entropy(joint.swapaxes(1, 2).reshape(len(galaxies), len(target), -1))
    information: FloatArray = entropy(galaxies.mean(axis=1))[:, None] + entropy(target.mean(axis=1)) - of_pair
    return information


_TREE_STATES = 256
"""Outcomes of one question up to which the sum is exact: any votes on two answers, 21 on three, 4 on six."""

_TREE_SAMPLES = 64
"""Simulated outcomes otherwise: 90 at T = 30, with a standard error of 0.03 nats."""


def score_note(n_draws: int) -> str:
    """Return what a score is not, with the bound of what T draws can hold, for every place that shows one."""
    return (
        f"A score sums what each question's votes would teach. Questions share their draws, so it may exceed "
        f"ln {n_draws} = {math.log(n_draws):.2f} nats, the most that {n_draws} draws can hold: it ranks galaxies, and "
        "is no amount of information."
    )


def tree_information(
    tree: Tree, concentrations: FloatArray, votes: float | FloatArray, weights: FloatArray, *, seed: int = 0
) -> FloatArray:
    """Return the science-weighted sum of what each question's expected votes would teach.

    score = sum_q w_q I_q(votes * P(asked_q)); `expected_question_information` says how I_q is found.

    Parameters
    ----------
    tree, concentrations, votes, seed
        As `expected_question_information`.
    weights
        (Q,) science weight of each question, finite and not negative.

    Returns
    -------
    FloatArray
        (N,) float64, in nats where the weights are 1. A sum over questions, not their joint information: it may
        exceed ln T, which the information of T draws never does.

    Raises
    ------
    NumericalFault
        If a concentration is not finite and positive (rows are named), or a score is impossible.
    BadVotes
        If expected votes are negative or not finite.
    BadInput
        If shapes do not fit the tree, or a weight is negative or not finite.
    """
    weights = check_weights(tree, weights)
    score: FloatArray = expected_question_information(tree, concentrations, votes, seed=seed) @ weights
    return score


def expected_question_information(
    tree: Tree, concentrations: FloatArray, votes: float | FloatArray, *, seed: int = 0
) -> FloatArray:
    """Return the information that each question's votes are expected to give.

    A question is expected to get N_q = votes * P(asked) votes, P averaged over draws. Its information is
    interpolated linearly between the whole numbers around N_q; for a question that is hardly asked that is
    N_q I(1). Outcomes are enumerated while few and simulated above, by fixed random numbers: unlike the best
    answer-versus-rest marginal, a lower bound that can be half the truth, that is unbiased, so questions of
    two and of seven answers compete fairly.

    Parameters
    ----------
    tree
        The tree of the Q questions and A answers.
    concentrations
        (N, T, A) posterior draws.
    votes
        Expected classifications of a galaxy: one number, or (N,); not negative, need not be whole.
    seed
        Of the simulated votes.

    Returns
    -------
    FloatArray
        (N, Q) float64 nats. Their sum is an upper bound of the joint information, because questions share one
        network.

    Raises
    ------
    NumericalFault, BadVotes, BadInput
        As `tree_information`.
    """
    concentrations = np.asarray(concentrations)
    check_concentrations(concentrations)
    n_galaxies, n_draws, n_answers = concentrations.shape
    if n_answers != tree.n_answers:
        raise BadInput(f"tree {tree.name!r} has {tree.n_answers} answers, the concentrations {n_answers}")
    classifications = np.asarray(votes, dtype=np.float64)
    if classifications.shape not in {(), (n_galaxies,)}:
        raise BadVotes(f"expected votes must be one number or {n_galaxies}, not {classifications.shape}")
    classifications = np.broadcast_to(classifications, (n_galaxies,))
    refuse_rows(~((classifications >= 0) & (classifications < np.inf)), "expected votes", BadVotes)
    information = np.zeros((n_galaxies, tree.n_questions))
    for rows in row_slices(n_galaxies, n_draws * n_answers):
        asked = tree.asked_probability(answer_probabilities(tree, concentrations[rows]))
        expected = classifications[rows, None] * asked.mean(axis=1, dtype=np.float64)
        for question, answers in enumerate(tree.slices):
            alpha = concentrations[rows, :, answers]
            information[rows, question] = _interpolated(alpha, expected[:, question], seed)
    return information


def _interpolated(alpha: FloatArray, expected: FloatArray, seed: int) -> FloatArray:
    def score(rows: IntArray, n: int) -> FloatArray:
        return question_information(alpha[rows], n, max_states=_TREE_STATES, samples=_TREE_SAMPLES, seed=seed)

    below = np.floor(expected).astype(np.int64)
    share = expected - below
    # A whole number needs no second score; zero votes cost nothing.
    above = np.where(share > 0, below + 1, 0)
    at_below, at_above = (score_by_votes(n, score, tolerance=ROUNDING_NATS) for n in (below, above))
    interpolated: FloatArray = (1 - share) * at_below + share * at_above
    return interpolated


def question_information(alpha: FloatArray, n: int, *, max_states: int, samples: int, seed: int) -> FloatArray:
    """Return the mutual information of n votes on one question, for checked draws.

    Parameters
    ----------
    alpha
        (N, T, A) finite positive concentrations of one question.
    n
        Votes cast, the same for every galaxy; at least 1.
    max_states
        Enumerate while there are at most this many outcomes, else simulate.
    samples
        Simulated outcomes, rounded up to a multiple of T.
    seed
        Of the simulated outcomes; all galaxies share their random numbers, so that their ranking is stable.

    Returns
    -------
    FloatArray
        (N,) float64 nats; exact up to rounding where enumerated.
    """
    n_galaxies, n_draws, n_answers = alpha.shape
    states = n_compositions(n, n_answers)
    exact = states <= max_states
    n_samples = math.ceil(samples / n_draws) * n_draws
    # Filled vote by vote: n + 1 votes begin with the same n, so their errors go together in a difference.
    uniforms = np.random.default_rng(seed).random((n, n_samples))
    information = np.empty(n_galaxies)
    for rows in row_slices(n_galaxies, n_draws * max(states if exact else n_samples, n_answers * (n + 1))):
        draws = np.asarray(alpha[rows], dtype=np.float64)
        information[rows] = _enumerated(draws, n) if exact else _simulated(draws, n, uniforms)
    return information


def _enumerated(alpha: FloatArray, n: int) -> FloatArray:
    states = compositions(n, alpha.shape[-1])
    log_factorial = log_factorials(n)
    coefficient = log_factorial[n] - log_factorial[states].sum(axis=-1)
    predictive = np.exp(coefficient + sequence_log_probability(alpha, n, states)).mean(axis=1)
    information: FloatArray = entropy(predictive) - dirichlet_multinomial_entropy(alpha, n).mean(axis=-1)
    return information


def _simulated(alpha: FloatArray, n: int, uniforms: FloatArray) -> FloatArray:
    n_draws = alpha.shape[1]
    # Every draw generates the same number of outcomes: stratified sampling of the mixture.
    generating = np.arange(uniforms.shape[1]) % n_draws
    log_p = sequence_log_probability(alpha, n, _urn(alpha[:, generating], uniforms))
    responsibility = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    responsibility /= responsibility.sum(axis=1, keepdims=True)
    information: FloatArray = math.log(n_draws) - entropy(responsibility, axis=1).mean(axis=-1)
    return information


def _urn(alpha: FloatArray, uniforms: FloatArray) -> IntArray:
    """Simulate votes one by one: an answer's chance is its concentration plus its votes so far (Polya's urn).

    Parameters
    ----------
    alpha
        (N, S, A) the concentrations each outcome is generated from.
    uniforms
        (n, S).

    Returns
    -------
    IntArray
        (N, S, A) votes.
    """
    votes = np.zeros(alpha.shape, dtype=np.int64)
    total = alpha.sum(axis=-1)
    for step, u in enumerate(uniforms):
        cumulative = np.cumsum((alpha + votes)[..., :-1], axis=-1)
        chosen = (cumulative <= (u * (total + step))[..., None]).sum(axis=-1)[..., None]
        np.put_along_axis(votes, chosen, np.take_along_axis(votes, chosen, axis=-1) + 1, axis=-1)
    return votes
