"""Replay of recorded votes, one volunteer at a time: labels and fractions by votes per galaxy, as each rule asks.

====================  ============================================================================================
rule                  how many votes a galaxy gets, and what its fractions are
====================  ============================================================================================
`fixed`               the same number for all; shares of the votes
`fixed+model`         the same number for all; the posterior of model and votes
`sequential`          until the majority is certain by votes alone (flat prior); the posterior of votes
`sequential+model`    until it is certain by model and votes; the posterior of model and votes
`gain+model`          until further votes are expected to make too few labels right; the posterior of model and votes
====================  ============================================================================================

What is recorded is taken for the truth: the majority of all recorded votes is the label, their shares are the
fractions. A question is judged on galaxies of which it is asked of at least `min_asked` of the recorded volunteers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from alservice.backfill.plan import ALL
from alservice.backfill.savings import falling
from alservice.errors import BadInput, BadVotes
from alservice.ids import seed_of
from alservice.science.bootstrap import Estimate, bootstrap_sums, percentile_estimate
from alservice.science.fusion import expected_asked, fraction_moments, majority_gain, majority_probability
from alservice.science.pmf import row_slices
from alservice.science.posterior import question_totals, update
from alservice.science.stopping import StoppingPolicy, horizons
from alservice.science.tree import Tree
from alservice.science.votes import (
    NOT_ASKED,
    SUM_TOLERANCE,
    any_answer,
    check_counts,
    conditional_fractions,
    walk,
)
from alservice.shapes import BoolArray, FloatArray, IntArray

AskingRule: TypeAlias = Literal["fixed", "fixed+model", "sequential", "sequential+model", "gain+model"]

RULES: Final[tuple[AskingRule, ...]] = get_args(AskingRule)

CONFIDENCES: Final = (0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999)
"""Certainties at which sequential rules are replayed, beside the one that is asked for: they make a curve."""

GAINS: Final = (0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001, 0.00005, 0.00002, 0.00001)
"""Labels by each further vote at which the rule of gain is replayed, beside those that are asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AskingPoint:
    """One rule at one setting.

    Parameters
    ----------
    rule
        How many votes a galaxy gets.
    confidence
        Certainty of the majority at which a sequential rule ends; None for others.
    min_gain
        Labels that each further vote must be expected to make right; None for rules but ``gain+model``.
    max_votes
        Votes at which asking ends: the number itself where it is fixed.
    """

    rule: AskingRule
    confidence: float | None = None
    min_gain: float | None = None
    max_votes: int


def asking_points(policy: StoppingPolicy) -> tuple[AskingPoint, ...]:
    """Return what is replayed: every fixed number up to `max_votes`, and the other rules at every threshold."""
    most, points = policy.max_votes, list[AskingPoint]()
    for rule in RULES:
        if rule.startswith("fixed"):
            points += [AskingPoint(rule=rule, max_votes=n) for n in range(1, most + 1)]
        elif rule.startswith("gain"):
            gains = sorted({*GAINS, policy.min_gain}, reverse=True)
            points += [AskingPoint(rule=rule, min_gain=gain, max_votes=most) for gain in gains]
        else:
            confidences = sorted({*CONFIDENCES, policy.confidence})
            points += [AskingPoint(rule=rule, confidence=c, max_votes=most) for c in confidences]
    return tuple(points)


def recorded_fractions(tree: Tree, galaxy_ids: Sequence[str], counts: IntArray, fractions: FloatArray) -> FloatArray:
    """Return the share of each answer among those asked, as recorded or of the counted votes: (N, A).

    Parameters
    ----------
    counts
        (N, A) votes, which count for galaxies without recorded fractions.
    fractions
        (N, A) recorded fractions among those asked; NaN where not recorded.

    Raises
    ------
    BadVotes
        Votes that no volunteers' walks can give, or fractions that are no distribution; galaxy and question are named.
    """
    counted: BoolArray = np.logical_and.reduce(np.isnan(fractions), axis=1)
    check_counts(tree, counts[counted], [galaxy_ids[row] for row in np.flatnonzero(counted).tolist()])
    shares = np.where(counted[:, None], conditional_fractions(tree, counts), fractions)
    absent = ~any_answer(tree, ~np.isnan(shares))
    fits = np.isclose(question_totals(tree, shares), 1, rtol=0, atol=SUM_TOLERANCE) & ~any_answer(tree, shares < 0)
    faults = np.argwhere(~(absent | fits))
    if len(faults):
        row, index = faults[0]
        question = tree.questions[index]
        given = shares[row, tree.slices[index]].tolist()
        raise BadVotes(
            f"galaxy {galaxy_ids[row]}: question {question.name!r} has fractions {given}, which are no distribution",
            galaxy=str(galaxy_ids[row]),
            question=question.name,
        )
    return shares


def volunteer_walks(
    tree: Tree, fractions: FloatArray, galaxy_ids: Sequence[str], *, volunteers: int, seed: int
) -> IntArray:
    """Return the answers (N, V, Q) of volunteers who walk the tree one after the other, `NOT_ASKED` where not asked.

    A galaxy's volunteers depend on its id and the seed alone, and the first of them not on how many there are.
    """
    walks = np.empty((len(galaxy_ids), volunteers, tree.n_questions), dtype=np.int8)
    for row, galaxy_id in enumerate(galaxy_ids):
        rng = np.random.default_rng(seed_of(seed, "replay", galaxy_id))
        walks[row] = walk(tree, fractions[row], volunteers, rng)
    return walks


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Replayed:
    """What a replay with one seed left of each galaxy; the last of the Q + 1 columns is the whole tree.

    Parameters
    ----------
    points
        P rules with their settings.
    votes
        float32 (P, N, Q + 1) votes spent until the question alone, or the whole tree, was known.
    right
        float32 (P, N, Q + 1) labels that agree with the recorded ones, ties shared; summed over the judged questions.
    squared
        float32 (P, N, Q + 1) squared error of the fractions, summed over the answers that are judged.
    judged
        (N, Q) which questions of which galaxies are judged.
    """

    points: tuple[AskingPoint, ...]
    votes: FloatArray
    right: FloatArray
    squared: FloatArray
    judged: BoolArray


def replay_votes(
    tree: Tree,
    fractions: FloatArray,
    walks: IntArray,
    concentrations: FloatArray,
    *,
    policy: StoppingPolicy,
    temper: FloatArray | None = None,
    seed: int,
) -> Replayed:
    """Replay every rule for all galaxies, vote by vote.

    Parameters
    ----------
    tree
        The tree of the Q questions and A answers.
    fractions
        (N, A) recorded shares among those asked, NaN where not recorded; see `recorded_fractions`.
    walks
        (N, V, Q) answers of at least `max_votes` volunteers; see `volunteer_walks`.
    concentrations
        (N, T, A) posterior draws of models that saw none of these galaxies' votes.
    policy
        The rule `label` with its limits; each question is replayed alone as well. Its certainty and its gain are among
        those of the curves.
    temper
        (Q,) or (N, Q) factors on the model's concentrations; 1 where None.
    seed
        Of drawn majorities.

    Raises
    ------
    BadInput
        The rule is another than `label`, there are too few volunteers, or shapes do not fit.
    NotFound
        The rule names a question that the tree lacks.
    NumericalFault, BadVotes
        As `alservice.science.posterior.update`.
    """
    if policy.rule != "label":
        raise BadInput(f"recorded votes are replayed by the rule 'label', not {policy.rule!r}")
    shape = (len(fractions), tree.n_questions)
    factors = np.broadcast_to(1.0 if temper is None else temper, shape)
    if len(walks) != len(fractions) or walks.shape[1] < policy.max_votes or len(concentrations) != len(fractions):
        raise BadInput(f"{walks.shape} walks and {concentrations.shape} concentrations do not fit {shape} questions")
    judged = judged_questions(tree, fractions, policy)
    prior = concentrations * factors[:, tree.question_of_answer][:, None, :]
    parts = [
        _replay_part(tree, fractions[rows], walks[rows], prior[rows], judged[rows], policy, seed)
        for rows in row_slices(len(fractions), prior.shape[1] * prior.shape[2])
    ]
    votes, right, squared = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
    return Replayed(points=asking_points(policy), votes=votes, right=right, squared=squared, judged=judged)


def judged_questions(tree: Tree, fractions: FloatArray, policy: StoppingPolicy) -> BoolArray:
    """Return which questions (N, Q) are judged: recorded, of those that count, and asked of enough volunteers."""
    recorded = ~any_answer(tree, np.isnan(fractions))
    asked = np.nan_to_num(tree.asked_probability(fractions)) >= policy.min_asked
    judged: BoolArray = recorded & asked & _answerable(tree, fractions, policy)
    return judged


def _answerable(tree: Tree, fractions: FloatArray, policy: StoppingPolicy) -> BoolArray:
    """Return which questions (N, Q) may keep asking going: of those that count, not those whose answers are lost.

    Live, volunteers would answer what the record lacks. What nobody of the record was asked is not lacking.
    """
    chosen = np.zeros(tree.n_questions, dtype=bool)
    chosen[[tree.index(name) for name in policy.questions] or slice(None)] = True
    lost = any_answer(tree, np.isnan(fractions)) & (tree.asked_probability(fractions) != 0)
    answerable: BoolArray = chosen & ~lost
    return answerable


class _State(NamedTuple):
    """What is believed after some votes: certainty and what is left to gain, labels that are right, squared errors.

    All (N, Q + 1), the whole tree last.
    """

    sure: FloatArray
    gain: FloatArray
    right: FloatArray
    squared: FloatArray


def _replay_part(
    tree: Tree,
    fractions: FloatArray,
    walks: IntArray,
    prior: FloatArray,
    judged: BoolArray,
    policy: StoppingPolicy,
    seed: int,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    points = asking_points(policy)
    shape = (len(points), len(fractions), tree.n_questions + 1)
    votes, right, squared = (np.zeros(shape, dtype=np.float32) for _ in range(3))
    open_ = np.ones(shape, dtype=bool)
    places = {rule: [p for p, point in enumerate(points) if point.rule == rule] for rule in RULES}
    levels = np.array([point.confidence or np.inf for point in points])
    gains = np.array([point.min_gain or -np.inf for point in points])
    ends = np.array([point.max_votes for point in points])
    flat = np.ones((len(fractions), 1, tree.n_answers))
    answerable = _answerable(tree, fractions, policy)
    least = policy.min_asked
    counts = np.zeros((len(fractions), tree.n_answers), dtype=np.int64)
    for n in range(policy.max_votes + 1):
        if n:
            _add_votes(tree, counts, walks[:, n - 1])
        elif policy.min_votes:
            continue
        model = _believed(tree, fractions, prior, counts, judged, answerable, least, seed, left=policy.max_votes - n)
        states: dict[AskingRule, _State] = {
            "fixed": _counted(tree, fractions, counts, judged),
            "fixed+model": model,
            "sequential": _believed(tree, fractions, flat, counts, judged, answerable, least, seed),
            "sequential+model": model,
            "gain+model": model,
        }
        for rule, state in states.items():
            own = places[rule]
            met = (state.sure >= levels[own, None, None]) | (state.gain <= gains[own, None, None])
            known = met & (n >= policy.min_votes)
            ended = open_[own] & (known | (ends[own] == n)[:, None, None])
            votes[own] += np.where(ended, n, 0)
            right[own] += np.where(ended, state.right, 0)
            squared[own] += np.where(ended, state.squared, 0)
            open_[own] &= ~ended
    return votes, right, squared


def _add_votes(tree: Tree, counts: IntArray, answers: IntArray) -> None:
    """Add one volunteer's answers (N, Q) to the counts (N, A) of each galaxy."""
    starts = np.array([part.start for part in tree.slices])
    rows, questions = np.nonzero(answers != NOT_ASKED)
    counts[rows, starts[questions] + answers[rows, questions]] += 1


def _counted(tree: Tree, fractions: FloatArray, counts: IntArray, judged: BoolArray) -> _State:
    """Return the state of votes alone, which is never certain; where nobody was asked all answers are alike."""
    sizes = np.array([len(question.answers) for question in tree.questions])
    shares = np.nan_to_num(conditional_fractions(tree, counts), nan=-1)
    shares = np.where(shares < 0, 1 / sizes[tree.question_of_answer], shares)
    sure = np.full((len(counts), tree.n_questions + 1), -np.inf)
    return _State(sure, -sure, *_errors(tree, fractions, shares, shares, judged))


def _believed(
    tree: Tree,
    fractions: FloatArray,
    prior: FloatArray,
    counts: IntArray,
    judged: BoolArray,
    answerable: BoolArray,
    min_asked: float,
    seed: int,
    left: int = 0,
) -> _State:
    """Return the state of the posterior after votes; the tree is as certain as its least certain question.

    What is left to gain is looked at where votes are left.
    """
    mixture = update(tree, prior, counts)
    counted = (expected_asked(tree, mixture) >= min_asked) & answerable
    majority = np.nan_to_num(majority_probability(tree, mixture, seed=seed, wanted=counted | judged))
    certainty = np.where(counted, _largest(tree, majority), np.inf)
    least = certainty.min(axis=1, keepdims=True)
    sure = np.concatenate([certainty, least], axis=1)
    sure[np.isinf(sure)] = -np.inf  # where no question counts nothing is known
    gain = np.full(sure.shape, np.inf)
    if left:
        further = horizons(np.full(len(counts), left))
        of_question = np.where(counted[:, None], majority_gain(tree, mixture, certainty, further), 0)
        together = np.concatenate([of_question, of_question.sum(axis=-1, keepdims=True)], axis=-1)
        best = (together / further[..., None]).max(axis=1)
        gain = np.where(np.isfinite(sure), best, np.inf)
    return _State(sure, gain, *_errors(tree, fractions, fraction_moments(tree, mixture).mean, majority, judged))


def _largest(tree: Tree, values: FloatArray) -> FloatArray:
    """Return the largest of each question's answers: (N, A) to (N, Q)."""
    largest: FloatArray = np.maximum.reduceat(values, [answers.start for answers in tree.slices], axis=-1)
    return largest


def _errors(
    tree: Tree, fractions: FloatArray, estimates: FloatArray, ranks: FloatArray, judged: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Return right labels and squared errors (N, Q + 1) each, zero where not judged, summed over questions last."""
    owner, truth = tree.question_of_answer, np.nan_to_num(fractions)
    first = ranks == _largest(tree, ranks)[:, owner]
    recorded = truth == _largest(tree, truth)[:, owner]
    right = question_totals(tree, (first & recorded).astype(np.float64)) / question_totals(tree, first.astype(float))
    squared = question_totals(tree, (estimates - truth) ** 2)
    with_tree = [np.where(judged, each, 0) for each in (right, squared)]
    together = [np.concatenate([each, each.sum(axis=1, keepdims=True)], axis=1) for each in with_tree]
    return together[0], together[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class VotesFigure:
    """One point of one curve, with 95 % intervals over seeds and galaxies.

    Parameters
    ----------
    question
        Name in the tree, or ``all``: every question of a galaxy that is judged.
    galaxies
        Galaxies that judge it.
    votes
        Votes spent per galaxy.
    accuracy, rmse
        Share of labels that agree with the recorded ones, and error of the fractions (root of the mean square).
    """

    question: str
    point: AskingPoint
    galaxies: int
    votes: Estimate
    accuracy: Estimate
    rmse: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class VotesSaving:
    """Votes per galaxy that a rule needs to be as good as `max_votes` for all, whose number counts where it never is.

    Parameters
    ----------
    labels, fractions
        Votes at equal label accuracy, and at equal RMSE of the fractions, with 95 % intervals.
    labels_reached, fractions_reached
        Whether the rule is as good somewhere on its curve.
    """

    question: str
    rule: AskingRule
    labels: Estimate
    fractions: Estimate
    labels_reached: bool
    fractions_reached: bool

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VotesResult:
    """All figures of a replay, and what each rule needs."""

    figures: tuple[VotesFigure, ...]
    savings: tuple[VotesSaving, ...]


def votes_result(
    tree: Tree,
    replays: Sequence[Replayed],
    *,
    rng: np.random.Generator,
    repeats: int = 400,
    confidence: float = 0.95,
) -> VotesResult:
    """Return the figures of every question that some galaxy judges, and of the whole tree.

    Intervals resample galaxies and seeds; all rules and settings of a question see the same ones, so that their
    differences are paired.

    Parameters
    ----------
    replays
        One per seed, of the same galaxies in the same order.
    rng
        Source of the samples.

    Raises
    ------
    BadInput
        There is no replay, they are not of the same galaxies and points, or no question is judged.
    """
    kinds = {(replay.points, replay.judged.tobytes(), replay.votes.shape) for replay in replays}
    if len(kinds) != 1 or not replays[0].judged.any():
        raise BadInput(f"{len(replays)} replays of {len(kinds)} kinds: no question of one set of galaxies is judged")
    figures: list[VotesFigure] = []
    savings: list[VotesSaving] = []
    for column, name in enumerate([*(question.name for question in tree.questions), ALL]):
        sample = _resampled(tree, replays, column, rng, repeats)
        if sample is not None:
            points = replays[0].points
            figures += _figures(name, points, sample, confidence)
            savings += [_saving(name, rule, points, sample, confidence) for rule in RULES]
    return VotesResult(figures=tuple(figures), savings=tuple(savings))


class _Sample(NamedTuple):
    """Votes, accuracy and RMSE (1 + R, P) each: first as they are, then resampled; and the galaxies that judge."""

    votes: FloatArray
    accuracy: FloatArray
    rmse: FloatArray
    galaxies: int


def _resampled(
    tree: Tree, replays: Sequence[Replayed], column: int, rng: np.random.Generator, repeats: int
) -> _Sample | None:
    judged = replays[0].judged if column == tree.n_questions else replays[0].judged[:, column, None]
    rows = judged.any(axis=1)
    if not rows.any():
        return None
    sizes = np.array([len(question.answers) for question in tree.questions], dtype=np.float64)
    answers = judged @ (sizes if column == tree.n_questions else sizes[column, None])
    weights = np.stack([rows, judged.sum(axis=1), answers], axis=1)[rows]
    sums = np.stack([np.stack([r.votes, r.right, r.squared])[:, :, rows, column] for r in replays])  # (S, 3, P, N)
    n_seeds, _, n_points, n_galaxies = sums.shape
    values = np.concatenate([weights, sums.reshape(-1, n_galaxies).T], axis=1)
    drawn = np.concatenate([values.sum(axis=0, keepdims=True), bootstrap_sums(values, repeats=repeats, rng=rng)])
    by_seed = drawn[:, 3:].reshape(repeats + 1, n_seeds, 3, n_points)
    seeds = np.concatenate([np.arange(n_seeds)[None], rng.integers(n_seeds, size=(repeats, n_seeds))])
    means = np.take_along_axis(by_seed, seeds[:, :, None, None], axis=1).mean(axis=1) / drawn[:, :3, None]
    return _Sample(means[:, 0], means[:, 1], np.sqrt(means[:, 2]), n_galaxies)


def _figures(question: str, points: Sequence[AskingPoint], sample: _Sample, confidence: float) -> list[VotesFigure]:
    def estimate(values: FloatArray, place: int) -> Estimate:
        return percentile_estimate(values[0, place], values[1:, place], confidence)

    return [
        VotesFigure(
            question=question,
            point=point,
            galaxies=sample.galaxies,
            votes=estimate(sample.votes, place),
            accuracy=estimate(sample.accuracy, place),
            rmse=estimate(sample.rmse, place),
        )
        for place, point in enumerate(points)
    ]


def _saving(
    question: str, rule: AskingRule, points: Sequence[AskingPoint], sample: _Sample, confidence: float
) -> VotesSaving:
    own = [place for place, point in enumerate(points) if point.rule == rule]
    fixed = [place for place, point in enumerate(points) if point.rule == "fixed"]
    most = float(points[fixed[-1]].max_votes)
    found = []
    for errors in (1 - sample.accuracy, sample.rmse):
        levels = np.array([falling(error)[-1] for error in errors[:, fixed]])
        pairs = zip(sample.votes[:, own], errors[:, own], levels, strict=True)
        needed = np.array([votes_needed(votes, error, level, most=most) for votes, error, level in pairs])
        reached = bool(errors[0, own].min() <= levels[0])
        found.append((percentile_estimate(needed[0], needed[1:], confidence), reached))
    return VotesSaving(
        question=question,
        rule=rule,
        labels=found[0][0],
        fractions=found[1][0],
        labels_reached=found[0][1],
        fractions_reached=found[1][1],
    )


def votes_needed(votes: FloatArray, errors: FloatArray, level: float, *, most: float) -> float:
    """Return the votes at which a curve first falls to an error, interpolated; `most` where it never does.

    Parameters
    ----------
    votes, errors
        (P,) the points of a curve, in any order. Errors are made to never rise with votes first.
    """
    order = np.argsort(votes, kind="stable")
    never_rising = falling(errors[order])
    first = np.concatenate([[True], np.diff(never_rising) < 0])
    return float(np.interp(-level, -never_rising[first], votes[order][first], right=most))
