"""What volunteers sent, decoded by the workflow version they saw: counted, or excluded for a named reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np

from alservice.core.workflows import AnswerMap
from alservice.shapes import IntArray


class Verdict(StrEnum):
    """What became of one classification; the raw row stays whatever the verdict."""

    COUNTED = "counted"
    DUPLICATE_SEND = "duplicate-send"  # same session, start and subject: a front end sent it twice
    REPEAT = "repeat"  # the same user saw the subject again; the first is kept
    SEEN_BEFORE = "seen-before"  # Panoptes says so
    INCOMPLETE = "incomplete"
    NOT_LIVE = "not-live"
    WRONG_WORKFLOW = "wrong-workflow"
    UNKNOWN_SUBJECT = "unknown-subject"
    QUARANTINED = "quarantined"  # an answer, task or version we cannot map; replayed once we can


@dataclass(frozen=True, kw_only=True, slots=True)
class RawClassification:
    """One classification as its source gave it, without name or address of the volunteer.

    Parameters
    ----------
    user_hash
        Keyed hash of the user id; None for an anonymous volunteer.
    started_at, finished_at
        Volunteer's own clock, as text: client clocks are data, not truth.
    created_at
        Zooniverse's clock (UTC).
    """

    classification_id: int
    workflow_id: int
    workflow_version: str
    zooniverse_subject_id: int | None
    user_hash: str | None
    session: str | None
    started_at: str | None
    finished_at: str | None
    seen_before: bool
    live_project: bool
    created_at: datetime
    annotations: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Classification:
    """A raw classification decoded: the answer columns voted for, or why it cannot be read.

    Parameters
    ----------
    galaxy_id
        None when the subject is not one of ours.
    answers
        Columns of the tree voted for, ascending; a null answer is an abstention and leaves no vote.
    fault
        Why the answers cannot be read; None when they can.
    """

    raw: RawClassification
    galaxy_id: str | None
    answers: tuple[int, ...]
    abstentions: int
    fault: str | None


def decode(raw: RawClassification, galaxy_id: str | None, answer_map: AnswerMap | None) -> Classification:
    """Return the classification with its answers as columns of the tree."""
    answers: list[int] = []
    abstentions = 0
    fault = None if answer_map is not None else f"workflow version {raw.workflow_version} is not known"
    for annotation in raw.annotations if answer_map is not None else ():
        column, problem = _column(annotation, answer_map)
        fault = fault or problem
        if column is not None:
            answers.append(column)
        elif problem is None:
            abstentions += 1
    return Classification(
        raw=raw, galaxy_id=galaxy_id, answers=tuple(sorted(set(answers))), abstentions=abstentions, fault=fault
    )


def _column(annotation: Mapping[str, Any], answer_map: AnswerMap | None) -> tuple[int | None, str | None]:
    task = annotation.get("task")
    columns = answer_map.columns.get(str(task)) if answer_map is not None else None
    if columns is None:
        return None, f"task {task!r} is not in the workflow"
    value = annotation.get("value")
    if value is None:
        return None, None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < len(columns):
        return None, f"task {task}: answer {value!r} is not one of {len(columns)}"
    return columns[value], None


def judge(rows: Iterable[Classification], *, workflow_id: int, first_columns: frozenset[int]) -> dict[int, Verdict]:
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
        verdict = _verdict(row, workflow_id, first_columns, sends, users)
        verdicts[row.raw.classification_id] = verdict
        if verdict is Verdict.COUNTED:
            if row.raw.user_hash is not None:
                users.add(row.raw.user_hash)
            if row.raw.session is not None and row.raw.started_at is not None:
                sends.add((row.raw.session, row.raw.started_at))
    return verdicts


def _verdict(
    row: Classification,
    workflow_id: int,
    first_columns: frozenset[int],
    sends: set[tuple[str, str]],
    users: set[str],
) -> Verdict:
    raw = row.raw
    send = (raw.session, raw.started_at)
    answered_first = any(column in first_columns for column in row.answers)
    rules = (
        (row.galaxy_id is None, Verdict.UNKNOWN_SUBJECT),
        (raw.workflow_id != workflow_id, Verdict.WRONG_WORKFLOW),
        (row.fault is not None, Verdict.QUARANTINED),
        (not raw.live_project, Verdict.NOT_LIVE),
        (raw.finished_at is None or not (answered_first or row.abstentions), Verdict.INCOMPLETE),
        (send in sends, Verdict.DUPLICATE_SEND),
        (raw.seen_before, Verdict.SEEN_BEFORE),
        (raw.user_hash in users, Verdict.REPEAT),
    )
    return next((verdict for applies, verdict in rules if applies), Verdict.COUNTED)


def tally(rows: Iterable[Classification], verdicts: Mapping[int, Verdict], n_answers: int) -> IntArray:
    """Return votes per answer (A,) int64 of one galaxy: the counted classifications and no others."""
    counts = np.zeros(n_answers, dtype=np.int64)
    for row in rows:
        if verdicts[row.raw.classification_id] is Verdict.COUNTED:
            counts[list(row.answers)] += 1
    return counts
