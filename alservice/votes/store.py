"""One transaction of ingest."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    MetaData,
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

from alservice.constants import EXPORT
from alservice.errors import Conflict
from alservice.process import Clock
from alservice.storage import schema
from alservice.storage.rows import among, incoming
from alservice.votes.classification import Classification, Verdict
from alservice.votes.copy_lines import escaped, row_lines, tally_line
from alservice.votes.counting import GalaxyTally
from alservice.votes.ingest import Inserted
from alservice.votes.quarantine import RowFault
from alservice.votes.row_marks import RowMarks
from alservice.votes.row_reads import DECODED, RAW, READING

_TABLE = schema.classifications
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
