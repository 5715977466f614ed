"""Caesar's reductions: aggregates of one task and subject, without classification ids, parsed in KaDE's form.

An effect fires again on every later classification and is retried, so deliveries repeat and overtake each other. What
is kept is the greatest by `Reduction.rank`, which does not depend on the order they come in. Counts name answers by
their number in the task, or by their label; what a number means follows from the workflow versions that the reducer
saw, and versions that disagree leave the reduction unread. What external reducers send beside counts is set aside by
name, and never kept: some of it is who answered what.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import MAXYEAR, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import numpy as np
from sqlalchemy import BigInteger, Engine, select, tuple_
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.dialects.postgresql import insert as upsert

from alservice.access import Token
from alservice.campaigns import schema as campaigns_schema
from alservice.campaigns.campaign import Campaign
from alservice.campaigns.policies import REDUCER_KEY
from alservice.campaigns.store import CampaignRow
from alservice.constants import CLOCK_SLACK, FIRST_YEAR
from alservice.errors import BadInput, BadVotes, NotFound
from alservice.progress import Clock
from alservice.science.tree import Tree, load_tree
from alservice.science.votes import TallySet, tally_set
from alservice.shapes import IntArray
from alservice.storage.postgres import transaction
from alservice.subjects import schema as subjects_schema
from alservice.subjects.subject import SubjectLedger
from alservice.votes import schema
from alservice.votes.counting import FeedComparison, compare_feeds
from alservice.votes.decoding import Codebook
from alservice.votes.store import ClassificationStore, WorkflowStore
from alservice.zooniverse.workflow import IGNORED, AnswerMap, plain_label

STREAM_ROWS: Final = 5_000
"""Rows fetched at a time: a few MB."""


class WebhookStore:
    """Webhooks in Postgres: one per campaign, by constraint."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def save(self, campaign_id: int, *, key: str) -> None:
        """Open a campaign's door, in place of its earlier one; see `WebhookStore.save`."""
        table = schema.webhooks
        new = upsert(table).values(campaign_id=campaign_id, key=key, created_at=self._clock())
        names = ("key", "created_at")
        with transaction(self._engine) as connection:
            connection.execute(
                new.on_conflict_do_update(
                    index_elements=["campaign_id"], set_={name: new.excluded[name] for name in names}
                )
            )

    def find(self, key: str) -> Webhook | None:
        """Return a door, with the workflow of its campaign's newest decisions."""
        table, versions = schema.webhooks, campaigns_schema.campaign_versions
        workflow_id = versions.c.document["zooniverse"]["workflow_id"].astext.cast(BigInteger)
        wanted = (
            select(table.c.campaign_id, workflow_id.label("workflow_id"))
            .join_from(table, versions, versions.c.campaign_id == table.c.campaign_id)
            .where(table.c.key == key)
            .order_by(versions.c.version.desc())
            .limit(1)
        )
        with transaction(self._engine) as connection:
            row = connection.execute(wanted).mappings().one_or_none()
        return None if row is None else Webhook(**row)


_KEY: Final = ("campaign_id", "workflow_id", "zooniverse_subject_id", "reducer_key")
_RANKED: Final = ("updated_at", "votes", "counts")
_KEPT: Final = (*_RANKED, "reduction_id", "task", "received_at")


def _save_statement() -> Insert:
    table = schema.reductions
    new = upsert(table)
    return new.on_conflict_do_update(
        index_elements=_KEY,
        set_={name: new.excluded[name] for name in _KEPT},
        where=tuple_(*(new.excluded[n] for n in _RANKED)) > tuple_(*(table.c[n] for n in _RANKED)),
    )


_SAVE: Final = _save_statement()


class ReductionStore:
    """Reductions in Postgres: a delivery is one statement, so that simultaneous ones cannot lose to each other."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def save(self, campaign_id: int, reduction: Reduction, *, received_at: datetime) -> bool:
        """Keep a reduction unless one that is as great is there; see `ReductionStore.save`."""
        row = {
            "campaign_id": campaign_id,
            "workflow_id": reduction.workflow_id,
            "zooniverse_subject_id": reduction.zooniverse_subject_id,
            "reducer_key": reduction.reducer_key,
            "reduction_id": reduction.reduction_id,
            "task": reduction.task,
            "updated_at": reduction.updated_at,
            "votes": reduction.votes,
            "counts": json.dumps(dict(sorted(reduction.counts.items())), separators=(",", ":")),
            "received_at": received_at,
        }
        with transaction(self._engine) as connection:
            return connection.execute(_SAVE, row).rowcount == 1

    def list(self, campaign_id: int) -> Iterator[tuple[str | None, Reduction]]:
        """Yield galaxy id and reduction, by galaxy; see `ReductionStore.list`."""
        table, subjects = schema.reductions, subjects_schema.subjects
        ours = (subjects.c.campaign_id == table.c.campaign_id) & (
            subjects.c.zooniverse_id == table.c.zooniverse_subject_id
        )
        names = ("reduction_id", "workflow_id", "zooniverse_subject_id", "reducer_key", "task", "counts", "updated_at")
        wanted = (
            select(subjects.c.galaxy_id, *(table.c[name] for name in names))
            .join_from(table, subjects, ours, isouter=True)
            .where(table.c.campaign_id == campaign_id)
            .order_by(subjects.c.galaxy_id, table.c.zooniverse_subject_id, table.c.reducer_key)
        )
        with transaction(self._engine.execution_options(yield_per=STREAM_ROWS)) as connection:
            for galaxy_id, *values in connection.execute(wanted):
                fields = dict(zip(names, values, strict=True))
                yield galaxy_id, Reduction(**{**fields, "counts": json.loads(fields["counts"])})


_TASK: Final = re.compile(r"(?:^|_)(init|t[0-9]{1,4})(?=_|$)", re.IGNORECASE)
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


def split_key(key: str) -> tuple[str, str | None]:
    """Return webhook and task of an address: ``galaxy_zoo_euclid_t0`` is KaDE's for task T0 of galaxy_zoo_euclid."""
    found = REDUCER_KEY.fullmatch(key)
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
            if task in answer_map.boxes:
                return f"task {task} takes several answers: reductions do not say how many left a box empty"
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """One campaign's door.

    Parameters
    ----------
    workflow_id
        The workflow whose reductions may pass, by the campaign's newest decisions.
    """

    campaign_id: int
    workflow_id: int


@dataclass(frozen=True, kw_only=True)
class ReceiveReductions:
    """Take reductions in, in any order and however often, from who has shown a token for them."""

    webhooks: WebhookStore
    reductions: ReductionStore
    clock: Clock

    def run(self, address: str, *, token: Token, body: bytes) -> bool:
        """Keep one reduction; return False for one that came late or again.

        Parameters
        ----------
        address
            Last part of the path: the webhook's key, with the task after it in KaDE's way.

        Raises
        ------
        NotFound
            The token opens no webhook of this key: there is none, or it is another campaign's.
        BadReduction
            Naming the field at fault.
        """
        key, task = split_key(address)
        webhook = self.webhooks.find(key)
        if webhook is None or token.campaign_id not in {None, webhook.campaign_id}:
            raise NotFound(f"the token {token.name} opens no webhook {key[:100]!r}", webhook=key[:100])
        reduction = parse_reduction(_document(body), task=task)
        now = self.clock()
        if reduction.workflow_id != webhook.workflow_id:
            raise BadReduction(
                f"reducible.id is workflow {reduction.workflow_id}, and {key!r} takes those of {webhook.workflow_id}",
                field="reducible.id",
            )
        if reduction.updated_at > now + CLOCK_SLACK:
            raise BadReduction("updated_at is in the future", field="updated_at")
        return self.reductions.save(webhook.campaign_id, reduction, received_at=now)


def _document(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise BadReduction("body is not JSON", field="body") from None


@dataclass(frozen=True, kw_only=True)
class ReducedFeed:
    """A campaign's reductions as a `TallySource`; a classification is an answer to the first question."""

    campaign: Campaign
    reductions: ReductionStore
    workflows: WorkflowStore
    ledger: SubjectLedger

    def read(self, campaign_id: int) -> ReducedTallies:
        """Return the tallies, and how many reductions could not be read for which reason."""
        tree = load_tree(self.campaign.tree)
        codebook = Codebook(self.campaign, tree, self.workflows.list(campaign_id))
        policy = self.campaign.ingest
        reader = ReductionReader(
            tree=tree, maps=codebook.maps(since=policy.reductions_since), reducers=frozenset(policy.reducers)
        )
        return reader.tallies(self.reductions.list(campaign_id))

    def tallies(self, campaign_id: int, n_answers: int) -> TallySet:
        """Return the tallies of all galaxies with votes; `BadVotes` if they are not of a tree of so many answers."""
        tallies = self.read(campaign_id).tallies
        if tallies.counts.shape[1] != n_answers:
            raise BadVotes(f"tree {self.campaign.tree_name} has {tallies.counts.shape[1]} answers, not {n_answers}")
        return tallies

    def tallies_of(self, campaign_id: int, galaxy_ids: Sequence[str], n_answers: int) -> TallySet:
        """Return the tallies of those of some galaxies that have votes; raises what `tallies` does."""
        tallies, wanted = self.tallies(campaign_id, n_answers), frozenset(galaxy_ids)
        return tallies.only([galaxy_id in wanted for galaxy_id in tallies.galaxy_ids])

    def counted(self, campaign_id: int, cycle_id: int | None = None) -> int:
        """Return counted classifications; see `TallySource.counted`."""
        counted = self.counted_of_galaxies(campaign_id)
        if cycle_id is None:
            return sum(counted.values())
        return sum(counted.get(subject.galaxy_id, 0) for subject in self.ledger.of_cycle(cycle_id))

    def counted_of_galaxies(self, campaign_id: int) -> Mapping[str, int]:
        """Return counted classifications by galaxy; see `TallySource.counted_of_galaxies`."""
        tallies = self.read(campaign_id).tallies
        first = load_tree(self.campaign.tree).slices[0]
        return dict(zip(tallies.galaxy_ids, tallies.counts[:, first].sum(axis=1).tolist(), strict=True))


@dataclass(frozen=True, kw_only=True)
class CompareFeeds:
    """Classifications and reductions of one campaign, side by side."""

    classifications: ClassificationStore
    feed: ReducedFeed

    def run(self, campaign: CampaignRow) -> FeedComparison:
        """Return every question of every galaxy on which they differ."""
        tree = load_tree(campaign.settings.tree)
        reduced = self.feed.read(campaign.id)
        return compare_feeds(
            tree,
            self.classifications.tallies(campaign.id, tree.n_answers),
            reduced.tallies,
            counts_from=campaign.settings.ingest.tallies_from,
            unread=reduced.unread,
        )
