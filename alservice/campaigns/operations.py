"""What operators change beside the gate: pauses of a campaign."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, delete, insert, select

from alservice.campaigns.events import append
from alservice.campaigns.records import Event
from alservice.errors import Conflict
from alservice.ops.operations import Pause
from alservice.process import Clock
from alservice.storage import schema
from alservice.storage.postgres import transaction

_PAUSES = schema.campaign_pauses


class SqlOperations:
    """Acts of operators in Postgres, each with its event in one transaction."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def paused(self, campaign_id: int) -> Pause | None:
        """Return the pause of a campaign, if it is paused."""
        wanted = select(_PAUSES.c.reason, _PAUSES.c.actor, _PAUSES.c.at).where(_PAUSES.c.campaign_id == campaign_id)
        with transaction(self._engine) as connection:
            row = connection.execute(wanted).mappings().one_or_none()
        return None if row is None else Pause(**row)

    def pause(self, campaign_id: int, *, actor: str, reason: str) -> Pause:
        """Pause a campaign; raises `Conflict` if it is paused already."""
        now = self._clock()
        with transaction(self._engine) as connection:
            _lock_campaign(connection, campaign_id)
            if connection.scalar(select(_PAUSES.c.actor).where(_PAUSES.c.campaign_id == campaign_id)) is not None:
                raise Conflict("the campaign is paused already")
            connection.execute(insert(_PAUSES).values(campaign_id=campaign_id, reason=reason, actor=actor, at=now))
            _tell(connection, campaign_id, now, actor, "campaign.paused", {"reason": reason})
        return Pause(reason=reason, actor=actor, at=now)

    def unpause(self, campaign_id: int, *, actor: str, reason: str) -> bool:
        """End a campaign's pause; return whether there was one."""
        with transaction(self._engine) as connection:
            _lock_campaign(connection, campaign_id)
            ended = connection.execute(delete(_PAUSES).where(_PAUSES.c.campaign_id == campaign_id)).rowcount
            if ended:
                _tell(connection, campaign_id, self._clock(), actor, "campaign.resumed", {"reason": reason})
        return bool(ended)


def _lock_campaign(connection: Connection, campaign_id: int) -> None:
    table = schema.campaigns
    connection.execute(select(table.c.id).where(table.c.id == campaign_id).with_for_update(key_share=True))


def _tell(
    connection: Connection, campaign_id: int, at: datetime, actor: str, kind: str, detail: Mapping[str, Any]
) -> None:
    append(connection, Event(campaign_id=campaign_id, cycle_id=None, at=at, actor=actor, kind=kind, detail=detail))
