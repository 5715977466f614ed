"""A cycle as a timeline: its steps with times, stops and what stopped them, derived from its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from alservice.campaigns.cycle import CYCLES, WORKING, Cycle, CycleState
from alservice.campaigns.records import Event
from alservice.states import named


class StepState(StrEnum):
    """Where a step of a timeline stands."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NOW = "now"  # the cycle stands in it
    WAITING = "waiting"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True, slots=True)
class StepView:
    """One step of a cycle's timeline.

    Parameters
    ----------
    began, ended
        Of the last time it was entered, and left for the next step (UTC).
    elapsed
        Time in the step, stops included.
    retries
        How often it was resumed after a stop.
    errors
        What stopped it, oldest first.
    """

    step: CycleState
    state: StepState
    began: datetime | None
    ended: datetime | None
    elapsed: timedelta | None
    retries: int
    errors: tuple[str, ...]
    detail: Mapping[str, object]


_ORDER = tuple(state for state in CYCLES.transitions if state in WORKING)


def timeline(cycle: Cycle, events: Sequence[Event], now: datetime) -> list[StepView]:
    """Return the steps of a cycle in order, from its events (oldest first); steps it passed by are skipped.

    A step that only a newer version knows is the last one, while the cycle stands in it.
    """
    moves = [e for e in events if e.kind == "cycle.moved"]
    entered: dict[CycleState, datetime] = {CycleState.PLANNED: cycle.created_at}
    left: dict[CycleState, datetime] = {}
    details: dict[CycleState, Mapping[str, object]] = {}
    errors: dict[CycleState, list[str]] = {}
    retries: dict[CycleState, int] = {}
    for event in moves:
        before, after = (named(CycleState, event.detail[name]) for name in ("from", "to"))
        if after in WORKING and before in WORKING:
            left[before], details[before] = event.at, event.detail
            entered.setdefault(after, event.at)
        elif after is CycleState.DONE:
            left[before] = event.at
        elif before in WORKING:
            errors.setdefault(before, []).append(_why(event))
        elif after in WORKING:
            retries[after] = retries.get(after, 0) + 1
    order = _ORDER if cycle.step in _ORDER or not cycle.is_open else (*_ORDER, cycle.step)
    return [
        StepView(
            step=step,
            state=_step_state(step, cycle, left, order),
            began=entered.get(step),
            ended=left.get(step),
            elapsed=None if step not in entered else left.get(step, now) - entered[step],
            retries=retries.get(step, 0),
            errors=tuple(errors.get(step, ())),
            detail={k: v for k, v in details.get(step, {}).items() if k not in {"from", "to"}},
        )
        for step in order
        if step not in _OUTCOMES or step in entered
    ]


_OUTCOMES = frozenset({CycleState.HELD, CycleState.PROMOTED, CycleState.KEPT})


def _why(event: Event) -> str:
    if "error" in event.detail:
        return str(event.detail.get("message") or event.detail["error"])
    return f"{event.detail['to']}: {event.detail.get('reason', 'no reason given')}"


def _step_state(
    step: CycleState, cycle: Cycle, left: Mapping[CycleState, datetime], order: Sequence[CycleState]
) -> StepState:
    if step in left:
        return StepState.DONE
    if cycle.is_open and step == cycle.step:
        return StepState.NOW if cycle.left_from is None else named(StepState, cycle.state)
    passed = not cycle.is_open or order.index(step) < order.index(cycle.step)
    return StepState.SKIPPED if passed else StepState.WAITING
