"""Changes of the live model: the old champion goes before the new one comes, and history and audit go with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, update

from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.events import append
from alservice.campaigns.records import Event, Model, Promotion, PromotionKind
from alservice.states import MODELS, ModelState
from alservice.storage import schema
from alservice.storage.rows import columns_of

_TABLE = schema.models
_PROMOTIONS = schema.promotions
_EVENTS: Final[dict[PromotionKind, str]] = {
    "gate": "model.promoted",
    "person": "model.promoted",
    "rollback": "model.rolled-back",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Act:
    """Who does something, when (UTC), and why."""

    at: datetime
    actor: str
    reason: str


def lock_registry(connection: Connection, campaign_id: int) -> None:
    """Wait for whoever changes the same campaign's champion."""
    campaigns = schema.campaigns
    connection.execute(select(campaigns.c.id).where(campaigns.c.id == campaign_id).with_for_update(key_share=True))


def live_model(connection: Connection, campaign_id: int) -> int | None:
    """Return the champion's id, if there is one."""
    live = _TABLE.c.campaign_id == campaign_id, _TABLE.c.state == ModelState.CHAMPION
    return connection.scalar(select(_TABLE.c.id).where(*live))


def crown(connection: Connection, within: Cycle | Model, model_id: int, by: Act, *, kind: PromotionKind) -> None:
    """Retire the champion, make a model the champion, and let an open cycle go on with it.

    Parameters
    ----------
    within
        The cycle that decided, or the model itself: what the events belong to.
    """
    campaign_id = within.campaign_id
    champion = live_model(connection, campaign_id)
    if champion is not None:
        move_model(connection, within, champion, ModelState.RETIRED, by)
    move_model(connection, within, model_id, ModelState.CHAMPION, by)
    connection.execute(
        insert(_PROMOTIONS).values(
            campaign_id=campaign_id,
            model_id=model_id,
            replaced_id=champion,
            kind=kind,
            actor=by.actor,
            reason=by.reason,
            at=by.at,
        )
    )
    if kind != "gate":
        cycles = schema.cycles
        running = func.coalesce(cycles.c.left_from, cycles.c.state).not_in([CycleState.HELD, CycleState.DONE])
        change = update(cycles).where(cycles.c.campaign_id == campaign_id, running)
        connection.execute(change.values(champion_id=model_id))
    detail = {"model": model_id, "replaced": champion, "reason": by.reason}
    _tell(connection, within, _EVENTS[kind], detail, by)


def move_model(connection: Connection, within: Cycle | Model, model_id: int, to: ModelState, by: Act) -> None:
    """Change a model's state, as the table of transitions allows, and write the event."""
    before = connection.scalars(select(_TABLE.c.state).where(_TABLE.c.id == model_id).with_for_update()).one()
    MODELS.check(before, to, what=str(model_id))
    connection.execute(update(_TABLE).where(_TABLE.c.id == model_id).values(state=to))
    _tell(connection, within, "model.moved", {"model": model_id, "from": before, "to": to}, by)


def list_promotions(connection: Connection, campaign_id: int) -> Sequence[Promotion]:
    """Return every change of the live model, oldest first."""
    wanted = select(*columns_of(_PROMOTIONS, Promotion)).where(_PROMOTIONS.c.campaign_id == campaign_id)
    return [Promotion(**row) for row in connection.execute(wanted.order_by(_PROMOTIONS.c.id)).mappings()]


def _tell(connection: Connection, within: Cycle | Model, kind: str, detail: Mapping[str, Any], by: Act) -> None:
    cycle_id = within.id if isinstance(within, Cycle) else None
    event = Event(campaign_id=within.campaign_id, cycle_id=cycle_id, at=by.at, actor=by.actor, kind=kind, detail=detail)
    append(connection, event)
