"""Have a step run in another work pool: send it, follow it within bounds, take it back from a run that went silent."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from alservice.campaigns.cycle import Cycle
from alservice.campaigns.cycle_store import CycleStore
from alservice.cycle.sent_steps import Look, Runs, RunState, SentStep, SentStepStore, Verdict, Watch
from alservice.errors import DatabaseUnavailable, DeploymentFailed, LeaseLost, NoWorker, Retriable, WorkerLost
from alservice.retry import Bounds

POLL_S = 2.0
"""Seconds between two looks at a run."""

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RunElsewhere:
    """Send a cycle's step to another pool and wait until the cycle has left it.

    The rows decide, not the orchestrator: a run lives while it reports in the database, and has done its work when
    the cycle has moved. So a server that restarts meanwhile stops nothing.

    Parameters
    ----------
    attempts
        Runs that may be lost before the step is given up.
    check
        Raises `LeaseLost` once the sender's own lease is another's.
    now
        A clock that never jumps (s).
    """

    cycles: CycleStore
    sent: SentStepStore
    runs: Runs
    bounds: Bounds
    attempts: int
    actor: str
    check: Callable[[], None]
    now: Callable[[], float]
    sleep: Callable[[float], None]

    def run(self, cycle: Cycle) -> Cycle:
        """Return the cycle, moved on; as it was where the run found that there is nothing to do now.

        Raises
        ------
        DeploymentFailed
            The cycle failed or was cancelled in that run, or the run was cancelled.
        NoWorker
            No worker took the run in time.
        WorkerLost
            As many runs as are allowed went silent, or failed without a word in the database.
        DatabaseUnavailable, PrefectUnavailable
            No answer for longer than an outage may last.
        LeaseLost
            Another process took the campaign over.
        """
        for attempt in range(1, self.attempts + 1):
            moved = self._attempt(cycle, attempt)
            if moved is not None:
                return moved
        raise WorkerLost(
            f"{cycle.state} of cycle {cycle.number}: {self.attempts} runs were lost, one after the other",
            step=cycle.state,
            attempts=self.attempts,
        )

    def _attempt(self, cycle: Cycle, attempt: int) -> Cycle | None:
        """Return the cycle; None when the run is lost and the step is here again."""
        sent = self._through_outage(lambda: self.sent.send(cycle, secrets.token_hex(16), attempt))
        run = self._through_outage(lambda: self.runs.start(cycle.state, sent.token))
        name = self.runs.name(run)
        _log.info("%s of cycle %d is sent: run %s, attempt %d", cycle.state, cycle.number, name, attempt)
        verdict, now = self._follow(cycle, sent, run)
        if verdict is Verdict.LEFT or (verdict is Verdict.MOVED and now.left_from is None):
            return now
        if verdict in {Verdict.MOVED, Verdict.CANCELLED}:
            raise DeploymentFailed(
                f"{cycle.state} of cycle {cycle.number} did not complete in its run {name}: the cycle is {now.state}",
                run=name,
            )
        reason = self._reason(verdict)
        _log.error("%s of cycle %d is taken back from run %s: %s", cycle.state, cycle.number, name, reason)
        self._through_outage(lambda: self.sent.take_back(sent, cycle, actor=self.actor, reason=reason))
        if verdict is not Verdict.FAILED and not self.runs.give_up(run, reason):
            _log.warning("run %s is not marked as crashed: Prefect does not answer", name)
        if verdict is Verdict.NOT_TAKEN:
            raise NoWorker(f"run {name} of {cycle.state}: {reason}", run=name)
        return None

    def _follow(self, cycle: Cycle, sent: SentStep, run: str) -> tuple[Verdict, Cycle]:
        watch, now = Watch.begin(cycle.state, self.now()), cycle
        while True:  # ends: each verdict but WAIT has a bound in `bounds`, or is the run's own end
            self.check()
            look, now = self._look(now, sent, self.runs.state(run))
            watch = watch.look(look)
            verdict = watch.verdict(self.bounds)
            if verdict is Verdict.DATABASE_AWAY:
                raise DatabaseUnavailable(f"no answer for {self.bounds.outage_s:g} s while run {run} was waited for")
            if verdict is not Verdict.WAIT:
                return verdict, now
            self.sleep(POLL_S)

    def _look(self, cycle: Cycle, sent: SentStep, run: RunState) -> tuple[Look, Cycle]:
        try:
            there, now = self.sent.get(sent.campaign_id), self.cycles.get(cycle.id)
        except DatabaseUnavailable as error:
            _log.warning("a sent step is not seen: %s", error)
            return Look(at_s=self.now(), run=run, state=None), cycle
        if there is None or there.token != sent.token:
            raise LeaseLost("the step that this process sent was taken over", campaign=sent.campaign_id)
        return Look(at_s=self.now(), run=run, state=now.state, heard_at=there.heard_at), now

    def _through_outage(self, call: Callable[[], T]) -> T:
        """Return what a call returns, tried again through an outage; raises the last error after it."""
        until_s = self.now() + self.bounds.outage_s
        while True:
            try:
                return call()
            except Retriable as error:
                if self.now() >= until_s:
                    raise
                _log.warning("%s; it is tried again", error)
                self.check()
                self.sleep(POLL_S)

    def _reason(self, verdict: Verdict) -> str:
        if verdict is Verdict.NOT_TAKEN:
            return f"no worker took it within {self.bounds.start_s:g} s"
        if verdict is Verdict.FAILED:
            return "it failed and could not say so in the database"
        return f"nothing was heard of it for longer than {self.bounds.silence_s:g} s"
