"""A step that runs elsewhere, and how long its sender waits: what was seen last, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from alservice.campaigns.cycle import Cycle, CycleState
from alservice.retry import Bounds


@dataclass(frozen=True, kw_only=True, slots=True)
class SentStep:
    """A step of a cycle that was sent to another work pool; times are the database's (UTC).

    Parameters
    ----------
    token
        Unique to one sending: what the run over there shows when it reports and when it writes.
    attempt
        1 for the first sending of this step by this sender.
    worker, place
        Run that took the step up, and where; None until it reports.
    heard_at
        When that run last reported; None until it does.
    """

    campaign_id: int
    cycle_id: int
    step: CycleState
    token: str
    attempt: int
    sent_at: datetime
    worker: str | None = None
    place: str | None = None
    heard_at: datetime | None = None


class RunState(StrEnum):
    """Where the orchestrator says a run stands."""

    WAITING = "waiting"  # scheduled or late: no worker took it
    STARTING = "starting"  # a worker took it; its process or container comes up
    RUNNING = "running"
    CRASHED = "crashed"  # its process ended without a word, or is believed to have
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"  # the orchestrator does not answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What a sender sees at one moment.

    Parameters
    ----------
    at_s
        Moment by a clock of the sender that never jumps (s).
    run
        What the orchestrator says; looked at before the database, so that a run which ended has moved its cycle.
    state
        The cycle's state; None while the database does not answer.
    heard_at
        When the run last reported, if it ever did.
    """

    at_s: float
    run: RunState
    state: CycleState | None
    heard_at: datetime | None = None


class Verdict(StrEnum):
    """What a sender does next."""

    WAIT = "wait"
    MOVED = "moved"  # the cycle left the step
    LEFT = "left"  # the run ended well and the cycle stands where it stood, as in a paused campaign
    CANCELLED = "cancelled"  # a person ended the run
    FAILED = "failed"  # the run failed and could not say so in the database
    NOT_TAKEN = "not-taken"  # no worker came
    SILENT = "silent"  # nothing was heard of it for too long
    DATABASE_AWAY = "database-away"


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """A sent step as its sender follows it: every look makes the next watch.

    Silence counts only while it could have been broken: not while the sender itself could not ask the database, and
    from the moment at which it was first seen in this phase.

    Parameters
    ----------
    since_s
        When something new was last seen of the run, or the database last came back (s).
    answered_s
        When the database last answered (s).
    """

    step: CycleState
    since_s: float
    answered_s: float
    last: Look

    @classmethod
    def begin(cls, step: CycleState, at_s: float) -> Watch:
        """Return the watch at the moment of sending."""
        return cls(step=step, since_s=at_s, answered_s=at_s, last=Look(at_s=at_s, run=RunState.WAITING, state=step))

    def look(self, look: Look) -> Watch:
        """Return the watch after another look."""
        if look.run is RunState.UNKNOWN:  # what was known goes on to hold
            look = replace(look, run=self.last.run)
        if look.state is None:
            return replace(self, since_s=look.at_s, last=replace(look, heard_at=self.last.heard_at))
        is_new = look.heard_at != self.last.heard_at or _phase(look) is not _phase(self.last)
        since_s = look.at_s if is_new or self.last.state is None else self.since_s
        return replace(self, since_s=since_s, answered_s=look.at_s, last=look)

    def verdict(self, bounds: Bounds) -> Verdict:
        """Return what follows."""
        last = self.last
        if last.state is None:
            is_away = last.at_s - self.answered_s >= bounds.outage_s
            return Verdict.DATABASE_AWAY if is_away else Verdict.WAIT
        if last.state is not self.step:
            return Verdict.MOVED
        if last.run in _ENDS:
            return _ENDS[last.run]
        silent_s, phase = last.at_s - self.since_s, _phase(last)
        if phase is RunState.WAITING:
            return Verdict.NOT_TAKEN if silent_s >= bounds.start_s else Verdict.WAIT
        allowed_s = bounds.pending_s if phase is RunState.STARTING else bounds.silence_s
        if last.run is RunState.CRASHED:
            allowed_s = bounds.crashed_s
        return Verdict.SILENT if silent_s >= allowed_s else Verdict.WAIT


_ENDS: Final = {
    RunState.COMPLETED: Verdict.LEFT,
    RunState.CANCELLED: Verdict.CANCELLED,
    RunState.FAILED: Verdict.FAILED,
}


def _phase(look: Look) -> RunState:
    """Return how far a run is: one that reported runs, whatever the orchestrator has heard."""
    if look.heard_at is not None or look.run in {RunState.RUNNING, RunState.CRASHED}:
        return RunState.RUNNING
    return RunState.STARTING if look.run is RunState.STARTING else RunState.WAITING


class SentStepStore(Protocol):
    """At most one sent step per campaign; every call is one transaction, and the database's clock decides."""

    def send(self, cycle: Cycle, token: str, attempt: int) -> SentStep:
        """Record that the cycle's step is sent; whatever was sent before can write no more."""

    def report(self, campaign_id: int, token: str, *, worker: str, place: str) -> SentStep:
        """Record a sign of life of the run that has the step; raises `LeaseLost` when it was taken back."""

    def get(self, campaign_id: int) -> SentStep | None:
        """Return what is sent at the moment."""

    def take_back(self, sent: SentStep, cycle: Cycle, *, actor: str, reason: str) -> None:
        """Take a step back, with its event; the run that has it can write no more. Done already, nothing changes."""


class Runs(Protocol):
    """Runs of a cycle's steps in an orchestrator; every call returns within seconds, also where nobody answers."""

    def start(self, step: CycleState, token: str) -> str:
        """Start the run of a step and return its id; the same token again starts no second one.

        Raises
        ------
        PrefectUnavailable
            No answer: it may have been started all the same.
        """

    def state(self, run: str) -> RunState:
        """Return where a run stands; `RunState.UNKNOWN` without an answer."""

    def name(self, run: str) -> str:
        """Return what people know a run by."""

    def give_up(self, run: str, reason: str) -> bool:
        """Mark a run as crashed; return whether the orchestrator heard it."""
