"""How much the votes on a galaxy would teach the network: mutual information of votes and weights, in nats.

The score is Walmsley et al. 2020, eq. 24: for one answer (`binomial_mutual_information`), for all answers of
a question (`dirichlet_multinomial_mutual_information`) and for a whole tree (`tree_information`).
`random_score`, `predictive_entropy` and `threshold_probability` are the rules of simpler systems, kept as
baselines. `alservice.acquisition.policies` lists the policies that campaigns choose by name, EPIG among them. A score that is
not finite, or negative beyond rounding, raises `NumericalFault`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from alservice.errors import BadInput
from alservice.ids import stable_fraction
from alservice.science.beta_mixture import mixture_cdf
from alservice.science.binomial_table import MAX_ERROR_NATS, MAX_TABLE_VOTES, BinomialTable
from alservice.science.pmf import binomial_pmf, entropy, row_slices
from alservice.science.scoring import (
    ROUNDING_NATS,
    check_concentrations,
    check_rho,
    real_numbers,
    score_by_votes,
    votes_per_galaxy,
)
from alservice.science.vote_information import question_information
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
