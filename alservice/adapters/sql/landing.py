"""One transaction of ingest."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

import numpy as np
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    MetaData,
    RowMapping,
    Table,
    and_,
    case,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable

from alservice.adapters.sql import schema
from alservice.adapters.sql.row_marks import RowMarks
from alservice.adapters.sql.rows import among, incoming
from alservice.constants import EXPORT
from alservice.core.classifications import Classification, RawClassification, Verdict
from alservice.core.judging import GalaxyTally
from alservice.core.quarantine import RowFault
from alservice.errors import BadInput, Conflict
from alservice.ports import Clock, Inserted

_TABLE = schema.classifications
_RAW: Final = RawClassification._fields
_READING: Final = ("answers", "abstentions", "fault")
_DECODED: Final = ("galaxy_id", *_READING)
_LANDED: Final = (*_RAW, *_DECODED, "verdict", "campaign_id", "source", "answers_from", "received_at")


def _staging(name: str, columns: Iterable[Column[Any]]) -> Table:
    """Return a table of one transaction that takes rows on their way into another."""
    copies = (Column(column.name, column.type) for column in columns)
    return Table(name, MetaData(), *copies, prefixes=["TEMPORARY"], postgresql_on_commit="DELETE ROWS")


_STAGE: Final = _staging("landing", (_TABLE.c[name] for name in _LANDED))
_TALLIES: Final = _staging(
    "landing_tallies",
    (schema.tallies.c[name] for name in ("galaxy_id", "classifications", "votes", "last_id", "seen")),
)


class SqlLanding(RowMarks):
    """Rows, verdicts, tallies and cursor in the transaction of `SqlClassificationStore.landing`."""

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
        shared = f"{self._campaign_id}\t{_escaped(source)}\t{_escaped(source)}\t{received_at.isoformat()}"
        lines = _lines(rows, verdicts, shared)
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
                cursor.copy_expert(statement, io.StringIO("".join(lines)))
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

    def rows_of(self, galaxy_ids: Sequence[str]) -> Mapping[str, Sequence[Classification]]:
        """Return every row of these galaxies, landed earlier or in this transaction."""
        wanted = (
            select(*row_columns())
            .where(_TABLE.c.campaign_id == self._campaign_id, among(_TABLE.c.galaxy_id, galaxy_ids))
            .order_by(_TABLE.c.galaxy_id, _TABLE.c.classification_id)
        )
        found: defaultdict[str, list[Classification]] = defaultdict(list)
        for row in self._connection.execute(wanted).mappings():
            found[row["galaxy_id"]].append(classification_of(row))
        return dict(found)

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
        subjects = schema.subjects
        is_ours = exists().where(
            subjects.c.campaign_id == self._campaign_id, subjects.c.zooniverse_id == _TABLE.c.zooniverse_subject_id
        )
        wanted = (
            select(*row_columns())
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
        return [classification_of(row) for row in self._connection.execute(wanted).mappings()]

    def save_readings(self, rows: Sequence[Classification]) -> None:
        """Replace galaxy and answers of rows that are there."""
        names = ("classification_id", *_DECODED)
        documents = [
            {"classification_id": row.raw.classification_id, **{name: getattr(row, name) for name in _DECODED}}
            for row in rows
        ]
        read = incoming(_TABLE, names, documents)
        self._connection.execute(
            update(_TABLE)
            .where(_TABLE.c.campaign_id == self._campaign_id, _TABLE.c.classification_id == read.c.classification_id)
            .values({name: read.c[name] for name in _DECODED})
        )
        self._unjudged |= {row.raw.classification_id for row in rows}

    def save_tallies(self, tallies: Mapping[str, GalaxyTally]) -> None:
        """Replace the tallies of these galaxies."""
        if not tallies:
            return
        names = tuple(_TALLIES.c.keys())
        self._connection.execute(CreateTable(_TALLIES, if_not_exists=True))
        self._connection.execute(text(f"TRUNCATE {_TALLIES.name}"))
        self._copy(_TALLIES, names, (_tally_line(galaxy_id, tally) for galaxy_id, tally in tallies.items()))
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
    answers = {name: case((keep, old[name]), else_=new[name]) for name in (*_READING, "annotations", "answers_from")}
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


def _lines(rows: Iterable[Classification], verdicts: Mapping[int, Verdict], shared: str) -> Iterable[str]:
    """Yield rows in the text form of COPY, the columns as in `_LANDED`; `shared` is what all have at the end."""
    documents: dict[int, str] = {}
    for row in rows:
        raw = row.raw
        number = raw.classification_id
        annotations = documents.get(id(raw.annotations))
        if annotations is None:
            annotations = documents[id(raw.annotations)] = _escaped(json.dumps(list(raw.annotations)))
        subject, completed = raw.zooniverse_subject_id, raw.completed
        answers = ",".join(map(str, row.answers))
        yield (
            f"{number}\t{raw.workflow_id}\t{_text(raw, 'workflow_version')}\t{_NULL if subject is None else subject}\t"
            f"{_text(raw, 'user_hash')}\t{_text(raw, 'session')}\t{_text(raw, 'started_at')}\t"
            f"{_text(raw, 'finished_at')}\t{raw.seen_before}\t{raw.live_project}\t{raw.created_at}\t{annotations}\t"
            f"{_NULL if completed is None else completed}\t{raw.gold_standard}\t{raw.after_retirement}\t"
            f"{_optional(row.galaxy_id)}\t{{{answers}}}\t{row.abstentions}\t{_optional(row.fault)}\t"
            f"{verdicts.get(number, _NULL)}\t{shared}\n"
        )


def _tally_line(galaxy_id: str, tally: GalaxyTally) -> str:
    votes = str(tally.votes.tolist())[1:-1]
    seen = _NULL if tally.seen is None else f"\\\\x{tally.seen.hex()}"
    return f"{_escaped(galaxy_id)}\t{tally.classifications}\t{{{votes}}}\t{tally.last_id}\t{seen}\n"


_NULL: Final = "\\N"


def _text(raw: RawClassification, name: str) -> str:
    value: str | None = getattr(raw, name)
    if value is None:
        return _NULL
    if not value.isprintable():
        number = raw.classification_id
        raise BadInput(f"classification {number}: {name} is not printable text", classification=number, field=name)
    return value.replace("\\", "\\\\") if "\\" in value else value


def _optional(value: str | None) -> str:
    return _NULL if value is None else _escaped(value)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def row_columns() -> tuple[ColumnElement[Any], ...]:
    """Return the columns that make a `Classification`."""
    return tuple(_TABLE.c[name] for name in (*_RAW, *_DECODED, "kept"))


def classification_of(row: RowMapping) -> Classification:
    """Return the record of a row."""
    raw = {name: row[name] for name in _RAW}
    return Classification(
        raw=RawClassification(**{**raw, "annotations": json.loads(row["annotations"])}),
        galaxy_id=row["galaxy_id"],
        answers=tuple(row["answers"]),
        abstentions=row["abstentions"],
        fault=row["fault"],
        kept=row["kept"],
    )
