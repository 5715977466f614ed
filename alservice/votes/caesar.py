"""Caesar's reductions: aggregates of one task and subject, without classification ids, parsed in KaDE's form.

An effect fires again on every later classification and is retried, so deliveries repeat and overtake each other. What
is kept is the greatest by `Reduction.rank`, which does not depend on the order they come in. Counts name answers by
their number in the task, or by their label; what a number means follows from the workflow versions that the reducer
saw, and versions that disagree leave the reduction unread. What external reducers send beside counts is set aside by
name, and never kept: some of it is who answered what.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import MAXYEAR, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import numpy as np

from alservice.constants import FIRST_YEAR
from alservice.errors import BadInput
from alservice.science.training_sets import TallySet, tally_set
from alservice.science.tree import Tree
from alservice.shapes import IntArray
from alservice.zooniverse.workflow import IGNORED, AnswerMap, plain_label

_TASK: Final = re.compile(r"(?:^|_)(init|t[0-9]{1,4})(?=_|$)", re.IGNORECASE)
_KEY: Final = re.compile(r"(?P<webhook>[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?)_(?P<task>init|t[0-9]{1,4})", re.IGNORECASE)
_WEBHOOK: Final = re.compile(r"[a-z0-9]([a-z0-9_-]{0,98}[a-z0-9])?")
_COUNT_REDUCER: Final = frozenset({"classifications", "extracts"})
_WHOLE_SUBJECT: Final = "_default"
_VERSION: Final = "aggregation_version"
_USERS: Final = "user_ids_"
_NULL: Final = "None"
"""Key of null answers where Zooniverse's aggregation made the counts; its other keys are numbers or lower case."""
MAX_ID: Final = 2**63 - 1
MAX_COUNT: Final = 2**31 - 1
MAX_ANSWERS: Final = 100
MAX_KEY_CHARS: Final = 200
"""Longest reducer key and answer key: Caesar's own are a few words."""


class BadReduction(BadInput):
    """What was posted is not a reduction that can be counted; the evidence names the field."""

    code = "bad-reduction"
    remedy = "Send the task's stats reducer in KaDE's form, ungrouped, to the campaign's own webhook."


@dataclass(frozen=True, kw_only=True, slots=True)
class Reduction:
    """Votes of one subject and task as one reducer counts them.

    Parameters
    ----------
    reduction_id
        Caesar's id.
    task
        Panoptes task key, such as ``T0``.
    counts
        Answer's number or label to votes; the empty key holds null answers.
    updated_at
        Caesar's clock.
    """

    reduction_id: int
    workflow_id: int
    zooniverse_subject_id: int
    reducer_key: str
    task: str
    counts: Mapping[str, int]
    updated_at: datetime

    @property
    def votes(self) -> int:
        """Answers counted, null ones included."""
        return sum(self.counts.values())

    @property
    def rank(self) -> tuple[datetime, int, tuple[tuple[str, int], ...]]:
        """What decides between two deliveries: the newest, of the same moment the one with more votes."""
        return self.updated_at, self.votes, tuple(sorted(self.counts.items()))


def check_webhook_key(key: str) -> str:
    """Return the key if it can stand in an address and ends in no task, else raise `BadInput`."""
    if not _WEBHOOK.fullmatch(key) or _KEY.fullmatch(key):
        raise BadInput(f"{key[:40]!r} cannot name a webhook: use a-z, 0-9, - and _, not ending in a task such as _t0")
    return key


def split_key(key: str) -> tuple[str, str | None]:
    """Return webhook and task of an address: ``galaxy_zoo_euclid_t0`` is KaDE's for task T0 of galaxy_zoo_euclid."""
    found = _KEY.fullmatch(key)
    return (key, None) if found is None else (found["webhook"], _task(found["task"]))


def _task(text: str) -> str:
    return text.lower() if text.lower() == "init" else text.upper()


def parse_reduction(document: object, *, task: str | None) -> Reduction:
    """Return a reduction, bare or wrapped in ``{"reduction": ...}``, with integer or text ids.

    Parameters
    ----------
    task
        The task that the address names; None where it names none and the reducer's key does.

    Raises
    ------
    BadReduction
        Naming the field that is absent, mistyped or of another kind of reducer.
    """
    body = _object(document, "body")
    if set(body) == {"reduction"}:
        body = _object(body["reduction"], "reduction")
    reducible, subject = _object(body.get("reducible"), "reducible"), _object(body.get("subject"), "subject")
    if reducible.get("type") != "Workflow":
        raise _fault("reducible.type", "is not 'Workflow'")
    if body.get("subgroup", _WHOLE_SUBJECT) != _WHOLE_SUBJECT:
        raise _fault("subgroup", "is of a grouped reducer, whose counts are parts")
    reducer_key = _word(body.get("reducer_key"), "reducer_key")
    return Reduction(
        reduction_id=_identity(body.get("id"), "id"),
        workflow_id=_identity(reducible.get("id"), "reducible.id"),
        zooniverse_subject_id=_identity(subject.get("id"), "subject.id"),
        reducer_key=reducer_key,
        task=_task_of(reducer_key, task),
        counts=_counts(body.get("data")),
        updated_at=_moment(body.get("updated_at"), "updated_at"),
    )


def _fault(name: str, reason: str) -> BadReduction:
    return BadReduction(f"{name} {reason}", field=name)


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _fault(name, "is not an object")
    return value


def _identity(value: object, name: str) -> int:
    """Return an id that is a whole number, also as text."""
    is_text = isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 19
    number = int(value) if is_text and isinstance(value, str) else value
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number <= MAX_ID:
        raise _fault(name, "is not a positive whole number")
    return number


def _word(value: object, name: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_KEY_CHARS or not value.isprintable():
        raise _fault(name, f"is not printable text of 1 to {MAX_KEY_CHARS} characters")
    return value


def _task_of(reducer_key: str, task: str | None) -> str:
    named = {_task(found) for found in _TASK.findall(reducer_key)}
    if task is not None:
        named.add(task)
    if len(named) != 1:
        raise _fault("reducer_key", f"and address name {len(named)} tasks, not one: {', '.join(sorted(named)) or '-'}")
    return named.pop()


def _counts(value: object) -> Mapping[str, int]:
    data = _without_companions(_object(value, "data"))
    if data and data.keys() <= _COUNT_REDUCER:
        raise _fault("data", "is of a count reducer, which does not tell the answers")
    if len(data) > MAX_ANSWERS:
        raise _fault("data", f"has more than {MAX_ANSWERS} answers")
    for key, n in data.items():
        if key:
            _word(key, "data")
        if not isinstance(n, int) or isinstance(n, bool) or not 0 <= n <= MAX_COUNT:
            raise _fault(f"data.{key[:40]}", "is not a number of votes")
    return dict(data)


def _without_companions(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what Zooniverse's aggregation counts, without its version and the users that it lists per answer.

    Anything else beside the counts stays, and is refused where counts are checked.
    """
    if _VERSION not in data:
        return data
    if not isinstance(data[_VERSION], str):
        raise _fault(f"data.{_VERSION}", "is not text")
    users = {f"{_USERS}{key}" for key in data}
    counts = {
        key: value for key, value in data.items() if key != _VERSION and not (key in users and isinstance(value, list))
    }
    if _NULL in counts and "" not in counts:
        counts[""] = counts.pop(_NULL)
    return counts


def _moment(value: object, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _fault(name, "is not an ISO time with a zone")
    if not FIRST_YEAR <= moment.year < MAXYEAR:
        raise _fault(name, "is of no year of ours")
    return moment


@dataclass(frozen=True, kw_only=True, slots=True)
class ReducedTallies:
    """Tallies made of reductions.

    Parameters
    ----------
    unread
        Reductions that could not be counted, by reason.
    """

    tallies: TallySet
    unread: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ReductionReader:
    """Reads the reductions of one campaign.

    Parameters
    ----------
    maps
        Meanings of the workflow versions whose classifications the reducers saw.
    reducers
        Reducer keys that count; empty for all.
    """

    tree: Tree
    maps: Sequence[AnswerMap]
    reducers: frozenset[str] = frozenset()
    _known: dict[str, Mapping[str, int] | str] = field(default_factory=dict, init=False, repr=False)

    def tallies(self, reductions: Iterable[tuple[str | None, Reduction]]) -> ReducedTallies:
        """Return votes per galaxy, and what could not be read.

        Where two reducers count one task of a galaxy neither is read: they are never added, and none is better.

        Parameters
        ----------
        reductions
            Galaxy id, None where the subject is not one of ours, and reduction, in order of galaxy.
        """
        votes: dict[str, IntArray] = {}
        unread: Counter[str] = Counter()
        for galaxy_id, group in groupby(reductions, key=itemgetter(0)):
            rows = [row for _, row in group if not self.reducers or row.reducer_key in self.reducers]
            if galaxy_id is None:
                unread["unknown subject"] += len(rows)
                continue
            votes[galaxy_id] = np.zeros(self.tree.n_answers, dtype=np.int64)
            by_task = Counter(row.task for row in rows)
            for row in rows:
                twice = f"task {row.task} is counted by several reducers: name one in ingest.reducers"
                reason = twice if by_task[row.task] > 1 else self._add(votes[galaxy_id], row)
                if reason is not None:
                    unread[reason] += 1
        return ReducedTallies(tallies=tally_set(votes, self.tree.n_answers), unread=dict(sorted((+unread).items())))

    def _add(self, row: IntArray, reduction: Reduction) -> str | None:
        """Add the votes of a reduction to its galaxy's (A,), all of them or none; return why none."""
        meanings = self._meanings(reduction.task)
        if isinstance(meanings, str):
            return meanings
        named = {key: meanings.get(key if key.isdecimal() else plain_label(key)) for key in reduction.counts if key}
        unknown = [key for key, column in named.items() if column is None]
        if unknown and meanings:
            return f"task {reduction.task}: answer {unknown[0][:40]!r} is not one of its own"
        for key, column in named.items():
            if column is not None and column != IGNORED:
                row[column] += reduction.counts[key]
        return None

    def _meanings(self, task: str) -> Mapping[str, int] | str:
        """Return answer number or label to column, nothing for an ignored task, or why there is no meaning."""
        if task not in self._known:
            self._known[task] = self._read(task)
        return self._known[task]

    def _read(self, task: str) -> Mapping[str, int] | str:
        if not self.maps:
            return "no workflow version is known"
        if all(task in answer_map.ignored for answer_map in self.maps):
            return {}
        found: dict[str, int] = {}
        for answer_map in self.maps:
            if task not in answer_map.columns:
                return answer_map.unread.get(task, f"task {task} is not read in version {answer_map.version}")
            numbered = {str(place): column for place, column in enumerate(answer_map.columns[task])}
            labels = answer_map.labels.get(task, {})
            # A label such as "2" names the second arm, and as a key of Caesar's the third answer.
            worded = {label: column for label, column in labels.items() if not label.isdecimal()}
            for key, column in (worded | numbered).items():
                if found.setdefault(key, column) != column:
                    return f"answer {key!r} of task {task} changed its meaning: set ingest.reductions_since"
        return found
