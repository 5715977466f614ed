"""One run of a week under chaos, in a process of its own that may be killed, stopped, or short of something."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, TypeVar

import torch

from alservice.app import App, open_app
from alservice.campaigns.cycle import Cycle, CycleKind, CycleState
from alservice.cycle.lease import HeldLease, HoldLease, SqlLeaseStore, is_gone, this_process
from alservice.cycle.readiness import Flight, require_ready
from alservice.cycle.steps import Phase, states_of
from alservice.errors import AlserviceError, LeaseHeld, LeaseLost, Retriable
from alservice.learning import service as _learning  # loaded once by the server of forks, not by each run
from alservice.prediction import service as _prediction
from alservice.progress import CheckedProgress, NoProgress, utc_now
from alservice.rehearsal.run import REHEARSAL
from alservice.settings import Settings
from alservice.telemetry import code_revision

Kind = Literal["weekly-cycle", "ingest", "advance"]

DONE, FAILED, NOT_READY, SKIPPED, AWAY, LOST = 0, 3, 4, 5, 6, 7
"""Exit codes: as told, the cycle failed, not begun, another works, the database is away, the lease was lost."""

LEASE_S, HEARTBEAT_S = 3.0, 0.75
"""A lease and its heartbeat, forty times as fast as in production."""

DELAYS_S = (0.05, 0.3, 1.5)
"""Waits of a task's retries, two hundred times as fast."""

LOADED = (_learning, _prediction)

REVISION = code_revision()
"""Asked once by the server of forks: a file that is changed while weeks run would make other models' cards of later ones."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one process does.

    Parameters
    ----------
    clock_step
        File with the seconds by which the machine's clock is off.
    out_of_memory
        Call of a convolution that finds the device's memory full; None for none.
    """

    kind: Kind
    settings: Settings
    clock_step: Path
    log: Path
    out_of_memory: int | None = None


def work(run: Run) -> None:
    """Do one run of a flow, as `flows.cycle` does it, and tell by the exit code how it went."""
    with run.log.open("ab", buffering=0) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    torch.set_num_threads(1)
    if run.out_of_memory is not None:
        _fill_memory(run.out_of_memory)
    try:
        code = _work(run)
    except LeaseHeld:
        code = SKIPPED
    except LeaseLost:
        code = LOST
    except Retriable:
        traceback.print_exc()
        code = AWAY
    except AlserviceError:
        traceback.print_exc()
        code = NOT_READY
    sys.stdout.flush()
    os._exit(code)


def _work(run: Run) -> int:
    actor = f"chaos:{run.kind} {os.getpid()}"
    phases = {
        "weekly-cycle": ((Phase.ASK,), CycleKind.FULL),
        "ingest": ((Phase.COLLECT,), None),
        "advance": ((Phase.LEARN, Phase.CLOSE), None),
    }
    wanted, starts = phases[run.kind]
    flight = Flight(name=run.kind, legs=(states_of(*wanted),), starts=starts)
    with open_app(run.settings, progress=NoProgress()) as app, _held(app, actor) as held:
        _again(lambda: _check(app, flight, actor))
        with open_app(run.settings, progress=CheckedProgress(NoProgress(), held.check), fence=held.fence) as opened:
            fenced = replace(opened, clock=_stepped(run.clock_step))
            return _advance(fenced, run.kind, states_of(*wanted), actor, held)


def _advance(app: App, kind: Kind, steps: tuple[CycleState, ...], actor: str, held: HeldLease) -> int:
    def find() -> Cycle | None:
        if kind == "weekly-cycle":
            return app.cycle.start_or_resume(REHEARSAL, actor=actor)
        if kind == "ingest":
            return app.cycle.find_collecting(REHEARSAL, actor=actor)
        return app.cycle.resume_open(REHEARSAL, actor=actor)

    cycle = _again(find)
    if cycle is None:
        return DONE
    for state in steps:
        if cycle.state is not state:
            continue
        held.check()
        number = cycle.id
        try:
            cycle = _again(lambda: app.cycle.advance(number, actor=actor, only=state))  # noqa: B023 - called at once
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the cycle keeps its step
            traceback.print_exc()
            typed = isinstance(error, AlserviceError)
            sys.stderr.write(f"{'typed' if typed else 'UNTYPED'} {type(error).__name__}\n")
            app.cycle.fail(number, error, actor=actor)
            return FAILED
    return DONE


@contextmanager
def _held(app: App, actor: str) -> Iterator[HeldLease]:
    service = HoldLease(
        leases=SqlLeaseStore(app.engine),
        is_gone=is_gone,
        sleep=time.sleep,
        seconds=LEASE_S,
        heartbeat_s=HEARTBEAT_S,
    )
    with service.run(app.campaigns.get(REHEARSAL).id, this_process(actor)) as held:
        yield held


def _check(app: App, flight: Flight, actor: str) -> None:
    if not app.cycle.has_needs(REHEARSAL, flight):
        return
    findings = app.cycle.check(REHEARSAL, flight)
    if not all(finding.ok for finding in findings):
        app.cycle.record_refusal(REHEARSAL, flight, findings, actor=actor)
    require_ready(findings, flight.name)


def _again(call: Callable[[], T]) -> T:
    for delay_s in DELAYS_S:
        try:
            return call()
        except Retriable as error:
            sys.stderr.write(f"again after {error}\n")
            time.sleep(delay_s)
    return call()


def _stepped(path: Path) -> Callable[[], datetime]:
    def clock() -> datetime:
        return utc_now() + timedelta(seconds=float(path.read_text(encoding="ascii") or 0))

    return clock


def _fill_memory(call: int) -> None:
    """Let the device's memory be full at a call of a convolution, and after it."""
    forward, seen = torch.nn.Conv2d.forward, [0]

    def full(layer: torch.nn.Conv2d, images: torch.Tensor) -> torch.Tensor:
        seen[0] += 1
        if seen[0] >= call:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        result: torch.Tensor = forward(layer, images)
        return result

    torch.nn.Conv2d.forward = full  # type: ignore[method-assign]
