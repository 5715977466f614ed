"""Evaluation of a posterior on votes: per galaxy (`Assessment`, which the gate resamples in pairs), then in figures.

`assess` makes the terms of every galaxy, `summarise` and `evaluate` the one record of figures, `Evaluation`, that loop,
files, report, dashboard and model card show.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from alservice.documents import document_of, record_of
from alservice.errors import BadInput, BadVotes, NotFound, NumericalFault
from alservice.science.bootstrap import Estimate, Figure, bootstrap_sums, percentile_estimate
from alservice.science.calibration import (
    ConfidentFigures,
    ReliabilityBin,
    beta_binomial_mixture_pmf,
    binomial_mixture_pmf,
    confident_figures,
    coverage_counts,
    crps,
    pit_bounds,
    reliability_curve,
    uniformity,
)
from alservice.science.pmf import log_rising, row_slices
from alservice.science.posterior import (
    Posterior,
    answer_and_rest,
    answer_probabilities,
    check_concentrations,
    check_rho,
    check_tree,
    question_totals,
    refuse_rows,
)
from alservice.science.tree import Tree
from alservice.science.votes import conditional_fractions
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
    min_votes
        Fewest votes on a question for it to be judged.
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
    min_votes: int = MIN_VOTES

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
        min_votes=min_votes,
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


@dataclass(frozen=True, kw_only=True, slots=True)
class FractionFigures:
    """Figures of one question, its answers pooled, or of one answer; None where no galaxy has enough votes.

    Parameters
    ----------
    name
        Question, or answer column.
    n_judged
        Galaxies with enough votes for a vote fraction.
    rmse
        Root mean square error of the vote fractions among those asked, each galaxy and answer counting once.
    crps_votes
        Mean continuous ranked probability score of the counts (votes).
    coverage_error
        One per tolerance: (expected - actual) / actual count (Walmsley et al. 2020, eq. 13); positive is
        overconfident. None where no galaxy lies within.
    """

    name: str
    n_judged: int
    rmse: Figure | None
    crps_votes: Figure | None
    coverage_error: tuple[Figure | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionFigures:
    """Figures of one question.

    Parameters
    ----------
    n_galaxies, n_votes
        Galaxies that were asked it at all, and their votes.
    nll_per_vote
        Summed NLL over summed votes (nats per vote); None where it got none.
    fractions
        Its answers pooled.
    confident
        Classification on the galaxies whose volunteers are sure; None where it was not measured, or there are none.
    """

    question: str
    n_galaxies: int
    n_votes: int
    nll_per_vote: Figure | None
    fractions: FractionFigures
    confident: ConfidentFigures | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerFigures:
    """Figures of one answer column.

    Parameters
    ----------
    pit_distance, pit_p
        Kolmogorov-Smirnov distance of the randomised PIT from uniform, and how often uniform values are as far; None
        where it was not measured.
    reliability
        Observed against predicted fraction in bins of the predicted one; empty where it was not measured.
    """

    fractions: FractionFigures
    pit_distance: float | None = None
    pit_p: float | None = None
    reliability: tuple[ReliabilityBin, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Figures of one model on one set of galaxies with votes.

    The loop and files keep the same record. Intervals of the parts, calibration curves and confident galaxies are there
    where `evaluate` made it, and left out by `summarise`.

    Parameters
    ----------
    n_galaxies, n_votes
        Galaxies with at least one vote, and votes.
    min_votes
        Fewest votes on a question for its fractions to be judged.
    nll_per_vote
        Summed NLL (nats, multinomial coefficient included) over summed votes, with its bootstrap interval.
    cumulative_rmse
        Root mean square error of the cumulative fractions of the Kaggle Galaxy Challenge, pooled over the recorded
        ones; None for other votes.
    tolerances
        Vote-fraction errors of the coverage errors below.
    questions, answers
        In tree order.
    slices
        Parts of the galaxies by measured properties; empty where none were measured.
    """

    n_galaxies: int
    n_votes: int
    min_votes: int = MIN_VOTES
    nll_per_vote: Estimate
    cumulative_rmse: Figure | None = None
    tolerances: tuple[float, ...]
    questions: tuple[QuestionFigures, ...]
    answers: tuple[AnswerFigures, ...]
    slices: tuple[Slice, ...] = ()

    def answer(self, column: str) -> AnswerFigures:
        """Return the figures of one answer column; `NotFound` names an unknown one."""
        for answer in self.answers:
            if answer.fractions.name == column:
                return answer
        raise NotFound(f"no metrics of answer column {column!r}", column=column)

    def document(self) -> dict[str, Any]:
        """Return the record as a JSON document, without slices where none were measured."""
        document = document_of(self)
        if not self.slices:
            del document["slices"]
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Evaluation:
        """Return the record of a document, also of the layout that the loop wrote before files and loop shared one.

        Raises
        ------
        BadDocument
            It holds neither.
        """
        flat = any("column" in answer for answer in document.get("answers", ()))
        return record_of(cls, _from_flat(document) if flat else document)


def _from_flat(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of an earlier one, whose fractions stood beside the rest and had no intervals."""

    def figure(value: float | None) -> dict[str, Any] | None:
        return None if value is None else {"value": value}

    def fractions(name: str | None, part: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "name": name,
            "n_judged": part.get("n_judged"),
            "rmse": figure(part.get("rmse")),
            "crps_votes": figure(part.get("crps_votes")),
            "coverage_error": [figure(error) for error in part.get("coverage_error", ())],
        }

    questions = [
        {
            "question": part.get("question"),
            "n_galaxies": part.get("n_galaxies"),
            "n_votes": part.get("n_votes"),
            "nll_per_vote": figure(part.get("nll_per_vote")),
            "fractions": fractions(part.get("question"), part),
        }
        for part in document.get("questions", ())
    ]
    answers = [{"fractions": fractions(part.get("column"), part)} for part in document.get("answers", ())]
    return {**document, "questions": questions, "answers": answers}


def evaluate(
    tree: Tree,
    posterior: Posterior,
    counts: IntArray,
    *,
    rng: np.random.Generator,
    fractions: FloatArray | None = None,
    cumulative: tuple[FloatArray, FloatArray] | None = None,
    min_votes: int = MIN_VOTES,
    repeats: int = 1000,
    confidence: float = 0.95,
) -> Evaluation:
    """Evaluate a posterior on votes: every figure with its interval, calibration curves, and confident galaxies.

    Parameters
    ----------
    counts
        (N, A) integer votes of the same galaxies.
    fractions
        (N, A) recorded share of each answer among those asked, where the votes were drawn from one; fractions are then
        judged against it, not against the draw.
    cumulative
        Predicted and recorded cumulative fractions, (N, A) each, NaN where not recorded.
    rng
        Source of the randomised PIT and the resampled galaxies.

    Raises
    ------
    BadInput, BadVotes
        As `assess` does, or if no galaxy has a vote.
    """
    assessment = assess(tree, posterior, counts, min_votes=min_votes, fractions=fractions)
    observed = conditional_fractions(tree, counts)
    if fractions is not None:
        observed = np.where(np.isnan(fractions), observed, fractions)
    predicted = answer_probabilities(tree, posterior.concentrations.astype(np.float64)).mean(axis=1)
    ratio = partial(_resampled_ratio, rng=rng, repeats=repeats, confidence=confidence)
    nll = _nll_per_vote(assessment, slice(None), rng=rng, repeats=repeats, confidence=confidence)
    if nll is None:
        raise BadVotes("no galaxy has a vote: there is nothing to judge by")
    return Evaluation(
        n_galaxies=assessment.n_galaxies,
        n_votes=int(assessment.votes.sum()),
        min_votes=min_votes,
        nll_per_vote=nll,
        cumulative_rmse=None if cumulative is None else _cumulative_rmse(*cumulative, ratio),
        tolerances=assessment.tolerances,
        questions=tuple(
            dataclasses.replace(
                _question_figures(assessment, index, ratio),
                confident=_confident(assessment, index, predicted, observed, rng),
            )
            for index in range(tree.n_questions)
        ),
        answers=tuple(
            _calibrated(assessment, index, predicted, observed, ratio, rng) for index in range(tree.n_answers)
        ),
    )


def summarise(
    assessment: Assessment, *, rng: np.random.Generator, repeats: int = 1000, confidence: float = 0.95
) -> Evaluation:
    """Reduce an assessment to its figures, of which the NLL per vote alone has an interval.

    Raises
    ------
    BadVotes
        If no galaxy has a vote.
    """
    nll = _nll_per_vote(assessment, slice(None), rng=rng, repeats=repeats, confidence=confidence)
    if nll is None:
        raise BadVotes("no galaxy of the evaluation stream has votes yet")
    tree = assessment.tree
    return Evaluation(
        n_galaxies=assessment.n_galaxies,
        n_votes=int(assessment.votes.sum()),
        min_votes=assessment.min_votes,
        nll_per_vote=nll,
        tolerances=assessment.tolerances,
        questions=tuple(_question_figures(assessment, index, _ratio) for index in range(tree.n_questions)),
        answers=tuple(
            AnswerFigures(fractions=_answer_figures(assessment, index, _ratio)) for index in range(tree.n_answers)
        ),
    )


class _Ratio(Protocol):
    """Makes a figure of a ratio of sums over galaxies."""

    def __call__(
        self,
        numerator: FloatArray,
        denominator: FloatArray | IntArray,
        of_ratio: Callable[[FloatArray], FloatArray] = np.asarray,
        /,
    ) -> Figure | None:
        """Return a function of the ratio of (N,) terms each; None where the denominator is 0."""


def _ratio(
    numerator: FloatArray,
    denominator: FloatArray | IntArray,
    of_ratio: Callable[[FloatArray], FloatArray] = np.asarray,
) -> Figure | None:
    """Make the figure without an interval."""
    total = denominator.sum()
    return Figure(value=float(of_ratio(numerator.sum() / total))) if total else None


def _resampled_ratio(
    numerator: FloatArray,
    denominator: FloatArray | IntArray,
    of_ratio: Callable[[FloatArray], FloatArray] = np.asarray,
    *,
    rng: np.random.Generator,
    repeats: int,
    confidence: float,
) -> Figure | None:
    """Make the figure with a bootstrap interval."""
    if not denominator.any():
        return None
    counted = (numerator != 0) | (denominator != 0)
    terms = np.stack([numerator[counted], denominator[counted]], axis=1)
    sums = bootstrap_sums(terms, repeats=repeats, rng=rng)
    drawn = sums[sums[:, 1] > 0]  # a sample without any such galaxy has no ratio
    value, total = terms.sum(axis=0)
    found = percentile_estimate(float(of_ratio(value / total)), of_ratio(drawn[:, 0] / drawn[:, 1]), confidence)
    return Figure(value=found.value, low=found.low, high=found.high)


def _nll_per_vote(
    assessment: Assessment, inside: slice | BoolArray, *, rng: np.random.Generator, repeats: int, confidence: float
) -> Estimate | None:
    """Return the NLL per vote of some galaxies; None where none of them has votes."""
    terms = np.stack([assessment.nll[inside].sum(axis=1), assessment.votes[inside].sum(axis=1)], axis=1)
    terms = terms[terms[:, 1] > 0]
    if len(terms) == 0:
        return None
    sums = bootstrap_sums(terms, repeats=repeats, rng=rng)
    nll, votes = terms.sum(axis=0)
    return percentile_estimate(nll / votes, sums[:, 0] / sums[:, 1], confidence)


def _question_figures(assessment: Assessment, index: int, ratio: _Ratio) -> QuestionFigures:
    name, votes = assessment.tree.questions[index].name, assessment.votes[:, index]
    return QuestionFigures(
        question=name,
        n_galaxies=int((votes > 0).sum()),
        n_votes=int(votes.sum()),
        nll_per_vote=ratio(assessment.nll[:, index], votes),
        fractions=_fraction_figures(assessment, name, assessment.tree.slices[index], index, ratio),
    )


def _answer_figures(assessment: Assessment, index: int, ratio: _Ratio) -> FractionFigures:
    tree = assessment.tree
    return _fraction_figures(
        assessment, tree.columns[index], slice(index, index + 1), int(tree.question_of_answer[index]), ratio
    )


def _fraction_figures(
    assessment: Assessment, name: str, answers: slice, question: int, ratio: _Ratio
) -> FractionFigures:
    rows = assessment.judged[:, question]
    n_terms = rows * (answers.stop - answers.start)
    expected, actual = (terms[:, answers].sum(axis=1) for terms in (assessment.expected, assessment.actual))
    return FractionFigures(
        name=name,
        n_judged=int(rows.sum()),
        rmse=ratio(assessment.squared_error[:, answers].sum(axis=1), n_terms, np.sqrt),
        crps_votes=ratio(assessment.crps_votes[:, answers].sum(axis=1), n_terms),
        coverage_error=tuple(
            ratio(expected[:, k] - actual[:, k], actual[:, k]) for k in range(len(assessment.tolerances))
        ),
    )


def _confident(
    assessment: Assessment, question: int, predicted: FloatArray, observed: FloatArray, rng: np.random.Generator
) -> ConfidentFigures | None:
    rows, answers = assessment.judged[:, question], assessment.tree.slices[question]
    return confident_figures(predicted[rows, answers], observed[rows, answers], rng=rng)


def _calibrated(
    assessment: Assessment,
    index: int,
    predicted: FloatArray,
    observed: FloatArray,
    ratio: _Ratio,
    rng: np.random.Generator,
) -> AnswerFigures:
    """Return an answer's figures with PIT and reliability."""
    rows = assessment.judged[:, assessment.tree.question_of_answer[index]]
    distance = p = None
    if rows.any():
        below, at = assessment.below[rows, index], assessment.at[rows, index]
        distance, p = uniformity(below + rng.random(len(at)) * at)
    return AnswerFigures(
        fractions=_answer_figures(assessment, index, ratio),
        pit_distance=distance,
        pit_p=p,
        reliability=reliability_curve(predicted[rows, index], observed[rows, index]),
    )


def _cumulative_rmse(predicted: FloatArray, recorded: FloatArray, ratio: _Ratio) -> Figure | None:
    known = ~np.isnan(recorded)
    squared = np.where(known, (predicted - recorded) ** 2, 0)
    return ratio(squared.sum(axis=1), known.sum(axis=1), np.sqrt)


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
                nll = _nll_per_vote(assessment, inside, rng=rng, repeats=repeats, confidence=confidence)
                if nll is not None:
                    found.append(_slice(assessment, inside, name, (float(low), float(high)), nll, column))
    return tuple(found)


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
