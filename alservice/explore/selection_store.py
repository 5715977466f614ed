"""Selections in Postgres: written once, each change with its line in the audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, Select, delete, func, insert, select

from alservice.campaigns.store import append, lock_campaign
from alservice.explore import schema
from alservice.explore.selections import (
    Selection,
    check_room,
    check_same,
    deleted_event,
    saved_event,
    unknown,
)
from alservice.progress import Clock
from alservice.storage.postgres import columns_of, transaction

_TABLE = schema.selections


class SqlSelectionStore:
    """Selections in Postgres."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def save(
        self, campaign_id: int, name: str, galaxy_ids: Sequence[str], *, source: Mapping[str, Any], actor: str
    ) -> Selection:
        """Keep galaxies under a name, with an event; the same ones again change nothing."""
        own = _TABLE.c.campaign_id == campaign_id
        with transaction(self._engine) as connection:
            lock_campaign(connection, campaign_id)
            before = connection.scalar(select(_TABLE.c.galaxy_ids).where(own, _TABLE.c.name == name))
            if before is not None:
                check_same(name, before, galaxy_ids)
                return Selection(**connection.execute(_selected().where(own, _TABLE.c.name == name)).mappings().one())
            check_room(connection.scalar(select(func.count()).select_from(_TABLE).where(own)) or 0)
            row: dict[str, Any] = {
                "campaign_id": campaign_id,
                "name": name,
                "n": len(galaxy_ids),
                "source": dict(source),
                "actor": actor,
                "created_at": self._clock(),
            }
            new = insert(_TABLE).values(galaxy_ids=list(galaxy_ids), **row).returning(_TABLE.c.id)
            saved = Selection(id=connection.execute(new).scalar_one(), **row)
            append(connection, saved_event(saved))
        return saved

    def list(self, campaign_id: int) -> Sequence[Selection]:
        """Return a campaign's selections, newest first."""
        wanted = _selected().where(_TABLE.c.campaign_id == campaign_id).order_by(_TABLE.c.id.desc())
        with transaction(self._engine) as connection:
            return [Selection(**row) for row in connection.execute(wanted).mappings()]

    def get(self, campaign_id: int, name: str) -> tuple[Selection, Sequence[str]]:
        """Return one with its galaxies in order; raises `NotFound`."""
        own = _TABLE.c.campaign_id == campaign_id, _TABLE.c.name == name
        with transaction(self._engine) as connection:
            row = connection.execute(_selected().where(*own)).mappings().one_or_none()
            if row is None:
                raise unknown(name)
            galaxy_ids: Sequence[str] = connection.scalars(select(_TABLE.c.galaxy_ids).where(*own)).one()
            return Selection(**row), galaxy_ids

    def delete(self, campaign_id: int, name: str, *, actor: str) -> None:
        """Forget one, with an event; raises `NotFound`."""
        own = _TABLE.c.campaign_id == campaign_id, _TABLE.c.name == name
        with transaction(self._engine) as connection:
            gone = connection.execute(delete(_TABLE).where(*own).returning(*columns_of(_TABLE, Selection)))
            row = gone.mappings().one_or_none()
            if row is None:
                raise unknown(name)
            append(connection, deleted_event(Selection(**row), actor=actor, at=self._clock()))


def _selected() -> Select[Any]:
    return select(*columns_of(_TABLE, Selection))
