"""One transaction of ingest."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection, RowMapping, and_, case, delete, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from alservice.adapters.sql import schema
from alservice.adapters.sql.rows import among, incoming, insert_rows
from alservice.core.classifications import Classification, RawClassification, Verdict
from alservice.errors import BadInput, Conflict
from alservice.ports import Clock
from alservice.shapes import IntArray

_TABLE = schema.classifications
_RAW: Final = tuple(field.name for field in fields(RawClassification))
_READING: Final = ("answers", "abstentions", "fault")
_DECODED: Final = ("galaxy_id", *_READING)
_MAY_CHANGE: Final = ("finished_at", "seen_before", "live_project", "annotations", *_DECODED)
"""What a re-read may correct: a sitting finished later, a subject or workflow version known by now."""


class SqlLanding:
    """Rows, verdicts, tallies and cursor in the transaction of `SqlClassificationStore.landing`."""

    def __init__(self, connection: Connection, campaign_id: int, clock: Clock) -> None:
        self._connection = connection
        self._campaign_id = campaign_id
        self._clock = clock
        self._unjudged: set[int] = set()

    def insert(self, rows: Sequence[Classification], *, source: str, received_at: datetime) -> int:
        """Insert rows, or update what a source may still change; return how many were new."""
        shared = {"campaign_id": self._campaign_id, "source": source, "received_at": received_at.isoformat()}
        documents = {row.raw.classification_id: {**shared, **_document(row)} for row in rows}  # pages may overlap
        if not documents:
            return 0
        names = tuple(next(iter(documents.values())))
        new = upsert(_TABLE).from_select(names, select(incoming(_TABLE, names, documents.values())))
        old, again = _TABLE.c, new.excluded
        # After a change of the workflow its older versions may be unknown: what was read of them stays.
        is_kept = and_(old.fault.is_(None), again.fault.is_not(None), old.annotations == again.annotations)
        kept = {name: case((is_kept, old[name]), else_=again[name]) for name in _READING}
        new = new.on_conflict_do_update(
            index_elements=["campaign_id", "classification_id"],
            set_={**{name: again[name] for name in _MAY_CHANGE}, **kept},
            where=or_(*(old[name].is_distinct_from(again[name]) for name in _MAY_CHANGE)),
        )
        # xmax is 0 in a row that was inserted, not updated; rows that did not change are not returned at all.
        inserted = self._connection.scalars(new.returning(text("xmax = 0")))
        self._unjudged |= documents.keys()
        return sum(inserted)

    def rows_of(self, galaxy_ids: Sequence[str]) -> Mapping[str, Sequence[Classification]]:
        """Return every row of these galaxies, landed earlier or in this transaction."""
        wanted = (
            select(*(_TABLE.c[name] for name in (*_RAW, *_DECODED)))
            .where(_TABLE.c.campaign_id == self._campaign_id, among(_TABLE.c.galaxy_id, galaxy_ids))
            .order_by(_TABLE.c.galaxy_id, _TABLE.c.classification_id)
        )
        found: defaultdict[str, list[Classification]] = defaultdict(list)
        for row in self._connection.execute(wanted).mappings():
            found[row["galaxy_id"]].append(_classification(row))
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

    def save_tallies(self, tallies: Mapping[str, IntArray], classifications: Mapping[str, int]) -> None:
        """Replace the tallies (A,) and counted classifications of these galaxies."""
        table, totals = schema.tallies, schema.tally_totals
        stale = table.c.campaign_id == self._campaign_id, among(table.c.galaxy_id, tallies)
        self._connection.execute(delete(table).where(*stale))
        insert_rows(
            self._connection,
            table,
            (
                {
                    "campaign_id": self._campaign_id,
                    "galaxy_id": galaxy,
                    "column_index": i,
                    "votes": int(counts[i]),
                }
                for galaxy, counts in tallies.items()
                for i in np.flatnonzero(counts).tolist()
            ),
        )
        names = ("campaign_id", "galaxy_id", "classifications")
        rows = (
            {"campaign_id": self._campaign_id, "galaxy_id": g, "classifications": n} for g, n in classifications.items()
        )
        new = upsert(totals).from_select(names, select(incoming(totals, names, rows)))
        self._connection.execute(
            new.on_conflict_do_update(
                index_elements=["campaign_id", "galaxy_id"],
                set_={"classifications": new.excluded.classifications},
            )
        )

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


def _document(row: Classification) -> dict[str, Any]:
    raw = {name: getattr(row.raw, name) for name in _RAW}
    for name, value in raw.items():
        if isinstance(value, str) and not value.isprintable():
            number = row.raw.classification_id
            raise BadInput(f"classification {number}: {name} is not printable text", classification=number, field=name)
    raw["created_at"] = row.raw.created_at.isoformat()
    raw["annotations"] = json.dumps(list(row.raw.annotations))
    return raw | {name: getattr(row, name) for name in _DECODED}


def _classification(row: RowMapping) -> Classification:
    raw = {name: row[name] for name in _RAW}
    return Classification(
        raw=RawClassification(**{**raw, "annotations": json.loads(row["annotations"])}),
        galaxy_id=row["galaxy_id"],
        answers=tuple(row["answers"]),
        abstentions=row["abstentions"],
        fault=row["fault"],
    )
