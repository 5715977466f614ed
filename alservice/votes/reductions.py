"""Caesar's reductions and the doors they come through."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Engine, select, tuple_
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.dialects.postgresql import insert as upsert

from alservice.process import Clock
from alservice.storage import schema
from alservice.storage.postgres import transaction
from alservice.votes.caesar import Reduction
from alservice.votes.reductions_ports import Webhook

STREAM_ROWS: Final = 5_000
"""Rows fetched at a time: a few MB."""


class SqlWebhookStore:
    """Webhooks in Postgres: one per campaign, by constraint."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def save(self, campaign_id: int, *, key: str) -> None:
        """Open a campaign's door, in place of its earlier one; see `WebhookStore.save`."""
        table = schema.webhooks
        new = upsert(table).values(campaign_id=campaign_id, key=key, created_at=self._clock())
        names = ("key", "created_at")
        with transaction(self._engine) as connection:
            connection.execute(
                new.on_conflict_do_update(
                    index_elements=["campaign_id"], set_={name: new.excluded[name] for name in names}
                )
            )

    def find(self, key: str) -> Webhook | None:
        """Return a door, with the workflow of its campaign's newest decisions."""
        table, versions = schema.webhooks, schema.campaign_versions
        workflow_id = versions.c.document["zooniverse"]["workflow_id"].astext.cast(BigInteger)
        wanted = (
            select(table.c.campaign_id, workflow_id.label("workflow_id"))
            .join_from(table, versions, versions.c.campaign_id == table.c.campaign_id)
            .where(table.c.key == key)
            .order_by(versions.c.version.desc())
            .limit(1)
        )
        with transaction(self._engine) as connection:
            row = connection.execute(wanted).mappings().one_or_none()
        return None if row is None else Webhook(**row)


_KEY: Final = ("campaign_id", "workflow_id", "zooniverse_subject_id", "reducer_key")
_RANKED: Final = ("updated_at", "votes", "counts")
_KEPT: Final = (*_RANKED, "reduction_id", "task", "received_at")


def _save_statement() -> Insert:
    table = schema.reductions
    new = upsert(table)
    return new.on_conflict_do_update(
        index_elements=_KEY,
        set_={name: new.excluded[name] for name in _KEPT},
        where=tuple_(*(new.excluded[n] for n in _RANKED)) > tuple_(*(table.c[n] for n in _RANKED)),
    )


_SAVE: Final = _save_statement()


class SqlReductionStore:
    """Reductions in Postgres: a delivery is one statement, so that simultaneous ones cannot lose to each other."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def save(self, campaign_id: int, reduction: Reduction, *, received_at: datetime) -> bool:
        """Keep a reduction unless one that is as great is there; see `ReductionStore.save`."""
        row = {
            "campaign_id": campaign_id,
            "workflow_id": reduction.workflow_id,
            "zooniverse_subject_id": reduction.zooniverse_subject_id,
            "reducer_key": reduction.reducer_key,
            "reduction_id": reduction.reduction_id,
            "task": reduction.task,
            "updated_at": reduction.updated_at,
            "votes": reduction.votes,
            "counts": json.dumps(dict(sorted(reduction.counts.items())), separators=(",", ":")),
            "received_at": received_at,
        }
        with transaction(self._engine) as connection:
            return connection.execute(_SAVE, row).rowcount == 1

    def list(self, campaign_id: int) -> Iterator[tuple[str | None, Reduction]]:
        """Yield galaxy id and reduction, by galaxy; see `ReductionStore.list`."""
        table, subjects = schema.reductions, schema.subjects
        ours = (subjects.c.campaign_id == table.c.campaign_id) & (
            subjects.c.zooniverse_id == table.c.zooniverse_subject_id
        )
        names = ("reduction_id", "workflow_id", "zooniverse_subject_id", "reducer_key", "task", "counts", "updated_at")
        wanted = (
            select(subjects.c.galaxy_id, *(table.c[name] for name in names))
            .join_from(table, subjects, ours, isouter=True)
            .where(table.c.campaign_id == campaign_id)
            .order_by(subjects.c.galaxy_id, table.c.zooniverse_subject_id, table.c.reducer_key)
        )
        with transaction(self._engine.execution_options(yield_per=STREAM_ROWS)) as connection:
            for galaxy_id, *values in connection.execute(wanted):
                fields = dict(zip(names, values, strict=True))
                yield galaxy_id, Reduction(**{**fields, "counts": json.loads(fields["counts"])})
