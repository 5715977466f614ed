"""Chaos: seeded weeks of a small campaign, each with one fault at a seeded moment, each compared with a calm week.

python -m tests.benchmarks.chaos --seeds 0:200 --results chaos.jsonl

A week forks from one prepared campaign (a champion, sixty galaxies): predict, acquire, publish to a stand-in over HTTP,
volunteers, ingest, train, evaluate, gate; each run is a process of its own under the campaign's lease. Whatever the fault
does, the week must leave, row for row and digest for digest, what the calm one leaves; tallies must equal a recount,
the ledger Zooniverse, and nothing may stand still for longer than its bound. Results are appended, so that a campaign
that was stopped goes on; `--table` prints what is there.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import psutil
import requests
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from alservice.app import App, open_app
from alservice.campaigns.cycle import CycleState
from alservice.cycle.steps import Phase, states_of
from alservice.errors import AlserviceError
from alservice.progress import NoProgress
from alservice.rehearsal.run import REHEARSAL, ask_volunteers, prepare_rehearsal
from alservice.settings import Settings
from alservice.storage.embedded_postgres import Cluster
from alservice.storage.postgres import make_engine, upgrade
from tests.benchmarks import chaos_worker
from tests.benchmarks.chaos_worker import AWAY, DONE, FAILED, LEASE_S, NOT_READY, SKIPPED, Run, work
from tests.support.postgres import run_sql, scratch_server
from tests.support.rehearsals import CONTENT
from tests.support.s3 import S3Server, rclone_server
from tests.support.s3_weather import Weather, stormy_road

GALAXIES: Final = 60
TICK_S: Final = 0.25
"""Between two ticks of `ingest`: quarter of an hour in production."""

LIMIT_S: Final = 240.0
"""A week that takes longer is stuck."""

BOUND_S: Final = 60.0
"""From the end of a fault to the cycle's next step: a lease, retries, a tick, and the longest step, on a busy machine."""


@dataclass(kw_only=True)
class Outcome:
    """What one week came to; times in seconds of the week.

    Parameters
    ----------
    detected_s
        From the fault to the first sign of it: a run that died, failed or did not begin, a lease taken over; None where
        retries bore it and nobody noticed.
    recovered_s
        From the fault's end to the cycle's next step.
    by_hand
        Times that a person resumed a failed cycle.
    """

    seed: int
    fault: str
    took_s: float = 0.0
    struck: bool = False
    struck_in: str = ""
    lasted_s: float = 0.0
    detected_s: float | None = None
    recovered_s: float | None = None
    by_hand: int = 0
    runs: int = 0
    orphans: int = 0
    violations: list[str] = field(default_factory=list)


class Ground:
    """The server of databases, the prepared campaign, and what a calm week leaves."""

    def __init__(self, url: str, folder: Path, s3: S3Server) -> None:
        self.url, self.folder, self.s3 = url, folder, s3
        self.data = Path(make_url(url).query["host"])  # type: ignore[arg-type]
        self.cluster = Cluster(data=self.data if (self.data / "PG_VERSION").exists() else self.data.parent / "data")
        self.numbers = count()
        self.template = folder / "template"
        self.calm: Mapping[str, list[tuple[Any, ...]]] = {}
        self.spawner = multiprocessing.get_context("forkserver")
        self._prepare()

    def at(self, database: str) -> str:
        """Return the address of a database."""
        return make_url(self.url).set(database=database).render_as_string(hide_password=False)

    def _prepare(self) -> None:
        run_sql(self.url, "CREATE DATABASE chaos_template")
        engine = make_engine(self.at("chaos_template"))
        upgrade(engine)
        engine.dispose()
        settings = Settings(workdir=self.template, database_url=self.at("chaos_template"))  # type: ignore[arg-type]
        with open_app(settings, progress=NoProgress()) as app:
            prepare_rehearsal(app, data=None, galaxies=GALAXIES, seed=7)
            with app.sites.opened(REHEARSAL):
                cycle = app.cycle.start(REHEARSAL, actor="chaos")
                while cycle.state is not CycleState.DONE:
                    if cycle.state is CycleState.COLLECTING:
                        ask_volunteers(app, cycle.id)
                    cycle = app.cycle.advance(cycle.id, actor="chaos")


class Week:
    """One week: its copy of the campaign, its processes, its fault."""

    def __init__(self, ground: Ground, seed: int, fault: Fault, folder: Path) -> None:
        self.ground, self.folder = ground, folder
        self.rng = random.Random(f"{seed} {fault.name}")
        self.outcome = Outcome(seed=seed, fault=fault.name)
        self.fault = fault
        self.database = f"chaos_{os.getpid()}_{next(ground.numbers)}"
        self.clock_step = folder / "clock"
        self.log = folder / "log"
        self.worker: Any = None
        self.asked = False
        self.hooks = ""
        self.out_of_memory: int | None = None
        self.weather = Weather(seed)
        self.began = 0.0
        self.stopped: list[Any] = []
        self.blind = False
        self.moves: int | None = None
        self.ended_s = self.struck_s = 0.0
        self.left: Mapping[str, list[tuple[Any, ...]]] = {}

    def go(self) -> Outcome:
        """Run the week and check what it leaves."""
        with self._opened() as app:
            self.app = app
            self.began = time.monotonic()
            self._live()
            self.outcome.took_s = round(time.monotonic() - self.began, 2)
            self._check()
        return self.outcome

    @contextmanager
    def _opened(self) -> Iterator[App]:
        ground = self.ground
        with ExitStack() as stack:
            workdir = self.folder / "work"
            shutil.copytree(ground.template, workdir, ignore=shutil.ignore_patterns("*.lock"))
            self.clock_step.write_text("0", encoding="ascii")
            run_sql(ground.url, f"CREATE DATABASE {self.database} TEMPLATE chaos_template STRATEGY file_copy")
            stack.callback(self._drop)
            store = None
            if self.fault.small_disk:
                objects = workdir / "objects"
                moved = self.folder / "moved"
                objects.rename(moved)
                objects.mkdir()
                subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3g", "tmpfs", str(objects)], check=True)
                stack.callback(subprocess.run, ["umount", "-l", str(objects)], check=False)
                shutil.copytree(moved, objects, dirs_exist_ok=True)
            if self.fault.in_bucket:
                prefix = f"{self.database}"
                road = stack.enter_context(stormy_road(ground.s3.endpoint_url, self.weather))
                plain = Settings(workdir=workdir, object_store=ground.s3.url(prefix))
                _upload(workdir / "objects", plain.objects)
                store = f"s3://{ground.s3.bucket}/{prefix}?endpoint_url={road}"
            self.settings = Settings(
                workdir=workdir,
                database_url=ground.at(self.database),
                object_store=store,  # type: ignore[arg-type]
            )
            app = stack.enter_context(open_app(self.settings, progress=NoProgress()))
            stack.enter_context(app.sites.opened(REHEARSAL))
            campaign = app.campaigns.get(REHEARSAL)
            self.campaign_id = campaign.id
            self.hooks = f"{app.sites.connection(campaign.settings).endpoint}/standin"
            stack.callback(self._end_processes)
            yield app

    def _drop(self) -> None:
        self.ground.cluster.ensure_running()
        run_sql(self.ground.url, f"DROP DATABASE {self.database} WITH (FORCE)")

    def _end_processes(self) -> None:
        for process in [self.worker, *self.stopped]:
            if process is not None and process.is_alive():
                process.kill()
                process.join()

    # -- the week

    def _live(self) -> None:
        at_s = self.rng.uniform(0.1, self.fault.within_s)
        ends_s: float | None = None
        next_tick = 0.0
        while True:
            now = time.monotonic() - self.began
            if now > LIMIT_S:
                self._violate(f"stuck: not done after {LIMIT_S:g} s, it is {self._state()}")
                return
            if not self.outcome.struck and now >= at_s and self.fault.strike(self):
                self.outcome.struck = True
                self.outcome.struck_in = "" if self.blind else str(self._state_or("away"))
                self.struck_s = time.monotonic() - self.began
                ends_s = self.struck_s + self.rng.uniform(*self.fault.lasts_s)
            if ends_s is not None and now >= ends_s:
                self.fault.end(self)
                self.outcome.lasted_s = round(now - self.struck_s, 2)
                self.ended_s, ends_s = time.monotonic() - self.began, None
            self._reap()
            if self.blind:
                time.sleep(0.05)
                continue
            is_over = not self.outcome.struck or ends_s is None
            if self.outcome.struck:
                self._note_recovery(is_over=is_over)
            state = self._state_or(None)
            is_done = state is CycleState.DONE and self._number() == 1 and self.worker is None
            if is_done and (self.outcome.struck or now >= at_s) and ends_s is None:
                return  # or nothing was there to strike: a seeded moment after the end
            if self.worker is None and now >= next_tick and state is not None:
                with suppress(SQLAlchemyError):  # away since a moment ago
                    self._spawn(state, is_over=is_over)
                next_tick = now + TICK_S
            time.sleep(0.02)

    def _spawn(self, state: CycleState | str, *, is_over: bool) -> None:
        """Start the run that is due: on schedule, by a tick, or by a person who saw the alarm of a failed cycle."""
        if state is CycleState.DONE and self._number() == 1:
            return
        if state in {CycleState.FAILED, CycleState.CANCELLED}:
            left = self._scalar("SELECT left_from FROM cycles ORDER BY number DESC LIMIT 1")
            if left == CycleState.COLLECTING:
                self._start("ingest")
            elif is_over:
                self.outcome.by_hand += 1
                self._start("weekly-cycle" if left in states_of(Phase.ASK) else "advance")
            return
        if state is CycleState.COLLECTING:
            if not self.asked:
                with suppress(AlserviceError, requests.RequestException, OSError):
                    ask_volunteers(self.app, self._scalar("SELECT max(id) FROM cycles"))
                    self.asked = True
            self._start("ingest")
        elif state in states_of(Phase.LEARN, Phase.CLOSE):
            self._start("advance")
        else:
            self._start("weekly-cycle")

    def _start(self, kind: chaos_worker.Kind) -> None:
        run = Run(
            kind=kind,
            settings=self.settings,
            clock_step=self.clock_step,
            log=self.log,
            out_of_memory=self.out_of_memory,
        )
        self.worker = self.ground.spawner.Process(target=work, args=(run,))
        self.worker.start()
        self.outcome.runs += 1

    def _reap(self) -> None:
        worker = self.worker
        if worker is None or worker.is_alive():
            return
        worker.join()
        self.worker = None
        if worker.exitcode in {-signal.SIGKILL, FAILED, NOT_READY, AWAY}:
            self.note_detection()
        elif worker.exitcode not in {DONE, SKIPPED, chaos_worker.LOST}:
            self._violate(f"a run ended with {worker.exitcode}")

    def note_detection(self) -> None:
        """Remember the first sign of the fault."""
        if self.outcome.struck and self.outcome.detected_s is None:
            self.outcome.detected_s = round(time.monotonic() - self.began - self.struck_s, 2)

    def _note_recovery(self, *, is_over: bool) -> None:
        if self.outcome.detected_s is None and self._takeovers():
            self.note_detection()
        if not is_over or self.outcome.recovered_s is not None:
            return
        moves = self._moves()
        if self.moves is None:
            self.moves = moves
        elif moves is not None and moves > self.moves:
            self.outcome.recovered_s = round(time.monotonic() - self.began - self.ended_s, 2)
            if self.outcome.recovered_s > BOUND_S:
                self._violate(f"stuck for {self.outcome.recovered_s:g} s after the fault")

    # -- what is seen

    def _scalar(self, sql: str) -> Any:
        with self.app.engine.connect() as connection:
            return connection.execute(text(sql)).scalar()

    def _safely(self, sql: str, otherwise: Any) -> Any:
        try:
            return self._scalar(sql)
        except Exception:  # noqa: BLE001 - the database is away
            return otherwise

    def _state(self) -> CycleState:
        number, state = self._scalar(
            "SELECT array_to_string(ARRAY[number::text, state], ' ') FROM cycles ORDER BY number DESC LIMIT 1"
        ).split()
        del number
        return CycleState(state)

    def _number(self) -> int:
        return int(self._safely("SELECT max(number) FROM cycles", 0))

    def _state_or(self, otherwise: Any) -> Any:
        try:
            return self._state()
        except Exception:  # noqa: BLE001 - the database is away
            return otherwise

    def _moves(self) -> int | None:
        found: int | None = self._safely(
            "SELECT count(*) FROM events WHERE kind = 'cycle.started' "
            "OR (kind = 'cycle.moved' AND detail->>'to' NOT IN ('failed', 'cancelled'))",
            None,
        )
        return found

    def _takeovers(self) -> int:
        return int(self._safely("SELECT count(*) FROM events WHERE kind = 'lease.taken_over'", 0))

    def _violate(self, what: str) -> None:
        self.outcome.violations.append(what)

    # -- the audit

    def _check(self) -> None:
        for process in self.stopped:
            process.join(20)
            if process.is_alive():
                self._violate("a run that was stopped and went on never ended")
        if self._state() is not CycleState.DONE:
            return
        self._check_errors()
        self._check_rows()
        self._check_votes()

    def _check_errors(self) -> None:
        if b"UNTYPED" in self.log.read_bytes():
            line = next(line for line in self.log.read_text(errors="replace").splitlines() if "UNTYPED" in line)
            self._violate(f"an error without a code: {line.removeprefix('UNTYPED ')}")

    def _check_rows(self) -> None:
        self.left = content(self.app.engine)
        for name, rows in self.ground.calm.items():
            if self.left[name] != rows:
                self._violate(f"{name} differ from a calm week's")
        twice = self._scalar("SELECT count(*) - count(DISTINCT galaxy_id) FROM subjects")
        if twice:
            self._violate(f"{twice} galaxies have two rows")
        champions = self._scalar("SELECT count(*) FROM models WHERE state = 'champion'")
        if champions != 1:
            self._violate(f"{champions} champions")
        if self._scalar("SELECT count(*) FROM leases"):
            self._violate("a lease is out")

    def _check_votes(self) -> None:
        state = requests.get(f"{self.hooks}/state", timeout=5).json()
        votes = self._scalar("SELECT count(*) FROM classifications")
        if votes != state["classifications"]:
            self._violate(f"{votes} classifications of {state['classifications']}")
        self.app.votes.recount_tallies(REHEARSAL)
        if content(self.app.engine)["tallies"] != self.left["tallies"]:
            self._violate("tallies differ from a recount")
        for report in self.app.subjects.reconcile(REHEARSAL, repair=True, actor="chaos"):
            self.outcome.orphans += len(report.repairs.removed) if report.repairs is not None else 0
            if not report.is_clean:
                self._violate(f"ledger and Zooniverse differ: {report.document()['left']}")


def content(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Return what two weeks must share."""
    with engine.connect() as connection:
        return {name: [tuple(row) for row in connection.execute(text(sql))] for name, sql in CONTENT.items()}


def _upload(folder: Path, store: str) -> None:
    from alservice.storage.objects import open_objects

    opened = open_objects(store)
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.is_file() and not relative.parts[0].startswith("."):
            kind, suffix = relative.parts[0], "".join(path.suffixes)
            stored = opened.put(path.read_bytes(), kind=kind, suffix=suffix)
            assert stored.key == str(relative), (stored.key, relative)


# -- faults


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind of fault: what begins and ends it, when it may strike and how long it lasts (s of the week)."""

    name: str
    strike: Callable[[Week], bool]
    end: Callable[[Week], None] = lambda _week: None
    lasts_s: tuple[float, float] = (0.0, 0.0)
    within_s: float = 8.0
    in_bucket: bool = False
    small_disk: bool = False


def kill_run(week: Week) -> bool:
    """SIGKILL the run that is at work, once there is one."""
    if week.worker is None or not week.worker.is_alive():
        return False
    os.kill(week.worker.pid, signal.SIGKILL)
    return True


def stop_run(week: Week) -> bool:
    """SIGSTOP the run that is at work; nobody waits for it."""
    if week.worker is None or not week.worker.is_alive():
        return False
    os.kill(week.worker.pid, signal.SIGSTOP)
    week.stopped.append(week.worker)
    week.worker = None
    return True


def go_on(week: Week) -> None:
    """SIGCONT what was stopped: it comes back late."""
    os.kill(week.stopped[-1].pid, signal.SIGCONT)


def _postgres(week: Week) -> list[psutil.Process]:
    pid = int((week.ground.cluster.data / "postmaster.pid").read_text().splitlines()[0])
    master = psutil.Process(pid)
    return [master, *master.children(recursive=True)]


def stop_postgres(week: Week) -> bool:
    """End the server at once, as a machine that goes away does."""
    master = _postgres(week)[0]
    master.send_signal(signal.SIGQUIT)
    with suppress(psutil.TimeoutExpired):
        master.wait(10)
    return True


def start_postgres(week: Week) -> None:
    """Start it again."""
    week.ground.cluster.ensure_running()


def kill_backend(week: Week) -> bool:
    """SIGKILL a process of the server that works for the run: the server recovers as after a crash."""
    for process in _postgres(week)[1:]:
        with suppress(psutil.Error):
            line = " ".join(process.cmdline())
            if week.database in line:
                process.kill()
                return True
    return False


def freeze_postgres(week: Week) -> bool:
    """SIGSTOP every process of the server."""
    week.blind = True  # whoever asks it now waits
    for process in _postgres(week):
        with suppress(psutil.Error):
            process.suspend()
    return True


def thaw_postgres(week: Week) -> None:
    """SIGCONT them."""
    for process in _postgres(week):
        with suppress(psutil.Error):
            process.resume()
    week.blind = False


def _rules(week: Week, *rules: Mapping[str, Any]) -> bool:
    requests.post(f"{week.hooks}/faults", json=list(rules), timeout=5).raise_for_status()
    return True


def zooniverse_down(week: Week) -> bool:
    """Answer 503 to every call, or no answer at all."""
    kind = week.rng.choice([{"kind": "status", "status": 503, "when": "before", "body": "html"}, {"kind": "reset"}])
    return _rules(week, {"path": "/", "count": 1_000_000, **kind})


def zooniverse_odd(week: Week) -> bool:
    """Lose answers of calls that were carried out, and refuse others."""
    rules = [
        {
            "path": "/",
            "probability": 0.3,
            "seed": week.rng.randrange(10**9),
            "kind": "status",
            "status": 502,
            "when": when,
        }
        for when in ("before", "after")
    ]
    return _rules(week, *rules)


def zooniverse_up(week: Week) -> None:
    """End the weather."""
    requests.delete(f"{week.hooks}/faults", timeout=5).raise_for_status()


def objects_refuse(week: Week) -> bool:
    """Let no call to the bucket come through."""
    week.weather.share = 1.0
    return True


def objects_odd(week: Week) -> bool:
    """Let a third of the calls be slow, lost, cut or changed."""
    week.weather.share = 0.3
    return True


def objects_well(week: Week) -> None:
    """End the weather."""
    week.weather.share = 0.0


def fill_disk(week: Week) -> bool:
    """Leave the disk of the objects no free byte."""
    objects = week.folder / "work" / "objects"
    used = shutil.disk_usage(objects).used
    subprocess.run(["mount", "-o", f"remount,size={max(used, 4096)}", str(objects)], check=True)
    return True


def free_disk(week: Week) -> None:
    """Free it."""
    subprocess.run(["mount", "-o", "remount,size=3g", str(week.folder / "work" / "objects")], check=True)


def step_clock(week: Week) -> bool:
    """Step the clock of every run by an hour, forth or back."""
    week.clock_step.write_text(str(week.rng.choice([3600, -3600])), encoding="ascii")
    return True


def set_clock(week: Week) -> None:
    """Set it right."""
    week.clock_step.write_text("0", encoding="ascii")


def fill_memory(week: Week) -> bool:
    """Let runs from now on find the device's memory full."""
    week.out_of_memory = week.rng.randint(1, 60)
    return True


def free_memory(week: Week) -> None:
    """Free it."""
    week.out_of_memory = None


FAULTS: Final = (
    Fault(name="run killed", strike=kill_run),
    Fault(name="run stopped, back late", strike=stop_run, end=go_on, lasts_s=(LEASE_S + 1, LEASE_S + 3)),
    Fault(name="run stopped shortly", strike=stop_run, end=go_on, lasts_s=(0.3, LEASE_S - 1)),
    Fault(name="database restarted", strike=stop_postgres, end=start_postgres, lasts_s=(0.0, 2.0)),
    Fault(name="database process killed", strike=kill_backend),
    Fault(name="database frozen", strike=freeze_postgres, end=thaw_postgres, lasts_s=(0.5, 5.0)),
    Fault(name="objects refused", strike=objects_refuse, end=objects_well, lasts_s=(0.5, 4.0), in_bucket=True),
    Fault(name="objects slow or changed", strike=objects_odd, end=objects_well, lasts_s=(3.0, 8.0), in_bucket=True),
    Fault(name="disk of objects full", strike=fill_disk, end=free_disk, lasts_s=(0.5, 4.0), small_disk=True),
    Fault(name="clock stepped by an hour", strike=step_clock, end=set_clock, lasts_s=(1.0, 6.0)),
    Fault(name="Zooniverse down", strike=zooniverse_down, end=zooniverse_up, lasts_s=(3.0, 8.0)),
    Fault(name="Zooniverse loses answers", strike=zooniverse_odd, end=zooniverse_up, lasts_s=(2.0, 6.0)),
    Fault(name="device memory full", strike=fill_memory, end=free_memory, lasts_s=(2.0, 8.0), within_s=4.0),
)
CALM: Final = Fault(name="calm", strike=lambda _week: False, within_s=0.2)


@contextmanager
def prepared() -> Iterator[Ground]:
    """Serve a database and a bucket, and prepare the campaign that weeks fork from, and what a calm week leaves."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(
        ["tests.benchmarks.chaos_worker", "tests.benchmarks.chaos"]
    )
    with (
        tempfile.TemporaryDirectory(prefix="alservice-chaos-") as name,
        scratch_server() as url,
        rclone_server() as s3,
    ):
        os.environ.update(s3.environment)
        ground = Ground(url, Path(name), s3)
        calm = run_week(ground, 0, CALM)
        assert not calm.outcome.violations, calm.outcome
        ground.calm = calm.left
        yield ground


def run_week(ground: Ground, seed: int, fault: Fault) -> Week:
    """Return one week, over."""
    with tempfile.TemporaryDirectory(dir=ground.folder) as name:
        week = Week(ground, seed, fault, Path(name))
        try:
            week.go()
        except Exception as error:  # noqa: BLE001 - the campaign goes on, and this is counted
            week.outcome.violations.append(f"the week ended with {type(error).__name__}: {error}"[:400])
            ground.cluster.ensure_running()
        if week.outcome.violations and week.log.exists():
            shutil.copy(week.log, Path(tempfile.gettempdir()) / f"chaos-{seed}.log")
        return week


def table(outcomes: Sequence[Mapping[str, Any]]) -> str:
    """Return a line per kind of fault: weeks, those that it struck, detection and recovery, and what was broken."""
    kinds: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for outcome in outcomes:
        kinds[outcome["fault"]].append(outcome)
    head = "| fault | weeks | struck | noticed | detected after (s) | on after its end (s) | by a person | orphans removed | broken |"
    lines = [head, "|---|---|---|---|---|---|---|---|---|"]
    for name, found in [*kinds.items(), ("all", outcomes)]:
        struck = [each for each in found if each["struck"]]
        noticed = [each["detected_s"] for each in struck if each["detected_s"] is not None]
        back = [each["recovered_s"] for each in struck if each["recovered_s"] is not None]
        hands = sum(each["by_hand"] > 0 for each in struck)
        orphans, broken = sum(each["orphans"] for each in found), sum(bool(each["violations"]) for each in found)
        numbers = f"{len(found)} | {len(struck)} | {len(noticed)} | {_spread(noticed)} | {_spread(back)}"
        lines.append(f"| {name} | {numbers} | {hands} | {orphans} | {broken} |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f}, at most {max(values):.1f}" if values else "–"


def read(results: Path) -> list[dict[str, Any]]:
    """Return what was run so far."""
    return [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()] if results.exists() else []


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the weeks that are not in the results yet, and print the table; 1 if anything was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0:200", help="first and last seed, the last left out; each is a week")
    parser.add_argument(
        "--results", type=Path, default=Path("chaos.jsonl"), help="file to append to, and to go on from"
    )
    parser.add_argument("--fault", default=None, help="this kind alone")
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    given = parser.parse_args(arguments)
    if not given.table:
        first, last = map(int, given.seeds.split(":"))
        done = {outcome["seed"] for outcome in read(given.results)}
        kinds = [fault for fault in FAULTS if given.fault in {None, fault.name}]
        with prepared() as ground:
            for seed in sorted(set(range(first, last)) - done):
                outcome = run_week(ground, seed, kinds[seed % len(kinds)]).outcome
                with given.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(vars(outcome)) + "\n")
                print(json.dumps(vars(outcome)), flush=True)
    outcomes = read(given.results)
    print(table(outcomes))
    return int(any(outcome["violations"] for outcome in outcomes))


if __name__ == "__main__":
    # Nothing here may reach the public site, whatever a client finds in its environment.
    os.environ["PANOPTES_ENDPOINT"] = "http://127.0.0.1:9"
    sys.exit(main())
