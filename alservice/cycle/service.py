"""Cycles by a campaign's name: started, moved step by step, checked before, leased, shown and reported."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from alservice.campaigns.cycle import Cycle, CycleKind, CycleState
from alservice.campaigns.store import CampaignRow, Event
from alservice.cycle.brief import Brief, brief_cycle
from alservice.cycle.check_readiness import CheckReadiness, machine_parts
from alservice.cycle.elsewhere import RunElsewhere
from alservice.cycle.lease import (
    HeldLease,
    HoldLease,
    Lease,
    SqlLeaseStore,
    TakeStep,
    in_the_way,
    is_gone,
    place_of_processes,
    this_process,
)
from alservice.cycle.readiness import Finding, Flight
from alservice.cycle.report import GatherReport, render_report
from alservice.cycle.sent_step_store import SqlSentStepStore
from alservice.cycle.sent_steps import Runs
from alservice.cycle.stages import Stages
from alservice.cycle.steps import BY_STATE, Need
from alservice.cycle.table import CycleTable, CycleView, SummariseCampaign, ViewCycle
from alservice.errors import AlserviceError, Conflict, IllegalTransition, NotFound
from alservice.storage import images
from alservice.tracing import cycle_span, is_tracing, trace_ended_cycle

REFUSED: Final = "flight.refused"
"""Kind of the event that a run leaves which did not begin."""

KNOWN_EVENTS: Final = 50
"""Newest events among which the same refusal is not told again: a tick comes every 15 minutes."""


@dataclass(frozen=True)
class CycleService:
    """Turns of the loop."""

    stages: Stages

    def start(self, name: str, *, actor: str, kind: CycleKind = CycleKind.FULL) -> Cycle:
        """Open the next cycle, on the newest catalogue and with the champion of the moment.

        Raises
        ------
        NotFound
            The campaign has no catalogue yet.
        Conflict
            A cycle is open; it must be advanced or resumed, never doubled.
        """
        stages, campaign = self.stages, self.stages.campaigns.get(name)
        catalogue = stages.catalogues.newest(campaign.id)
        if catalogue is None:
            raise NotFound(f"campaign {name} has no catalogue: run `alservice catalogue import FILE --campaign {name}`")
        champion = stages.models.champion(campaign.id)
        return stages.cycles.start(campaign, catalogue.id, champion.id if champion else None, actor, kind=kind)

    def start_or_resume(self, name: str, *, actor: str) -> Cycle:
        """Return the open cycle, brought back to its step if it had stopped; without one, start the next."""
        return self.resume_open(name, actor=actor) or self.start(name, actor=actor)

    def resume_open(self, name: str, *, actor: str) -> Cycle | None:
        """Return the open cycle, brought back to its step if it had stopped; None without one."""
        cycle = self._open(name)
        return None if cycle is None else self.resume(cycle.id, actor=actor)

    def find_collecting(self, name: str, *, actor: str) -> Cycle | None:
        """Return the open cycle for a tick that only collects; None without one.

        What failed while it collected is brought back: Zooniverse was away. What failed elsewhere, or what a person
        cancelled, is left for a person, or for the week's own run.
        """
        cycle = self._open(name)
        if cycle is None or cycle.state is not CycleState.FAILED or cycle.left_from is not CycleState.COLLECTING:
            return cycle
        return self.resume(cycle.id, actor=actor)

    def start_retraining(self, name: str, *, actor: str) -> Cycle:
        """Return the open cycle that only trains, brought back to its step if it had stopped; without one, start it.

        Raises
        ------
        Conflict
            Another cycle is open: its own training will use the votes.
        """
        cycle = self._open(name)
        if cycle is None:
            return self.start(name, actor=actor, kind=CycleKind.RETRAIN)
        if cycle.kind is not CycleKind.RETRAIN:
            raise Conflict(
                f"cycle {cycle.number} of {name} is open ({cycle.state}) and will train by itself", cycle=cycle.number
            )
        return self.resume(cycle.id, actor=actor)

    def advance(self, cycle_id: int, *, actor: str, only: CycleState | None = None) -> Cycle:
        """Run the step in which a cycle stands and return the cycle after it; unchanged while it waits.

        Parameters
        ----------
        only
            The step the caller means to run; a cycle that stands elsewhere is returned untouched, so that running
            a finished step again does nothing.

        Raises
        ------
        IllegalTransition
            The cycle is stopped, or stands in a state of a newer version.
        """
        cycle = self.stages.cycles.get(cycle_id)
        if not cycle.is_open or (only is not None and cycle.state is not only):
            return cycle
        step = BY_STATE.get(cycle.state)
        if step is None:
            text = f"cycle {cycle.number} is {cycle.state}, in which this version has no step"
            raise IllegalTransition(text, state=str(cycle.state))
        with cycle_span(trace_key(cycle), f"step {cycle.state}", actor=actor):
            transition = step.advance(self.stages, self._decided_for(cycle), cycle, actor)
            if transition is None:
                return cycle
            if transition.settled is not None:
                return transition.settled
            moved = self.stages.cycles.move(
                cycle, transition.to, actor=actor, detail=transition.detail, **transition.changes
            )
        if not moved.is_open:
            name = f"cycle {moved.number}"
            trace_ended_cycle(trace_key(moved), name, began=moved.created_at, ended=moved.updated_at)
        return moved

    @contextmanager
    def traced(self, cycle_id: int, name: str, **attributes: str) -> Iterator[None]:
        """Trace a block in the trace of a cycle, which every process that works on it shares."""
        if not is_tracing():
            yield
            return
        with cycle_span(trace_key(self.stages.cycles.get(cycle_id)), name, **attributes):
            yield

    def fail(self, cycle_id: int, error: BaseException, *, actor: str) -> Cycle:
        """Record that the current step failed; the cycle keeps the step and resumes into it."""
        cycle = self.stages.cycles.get(cycle_id)
        if cycle.state in {CycleState.FAILED, CycleState.CANCELLED, CycleState.DONE}:
            return cycle
        detail: dict[str, Any] = {"error": type(error).__name__, "message": str(error)}
        if isinstance(error, AlserviceError):
            detail["code"] = error.code
        return self.stages.cycles.move(cycle, CycleState.FAILED, actor=actor, detail=detail, left_from=cycle.state)

    def cancel(self, cycle_id: int, *, actor: str, reason: str) -> Cycle:
        """Stop a cycle on request, in a state from which it resumes."""
        cycle = self.stages.cycles.get(cycle_id)
        return self.stages.cycles.move(
            cycle, CycleState.CANCELLED, actor=actor, detail={"reason": reason}, left_from=cycle.step
        )

    def cancel_open(self, name: str, *, actor: str, reason: str) -> Cycle | None:
        """Stop the open cycle, so that it resumes into its step; None if there is none or it has stopped already.

        What another pool was sent of it stops at its next sign of life, and writes nothing more.
        """
        cycle = self._open(name)
        if cycle is None or cycle.left_from is not None:
            return None
        cancelled = self.cancel(cycle.id, actor=actor, reason=reason)
        self._sent.withdraw(cycle.campaign_id)
        return cancelled

    def resume(self, cycle_id: int, *, actor: str) -> Cycle:
        """Bring a failed or cancelled cycle back to the step it left from; any other is returned as it is."""
        cycle = self.stages.cycles.get(cycle_id)
        if cycle.left_from is None:
            return cycle
        return self.stages.cycles.move(cycle, cycle.left_from, actor=actor, detail={"resumed": True}, left_from=None)

    def table(self, name: str) -> CycleTable:
        """Return the table of a campaign's cycles."""
        return self._summarise.run(self.stages.campaigns.get(name))

    def view(self, name: str, number: int | None) -> CycleView:
        """Return one cycle of a campaign with its history; the newest when no number is given."""
        stages = self.stages
        return ViewCycle(events=stages.events, summarise=self._summarise).run(stages.campaigns.get(name), number)

    def brief(self, name: str) -> Brief:
        """Return the brief of a campaign's newest cycle; raises `NotFound` before the first."""
        return brief_cycle(self.stages, self.view(name, None), self.table(name))

    def write_report(self, name: str) -> Path:
        """Write a campaign's report into the work folder; return its path."""
        stages = self.stages
        data = GatherReport(
            summarise=self._summarise,
            models=stages.models,
            catalogues=stages.catalogues,
            acquisitions=stages.acquisitions,
            classifications=stages.classifications,
            votes=stages.votes.source,
            objects=stages.objects,
            prediction=stages.prediction,
            media_type=images.sniff,
            clock=stages.clock,
        ).run(stages.campaigns.get(name))
        path = stages.settings.folder / f"report-{name}.html"
        part = path.with_suffix(".part")
        part.write_text(render_report(data), encoding="utf-8")
        part.replace(path)
        return path

    def check(self, name: str, flight: Flight) -> Sequence[Finding]:
        """Return what is found of all that a run of a campaign needs, from where its open cycle stands."""
        row, cycle = self._standing(name)
        return self.readiness.run(row, cycle, self._needs(row, cycle, flight))

    def has_needs(self, name: str, flight: Flight) -> bool:
        """Return whether a run has anything to check: told by the database alone, as most ticks have no work."""
        row, cycle = self._standing(name)
        return bool(self._needs(row, cycle, flight))

    def record_refusal(self, name: str, flight: Flight, findings: Sequence[Finding], *, actor: str) -> None:
        """Leave an event that says why a run did not begin, unless the same was said shortly before."""
        stages, (row, cycle) = self.stages, self._standing(name)
        wrong = [{"part": f.part, "code": f.code, "message": f.message} for f in findings if not f.ok]
        detail = {"run": flight.name, "failed": wrong}
        said = stages.events.list(row.id, limit=KNOWN_EVENTS)
        if not any(event.kind == REFUSED and _parts(event.detail) == _parts(detail) for event in said):
            cycle_id = None if cycle is None else cycle.id
            event = Event(
                campaign_id=row.id, cycle_id=cycle_id, at=stages.clock(), actor=actor, kind=REFUSED, detail=detail
            )
            stages.events.record(event)

    @cached_property
    def readiness(self) -> CheckReadiness:
        """The checks of a campaign's runs on this machine."""
        stages = self.stages
        return CheckReadiness(
            catalogues=stages.catalogues,
            models=stages.models,
            acquisitions=stages.acquisitions,
            ledger=stages.ledger,
            objects=stages.objects,
            machine=machine_parts(stages.settings),
            sites=stages.sites,
        )

    @contextmanager
    def hold_lease(self, name: str, *, actor: str, patience: int = 0) -> Iterator[HeldLease]:
        """Work on a campaign alone; raises `LeaseHeld` if another still has it after `patience` more questions."""
        campaign_id = self.stages.campaigns.get(name).id
        service = HoldLease(leases=self._leases, is_gone=is_gone, sleep=time.sleep)
        with service.run(campaign_id, this_process(actor), patience=patience) as held:
            yield held

    @contextmanager
    def take_step(self, name: str, token: str, *, worker: str) -> Iterator[HeldLease]:
        """Work on the step that another process sent here; raises `LeaseLost` if it took it back."""
        campaign_id = self.stages.campaigns.get(name).id
        service = TakeStep(sent=self._sent, heartbeat_s=self.stages.settings.bounds.beat_s)
        with service.run(campaign_id, token, worker=worker, place=place_of_processes()) as held:
            yield held

    def run_elsewhere(self, held: HeldLease, cycle_id: int, runs: Runs) -> None:
        """Have the step in which a cycle stands run in another work pool; raises what `RunElsewhere` does."""
        settings = self.stages.settings
        runner = RunElsewhere(
            cycles=self.stages.cycles,
            sent=self._sent,
            runs=runs,
            bounds=settings.bounds,
            attempts=settings.run_attempts,
            actor=held.actor,
            check=held.check,
            now=time.monotonic,
            sleep=time.sleep,
        )
        cycle = self.stages.cycles.get(cycle_id)
        with cycle_span(trace_key(cycle), f"wait for {cycle.state} elsewhere", actor=held.actor):
            runner.run(cycle)

    def lease_of(self, name: str) -> Lease | None:
        """Return who works on a campaign, or did so last; None when it was given back."""
        return self._leases.get(self.stages.campaigns.get(name).id)

    def is_free(self, name: str, *, but_for: str) -> bool:
        """Return whether nobody works on a campaign, the named actor aside."""
        lease = self.lease_of(name)
        if lease is None or lease.holder.actor == but_for:
            return True
        return in_the_way(lease, self.stages.clock(), is_gone=is_gone) is None

    @property
    def _leases(self) -> SqlLeaseStore:
        return SqlLeaseStore(self.stages.engine)

    @property
    def _sent(self) -> SqlSentStepStore:
        return SqlSentStepStore(self.stages.engine)

    @property
    def _summarise(self) -> SummariseCampaign:
        stages = self.stages
        return SummariseCampaign(
            cycles=stages.cycles,
            models=stages.models,
            snapshots=stages.snapshots,
            catalogues=stages.catalogues,
            judge=lambda: stages.learning.judge,  # which loads torch
        )

    def _open(self, name: str) -> Cycle | None:
        return self.stages.cycles.open(self.stages.campaigns.get(name).id)

    def _decided_for(self, cycle: Cycle) -> CampaignRow:
        """Return the campaign under the decisions that a cycle was started with."""
        campaign = self.stages.campaigns.get_version(cycle.campaign_id, cycle.campaign_version)
        return CampaignRow(id=cycle.campaign_id, version=cycle.campaign_version, settings=campaign)

    def _standing(self, name: str) -> tuple[CampaignRow, Cycle | None]:
        """Return a campaign under the decisions of its open cycle, and that cycle; of now where none is open."""
        row = self.stages.campaigns.get(name)
        cycle = self.stages.cycles.open(row.id)
        return (row, None) if cycle is None else (self._decided_for(cycle), cycle)

    def _needs(self, row: CampaignRow, cycle: Cycle | None, flight: Flight) -> frozenset[Need]:
        champion = self.stages.models.champion(row.id) if cycle is None else cycle.champion_id
        uploads = row.settings.zooniverse.mode == "upload"
        return flight.needs(cycle, uploads=uploads, has_champion=champion is not None)


def trace_key(cycle: Cycle) -> str:
    """Return what a cycle's trace is known by: no cycle of another campaign, database or time has the same."""
    return f"{cycle.campaign_id}/{cycle.number}/{cycle.created_at.isoformat()}"


def _parts(detail: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what a refusal is about: messages may name a probe, which is another every time."""
    return detail["run"], *((failed["part"], failed["code"]) for failed in detail["failed"])
