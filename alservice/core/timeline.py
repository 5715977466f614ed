"""A cycle as a timeline: its steps with times, stops and what stopped them, derived from its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alservice.core.cycles import CYCLES, WORKING, Cycle, CycleState
from alservice.core.records import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class StepView:
    """One step of a cycle's timeline.

    Parameters
    ----------
    state
        done, failed, cancelled, now (the cycle stands in it), waiting, or skipped.
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
    state: str
    began: datetime | None
    ended: datetime | None
    elapsed: timedelta | None
    retries: int
    errors: tuple[str, ...]
    detail: Mapping[str, object]


_ORDER = tuple(state for state in CYCLES.transitions if state in WORKING)


def timeline(cycle: Cycle, events: Sequence[Event], now: datetime) -> list[StepView]:
    """Return the steps of a cycle in order, from its events (oldest first); steps it passed by are skipped."""
    moves = [e for e in events if e.kind == "cycle.moved"]
    entered: dict[CycleState, datetime] = {CycleState.PLANNED: cycle.created_at}
    left: dict[CycleState, datetime] = {}
    details: dict[CycleState, Mapping[str, object]] = {}
    errors: dict[CycleState, list[str]] = {}
    retries: dict[CycleState, int] = {}
    for event in moves:
        before, after = CycleState(event.detail["from"]), CycleState(event.detail["to"])
        if after in WORKING and before in WORKING:
            left[before], details[before] = event.at, event.detail
            entered.setdefault(after, event.at)
        elif after is CycleState.DONE:
            left[before] = event.at
        elif before in WORKING:
            errors.setdefault(before, []).append(_why(event))
        elif after in WORKING:
            retries[after] = retries.get(after, 0) + 1
    return [
        StepView(
            step=step,
            state=_step_state(step, cycle, left),
            began=entered.get(step),
            ended=left.get(step),
            elapsed=None if step not in entered else left.get(step, now) - entered[step],
            retries=retries.get(step, 0),
            errors=tuple(errors.get(step, ())),
            detail={k: v for k, v in details.get(step, {}).items() if k not in {"from", "to"}},
        )
        for step in _ORDER
        if step not in _OUTCOMES or step in entered
    ]


_OUTCOMES = frozenset({CycleState.HELD, CycleState.PROMOTED, CycleState.KEPT})


def _why(event: Event) -> str:
    if "error" in event.detail:
        return str(event.detail.get("message") or event.detail["error"])
    return f"{event.detail['to']}: {event.detail.get('reason', 'no reason given')}"


def _step_state(step: CycleState, cycle: Cycle, left: Mapping[CycleState, datetime]) -> str:
    if step in left:
        return "done"
    if cycle.is_open and step is cycle.step:
        return "now" if cycle.left_from is None else str(cycle.state)
    return "skipped" if not cycle.is_open or _ORDER.index(step) < _ORDER.index(cycle.step) else "waiting"
