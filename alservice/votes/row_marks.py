"""What is learnt of rows and tallies that are there: gold standard, votes that fit no tree, people to forget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import delete, insert, or_, select, update

from alservice.storage import schema
from alservice.storage.rows import among
from alservice.votes.classification import IDENTIFIED
from alservice.votes.row_reads import RowReads

_TABLE = schema.classifications


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
