"""What the ops pages show of a campaign beside its cycles: pauses, figures of ledger and ingest, and timelines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from alservice.core.cycles import CYCLES, WORKING, Cycle, CycleState
from alservice.core.records import Event
from alservice.shapes import IntArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """Why nothing of a campaign starts or advances: who stopped it, and when (UTC)."""

    reason: str
    actor: str
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where classifications come from.

    Parameters
    ----------
    last_id
        Largest classification id read from it.
    updated_at
        When its cursor moved last (UTC): how far behind it may be.
    day, week
        Classifications that arrived from it in the last 24 hours and 7 days.
    """

    name: str
    last_id: int | None
    updated_at: datetime | None
    day: int
    week: int


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestFigures:
    """Classifications coming in.

    Parameters
    ----------
    hours
        Hour (UTC) to classifications that arrived in it, the last days, without gaps.
    total
        Classifications that ever arrived.
    waiting
        Rows in quarantine, by reason.
    recent, recent_rows
        Verdicts of the newest rows, and how many those are.
    """

    hours: Mapping[datetime, int]
    total: int
    sources: Sequence[Source]
    waiting: Mapping[str, int]
    recent: Mapping[str, int]
    recent_rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateFigures:
    """NLL per vote (nats) of one cycle's candidate and champion on the same votes, with 95 % intervals."""

    cycle: int
    n_votes: int
    value: float
    low: float
    high: float
    champion: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmFigures:
    """What volunteers said of one arm's galaxies in one cycle.

    Parameters
    ----------
    galaxies, votes
        Galaxies with counted votes among the first of the arm by rank, and their votes on the first question.
    split_nats
        Mean entropy of a galaxy's votes on the first question (nats): how much its volunteers disagreed.
    low, high
        Its 95 % interval by the normal approximation.
    """

    cycle: int
    arm: str
    galaxies: int
    votes: int
    split_nats: float
    low: float
    high: float


def arm_figures(rows: Sequence[Mapping[str, Any]]) -> list[ArmFigures]:
    """Return how volunteers split, by cycle and arm; galaxies without votes on the question are left out.

    Parameters
    ----------
    rows
        One per galaxy: ``cycle``, ``arm`` and ``votes``, its counts on the answers of one question.
    """
    groups: dict[tuple[int, str], list[IntArray]] = {}
    for row in rows:
        counts = np.array(row["votes"] or [], dtype=np.int64)
        if counts.sum():
            groups.setdefault((row["cycle"], row["arm"]), []).append(counts)
    return [_arm(cycle, arm, counts) for (cycle, arm), counts in sorted(groups.items())]


def _arm(cycle: int, arm: str, galaxies: Sequence[IntArray]) -> ArmFigures:
    splits = np.array([_entropy(counts) for counts in galaxies])
    mean = float(splits.mean())
    half = 1.96 * float(splits.std(ddof=1)) / math.sqrt(len(splits)) if len(splits) > 1 else 0.0
    return ArmFigures(
        cycle=cycle,
        arm=arm,
        galaxies=len(splits),
        votes=int(sum(counts.sum() for counts in galaxies)),
        split_nats=mean,
        low=mean - half,
        high=mean + half,
    )


def _entropy(counts: IntArray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


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
