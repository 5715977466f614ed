"""One transaction of ingest."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any, Final

import numpy as np
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Date,
    Engine,
    MetaData,
    RowMapping,
    Table,
    Text,
    and_,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable

from alservice.constants import EXPORT
from alservice.errors import BadInput, BadVotes, Conflict
from alservice.progress import Clock
from alservice.science.votes import TallySet, tally_set
from alservice.shapes import IntArray
from alservice.storage.postgres import CHUNK_ROWS, among, incoming, transaction
from alservice.subjects import schema as subjects_schema
from alservice.votes import schema
from alservice.votes.classification import IDENTIFIED, Classification, Quarantine, QuarantinedRow, RowFault, Verdict
from alservice.votes.counting import GalaxyTally
from alservice.votes.weights import Sitting
from alservice.zooniverse.records import RawClassification
from alservice.zooniverse.workflow import Workflow

LANDING_LOCK: Final = 7_316_502
"""First half of a landing's advisory lock, the second is the campaign: any constant, the same everywhere."""


class ClassificationStore:
    """Classifications in Postgres."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    @contextmanager
    def landing(self, campaign_id: int) -> Iterator[Landing]:
        """Open one transaction.

        Landings of a campaign happen one after the other: each judges all rows of the galaxies it touches,
        and would overwrite the tallies of another that it could not see.
        """
        with transaction(self._engine) as connection:
            connection.execute(select(func.pg_advisory_xact_lock(LANDING_LOCK, campaign_id)))
            landing = Landing(connection, campaign_id, self._clock)
            yield landing
            landing.check_judged()

    def cursor(self, campaign_id: int, source: str) -> int:
        """Return the largest classification id read from a source, 0 at first."""
        table = schema.ingest_cursors
        last = select(table.c.last_id).where(table.c.campaign_id == campaign_id, table.c.source == source)
        with transaction(self._engine) as connection:
            return connection.scalar(last) or 0

    def tallies(self, campaign_id: int, n_answers: int) -> TallySet:
        """Return the tallies of all galaxies with votes; `BadVotes` if one is beyond the tree's answers."""
        table = schema.tallies
        wanted = select(table.c.galaxy_id, table.c.votes).where(table.c.campaign_id == campaign_id)
        with transaction(self._engine) as connection:
            rows = connection.execute(wanted)
            counts = {galaxy: _dense(galaxy, votes, n_answers) for galaxy, votes in rows}
        return tally_set(counts, n_answers)

    def tallies_of(self, campaign_id: int, galaxy_ids: Sequence[str], n_answers: int) -> TallySet:
        """Return the tallies of those of some galaxies that have votes; raises what `tallies` does."""
        table = schema.tallies
        mine = table.c.campaign_id == campaign_id, among(table.c.galaxy_id, galaxy_ids)
        with transaction(self._engine) as connection:
            rows = connection.execute(select(table.c.galaxy_id, table.c.votes).where(*mine))
            counts = {galaxy: _dense(galaxy, votes, n_answers) for galaxy, votes in rows}
        return tally_set(counts, n_answers)

    def first_votes(self, campaign_id: int, galaxy_ids: Sequence[str], n_answers: int, *, most: int) -> TallySet:
        """Return the votes of the first counted classifications of some galaxies, `most` of each, by classification id.

        Whether asking stopped early after them does not change them, as the number of all votes does.
        """
        table = schema.classifications
        place = func.row_number().over(partition_by=table.c.galaxy_id, order_by=table.c.classification_id)
        mine = table.c.campaign_id == campaign_id, among(table.c.galaxy_id, galaxy_ids)
        ranked = select(table.c.galaxy_id, table.c.answers, place.label("place"))
        first = ranked.where(*mine, table.c.verdict == Verdict.COUNTED).subquery()
        counts: dict[str, IntArray] = {}
        with transaction(self._engine) as connection:
            for galaxy, answers in connection.execute(
                select(first.c.galaxy_id, first.c.answers).where(first.c.place <= most)
            ):
                own = counts.setdefault(galaxy, np.zeros(n_answers, dtype=np.int64))
                own += np.bincount(answers, minlength=n_answers)
        return tally_set(counts, n_answers)

    def counted(self, campaign_id: int, cycle_id: int | None = None) -> int:
        """Return counted classifications, of all cycles or of the subjects of one."""
        totals, subjects = schema.tallies, subjects_schema.subjects
        wanted = select(func.sum(totals.c.classifications)).where(totals.c.campaign_id == campaign_id)
        if cycle_id is not None:
            of_cycle = select(subjects.c.galaxy_id).where(subjects.c.cycle_id == cycle_id)
            wanted = wanted.where(totals.c.galaxy_id.in_(of_cycle))
        with transaction(self._engine) as connection:
            return connection.scalar(wanted) or 0

    def counted_per_day(self, campaign_id: int, *, since: datetime, until: datetime) -> Mapping[date, int]:
        """Return counted classifications by the day (UTC) they were made, from a moment up to another."""
        table = schema.classifications
        day = cast(func.timezone("UTC", table.c.created_at), Date).label("day")
        within = table.c.created_at >= since, table.c.created_at < until
        counted = table.c.campaign_id == campaign_id, table.c.verdict == Verdict.COUNTED
        wanted = select(day, func.count().label("n")).where(*counted, *within).group_by(day)
        with transaction(self._engine) as connection:
            return {row.day: row.n for row in connection.execute(wanted)}

    def counted_of_galaxies(self, campaign_id: int) -> Mapping[str, int]:
        """Return counted classifications by galaxy id, for galaxies that have any row."""
        totals = schema.tallies
        wanted = select(totals.c.galaxy_id, totals.c.classifications).where(totals.c.campaign_id == campaign_id)
        with transaction(self._engine) as connection:
            return {row.galaxy_id: row.classifications for row in connection.execute(wanted)}

    def by_verdict(self, campaign_id: int) -> Mapping[str, int]:
        """Return rows per verdict."""
        table = schema.classifications
        counts = select(table.c.verdict, func.count()).where(table.c.campaign_id == campaign_id)
        with transaction(self._engine) as connection:
            rows = connection.execute(counts.group_by(table.c.verdict))
            return {str(verdict): n for verdict, n in rows}

    def galaxies(self, campaign_id: int, *, after: str, limit: int) -> Sequence[str]:
        """Return ids of galaxies that have classifications, in order."""
        table = schema.tallies
        wanted = select(table.c.galaxy_id).where(table.c.campaign_id == campaign_id, table.c.galaxy_id > after)
        with transaction(self._engine) as connection:
            return list(connection.scalars(wanted.order_by(table.c.galaxy_id).limit(limit)))

    def sittings(self, campaign_id: int) -> Iterator[Sitting]:
        """Yield every counted classification with who gave it; see `ClassificationStore.sittings`."""
        table = schema.classifications
        session = literal("session ") + table.c.source + literal(" ") + table.c.session
        alone = literal("classification ") + cast(table.c.classification_id, Text)
        voter = func.coalesce(table.c.user_hash, session, alone)
        wanted = select(table.c.galaxy_id, voter, table.c.answers).where(
            table.c.campaign_id == campaign_id, table.c.verdict == Verdict.COUNTED
        )
        with transaction(self._engine) as connection:
            for galaxy_id, name, answers in connection.execution_options(yield_per=CHUNK_ROWS).execute(wanted):
                yield Sitting(galaxy_id=galaxy_id, voter=name, answers=answers)

    def tally_faults(self, campaign_id: int) -> Mapping[str, Sequence[int]]:
        """Return galaxies whose votes no walks through the tree give; see `ClassificationStore.tally_faults`."""
        table = schema.tally_faults
        wanted = select(table.c.galaxy_id, table.c.questions).where(table.c.campaign_id == campaign_id)
        with transaction(self._engine) as connection:
            return {row.galaxy_id: tuple(row.questions) for row in connection.execute(wanted.order_by("galaxy_id"))}

    def quarantined(self, campaign_id: int, *, limit: int) -> Quarantine:
        """Return counts by reason, most frequent first, and the first rows."""
        rows, files = schema.classifications, schema.quarantined_rows
        waits = rows.c.campaign_id == campaign_id, rows.c.verdict == Verdict.QUARANTINED
        ours = files.c.campaign_id == campaign_id
        count = func.count().label("n")
        with transaction(self._engine) as connection:
            faults = select(rows.c.fault, count).where(*waits).group_by(rows.c.fault)
            reasons = {str(fault): n for fault, n in connection.execute(faults)}
            kinds = select(files.c.field, count).where(ours).group_by(files.c.field)
            reasons |= {f"row of a file: {field}": n for field, n in connection.execute(kinds)}
            read = select(rows.c.classification_id, rows.c.source, null(), rows.c.fault).where(*waits)
            broken = select(files.c.classification_id, files.c.source, files.c.row, files.c.reason).where(ours)
            read, broken = read.order_by(rows.c.classification_id), broken.order_by(files.c.source, files.c.row)
            found = [*connection.execute(read.limit(limit)), *connection.execute(broken.limit(limit))]
        shown = tuple(
            QuarantinedRow(classification_id=number, source=source, row=row, reason=reason)
            for number, source, row, reason in found[:limit]
        )
        return Quarantine(reasons=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))), rows=shown)


def _dense(galaxy_id: str, votes: list[int], n_answers: int) -> IntArray:
    beyond = [column for column, n in enumerate(votes) if n and column >= n_answers]
    if beyond:
        raise BadVotes(
            f"galaxy {galaxy_id!r} has votes in column {beyond[-1]} of a tree with {n_answers} answers",
            galaxy=galaxy_id,
        )
    counts = np.zeros(n_answers, dtype=np.int64)
    counts[: len(votes)] = votes[:n_answers]
    return counts


_NULL: Final = "\\N"


def row_lines(rows: Iterable[Classification], verdicts: Mapping[int, Verdict], shared: str) -> Iterable[str]:
    """Yield rows in the text form of COPY, the columns as landings have them; `shared` is what all have at the end."""
    documents: dict[int, str] = {}
    for row in rows:
        raw = row.raw
        number = raw.classification_id
        annotations = documents.get(id(raw.annotations))
        if annotations is None:
            annotations = documents[id(raw.annotations)] = escaped(json.dumps(list(raw.annotations)))
        subject, completed = raw.zooniverse_subject_id, raw.completed
        created_at, answers = raw.created_at.isoformat(), ",".join(map(str, row.answers))
        yield (
            # `!s`, as the formatting of a bool takes ten times as long.
            f"{number}\t{raw.workflow_id}\t{_text(raw, 'workflow_version')}\t{_NULL if subject is None else subject}\t"
            f"{_text(raw, 'user_hash')}\t{_text(raw, 'session')}\t{_text(raw, 'started_at')}\t"
            f"{_text(raw, 'finished_at')}\t{raw.seen_before!s}\t{raw.live_project!s}\t{created_at}\t{annotations}\t"
            f"{_NULL if completed is None else str(completed)}\t{raw.gold_standard!s}\t{raw.after_retirement!s}\t"
            f"{_optional(row.galaxy_id)}\t{{{answers}}}\t{row.abstentions}\t{_optional(row.fault)}\t"
            f"{verdicts.get(number, _NULL)}\t{shared}\n"
        )


def tally_line(galaxy_id: str, tally: GalaxyTally) -> str:
    """Return a tally in the text form of COPY."""
    votes = str(tally.votes.tolist())[1:-1]
    seen = _NULL if tally.seen is None else f"\\\\x{tally.seen.hex()}"
    return f"{escaped(galaxy_id)}\t{tally.classifications}\t{{{votes}}}\t{tally.last_id}\t{seen}\n"


def _text(raw: RawClassification, name: str) -> str:
    value: str | None = getattr(raw, name)
    if value is None:
        return _NULL
    if not value.isprintable():
        number = raw.classification_id
        raise BadInput(f"classification {number}: {name} is not printable text", classification=number, field=name)
    return value.replace("\\", "\\\\") if "\\" in value else value


def _optional(value: str | None) -> str:
    return _NULL if value is None else escaped(value)


def escaped(value: str) -> str:
    """Return text as COPY takes it."""
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


RAW: Final = RawClassification._fields
READING: Final = ("answers", "abstentions", "fault")
DECODED: Final = ("galaxy_id", *READING)

_TABLE = schema.classifications


class RowReads:
    """The part of a landing that reads, in the same transaction."""

    def __init__(self, connection: Connection, campaign_id: int) -> None:
        self._connection = connection
        self._campaign_id = campaign_id

    def rows_of(self, galaxy_ids: Sequence[str]) -> Mapping[str, Sequence[Classification]]:
        """Return every row of these galaxies, landed earlier or in this transaction."""
        wanted = (
            select(*_row_columns())
            .where(_TABLE.c.campaign_id == self._campaign_id, among(_TABLE.c.galaxy_id, galaxy_ids))
            .order_by(_TABLE.c.galaxy_id, _TABLE.c.classification_id)
        )
        found: defaultdict[str, list[Classification]] = defaultdict(list)
        for row in self._connection.execute(wanted).mappings():
            found[row["galaxy_id"]].append(_classification_of(row))
        return dict(found)

    def tallies_of(self, galaxy_ids: Sequence[str]) -> Mapping[str, GalaxyTally]:
        """Return the tallies of these galaxies, where there are any."""
        table = schema.tallies
        wanted = select(table.c.galaxy_id, table.c.votes, table.c.classifications, table.c.last_id, table.c.seen)
        mine = table.c.campaign_id == self._campaign_id, among(table.c.galaxy_id, galaxy_ids)
        return {
            galaxy_id: GalaxyTally(
                votes=np.array(votes, dtype=np.int64),
                classifications=classifications,
                last_id=last_id,
                seen=None if seen is None else bytes(seen),
            )
            for galaxy_id, votes, classifications, last_id, seen in self._connection.execute(wanted.where(*mine))
        }

    def verdicts_of(self, classification_ids: Sequence[int]) -> Mapping[int, Verdict]:
        """Return the verdicts of rows that landed earlier."""
        if not classification_ids:
            return {}
        wanted = select(_TABLE.c.classification_id, _TABLE.c.verdict).where(
            _TABLE.c.campaign_id == self._campaign_id, among(_TABLE.c.classification_id, classification_ids)
        )
        return {number: Verdict(verdict) for number, verdict in self._connection.execute(wanted)}

    def waiting(self, *, after_id: int, limit: int) -> Sequence[Classification]:
        """Return rows that could not be read, or whose subject is ours by now, by id."""
        subjects = subjects_schema.subjects
        is_ours = exists().where(
            subjects.c.campaign_id == self._campaign_id, subjects.c.zooniverse_id == _TABLE.c.zooniverse_subject_id
        )
        wanted = (
            select(*_row_columns())
            .where(
                _TABLE.c.campaign_id == self._campaign_id,
                _TABLE.c.classification_id > after_id,
                or_(
                    _TABLE.c.verdict == Verdict.QUARANTINED,
                    and_(_TABLE.c.verdict == Verdict.UNKNOWN_SUBJECT, is_ours),
                ),
            )
            .order_by(_TABLE.c.classification_id)
            .limit(limit)
        )
        return [_classification_of(row) for row in self._connection.execute(wanted).mappings()]


def _row_columns() -> tuple[ColumnElement[Any], ...]:
    """Return the columns that make a `Classification`."""
    return tuple(_TABLE.c[name] for name in (*RAW, *DECODED, "kept"))


def _classification_of(row: RowMapping) -> Classification:
    """Return the record of a row."""
    raw = {name: row[name] for name in RAW}
    return Classification(
        raw=RawClassification(**{**raw, "annotations": json.loads(row["annotations"])}),
        galaxy_id=row["galaxy_id"],
        answers=tuple(row["answers"]),
        abstentions=row["abstentions"],
        fault=row["fault"],
        kept=row["kept"],
    )


class RowMarks(RowReads):
    """The part of a landing that changes single columns of rows, in the same transaction."""

    def save_faults(self, galaxy_ids: Sequence[str], faults: Mapping[str, Sequence[int]]) -> None:
        """Replace what is wrong with the tallies of these galaxies."""
        if not galaxy_ids:
            return
        table = schema.tally_faults
        mine = table.c.campaign_id == self._campaign_id
        self._connection.execute(delete(table).where(mine, among(table.c.galaxy_id, galaxy_ids)))
        rows = [
            {"campaign_id": self._campaign_id, "galaxy_id": galaxy_id, "questions": list(questions)}
            for galaxy_id, questions in faults.items()
        ]
        if rows:
            self._connection.execute(insert(table), rows)

    def mark_gold(self, classification_ids: Sequence[int]) -> Sequence[str]:
        """Mark rows as gold standard; return the galaxies of those that were not marked."""
        marked = (
            update(_TABLE)
            .where(
                _TABLE.c.campaign_id == self._campaign_id,
                among(_TABLE.c.classification_id, classification_ids),
                _TABLE.c.gold_standard.is_(False),
            )
            .values(gold_standard=True)
            .returning(_TABLE.c.galaxy_id)
        )
        return sorted({galaxy for galaxy in self._connection.scalars(marked) if galaxy is not None})

    def identified(self, *, user_hash: str | None, before: datetime | None, limit: int) -> Mapping[int, str | None]:
        """Return id to galaxy of the first rows that hold a user hash or session; see `Landing.identified`."""
        has_any = or_(_TABLE.c.user_hash.is_not(None), _TABLE.c.session.is_not(None))
        wanted = select(_TABLE.c.classification_id, _TABLE.c.galaxy_id).where(
            _TABLE.c.campaign_id == self._campaign_id,
            has_any if user_hash is None else _TABLE.c.user_hash == user_hash,
        )
        if before is not None:
            wanted = wanted.where(_TABLE.c.created_at < before)
        first = self._connection.execute(wanted.order_by(_TABLE.c.classification_id).limit(limit))
        return dict(first.tuples().all())

    def forget(self, classification_ids: Sequence[int]) -> None:
        """Take user hash and session from rows; see `Landing.forget`."""
        ours = _TABLE.c.campaign_id == self._campaign_id
        named = among(_TABLE.c.classification_id, classification_ids)
        galaxies = list(self._connection.scalars(select(_TABLE.c.galaxy_id).where(ours, named).distinct()))
        rests_on_it = ours, among(_TABLE.c.galaxy_id, galaxies), _TABLE.c.verdict.in_(IDENTIFIED)
        self._connection.execute(update(_TABLE).where(*rests_on_it).values(kept=_TABLE.c.verdict))
        self._connection.execute(update(_TABLE).where(ours, named).values(user_hash=None, session=None))


_LANDED: Final = (*RAW, *DECODED, "verdict", "campaign_id", "source", "answers_from", "received_at")


def _staging(name: str, columns: Iterable[Column[Any]]) -> Table:
    """Return a table of one transaction that takes rows on their way into another."""
    copies = (Column(column.name, column.type) for column in columns)
    return Table(name, MetaData(), *copies, prefixes=["TEMPORARY"], postgresql_on_commit="DELETE ROWS")


_STAGE: Final = _staging("landing", (_TABLE.c[name] for name in _LANDED))
_TALLIES: Final = _staging(
    "landing_tallies",
    (schema.tallies.c[name] for name in ("galaxy_id", "classifications", "votes", "last_id", "seen")),
)


class Landing(RowMarks):
    """Rows, verdicts, tallies and cursor in the transaction of `ClassificationStore.landing`."""

    def __init__(self, connection: Connection, campaign_id: int, clock: Clock) -> None:
        super().__init__(connection, campaign_id)
        self._clock = clock
        self._unjudged: set[int] = set()

    def insert(
        self,
        rows: Sequence[Classification],
        *,
        source: str,
        received_at: datetime,
        verdicts: Mapping[int, Verdict],
    ) -> Inserted:
        """Insert rows, or update what a source may still change; see `Landing.insert`."""
        if not rows:
            return Inserted(new=frozenset(), corrected={})
        ids = [row.raw.classification_id for row in rows]
        shared = f"{self._campaign_id}\t{escaped(source)}\t{escaped(source)}\t{received_at.isoformat()}"
        lines = row_lines(rows, verdicts, shared)
        if self._is_known(min(ids), max(ids)):
            inserted, corrected = self._merge(lines)
        else:
            self._copy(_TABLE, _LANDED, lines)
            inserted, corrected = frozenset(ids), {}
        self._unjudged |= (inserted | corrected.keys()) - verdicts.keys()
        self._forget_faults(inserted)
        return Inserted(new=inserted, corrected=corrected)

    def _is_known(self, first: int, last: int) -> bool:
        """Tell whether any row has an id from first to last: where none has, there is nothing to compare with."""
        known = exists().where(
            _TABLE.c.campaign_id == self._campaign_id, _TABLE.c.classification_id.between(first, last)
        )
        return bool(self._connection.scalar(select(known)))

    def _merge(self, lines: Iterable[str]) -> tuple[frozenset[int], dict[int, str | None]]:
        """Insert rows or update those that are there; return new ids, and galaxies of changed rows by id."""
        self._connection.execute(CreateTable(_STAGE, if_not_exists=True))
        self._connection.execute(text(f"TRUNCATE {_STAGE.name}"))
        self._copy(_STAGE, _LANDED, lines)
        new = upsert(_TABLE).from_select(_LANDED, select(_STAGE).order_by(_STAGE.c.classification_id))
        changes = _merged(_TABLE.c, new.excluded)
        statement = new.on_conflict_do_update(
            index_elements=["campaign_id", "classification_id"],
            set_=changes,
            where=or_(*(_TABLE.c[name].is_distinct_from(change) for name, change in changes.items())),
        )
        # xmax is 0 in a row that was inserted, not updated; rows that did not change are not returned at all.
        returned = statement.returning(_TABLE.c.classification_id, _TABLE.c.galaxy_id, text("xmax = 0"))
        inserted: set[int] = set()
        corrected: dict[int, str | None] = {}
        for number, galaxy_id, is_new in self._connection.execute(returned):
            if is_new:
                inserted.add(number)
            else:
                corrected[number] = galaxy_id
        return frozenset(inserted), corrected

    def _copy(self, table: Table, names: Iterable[str], lines: Iterable[str]) -> None:
        """Copy lines into a table: COPY is the fastest way in."""
        driver: Any = self._connection.connection.driver_connection
        dbapi: Any = self._connection.dialect.loaded_dbapi
        statement = f"COPY {table.name} ({', '.join(names)}) FROM STDIN"
        try:
            with driver.cursor() as cursor:
                cursor.copy_expert(statement, io.BytesIO("".join(lines).encode()))
        except dbapi.Error as error:
            # SQLAlchemy knows no COPY; with its error the transaction ends as after any other statement.
            raise DBAPIError.instance(statement, None, error, dbapi.Error, hide_parameters=True) from error

    def _forget_faults(self, classification_ids: Iterable[int]) -> None:
        """Take rows of files out of quarantine that a later file or the API gave whole."""
        table = schema.quarantined_rows
        ours = table.c.campaign_id == self._campaign_id
        if self._connection.scalar(select(func.count()).select_from(table).where(ours)):
            landed = among(table.c.classification_id, classification_ids)
            self._connection.execute(delete(table).where(ours, landed))

    def save_verdicts(self, verdicts: Mapping[int, Verdict]) -> None:
        """Set verdicts by classification id."""
        rows = [{"classification_id": i, "verdict": verdict} for i, verdict in verdicts.items()]
        judged = incoming(_TABLE, ("classification_id", "verdict"), rows)
        self._connection.execute(
            update(_TABLE)
            .where(
                _TABLE.c.campaign_id == self._campaign_id,
                _TABLE.c.classification_id == judged.c.classification_id,
                _TABLE.c.verdict.is_distinct_from(judged.c.verdict),
            )
            .values(verdict=judged.c.verdict)
        )
        self._unjudged -= verdicts.keys()

    def save_readings(self, rows: Sequence[Classification]) -> None:
        """Replace galaxy and answers of rows that are there."""
        names = ("classification_id", *DECODED)
        documents = [
            {"classification_id": row.raw.classification_id, **{name: getattr(row, name) for name in DECODED}}
            for row in rows
        ]
        read = incoming(_TABLE, names, documents)
        self._connection.execute(
            update(_TABLE)
            .where(_TABLE.c.campaign_id == self._campaign_id, _TABLE.c.classification_id == read.c.classification_id)
            .values({name: read.c[name] for name in DECODED})
        )
        self._unjudged |= {row.raw.classification_id for row in rows}

    def save_tallies(self, tallies: Mapping[str, GalaxyTally]) -> None:
        """Replace the tallies of these galaxies."""
        if not tallies:
            return
        names = tuple(_TALLIES.c.keys())
        self._connection.execute(CreateTable(_TALLIES, if_not_exists=True))
        self._connection.execute(text(f"TRUNCATE {_TALLIES.name}"))
        self._copy(_TALLIES, names, (tally_line(galaxy_id, tally) for galaxy_id, tally in tallies.items()))
        mine: ColumnElement[int] = literal(self._campaign_id)
        new = upsert(schema.tallies).from_select(
            ("campaign_id", *names), select(mine, *_TALLIES.c).order_by(_TALLIES.c.galaxy_id)
        )
        self._connection.execute(
            new.on_conflict_do_update(
                index_elements=["campaign_id", "galaxy_id"],
                set_={name: new.excluded[name] for name in names[1:]},
            )
        )

    def quarantine(self, faults: Sequence[RowFault], *, source: str, received_at: datetime) -> None:
        """Record rows of a file that cannot be classifications; the same row again is one fault."""
        if not faults:
            return
        table = schema.quarantined_rows
        names = tuple(field.name for field in fields(RowFault))
        rows = {fault.digest: {name: getattr(fault, name) for name in names} for fault in faults}
        given = incoming(table, names, rows.values())
        shared = (literal(self._campaign_id), literal(source), literal(received_at, table.c.received_at.type))
        new = upsert(table).from_select((*names, "campaign_id", "source", "received_at"), select(given, *shared))
        self._connection.execute(new.on_conflict_do_nothing(index_elements=["campaign_id", "digest"]))

    def move_cursor(self, source: str, last_id: int) -> None:
        """Move the cursor forward; it never goes back."""
        table = schema.ingest_cursors
        new = upsert(table).values(
            campaign_id=self._campaign_id, source=source, last_id=last_id, updated_at=self._clock()
        )
        self._connection.execute(
            new.on_conflict_do_update(
                index_elements=["campaign_id", "source"],
                set_={"last_id": new.excluded.last_id, "updated_at": new.excluded.updated_at},
                where=table.c.last_id < new.excluded.last_id,
            )
        )

    def check_judged(self) -> None:
        """Raise `Conflict` if a row that landed has no verdict: it would be neither counted nor excluded."""
        if self._unjudged:
            raise Conflict(
                f"{len(self._unjudged)} classifications have no verdict, the first is {min(self._unjudged)}",
                classification=min(self._unjudged),
            )


def _merged(old: Any, new: Any) -> dict[str, ColumnElement[Any]]:
    """Return what a row is after another source, or the same one again, told of it.

    The order of the sources does not matter: what can be read beats what cannot, the API's answers beat an
    export's labels, and what only an export knows stays. A source that says something new of itself is believed,
    but not where only our knowledge of the workflow shrank: what was read stays.
    """
    other = old.answers_from != new.answers_from
    lost = and_(old.fault.is_(None), new.fault.is_not(None), or_(old.annotations == new.annotations, other))
    weaker = and_(other, new.answers_from == EXPORT, old.fault.is_(None) == new.fault.is_(None))
    keep = or_(lost, weaker)
    answers = {name: case((keep, old[name]), else_=new[name]) for name in (*READING, "annotations", "answers_from")}
    return {
        **answers,
        "galaxy_id": func.coalesce(new.galaxy_id, old.galaxy_id),
        "finished_at": func.coalesce(new.finished_at, old.finished_at),
        "seen_before": or_(old.seen_before, new.seen_before),
        "live_project": and_(old.live_project, new.live_project),
        "completed": func.coalesce(new.completed, old.completed),
        "gold_standard": or_(old.gold_standard, new.gold_standard),
        "after_retirement": or_(old.after_retirement, new.after_retirement),
    }


_WORKFLOWS = schema.workflow_versions


class WorkflowStore:
    """Workflow versions in Postgres."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def save(self, campaign_id: int, workflows: Sequence[Workflow], *, source: str) -> int:
        """Store versions; return how many were new; see `WorkflowStore.save`."""
        new = 0
        with transaction(self._engine) as connection:
            for workflow in workflows:
                tasks = json.dumps(workflow.tasks, sort_keys=True)
                insert = upsert(_WORKFLOWS).values(
                    campaign_id=campaign_id,
                    workflow_id=workflow.workflow_id,
                    version=workflow.version,
                    tasks=tasks,
                    source=source,
                    received_at=self._clock(),
                )
                new += connection.execute(insert.on_conflict_do_nothing()).rowcount
                known = select(_WORKFLOWS.c.tasks, _WORKFLOWS.c.source).where(
                    _WORKFLOWS.c.campaign_id == campaign_id,
                    _WORKFLOWS.c.workflow_id == workflow.workflow_id,
                    _WORKFLOWS.c.version == workflow.version,
                )
                found = connection.execute(known).one()
                if found.tasks != tasks:
                    raise Conflict(
                        f"workflow {workflow.workflow_id} version {workflow.version} asks something else in {source} "
                        f"than in {found.source}",
                        workflow=workflow.workflow_id,
                        version=workflow.version,
                    )
        return new

    def list(self, campaign_id: int) -> Sequence[Workflow]:
        """Return all known versions."""
        wanted = select(_WORKFLOWS.c.workflow_id, _WORKFLOWS.c.version, _WORKFLOWS.c.tasks).where(
            _WORKFLOWS.c.campaign_id == campaign_id
        )
        with transaction(self._engine) as connection:
            return [
                Workflow(workflow_id=workflow_id, version=version, tasks=json.loads(tasks))
                for workflow_id, version, tasks in connection.execute(wanted.order_by(_WORKFLOWS.c.version))
            ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Inserted:
    """What became of rows that were inserted; those in neither were known and the same.

    Parameters
    ----------
    new
        Ids of the rows that were not there.
    corrected
        Id to galaxy of the rows that were there and changed.
    """

    new: frozenset[int]
    corrected: Mapping[int, str | None]
