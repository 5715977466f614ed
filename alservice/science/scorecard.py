"""A model's figures on votes as people read them: per question and answer, each with its bootstrap interval.

`Metrics` is what the loop stores and gates on; a `Scorecard` adds what a paper's table needs: intervals of every
figure, calibration curves, PIT uniformity, and classification on confident galaxies.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from alservice.errors import BadVotes
from alservice.science.bootstrap import Estimate, bootstrap_sums, percentile_estimate
from alservice.science.calibration import (
    ConfidentFigures,
    ReliabilityBin,
    confident_figures,
    reliability_curve,
    uniformity,
)
from alservice.science.evaluation import MIN_VOTES, Assessment, assess
from alservice.science.posterior import Posterior, answer_probabilities
from alservice.science.tree import Tree
from alservice.science.votes import conditional_fractions
from alservice.shapes import BoolArray, FloatArray, IntArray


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
        Root mean square error of the vote fractions among those asked.
    crps_votes
        Mean continuous ranked probability score of the counts (votes).
    coverage_error
        One per tolerance (Walmsley et al. 2020, eq. 13); positive is overconfident. None where no galaxy lies within.
    """

    name: str
    n_judged: int
    rmse: Estimate | None
    crps_votes: Estimate | None
    coverage_error: tuple[Estimate | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionFigures:
    """One question.

    Parameters
    ----------
    n_galaxies, n_votes
        Galaxies that were asked it at all, and their votes.
    nll_per_vote
        Summed NLL over summed votes (nats per vote).
    fractions
        Its answers pooled.
    confident
        Classification on the galaxies whose volunteers are sure.
    """

    question: str
    n_galaxies: int
    n_votes: int
    nll_per_vote: Estimate | None
    fractions: FractionFigures
    confident: ConfidentFigures | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerFigures:
    """One answer column.

    Parameters
    ----------
    pit_distance, pit_p
        Kolmogorov-Smirnov distance of the randomised PIT from uniform, and how often uniform values are as far.
    reliability
        Observed against predicted fraction in bins of the predicted one.
    """

    fractions: FractionFigures
    pit_distance: float | None
    pit_p: float | None
    reliability: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scorecard:
    """All figures of one model on one set of galaxies.

    Parameters
    ----------
    n_galaxies, n_votes
        Galaxies with at least one vote, and votes.
    min_votes
        Fewest votes on a question for its fractions to be judged.
    nll_per_vote
        Summed NLL (nats, multinomial coefficient included) over summed votes.
    cumulative_rmse
        Root mean square error of the cumulative fractions of the Kaggle Galaxy Challenge, pooled over the recorded
        ones; None for other votes.
    """

    n_galaxies: int
    n_votes: int
    min_votes: int
    nll_per_vote: Estimate
    cumulative_rmse: Estimate | None
    tolerances: tuple[float, ...]
    questions: tuple[QuestionFigures, ...]
    answers: tuple[AnswerFigures, ...]

    def document(self) -> dict[str, Any]:
        """Return the record as a JSON document."""
        return dataclasses.asdict(self)

    def answer(self, column: str) -> AnswerFigures:
        """Return the figures of one answer column, which must be one of the tree's."""
        return next(answer for answer in self.answers if answer.fractions.name == column)


def scorecard(
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
) -> Scorecard:
    """Judge a posterior against votes.

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
    judge = _Judge(
        assessment=assessment,
        predicted=predicted,
        observed=observed,
        estimate=partial(_ratio, rng=rng, repeats=repeats, confidence=confidence),
        rng=rng,
    )
    nll = judge.estimate(assessment.nll.sum(axis=1), assessment.votes.sum(axis=1))
    if nll is None:
        raise BadVotes("no galaxy has a vote: there is nothing to judge by")
    return Scorecard(
        n_galaxies=assessment.n_galaxies,
        n_votes=int(assessment.votes.sum()),
        min_votes=min_votes,
        nll_per_vote=nll,
        cumulative_rmse=None if cumulative is None else judge.cumulative_rmse(*cumulative),
        tolerances=assessment.tolerances,
        questions=tuple(judge.question(index) for index in range(tree.n_questions)),
        answers=tuple(judge.answer(index) for index in range(tree.n_answers)),
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Judge:
    assessment: Assessment
    predicted: FloatArray
    observed: FloatArray
    estimate: Callable[..., Estimate | None]
    rng: np.random.Generator

    def question(self, index: int) -> QuestionFigures:
        assessment = self.assessment
        question, answers = assessment.tree.questions[index], assessment.tree.slices[index]
        rows, votes = assessment.judged[:, index], assessment.votes[:, index]
        return QuestionFigures(
            question=question.name,
            n_galaxies=int((votes > 0).sum()),
            n_votes=int(votes.sum()),
            nll_per_vote=self.estimate(assessment.nll[:, index], votes),
            fractions=self._fractions(question.name, answers, rows),
            confident=confident_figures(self.predicted[rows, answers], self.observed[rows, answers], rng=self.rng),
        )

    def answer(self, index: int) -> AnswerFigures:
        tree = self.assessment.tree
        rows = self.assessment.judged[:, tree.question_of_answer[index]]
        distance = p = None
        if rows.any():
            below, at = self.assessment.below[rows, index], self.assessment.at[rows, index]
            distance, p = uniformity(below + self.rng.random(len(at)) * at)
        return AnswerFigures(
            fractions=self._fractions(tree.columns[index], slice(index, index + 1), rows),
            pit_distance=distance,
            pit_p=p,
            reliability=reliability_curve(self.predicted[rows, index], self.observed[rows, index]),
        )

    def cumulative_rmse(self, predicted: FloatArray, recorded: FloatArray) -> Estimate | None:
        known = ~np.isnan(recorded)
        squared = np.where(known, (predicted - recorded) ** 2, 0)
        return self.estimate(squared.sum(axis=1), known.sum(axis=1), np.sqrt)

    def _fractions(self, name: str, answers: slice, rows: BoolArray) -> FractionFigures:
        assessment = self.assessment
        n_terms = rows * (answers.stop - answers.start)
        expected, actual = (terms[:, answers].sum(axis=1) for terms in (assessment.expected, assessment.actual))
        return FractionFigures(
            name=name,
            n_judged=int(rows.sum()),
            rmse=self.estimate(assessment.squared_error[:, answers].sum(axis=1), n_terms, np.sqrt),
            crps_votes=self.estimate(assessment.crps_votes[:, answers].sum(axis=1), n_terms),
            coverage_error=tuple(
                self.estimate(expected[:, k] - actual[:, k], actual[:, k]) for k in range(len(assessment.tolerances))
            ),
        )


def _ratio(
    numerator: FloatArray,
    denominator: FloatArray | IntArray,
    of_ratio: Callable[[FloatArray], FloatArray] = np.asarray,
    *,
    rng: np.random.Generator,
    repeats: int,
    confidence: float,
) -> Estimate | None:
    """Return a function of a ratio of sums over galaxies, (N,) terms each; None where the denominator is 0."""
    if not denominator.any():
        return None
    counted = (numerator != 0) | (denominator != 0)
    terms = np.stack([numerator[counted], denominator[counted]], axis=1)
    sums = bootstrap_sums(terms, repeats=repeats, rng=rng)
    drawn = sums[sums[:, 1] > 0]  # a sample without any such galaxy has no ratio
    value, total = terms.sum(axis=0)
    return percentile_estimate(float(of_ratio(value / total)), of_ratio(drawn[:, 0] / drawn[:, 1]), confidence)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextTable:
    """A title, headings, and rows of as many cells."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def text(self) -> str:
        """Return the table for a terminal: names to the left, figures to the right."""
        widths = [max(len(row[i]) for row in (self.head, *self.rows)) for i in range(len(self.head))]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in (self.head, *self.rows)
        ]
        return "\n".join([self.title, lines[0], "-" * len(lines[0]), *lines[1:]])

    def markdown(self) -> str:
        """Return the table as Markdown."""
        lines = [" | ".join(row) for row in (self.head, ["---"] * len(self.head), *self.rows)]
        return "\n".join(f"| {line} |" for line in lines)


def scorecard_tables(card: Scorecard) -> Iterator[TextTable]:
    """Yield the tables of a scorecard: totals, questions, answers, confident galaxies."""
    totals = [("galaxies", f"{card.n_galaxies:,}"), ("votes", f"{card.n_votes:,}")]
    totals.append(("NLL per vote [nats]", _interval(card.nll_per_vote, 4)))
    if card.cumulative_rmse is not None:
        totals.append(("RMSE of the cumulative fractions", _interval(card.cumulative_rmse, 4)))
    yield TextTable(title="All questions, 95 % intervals over galaxies", head=("figure", "value"), rows=tuple(totals))
    head = _fraction_head(card)
    yield TextTable(
        title=f"Questions, answers pooled, judged from {card.min_votes} votes on; CRPS [votes]; ±: coverage error [%]",
        head=("question", "galaxies", "votes", "NLL/vote [nats]", *head),
        rows=tuple(
            (
                q.question,
                f"{q.n_galaxies:,}",
                f"{q.n_votes:,}",
                _interval(q.nll_per_vote, 3),
                *_fraction_cells(q.fractions),
            )
            for q in card.questions
        ),
    )
    yield TextTable(
        title="Answers; PIT: distance of the randomised PIT from uniform, and its p-value",
        head=("answer", *head, "PIT", "p"),
        rows=tuple(
            (a.fractions.name, *_fraction_cells(a.fractions), _number(a.pit_distance), _number(a.pit_p))
            for a in card.answers
        ),
    )
    yield TextTable(
        title="Classification where more than 80 % of the volunteers agree",
        head=("question", "count", "accuracy", "precision", "recall", "F1"),
        rows=tuple(
            (
                q.question,
                f"{q.confident.n_galaxies:,}",
                *(
                    _interval(figure, 4)
                    for figure in (q.confident.accuracy, q.confident.precision, q.confident.recall, q.confident.f1)
                ),
            )
            for q in card.questions
            if q.confident is not None
        ),
    )


def percent_interval(estimate: Estimate | None) -> str:
    """Return an estimate as signed percent with its interval."""
    if estimate is None:
        return "-"
    return f"{100 * estimate.value:+.1f} [{100 * estimate.low:+.1f}, {100 * estimate.high:+.1f}]"


def _fraction_head(card: Scorecard) -> tuple[str, ...]:
    return ("judged", "RMSE", "CRPS", *(f"±{t:.2f}" for t in card.tolerances))


def _fraction_cells(figures: FractionFigures) -> Sequence[str]:
    return (
        f"{figures.n_judged:,}",
        _interval(figures.rmse, 3),
        "-" if figures.crps_votes is None else f"{figures.crps_votes.value:.2f}",
        *("-" if error is None else f"{100 * error.value:+.1f}" for error in figures.coverage_error),
    )


def _interval(estimate: Estimate | None, digits: int) -> str:
    if estimate is None:
        return "-"
    return f"{estimate.value:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
