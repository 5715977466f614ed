"""What a posterior got right about each galaxy: one row per galaxy, which the gate resamples in pairs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from alservice.errors import BadInput, BadVotes, NotFound, NumericalFault
from alservice.science.bootstrap import Estimate, bootstrap_sums, percentile_estimate
from alservice.science.calibration import (
    beta_binomial_mixture_pmf,
    binomial_mixture_pmf,
    coverage_counts,
    crps,
    pit_bounds,
)
from alservice.science.pmf import log_rising, row_slices
from alservice.science.posterior import (
    Posterior,
    answer_and_rest,
    check_concentrations,
    check_rho,
    check_tree,
    question_totals,
    refuse_rows,
)
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


def coverage_error(posterior: FloatArray, votes: IntArray, tolerances: Sequence[float]) -> FloatArray:
    """Return the coverage error of one answer at each tolerance (Walmsley et al. 2020, eq. 11-13).

    Expected: the summed probability, under the mixture of binomial draws, that k lies strictly within
    N tolerance of k_hat = N <rho>. Actual: the galaxies whose observed k does. Error: the excess of expected
    over actual, relative to actual;
    positive means overconfident. A galaxy with N = 0 counts in neither.

    Parameters
    ----------
    posterior
        (B, T) draws of the answer probability rho.
    votes
        (B, 2) observed k and N, whole numbers.
    tolerances
        K vote-fraction errors.

    Returns
    -------
    FloatArray
        (K,) float64.

    Raises
    ------
    BadVotes
        If votes do not fit, or a row has not 0 <= k <= N; the row is named.
    NumericalFault
        If a draw is outside [0, 1] (the row is named), or no galaxy lies within a tolerance.
    """
    posterior, votes = np.asarray(posterior), _whole(np.asarray(votes))
    if votes.shape != (len(posterior), 2) or votes.dtype.kind not in "iu":
        raise BadVotes(f"votes must be {len(posterior)} integer pairs k, N, not {votes.dtype} {votes.shape}")
    refuse_rows((votes[:, 0] < 0) | (votes[:, 0] > votes[:, 1]), "k of N votes", BadVotes)
    check_rho(posterior)
    centre = votes[:, 1] * posterior.mean(axis=1, dtype=np.float64)
    pmf = binomial_mixture_pmf(posterior, votes[:, 1])
    expected, actual = (terms.sum(axis=0) for terms in coverage_counts(pmf, centre, votes, tolerances))
    if not actual.all():
        empty = tolerances[int(np.argmin(actual))]
        raise NumericalFault(f"no galaxy lies within {empty} of its prediction: the error is undefined")
    errors: FloatArray = (expected - actual) / actual
    return errors


def _whole(votes: IntArray) -> IntArray:
    """Return whole numbers as integers, whatever type they came in; others stay as they are."""
    if votes.dtype.kind == "f" and np.isfinite(votes).all() and not (votes % 1).any():
        return votes.astype(np.int64)
    return votes


def summarise(
    assessment: Assessment, *, rng: np.random.Generator, repeats: int = 1000, confidence: float = 0.95
) -> Metrics:
    """Reduce an assessment to metrics, with a bootstrap interval of the NLL per vote.

    Raises
    ------
    BadVotes
        If no galaxy has a vote.
    """
    nll_and_votes = np.stack([assessment.nll.sum(axis=1), assessment.votes.sum(axis=1)], axis=1)
    nll_and_votes = nll_and_votes[nll_and_votes[:, 1] > 0]
    if len(nll_and_votes) == 0:
        raise BadVotes("no galaxy of the evaluation stream has votes yet")
    samples = bootstrap_sums(nll_and_votes, repeats=repeats, rng=rng)
    nll, votes = nll_and_votes.sum(axis=0)
    return Metrics(
        n_galaxies=len(nll_and_votes),
        n_votes=int(votes),
        nll_per_vote=percentile_estimate(nll / votes, samples[:, 0] / samples[:, 1], confidence),
        tolerances=assessment.tolerances,
        questions=tuple(_question_metrics(assessment, index) for index in range(assessment.tree.n_questions)),
        answers=tuple(_answer_metrics(assessment, index) for index in range(assessment.tree.n_answers)),
    )


def evaluate(
    tree: Tree,
    posterior: Posterior,
    counts: IntArray,
    *,
    rng: np.random.Generator,
    min_votes: int = MIN_VOTES,
    repeats: int = 1000,
    confidence: float = 0.95,
) -> Metrics:
    """Assess and summarise in one call; see `assess` and `summarise`."""
    return summarise(
        assess(tree, posterior, counts, min_votes=min_votes), rng=rng, repeats=repeats, confidence=confidence
    )


def _question_metrics(assessment: Assessment, question: int) -> QuestionMetrics:
    answers = assessment.tree.slices[question]
    votes = int(assessment.votes[:, question].sum())
    judged = int(assessment.judged[:, question].sum())
    squared_error = assessment.squared_error[:, answers]
    return QuestionMetrics(
        question=assessment.tree.questions[question].name,
        n_galaxies=int((assessment.votes[:, question] > 0).sum()),
        n_votes=votes,
        nll_per_vote=float(assessment.nll[:, question].sum() / votes) if votes else None,
        n_judged=judged,
        rmse=math.sqrt(squared_error.sum() / (judged * squared_error.shape[1])) if judged else None,
        coverage_error=_coverage_errors(assessment.expected[:, answers], assessment.actual[:, answers]),
    )


def _answer_metrics(assessment: Assessment, answer: int) -> AnswerMetrics:
    judged = int(assessment.judged[:, assessment.tree.question_of_answer[answer]].sum())
    return AnswerMetrics(
        column=assessment.tree.columns[answer],
        n_judged=judged,
        rmse=math.sqrt(assessment.squared_error[:, answer].sum() / judged) if judged else None,
        crps_votes=float(assessment.crps_votes[:, answer].sum() / judged) if judged else None,
        coverage_error=_coverage_errors(assessment.expected[:, answer], assessment.actual[:, answer]),
    )


def _coverage_errors(expected: FloatArray, actual: FloatArray) -> tuple[float | None, ...]:
    sums = (terms.reshape(-1, terms.shape[-1]).sum(axis=0) for terms in (expected, actual))
    return tuple(float((e - a) / a) if a else None for e, a in zip(*sums, strict=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionMetrics:
    """One question, its answers pooled; None where no galaxy has enough votes.

    Parameters
    ----------
    question
        Name in the tree.
    n_galaxies, n_votes
        Galaxies that were asked it at all, and their votes.
    nll_per_vote
        Summed NLL over summed votes (nats per vote).
    n_judged
        Galaxies with enough votes for a vote fraction; the rest of the record is about them.
    rmse
        Root mean square error of the vote fractions, each galaxy and answer counting once.
    coverage_error
        One per tolerance, from summed expected and actual counts; None where the actual count is 0.
    """

    question: str
    n_galaxies: int
    n_votes: int
    nll_per_vote: float | None
    n_judged: int
    rmse: float | None
    coverage_error: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerMetrics:
    """One answer column; None where no galaxy has enough votes on its question.

    Parameters
    ----------
    column
        Answer column of the tree.
    n_judged
        Galaxies with enough votes for a vote fraction.
    rmse
        Root mean square error of the vote fraction among those asked; every galaxy counts once.
    crps_votes
        Mean continuous ranked probability score (votes).
    coverage_error
        One per tolerance: (expected - actual) / actual count (Walmsley et al. 2020, eq. 13); None where the
        actual count is 0.
    """

    column: str
    n_judged: int
    rmse: float | None
    crps_votes: float | None
    coverage_error: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """The summary of one model on one set of galaxies.

    Parameters
    ----------
    n_galaxies, n_votes
        Galaxies with at least one vote, and votes.
    nll_per_vote
        Summed NLL (nats, multinomial coefficient included) over summed votes, with its bootstrap interval.
    tolerances
        Vote-fraction errors of the coverage errors below.
    questions, answers
        In tree order.
    slices
        Parts of the galaxies by measured properties; empty where none were measured.
    """

    n_galaxies: int
    n_votes: int
    nll_per_vote: Estimate
    tolerances: tuple[float, ...]
    questions: tuple[QuestionMetrics, ...]
    answers: tuple[AnswerMetrics, ...]
    slices: tuple[Slice, ...] = ()

    def answer(self, column: str) -> AnswerMetrics:
        """Return the metrics of one answer column; `NotFound` names an unknown one."""
        for answer in self.answers:
            if answer.column == column:
                return answer
        raise NotFound(f"no metrics of answer column {column!r}", column=column)

    def document(self) -> dict[str, Any]:
        """Return the record as a JSON document."""
        return dataclasses.asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Metrics:
        """Return the record that `document` was made from, also after JSON turned tuples into lists."""
        return cls(
            n_galaxies=document["n_galaxies"],
            n_votes=document["n_votes"],
            nll_per_vote=Estimate(**document["nll_per_vote"]),
            tolerances=tuple(document["tolerances"]),
            questions=tuple(
                QuestionMetrics(**{**item, "coverage_error": tuple(item["coverage_error"])})
                for item in document["questions"]
            ),
            answers=tuple(
                AnswerMetrics(**{**item, "coverage_error": tuple(item["coverage_error"])})
                for item in document["answers"]
            ),
            slices=tuple(
                Slice(**{**item, "nll_per_vote": Estimate(**item["nll_per_vote"])})
                for item in document.get("slices", ())
            ),
        )


QUARTERS = 4
"""Slices per property."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """A model on the galaxies whose property lies within limits.

    Parameters
    ----------
    name
        The property; its unit is in the name.
    low, high
        Limits, the upper one included; the first slice includes its lower one too.
    n_galaxies, n_votes
        Evaluation galaxies with votes, and their votes.
    nll_per_vote
        Summed NLL over summed votes (nats), with its bootstrap interval.
    rmse
        Of the vote fractions of one answer; None where no galaxy has enough votes.
    """

    name: str
    low: float
    high: float
    n_galaxies: int
    n_votes: int
    nll_per_vote: Estimate
    rmse: float | None


def slice_metrics(
    assessment: Assessment,
    properties: Mapping[str, FloatArray],
    *,
    column: str,
    rng: np.random.Generator,
    repeats: int = 500,
    confidence: float = 0.95,
) -> tuple[Slice, ...]:
    """Cut the galaxies with votes at the quartiles of every property, and summarise each part.

    Equal quartiles, as of a property that most galaxies share, make fewer slices.

    Parameters
    ----------
    properties
        (N,) values of the assessed galaxies by name; a galaxy with NaN is in no slice of that property.
    column
        Answer column of the RMSE.

    Raises
    ------
    BadInput
        A property has not one value per galaxy.
    """
    voted: BoolArray = assessment.votes.sum(axis=1) > 0
    found: list[Slice] = []
    for name, values in properties.items():
        if values.shape != voted.shape:
            raise BadInput(f"property {name!r} has {values.shape} values for {len(voted)} galaxies")
        known = voted & np.isfinite(values)
        if not known.any():
            continue
        edges = np.unique(np.quantile(values[known], np.linspace(0, 1, QUARTERS + 1)))
        for i, (low, high) in enumerate(pairwise(edges)):
            inside = known & (values <= high) & ((values >= low) if i == 0 else (values > low))
            if inside.any():
                nll = _nll(assessment, inside, rng, repeats, confidence)
                found.append(_slice(assessment, inside, name, (float(low), float(high)), nll, column))
    return tuple(found)


def _nll(
    assessment: Assessment, inside: BoolArray, rng: np.random.Generator, repeats: int, confidence: float
) -> Estimate:
    nll, votes = assessment.nll[inside].sum(axis=1), assessment.votes[inside].sum(axis=1)
    sums = bootstrap_sums(np.stack([nll, votes], axis=1), repeats=repeats, rng=rng)
    return percentile_estimate(nll.sum() / votes.sum(), sums[:, 0] / sums[:, 1], confidence)


def _slice(
    assessment: Assessment, inside: BoolArray, name: str, limits: tuple[float, float], nll: Estimate, column: str
) -> Slice:
    answer = assessment.tree.columns.index(column)
    judged = int(assessment.judged[inside, assessment.tree.question_of_answer[answer]].sum())
    return Slice(
        name=name,
        low=limits[0],
        high=limits[1],
        n_galaxies=int(inside.sum()),
        n_votes=int(assessment.votes[inside].sum()),
        nll_per_vote=nll,
        rmse=math.sqrt(assessment.squared_error[inside, answer].sum() / judged) if judged else None,
    )
