"""Cycles: every transition is checked against the table under a row lock, and leaves its event with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Engine, Select, func, insert, select, update

from alservice.campaigns import schema
from alservice.campaigns.cycle import CYCLES, WORKING, Cycle, CycleKind, CycleState
from alservice.campaigns.store import CampaignRow, write_event
from alservice.errors import Conflict, IllegalTransition, NotFound
from alservice.progress import Clock
from alservice.storage.postgres import columns_of, transaction

_TABLE = schema.cycles
_COLUMNS = columns_of(_TABLE, Cycle)
_AT_GATE: Final = frozenset({CycleState.GATED, CycleState.HELD})
_STOPS: Final = frozenset({CycleState.FAILED, CycleState.CANCELLED})
_CHANGEABLE: Final = frozenset({"candidate_id", "deadline", "left_from"})


class CycleStore:
    """Cycles in Postgres."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def start(
        self,
        campaign: CampaignRow,
        catalogue_id: int,
        champion_id: int | None,
        actor: str,
        *,
        kind: CycleKind = CycleKind.FULL,
    ) -> Cycle:
        """Open the next cycle; raises `Conflict` while one is open."""
        of_campaign = _TABLE.c.campaign_id == campaign.id
        now = self._clock()
        with transaction(self._engine) as connection:
            # Two simultaneous starts wait here for each other; the unique indexes stand behind the lock.
            connection.execute(
                select(schema.campaigns.c.id)
                .where(schema.campaigns.c.id == campaign.id)
                .with_for_update(key_share=True)
            )
            opened = connection.execute(_open(campaign.id)).mappings().one_or_none()
            if opened is not None:
                raise Conflict(
                    f"cycle {opened['number']} of {campaign.settings.name} is open ({opened['state']})",
                    cycle=opened["number"],
                    state=opened["state"],
                )
            number = connection.scalar(select(func.coalesce(func.max(_TABLE.c.number) + 1, 0)).where(of_campaign))
            new = insert(_TABLE).values(
                campaign_id=campaign.id,
                campaign_version=campaign.version,
                catalogue_id=catalogue_id,
                number=number,
                kind=kind,
                state=CycleState.PLANNED,
                champion_id=champion_id,
                created_at=now,
                updated_at=now,
            )
            cycle = Cycle(**connection.execute(new.returning(*_COLUMNS)).mappings().one())
            detail = {
                "number": number,
                "catalogue": catalogue_id,
                "champion": champion_id,
                "version": campaign.version,
                "cycle_kind": kind,
            }
            write_event(connection, cycle, at=now, actor=actor, kind="cycle.started", detail=detail)
        return cycle

    def get(self, cycle_id: int) -> Cycle:
        """Return one; raises `NotFound`."""
        with transaction(self._engine) as connection:
            row = connection.execute(select(*_COLUMNS).where(_TABLE.c.id == cycle_id)).mappings().one_or_none()
        if row is None:
            raise NotFound(f"there is no cycle {cycle_id}", cycle=cycle_id)
        return Cycle(**row)

    def open(self, campaign_id: int) -> Cycle | None:
        """Return the open cycle, if there is one."""
        with transaction(self._engine) as connection:
            row = connection.execute(_open(campaign_id)).mappings().one_or_none()
        return None if row is None else Cycle(**row)

    def list(self, campaign_id: int) -> Sequence[Cycle]:
        """Return all cycles of a campaign by number."""
        wanted = select(*_COLUMNS).where(_TABLE.c.campaign_id == campaign_id).order_by(_TABLE.c.number)
        with transaction(self._engine) as connection:
            return [Cycle(**row) for row in connection.execute(wanted).mappings()]

    def move(self, cycle: Cycle, to: CycleState, *, actor: str, detail: Mapping[str, Any], **changes: object) -> Cycle:
        """Change state and named columns in one transaction; raises what `move_cycle` does.

        A cycle at the gate may stop, but goes on by `ModelStore.settle` or `keep` alone: no promotion without its
        decision, no decision without its model.
        """
        if cycle.state in _AT_GATE and to not in _STOPS:
            raise IllegalTransition(f"cycle {cycle.number} is {cycle.state}: it goes on by the gate's decision alone")
        with transaction(self._engine) as connection:
            return move_cycle(connection, cycle, to, at=self._clock(), actor=actor, detail=detail, **changes)


def _open(campaign_id: int) -> Select[Any]:
    return select(*_COLUMNS).where(_TABLE.c.campaign_id == campaign_id, _TABLE.c.state != CycleState.DONE)


def lock_cycle(connection: Connection, cycle: Cycle) -> Cycle:
    """Return the cycle as it is now, locked; raises `Conflict` if it is not in the state the caller saw."""
    row = connection.execute(select(*_COLUMNS).where(_TABLE.c.id == cycle.id).with_for_update()).mappings().one()
    current = Cycle(**row)
    if (current.state, current.left_from) != (cycle.state, cycle.left_from):
        raise Conflict(
            f"cycle {cycle.number} is {current.state} by now, not {cycle.state}: someone else moved it",
            cycle=cycle.number,
            expected=cycle.state,
            found=current.state,
        )
    return current


def move_cycle(
    connection: Connection,
    cycle: Cycle,
    to: CycleState,
    *,
    at: datetime,
    actor: str,
    detail: Mapping[str, Any],
    **changes: object,
) -> Cycle:
    """Move a cycle within a transaction and write its event.

    `left_from` follows from the transition; a caller may name it, and then must be right.

    Raises
    ------
    IllegalTransition
        The table does not allow the step, or a stopped cycle would resume elsewhere than where it stopped.
    Conflict
        The cycle is no longer in the state the caller saw.
    """
    unknown = set(changes) - _CHANGEABLE
    if unknown:
        raise TypeError(f"a move cannot change {', '.join(sorted(unknown))} of a cycle")
    current = lock_cycle(connection, cycle)
    CYCLES.check(current.state, to, what=str(cycle.number))
    left_from = _left_from(current, to)
    if changes.get("left_from", left_from) is not left_from:
        raise IllegalTransition(f"cycle {cycle.number} left from {left_from}, not {changes['left_from']}")
    change = update(_TABLE).where(_TABLE.c.id == cycle.id)
    change = change.values({**changes, "state": to, "left_from": left_from, "updated_at": at})
    moved = Cycle(**connection.execute(change.returning(*_COLUMNS)).mappings().one())
    steps = {"from": current.state, "to": to}
    write_event(connection, cycle, at=at, actor=actor, kind="cycle.moved", detail={**detail, **steps})
    return moved


def _left_from(current: Cycle, to: CycleState) -> CycleState | None:
    """Return the step a stopped cycle keeps; None once it runs again, which it may only in that step."""
    if to not in WORKING:
        return None if to is CycleState.DONE else current.step
    if current.left_from is not None and current.left_from is not to:
        raise IllegalTransition(
            f"cycle {current.number} stopped in {current.left_from} and resumes there, not in {to}",
            left_from=current.left_from,
            to=to,
        )
    return None
