"""Tallies frozen for one cycle, and the metrics computed on them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert as upsert

from alservice.campaigns.cycle import Cycle
from alservice.campaigns.events import append
from alservice.campaigns.records import CycleStatistics, Evaluation, Event, TrainingSnapshot
from alservice.process import Clock
from alservice.science.metrics import Metrics
from alservice.science.training_sets import TallySet
from alservice.storage import schema
from alservice.storage.postgres import transaction
from alservice.storage.rows import columns_of

_SNAPSHOTS = select(*columns_of(schema.training_snapshots, TrainingSnapshot))


class SqlSnapshotStore:
    """Snapshots, evaluations and statistics of cycles in Postgres: written once."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def save(self, cycle: Cycle, *, key: str, tallies: TallySet, reducer: str, n_inconsistent: int) -> TrainingSnapshot:
        """Record a cycle's snapshot; the same cycle again returns the one there is."""
        table = schema.training_snapshots
        new = upsert(table).values(
            cycle_id=cycle.id,
            key=key,
            digest=tallies.digest,
            n_galaxies=len(tallies.galaxy_ids),
            n_votes=tallies.n_votes,
            reducer=reducer,
            n_inconsistent=n_inconsistent,
            created_at=self._clock(),
        )
        with transaction(self._engine) as connection:
            connection.execute(new.on_conflict_do_nothing())
            row = connection.execute(_SNAPSHOTS.where(table.c.cycle_id == cycle.id)).mappings().one()
        return TrainingSnapshot(**row)

    def of_cycle(self, cycle_id: int) -> TrainingSnapshot | None:
        """Return the snapshot a cycle trained on."""
        wanted = _SNAPSHOTS.where(schema.training_snapshots.c.cycle_id == cycle_id)
        with transaction(self._engine) as connection:
            row = connection.execute(wanted).mappings().one_or_none()
        return None if row is None else TrainingSnapshot(**row)

    def save_evaluation(self, evaluation: Evaluation) -> None:
        """Record the metrics of one model in one cycle; the same again is fine."""
        new = upsert(schema.evaluations).values(
            cycle_id=evaluation.cycle_id,
            model_id=evaluation.model_id,
            metrics=evaluation.metrics.document(),
            created_at=self._clock(),
        )
        with transaction(self._engine) as connection:
            connection.execute(new.on_conflict_do_nothing())

    def evaluations(self, campaign_id: int) -> Sequence[Evaluation]:
        """Return all evaluations by cycle."""
        table, cycles = schema.evaluations, schema.cycles
        wanted = (
            select(table.c.cycle_id, cycles.c.number, table.c.model_id, table.c.metrics)
            .join_from(table, cycles)
            .where(cycles.c.campaign_id == campaign_id)
            .order_by(cycles.c.number, table.c.model_id)
        )
        with transaction(self._engine) as connection:
            return [
                Evaluation(
                    cycle_id=row.cycle_id,
                    cycle_number=row.number,
                    model_id=row.model_id,
                    metrics=Metrics.from_document(row.metrics),
                )
                for row in connection.execute(wanted)
            ]

    def save_statistics(self, statistics: CycleStatistics, events: Sequence[Event]) -> None:
        """Record what was measured of a cycle, with the events it causes; one that has it keeps it and its events."""
        table = schema.cycle_statistics
        new = upsert(table).values(
            cycle_id=statistics.cycle_id,
            kind=statistics.kind,
            document=statistics.document,
            created_at=self._clock(),
        )
        with transaction(self._engine) as connection:
            if connection.scalar(new.on_conflict_do_nothing().returning(table.c.kind)) is not None:
                for event in events:
                    append(connection, event)

    def statistics(self, campaign_id: int) -> Sequence[CycleStatistics]:
        """Return what was measured of a campaign's cycles, by cycle and kind."""
        table, cycles = schema.cycle_statistics, schema.cycles
        wanted = (
            select(table.c.cycle_id, cycles.c.number.label("cycle_number"), table.c.kind, table.c.document)
            .join_from(table, cycles)
            .where(cycles.c.campaign_id == campaign_id)
            .order_by(cycles.c.number, table.c.kind)
        )
        with transaction(self._engine) as connection:
            return [CycleStatistics(**row) for row in connection.execute(wanted).mappings()]
