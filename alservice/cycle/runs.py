"""Which orchestrated runs worked on a cycle, so that its page leads to their logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Engine, func, select
from sqlalchemy.dialects.postgresql import insert

from alservice.campaigns import schema as campaigns_schema
from alservice.campaigns.store import CycleRun
from alservice.storage.postgres import columns_of, transaction

_TABLE = campaigns_schema.cycle_runs


class SqlRunLog:
    """Runs of cycles in Postgres."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def note(self, run: CycleRun) -> None:
        """Keep that a run works on a cycle; said again, as after a suspension, nothing changes."""
        with transaction(self._engine) as connection:
            connection.execute(insert(_TABLE).values(**asdict(run)).on_conflict_do_nothing())

    def newest(self, cycle_id: int, *, per_flow: int) -> Sequence[CycleRun]:
        """Return a cycle's runs, newest first: of each flow the newest few, for ticks outnumber all others."""
        place = func.row_number().over(partition_by=_TABLE.c.flow, order_by=_TABLE.c.began_at.desc())
        ranked = select(*columns_of(_TABLE, CycleRun), place.label("place")).where(_TABLE.c.cycle_id == cycle_id)
        rows = ranked.subquery()
        wanted = select(*columns_of(rows, CycleRun)).where(rows.c.place <= per_flow)
        with transaction(self._engine) as connection:
            found = connection.execute(wanted.order_by(rows.c.began_at.desc(), rows.c.run_id)).mappings()
            return [CycleRun(**row) for row in found]

    def count(self, cycle_id: int) -> int:
        """Return how many runs worked on a cycle."""
        wanted = select(func.count()).select_from(_TABLE).where(_TABLE.c.cycle_id == cycle_id)
        with transaction(self._engine) as connection:
            return int(connection.execute(wanted).scalar_one())
