"""What each cycle drew, with all that is needed to weight the draw or repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert as upsert

from alservice.acquisition import schema
from alservice.acquisition.batch import Acquired, AcquisitionBatch
from alservice.acquisition.request_store import settle
from alservice.progress import Clock
from alservice.storage.postgres import columns_of, insert_rows, transaction
from alservice.subjects.subject import VotesAsked, votes_of


class AcquisitionStore:
    """Batches in Postgres: written once."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def save(
        self, cycle_id: int, batch: AcquisitionBatch, *, n_votes: VotesAsked, settled: Mapping[int, str] | None = None
    ) -> None:
        """Record the batch of a cycle in one transaction; a cycle that has one keeps it.

        Parameters
        ----------
        settled
            What became of requests, by their ids.
        """
        table = schema.acquisitions
        new = upsert(table).values(
            cycle_id=cycle_id,
            policy=asdict(batch.policy),
            seed=batch.seed,
            offered=batch.offered,
            eligible=batch.eligible,
            eligible_members=batch.eligible_members,
            excluded=batch.excluded,
            created_at=self._clock(),
        )
        rows = (
            {
                "cycle_id": cycle_id,
                "position": position,
                "n_votes": votes_of(n_votes, galaxy.galaxy_id),
                **asdict(galaxy),
            }
            for position, galaxy in enumerate(batch.galaxies)
        )
        with transaction(self._engine) as connection:
            is_new = connection.scalar(new.on_conflict_do_nothing().returning(table.c.cycle_id)) is not None
            if is_new:
                insert_rows(connection, schema.acquired, rows)
                settle(connection, cycle_id, settled or {})

    def get(self, cycle_id: int) -> Sequence[Acquired] | None:
        """Return what was drawn, in the order of the batch: by arm, then by rank; None before the draw."""
        batches, table = schema.acquisitions, schema.acquired
        of_cycle = select(*columns_of(table, Acquired)).where(table.c.cycle_id == cycle_id)
        with transaction(self._engine) as connection:
            if connection.scalar(select(batches.c.cycle_id).where(batches.c.cycle_id == cycle_id)) is None:
                return None
            rows = connection.execute(of_cycle.order_by(table.c.position)).mappings()
            return [Acquired(**row) for row in rows]

    def votes(self, cycle_id: int) -> Mapping[str, int]:
        """Return the votes asked of each drawn galaxy."""
        table = schema.acquired
        asked = select(table.c.galaxy_id, table.c.n_votes).where(table.c.cycle_id == cycle_id)
        with transaction(self._engine) as connection:
            return {row.galaxy_id: row.n_votes for row in connection.execute(asked)}
