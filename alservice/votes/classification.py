"""What volunteers sent, decoded by the workflow version they saw: counted, or excluded for a named reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from alservice.campaigns.policies import CountingPolicy
from alservice.shapes import IntArray
from alservice.zooniverse.records import RawClassification
from alservice.zooniverse.workflow import IGNORED, AnswerMap, plain_label


class Verdict(StrEnum):
    """What became of one classification; the raw row stays whatever the verdict."""

    COUNTED = "counted"
    DUPLICATE_SEND = "duplicate-send"  # same session, start and subject: a front end sent it twice
    REPEAT = "repeat"  # the same user saw the subject again; the first is kept
    SEEN_BEFORE = "seen-before"  # Panoptes says so
    INCOMPLETE = "incomplete"
    NOT_LIVE = "not-live"
    BEFORE_LAUNCH = "before-launch"  # a test of the workflow, by the campaign's launch date
    GOLD_STANDARD = "gold-standard"  # an expert's example for others
    TOO_FAST = "too-fast"  # nobody reads the questions in that time
    AFTER_RETIREMENT = "after-retirement"  # the subject had its votes already
    WRONG_WORKFLOW = "wrong-workflow"
    UNKNOWN_SUBJECT = "unknown-subject"
    QUARANTINED = "quarantined"  # an answer, task or version we cannot map; replayed once we can


IDENTIFIED = frozenset({Verdict.DUPLICATE_SEND, Verdict.REPEAT})
"""Verdicts that rest on who sat there; they are kept as decided when that is forgotten."""


EVERYTHING_COUNTS = CountingPolicy()


class Classification(NamedTuple):
    """A raw classification decoded: the answer columns voted for, or why it cannot be read.

    A tuple for the same reason.

    Parameters
    ----------
    galaxy_id
        None when the subject is not one of ours.
    answers
        Columns of the tree voted for, ascending; a null answer is an abstention and leaves no vote.
    fault
        Why the answers cannot be read; None when they can.
    kept
        The verdict that was decided before it was forgotten who sat there; see `IDENTIFIED`.
    """

    raw: RawClassification
    galaxy_id: str | None
    answers: tuple[int, ...]
    abstentions: int
    fault: str | None
    kept: Verdict | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """The answers of one sitting as columns of the tree; see `Classification`."""

    answers: tuple[int, ...] = ()
    abstentions: int = 0
    fault: str | None = None


def decode(raw: RawClassification, galaxy_id: str | None, answer_map: AnswerMap | None) -> Classification:
    """Return the classification with its answers as columns of the tree."""
    if answer_map is None:
        reading = Reading(fault=f"workflow version {raw.workflow_version} is not known")
    else:
        reading = read_answers(raw.annotations, answer_map)
    return Classification(
        raw=raw,
        galaxy_id=galaxy_id,
        answers=reading.answers,
        abstentions=reading.abstentions,
        fault=reading.fault,
    )


def read_answers(annotations: Sequence[Mapping[str, Any]], answer_map: AnswerMap) -> Reading:
    """Return what was answered, or the first reason why it cannot be read."""
    answers: list[int] = []
    abstentions = 0
    tasks: set[str] = set()
    for annotation in annotations:
        task = str(annotation.get("task"))
        if task in answer_map.ignored:
            continue
        if task not in answer_map.columns and task not in answer_map.boxes:
            return Reading(fault=answer_map.unread.get(task, f"task {task!r} is not in the workflow"))
        if task in tasks:
            return Reading(fault=f"task {task} is answered twice")
        tasks.add(task)
        value = annotation.get("value")
        if value is None:
            abstentions += 1
            continue
        found = _ticked(task, value, answer_map) if task in answer_map.boxes else _column(task, value, answer_map)
        if isinstance(found, str):
            return Reading(fault=found)
        answers.extend(column for column in found if column != IGNORED)
    return Reading(answers=tuple(sorted(set(answers))), abstentions=abstentions)


def _column(task: str, value: object, answer_map: AnswerMap) -> tuple[int] | str:
    """Return the column of an index or a label, or what is wrong with it."""
    columns = answer_map.columns[task]
    place = _place(task, value, len(columns))
    if isinstance(place, int):
        return (columns[place],)
    column = answer_map.labels.get(task, {}).get(plain_label(value)) if isinstance(value, str) else None
    return place if column is None else (column,)


def _ticked(task: str, value: object, answer_map: AnswerMap) -> tuple[int, ...] | str:
    """Return a column per box of a list of indexes or labels, yes or no each, or what is wrong with it.

    An empty list is what the front ends send of whoever ticks nothing and goes on: no to every box.
    """
    boxes = answer_map.boxes[task]
    if not isinstance(value, list | tuple):
        return f"task {task}: answer {str(value)[:80]!r} is no list of boxes"
    places = set()
    for each in value:
        label = boxes.labels.get(plain_label(each)) if isinstance(each, str) else None
        place = _place(task, each, len(boxes.yes)) if label is None else label
        if isinstance(place, str):
            return place
        places.add(place)
    return tuple(
        yes if place in places else no for place, (yes, no) in enumerate(zip(boxes.yes, boxes.no, strict=True))
    )


def _place(task: str, value: object, n_answers: int) -> int | str:
    """Return an index of a task, or what is wrong with it."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < n_answers:
        return value
    if isinstance(value, str):
        return f"task {task}: answer {plain_label(value)[:80]!r} is not one of its own"
    return f"task {task}: answer {str(value)[:80]!r} is not one of {n_answers}"


def judge(
    rows: Iterable[Classification],
    *,
    workflow_ids: frozenset[int],
    first_columns: frozenset[int],
    policy: CountingPolicy = EVERYTHING_COUNTS,
) -> dict[int, Verdict]:
    """Return the verdict of every classification of one galaxy, first kept.

    The result depends on the set of rows alone, not on the order in which they arrived: rows are judged in order
    of classification id, so re-reading an overlap or finding a late row gives what a single reading would have.

    Parameters
    ----------
    first_columns
        Columns of the question that everyone is asked: a classification without it is incomplete.
    """
    sends: set[tuple[str, str]] = set()
    users: set[str] = set()
    verdicts: dict[int, Verdict] = {}
    for row in sorted(rows, key=lambda r: r.raw.classification_id):
        verdict = own_verdict(row, workflow_ids=workflow_ids, first_columns=first_columns, policy=policy)
        verdict = verdict or row.kept or _verdict_among(row.raw, sends, users)
        verdicts[row.raw.classification_id] = verdict
        if verdict is Verdict.COUNTED:
            if row.raw.user_hash is not None:
                users.add(row.raw.user_hash)
            if row.raw.session is not None and row.raw.started_at is not None:
                sends.add((row.raw.session, row.raw.started_at))
    return verdicts


def own_verdict(
    row: Classification, *, workflow_ids: frozenset[int], first_columns: frozenset[int], policy: CountingPolicy
) -> Verdict | None:
    """Return why a classification does not count, whatever others say of its galaxy; None when it may count."""
    raw = row.raw
    if row.galaxy_id is None or raw.workflow_id not in workflow_ids or row.fault is not None:
        return _verdict_unread(row, workflow_ids)
    verdict = None
    if not raw.live_project:
        verdict = Verdict.NOT_LIVE
    elif policy.is_before_launch(raw.created_at):
        verdict = Verdict.BEFORE_LAUNCH
    elif raw.gold_standard:
        verdict = Verdict.GOLD_STANDARD
    elif not _is_complete(row, first_columns):
        verdict = Verdict.INCOMPLETE
    elif policy.is_too_fast(raw.started_at, raw.finished_at):
        verdict = Verdict.TOO_FAST
    elif raw.after_retirement and policy.after_retirement == "excluded":
        verdict = Verdict.AFTER_RETIREMENT
    elif raw.seen_before:
        verdict = Verdict.SEEN_BEFORE
    return verdict


def _verdict_unread(row: Classification, workflow_ids: frozenset[int]) -> Verdict:
    if row.galaxy_id is None:
        return Verdict.UNKNOWN_SUBJECT
    return Verdict.WRONG_WORKFLOW if row.raw.workflow_id not in workflow_ids else Verdict.QUARANTINED


def _is_complete(row: Classification, first_columns: frozenset[int]) -> bool:
    """Believe an export; of what the API hides, an end and an answer to the first question are the signs."""
    if row.raw.completed is not None:
        return row.raw.completed
    answered_first = any(column in first_columns for column in row.answers)
    return row.raw.finished_at is not None and (answered_first or row.abstentions > 0)


def _verdict_among(raw: RawClassification, sends: set[tuple[str, str]], users: set[str]) -> Verdict:
    if (raw.session, raw.started_at) in sends:
        return Verdict.DUPLICATE_SEND
    return Verdict.REPEAT if raw.user_hash in users else Verdict.COUNTED


def tally(rows: Iterable[Classification], verdicts: Mapping[int, Verdict], n_answers: int) -> IntArray:
    """Return votes per answer (A,) int64 of one galaxy: the counted classifications and no others."""
    counts = np.zeros(n_answers, dtype=np.int64)
    for row in rows:
        if verdicts[row.raw.classification_id] is Verdict.COUNTED:
            counts[list(row.answers)] += 1
    return counts


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFault:
    """A row of a file that cannot become a classification; nothing of what it says is kept, names may be in it.

    Parameters
    ----------
    row
        Number of the row in its file, 1 after the header.
    digest
        Digest of the row's bytes.
    classification_id
        Where it could be read.
    """

    row: int
    digest: str
    classification_id: int | None
    field: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class QuarantinedRow:
    """One row in quarantine: a classification with a reason, or a row of a file."""

    classification_id: int | None
    source: str
    row: int | None
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantine:
    """Counts by reason, most frequent first, and the first rows.

    Parameters
    ----------
    reductions
        Reductions of Caesar's that cannot be counted, by reason; they are read anew whenever they are asked for.
    """

    reasons: Mapping[str, int]
    reductions: Mapping[str, int] = field(default_factory=dict)
    rows: Sequence[QuarantinedRow]
