"""What a posterior got right about each galaxy: one row per galaxy, which the gate resamples in pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alservice.errors import BadVotes, NumericalFault
from alservice.science.calibration import beta_binomial_mixture_pmf, coverage_counts, crps, pit_bounds
from alservice.science.pmf import log_rising, row_slices
from alservice.science.posterior import Posterior, answer_and_rest, check_tree, question_totals
from alservice.science.scoring import check_concentrations, refuse_rows
from alservice.science.tree import Tree
from alservice.shapes import BoolArray, FloatArray, IntArray

TOLERANCES = (0.02, 0.05, 0.10, 0.20)
"""Vote-fraction errors of the paper's coverage tables."""

MIN_VOTES = 10
"""Fewest votes on a question for its vote fraction to be compared, as in the paper's Bar sample."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Assessment:
    """What a posterior got right about each galaxy.

    Parameters
    ----------
    tree
        The tree of the Q questions and A answers.
    galaxy_ids
        N galaxies.
    nll
        (N, Q) nats, 0 where the question got no votes.
    votes
        (N, Q) votes per question.
    judged
        (N, Q) whether the question got enough votes for a vote fraction; what follows is 0 elsewhere.
    squared_error
        (N, A) of the vote fraction.
    crps_votes
        (N, A) continuous ranked probability score (votes).
    expected, actual
        (N, A, K) terms of the coverage counts (eq. 11 and 12) at the K `tolerances`.
    below, at
        (N, A) predicted probability of fewer votes than observed, and of as many: what a PIT is made of.
    """

    tree: Tree
    galaxy_ids: tuple[str, ...]
    nll: FloatArray
    votes: IntArray
    judged: BoolArray
    squared_error: FloatArray
    crps_votes: FloatArray
    expected: FloatArray
    actual: FloatArray
    below: FloatArray
    at: FloatArray
    tolerances: tuple[float, ...]

    @property
    def n_galaxies(self) -> int:
        """Galaxies with at least one vote."""
        return int(self.votes.any(axis=1).sum())


def mixture_nll(tree: Tree, concentrations: FloatArray, counts: FloatArray | IntArray) -> FloatArray:
    """Return -ln p(votes) of each question under the mixture of Dirichlet-multinomial draws.

    Parameters
    ----------
    tree
        The tree of the Q questions and A answers.
    concentrations
        (N, T, A) finite and positive.
    counts
        (N, A) votes, finite and not negative; fractions are allowed.

    Returns
    -------
    FloatArray
        (N, Q) float64 nats, multinomial coefficient included; exactly 0 where nothing was asked.

    Raises
    ------
    BadVotes
        If counts do not fit, are negative or not finite; the row is named.
    NumericalFault
        If a result is not finite; the row is named.
    """
    counts = np.asarray(counts, dtype=np.float64)
    check_concentrations(concentrations)
    if counts.shape != (len(concentrations), tree.n_answers) or concentrations.shape[2] != tree.n_answers:
        raise BadVotes(f"counts {counts.shape} do not fit concentrations {concentrations.shape}")
    refuse_rows(~((counts.min(axis=1) >= 0) & (counts.max(axis=1) < np.inf)), "votes", BadVotes)
    totals = question_totals(tree, counts)
    nll = np.empty(totals.shape)
    for rows in row_slices(len(counts), concentrations.shape[1] * tree.n_answers):
        draws = np.asarray(concentrations[rows], dtype=np.float64)
        log_coefficient = log_rising(1, totals[rows]) - question_totals(tree, log_rising(1, counts[rows]))
        log_sequence = question_totals(tree, log_rising(draws, counts[rows, None, :]))
        log_sequence -= log_rising(question_totals(tree, draws), totals[rows, None, :])
        best = log_sequence.max(axis=1)
        mean = np.exp(log_sequence - best[:, None, :]).mean(axis=1)
        nll[rows] = -(log_coefficient + best + np.log(mean))
    refuse_rows(~np.isfinite(nll.sum(axis=1)), "the likelihood", NumericalFault)
    return nll


def assess(
    tree: Tree,
    posterior: Posterior,
    counts: IntArray,
    *,
    min_votes: int = MIN_VOTES,
    tolerances: tuple[float, ...] = TOLERANCES,
    fractions: FloatArray | None = None,
) -> Assessment:
    """Judge a posterior against votes, galaxy by galaxy.

    Parameters
    ----------
    tree
        The tree that the posterior follows.
    posterior
        N galaxies.
    counts
        (N, A) integer votes of the same galaxies.
    min_votes
        Fewest votes on a question for its vote fractions and coverage to count.
    tolerances
        K vote-fraction errors of the coverage counts.
    fractions
        (N, A) recorded share of each answer among those asked, which the squared error is taken against; without
        it, and where it is NaN, the share of the counts.

    Raises
    ------
    BadInput
        If the posterior follows another tree.
    BadVotes
        If counts or fractions do not fit, or counts are not integers or are negative; the galaxy is named.
    """
    check_tree(tree, posterior)
    counts = np.asarray(counts)
    if counts.dtype.kind not in "iu" or counts.shape != (len(posterior.galaxy_ids), tree.n_answers):
        raise BadVotes(f"votes must be integers, one row per galaxy, not {counts.dtype} {counts.shape}")
    if counts.min(initial=0) < 0:
        negative = posterior.galaxy_ids[int(np.argmin(counts.min(axis=1)))]
        raise BadVotes(f"galaxy {negative!r} has negative votes")
    if fractions is not None and fractions.shape != counts.shape:
        raise BadVotes(f"recorded fractions {fractions.shape} do not fit votes {counts.shape}")
    votes = question_totals(tree, counts).astype(np.int64)
    judged = votes >= max(min_votes, 1)
    shape = counts.shape
    squared_error, crps_votes, below, at = (np.zeros(shape) for _ in range(4))
    expected, actual = (np.zeros((*shape, len(tolerances))) for _ in range(2))
    for answer, question in enumerate(tree.question_of_answer):
        rows = np.flatnonzero(judged[:, question])
        k_and_n = np.stack([counts[rows, answer], votes[rows, question]], axis=1)
        a, b = answer_and_rest(tree, posterior.concentrations[rows], answer)
        fraction = (a / (a + b)).mean(axis=1)
        pmf = beta_binomial_mixture_pmf(a, b, k_and_n[:, 1])
        observed = k_and_n[:, 0] / k_and_n[:, 1]
        if fractions is not None:
            recorded = fractions[rows, answer]
            observed = np.where(np.isnan(recorded), observed, recorded)
        squared_error[rows, answer] = (fraction - observed) ** 2
        below[rows, answer], at[rows, answer] = pit_bounds(pmf, k_and_n[:, 0])
        crps_votes[rows, answer] = crps(pmf, k_and_n[:, 0])
        expected[rows, answer], actual[rows, answer] = coverage_counts(
            pmf, fraction * k_and_n[:, 1], k_and_n, tolerances
        )
    return Assessment(
        tree=tree,
        galaxy_ids=posterior.galaxy_ids,
        nll=mixture_nll(tree, posterior.concentrations, counts),
        votes=votes,
        judged=judged,
        squared_error=squared_error,
        crps_votes=crps_votes,
        expected=expected,
        actual=actual,
        below=below,
        at=at,
        tolerances=tolerances,
    )
