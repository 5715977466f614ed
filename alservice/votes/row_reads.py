"""What a landing reads back: classifications, their verdicts, and tallies."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from sqlalchemy import ColumnElement, Connection, RowMapping, and_, exists, or_, select

from alservice.storage import schema
from alservice.storage.rows import among
from alservice.votes.classification import Classification, RawClassification, Verdict
from alservice.votes.counting import GalaxyTally

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
        subjects = schema.subjects
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
