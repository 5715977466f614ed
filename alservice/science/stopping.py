"""When enough is known of a galaxy to stop asking: rules on its posterior after votes.

==============  ================================================================================
rule            stops when
==============  ================================================================================
`label`         the majority answer of every question that counts is certain to `confidence`
`precision`     the standard deviation of every answer's fraction there is at most `target_sd`
`value`         one more vote is expected to tell at most `min_information` there
`gain`          further votes are expected to make at most `min_gain` more labels right, each
==============  ================================================================================

A question counts where its science weight is above `min_weight` and it is expected to be asked of at least `min_asked`
of the volunteers. Below `min_votes` asking goes on, at `max_votes` it ends, whatever the rule says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, TypeAlias, assert_never

import numpy as np

from alservice.errors import BadConfig
from alservice.science.fusion import (
    expected_asked,
    fraction_moments,
    majority_gain,
    majority_probability,
    next_vote_information,
)
from alservice.science.posterior import Mixture, check_weights, checked_counts, question_totals
from alservice.science.tree import Tree
from alservice.shapes import BoolArray, FloatArray, IntArray

RuleName: TypeAlias = Literal["label", "precision", "value", "gain"]

MIN_GAIN: Final = 0.0005
"""Labels that a further vote must be expected to make right, unless a campaign says otherwise: one for 2,000 votes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoppingPolicy:
    """A rule with its thresholds; making an impossible one raises `BadConfig`.

    Parameters
    ----------
    rule
        Which of the four.
    confidence
        Probability that the most likely answer has the largest fraction, within (0.5, 1).
    target_sd
        Standard deviation of a fraction, positive.
    min_information
        Nats that one more classification is expected to give, times the science weights, positive.
    min_gain
        Labels that each further classification is expected to make right, times the science weights, positive.
    min_votes, max_votes
        Classifications of a galaxy below which asking always goes on, and at which it always ends.
    min_asked
        Share of volunteers, within 0..1, that a question must be expected to be asked of to count.
    min_weight
        Science weight that a question must exceed to count, not negative.
    questions
        Names of the questions that may count; all where empty.
    """

    rule: RuleName
    confidence: float = 0.95
    target_sd: float = 0.08
    min_information: float = 0.05
    min_gain: float = MIN_GAIN
    min_votes: int = 3
    max_votes: int = 40
    min_asked: float = 0.5
    min_weight: float = 0.0
    questions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse thresholds that no galaxy or every galaxy would meet."""
        if not 0.5 < self.confidence < 1:
            raise BadConfig(f"the confidence of a stopping rule must lie in (0.5, 1), not {self.confidence}")
        if not 0 <= self.min_votes <= self.max_votes or self.max_votes < 1:
            raise BadConfig(f"a rule needs 0 <= min_votes <= max_votes, not {self.min_votes} and {self.max_votes}")
        thresholds = (self.target_sd, self.min_information, self.min_gain)
        if not all(0 < threshold < np.inf for threshold in thresholds):
            raise BadConfig(f"thresholds must be positive, not {thresholds}")
        if not (0 <= self.min_asked <= 1 and 0 <= self.min_weight < np.inf):
            raise BadConfig(f"a share must lie in 0..1 and a weight be finite: {self.min_asked}, {self.min_weight}")

    @property
    def target(self) -> float:
        """The threshold of the rule."""
        match self.rule:
            case "label":
                return self.confidence
            case "precision":
                return self.target_sd
            case "value":
                return self.min_information
            case "gain":
                return self.min_gain
            case _:
                assert_never(self.rule)


class StopReason(StrEnum):
    """Why asking goes on or ends."""

    TOO_FEW_VOTES = "too-few-votes"
    NOT_YET_KNOWN = "not-yet-known"
    NO_POSTERIOR = "no-posterior"
    KNOWN = "known"
    ALL_VOTES = "all-votes"


@dataclass(frozen=True, kw_only=True, slots=True)
class StopDecision:
    """Whether to stop asking about one galaxy, with its evidence.

    Parameters
    ----------
    stop
        True to stop.
    reason
        Why.
    votes
        Classifications so far.
    rule, target
        The rule and its threshold.
    figure
        What is compared with the threshold: the least certain majority, the largest standard deviation, nats of one
        more vote, or labels by each further vote; None without a posterior, or where no question counts.
    question
        The question that the figure is of; None for `value` and `gain`, and where there is no figure.
    """

    stop: bool
    reason: StopReason
    votes: int
    rule: RuleName
    target: float
    figure: float | None
    question: str | None

    def text(self) -> str:
        """Return one sentence."""
        verdict = "asking ends" if self.stop else "asking goes on"
        figure = "no figure" if self.figure is None else f"{self.figure:.3g}"
        where = "" if self.question is None else f" of {self.question}"
        return (
            f"{verdict} after {self.votes} votes: {self.reason.replace('-', ' ')} "
            f"({self.rule}{where}: {figure}, threshold {self.target:g})"
        )


def stop_decisions(
    tree: Tree,
    policy: StoppingPolicy,
    mixture: Mixture,
    counts: IntArray | FloatArray,
    *,
    weights: FloatArray | None = None,
    seed: int,
) -> tuple[StopDecision, ...]:
    """Decide for every galaxy whether asking ends.

    Parameters
    ----------
    tree
        The tree of the Q questions and A answers.
    policy
        The rule.
    mixture
        The posterior of N galaxies after their votes, as `alservice.science.posterior.update` returns it.
    counts
        (N, A) those votes.
    weights
        (Q,) science weight of each question, finite and not negative; 1 for every question where None.
    seed
        Of `majority_probability`, for questions of more than two answers.

    Returns
    -------
    tuple of StopDecision
        One per galaxy. Where no question counts nothing is known, and the full number is asked.

    Raises
    ------
    NotFound
        If the rule names a question that the tree lacks.
    BadVotes
        If the counts have another shape, or no volunteers' walks can give them.
    BadInput
        If a weight is negative or not finite.
    """
    votes = classifications(tree, checked_counts(tree, counts, len(mixture.weights)))
    worth = _counting_weights(tree, policy, weights)
    counted = counting_questions(tree, policy, mixture, weights=weights)
    figures, questions = _figures(tree, policy, mixture, counted, worth, votes, seed)
    met = figures >= policy.target if policy.rule == "label" else figures <= policy.target
    decisions = []
    for n, figure, question, known in zip(votes, figures.tolist(), questions, met.tolist(), strict=True):
        stop, reason = _verdict(policy, n, known=known)
        decisions.append(
            StopDecision(
                stop=stop,
                reason=reason,
                votes=n,
                rule=policy.rule,
                target=policy.target,
                figure=None if np.isnan(figure) else figure,
                question=None if question is None else tree.questions[question].name,
            )
        )
    return tuple(decisions)


def decisions_without_posterior(
    tree: Tree, policy: StoppingPolicy, counts: IntArray | FloatArray
) -> tuple[StopDecision, ...]:
    """Decide for galaxies (N, A) of which no model says anything: the full number is asked.

    Takes and raises the same as `stop_decisions`.
    """
    _counting_weights(tree, policy, None)
    return tuple(
        StopDecision(
            stop=n >= policy.max_votes,
            reason=StopReason.ALL_VOTES if n >= policy.max_votes else StopReason.NO_POSTERIOR,
            votes=n,
            rule=policy.rule,
            target=policy.target,
            figure=None,
            question=None,
        )
        for n in classifications(tree, checked_counts(tree, counts, len(counts)))
    )


def counting_questions(
    tree: Tree, policy: StoppingPolicy, mixture: Mixture, *, weights: FloatArray | None = None
) -> BoolArray:
    """Return the questions (N, Q) that a rule looks at; takes and raises the same as `stop_decisions`."""
    worth = _counting_weights(tree, policy, weights)
    counted: BoolArray = (worth > 0) & (expected_asked(tree, mixture) >= policy.min_asked)
    return counted


def classifications(tree: Tree, votes: IntArray | FloatArray) -> list[int]:
    """Return the classifications of each galaxy (N, A): the most votes on a question that everyone is asked."""
    roots = [not parents for parents in tree.parents_of]
    most: FloatArray = question_totals(tree, votes)[:, roots].max(axis=1, initial=0)
    # Weighted votes need not be whole; a part of a vote is not yet one.
    return [int(n) for n in np.floor(most)]


def _counting_weights(tree: Tree, policy: StoppingPolicy, weights: FloatArray | None) -> FloatArray:
    """Return the science weights (Q,), zero for questions that the rule leaves out."""
    given = check_weights(tree, np.ones(tree.n_questions) if weights is None else weights)
    named = [tree.index(name) for name in policy.questions] or range(tree.n_questions)
    worth = np.zeros_like(given)
    worth[named] = given[named]
    worth[worth <= policy.min_weight] = 0
    return worth


def label_gain(tree: Tree, mixture: Mixture, certainty: FloatArray, worth: FloatArray, left: IntArray) -> FloatArray:
    """Return the labels (N,) that each further classification is expected to make right, at best.

    One more vote rarely turns a majority round, so that what it gains says little: the best of several numbers of
    further votes counts, which are doubled up to all that are left.

    Parameters
    ----------
    tree, mixture
        N galaxies, as `alservice.science.posterior.update` returns them.
    certainty
        (N, Q) of the majorities.
    worth
        (N, Q) what a right label counts as, 0 where a question does not count.
    left
        (N,) classifications that may still be asked for; 0 gains nothing.
    """
    further = horizons(left)
    gain = majority_gain(tree, mixture, certainty, further)
    best = (np.where(worth[:, None] > 0, gain * worth[:, None], 0).sum(axis=-1) / further).max(axis=1)
    return np.where(left > 0, best, 0)


def horizons(left: IntArray) -> IntArray:
    """Return numbers of further votes (N, M) to look ahead by, doubled up to those that are left (N,); 1 at least."""
    steps = 2 ** np.arange(max(int(left.max(initial=0)), 1).bit_length() + 1)
    return np.minimum(np.maximum(left, 1)[:, None], steps)


def _figures(
    tree: Tree,
    policy: StoppingPolicy,
    mixture: Mixture,
    counted: BoolArray,
    worth: FloatArray,
    votes: Sequence[int],
    seed: int,
) -> tuple[FloatArray, list[int | None]]:
    """Return what each galaxy's rule compares, NaN where no question counts, and the question it is of."""
    match policy.rule:
        case "label":
            chances = majority_probability(tree, mixture, seed=seed, wanted=counted)
            return _of_questions(_of_answers(tree, np.nan_to_num(chances)), counted, least=True)
        case "precision":
            return _of_questions(_of_answers(tree, fraction_moments(tree, mixture).sd), counted, least=False)
        case "value":
            information = np.where(counted, next_vote_information(tree, mixture), 0) @ worth
            return np.where(counted.any(axis=1), information, np.nan), [None] * len(information)
        case "gain":
            chances = majority_probability(tree, mixture, seed=seed, wanted=counted)
            certainty = _of_answers(tree, np.nan_to_num(chances))
            left = policy.max_votes - np.array(votes, dtype=np.int64)
            gain = label_gain(tree, mixture, certainty, np.where(counted, worth, 0), np.maximum(left, 0))
            return np.where(counted.any(axis=1), gain, np.nan), [None] * len(gain)
        case _:
            assert_never(policy.rule)


def _of_answers(tree: Tree, values: FloatArray) -> FloatArray:
    """Return the largest of each question's answers: (N, A) to (N, Q)."""
    largest: FloatArray = np.maximum.reduceat(values, [answers.start for answers in tree.slices], axis=-1)
    return largest


def _of_questions(values: FloatArray, counted: BoolArray, *, least: bool) -> tuple[FloatArray, list[int | None]]:
    """Return the least or largest of the questions (N, Q) that count, NaN where none does, and which it is."""
    masked = np.where(counted, values, np.inf if least else -np.inf)
    place = masked.argmin(axis=1) if least else masked.argmax(axis=1)
    some: BoolArray = np.logical_or.reduce(counted, axis=1)
    figures = np.where(some, np.take_along_axis(masked, place[:, None], axis=1)[:, 0], np.nan)
    return figures, [int(q) if known else None for q, known in zip(place, some, strict=True)]


def _verdict(policy: StoppingPolicy, votes: int, *, known: bool) -> tuple[bool, StopReason]:
    if votes < policy.min_votes:
        return False, StopReason.TOO_FEW_VOTES
    if known:
        return True, StopReason.KNOWN
    if votes >= policy.max_votes:
        return True, StopReason.ALL_VOTES
    return False, StopReason.NOT_YET_KNOWN
