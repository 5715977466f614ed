"""Export files that were read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Engine, func, select
from sqlalchemy.dialects.postgresql import insert as upsert

from alservice.progress import Clock
from alservice.storage.postgres import columns_of, transaction
from alservice.votes import schema
from alservice.votes.exports import ExportReceipt

_TABLE = schema.exports


class ExportStore:
    """Receipts of exports in Postgres."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def list(self, campaign_id: int) -> Sequence[ExportReceipt]:
        """Return the exports read before, oldest first."""
        wanted = select(*columns_of(_TABLE, ExportReceipt)).where(_TABLE.c.campaign_id == campaign_id)
        with transaction(self._engine) as connection:
            rows = connection.execute(wanted.order_by(_TABLE.c.received_at, _TABLE.c.digest)).mappings()
            return [ExportReceipt(**row) for row in rows]

    def newer(self, campaign_id: int, classification_id: int) -> int:
        """Return how many classifications with higher ids are known."""
        table = schema.classifications
        later = table.c.campaign_id == campaign_id, table.c.classification_id > classification_id
        with transaction(self._engine) as connection:
            return connection.scalar(select(func.count()).select_from(table).where(*later)) or 0

    def save(self, campaign_id: int, export: ExportReceipt) -> None:
        """Remember an export; the same bytes again are the same export."""
        new = upsert(_TABLE).values(campaign_id=campaign_id, received_at=self._clock(), **asdict(export))
        with transaction(self._engine) as connection:
            connection.execute(new.on_conflict_do_nothing())
