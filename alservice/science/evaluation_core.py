"""How well a model predicts votes on the evaluation stream: likelihood, vote fractions and coverage.

`assess` judges galaxy by galaxy, `summarise` reduces that to `Metrics`, and `evaluate` does both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from alservice.errors import BadVotes, NumericalFault
from alservice.science.bootstrap import bootstrap_sums, percentile_estimate
from alservice.science.calibration import binomial_mixture_pmf, coverage_counts
from alservice.science.evaluation import MIN_VOTES, Assessment, assess
from alservice.science.metrics import AnswerMetrics, Metrics, QuestionMetrics
from alservice.science.posterior import Posterior
from alservice.science.scoring import check_rho, refuse_rows
from alservice.science.tree import Tree
from alservice.shapes import FloatArray, IntArray


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
