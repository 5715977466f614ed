"""A real Prefect server with every deployment and a worker per pool, over a work folder with a small rehearsal."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import requests
from sqlalchemy import Connection, text

from alservice.campaigns.store import CampaignStore
from alservice.settings import Settings
from alservice.storage.embedded_postgres import EmbeddedPostgres, database_url
from alservice.storage.postgres import make_engine, transaction
from tests.support.postgres import scratch_folder
from tests.support.processes import free_port, process, wait_for
from tests.support.rehearsals import environment, lines_of, run_alservice, run_here
from tests.support.shared import ROOT

ENDED = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})

PREFECT = [sys.executable, "-m", "prefect", "--no-prompt"]

CAMPAIGN = "rehearsal"

INLINE = {"campaign": CAMPAIGN, "dispatch": "inline"}
SPLIT = {"campaign": CAMPAIGN, "dispatch": "deployments"}
"""Parameters of a run whose heavy steps go to the pool gpu."""

RESUME = ("cycle", "resume", "--campaign", CAMPAIGN, "--json")
"""Command that goes on with the open cycle in a process of its own."""

SOON = {
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_WORKER_CANCELLATION_POLL_SECONDS": "5",  # from 120, where an event is missed
    "PREFECT_RUNNER_POLL_FREQUENCY": "1",  # from 10
    "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "1",  # from 30, where a run before it has just ended
    "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "5",  # from 15
}
"""How soon Prefect looks at what there is to do: its own intervals are meant for runs of hours."""

ANSWER_S = 300
"""Seconds for one answer: beside two workers that start processes, a server on a shared core has taken over 30."""

WAITS_S = (1, 2, 4, 8, 16)
"""Seconds between calls that a busy server did not answer."""


def patiently(method: str, url: str, *, is_safe: bool, **how: Any) -> requests.Response:
    """Call the API as Prefect's own client does: again while its database of one file is busy.

    Without an answer, or with a 500, only what is safe is sent again: reads, and what is the same when done twice.
    """
    busy = {requests.codes.unavailable, *([requests.codes.server_error] if is_safe else [])}
    for wait_s in (*WAITS_S, None):
        try:
            answer = requests.request(method, url, timeout=ANSWER_S, **how)
        except (requests.Timeout, requests.ConnectionError):
            if wait_s is None or not is_safe:
                raise
        else:
            if wait_s is None or answer.status_code not in busy:
                answer.raise_for_status()
                return answer
        time.sleep(wait_s)
    raise AssertionError("the last try returns or raises")


@dataclass(frozen=True)
class Server:
    """A Prefect server with every deployment of deploy/prefect.yaml and a worker per pool."""

    api: str
    workdir: Path
    env: dict[str, str]
    deploy: Callable[[], None]
    workers: dict[str, subprocess.Popen[bytes]]
    begin_worker: Callable[..., subprocess.Popen[bytes]]

    def start_worker(self, pool: str, **env: str) -> subprocess.Popen[bytes]:
        """Start the worker of a pool, in place of one that ended; variables of `env` are its own and its runs'."""
        self.workers[pool] = self.begin_worker(f"worker-{pool}", "worker", "start", "--pool", pool, **env)
        return self.workers[pool]

    def freeze(self, pool: str) -> list[psutil.Process]:
        """Stop the runs of a pool's worker by SIGSTOP; return their processes."""
        runs = psutil.Process(self.workers[pool].pid).children(recursive=True)
        for run in runs:
            run.suspend()
        return runs

    def kill_worker(self, pool: str, *, runs: bool = True) -> list[psutil.Process]:
        """End a pool's worker with SIGKILL, and its runs if its machine is to be gone; return the runs' processes."""
        worker = psutil.Process(self.workers[pool].pid)
        began = worker.children(recursive=True)
        for ended in (worker, *(began if runs else ())):
            ended.kill()
        self.workers[pool].wait()
        return began

    def get(self, path: str) -> Any:
        """Read from the API."""
        return patiently("GET", f"{self.api}{path}", is_safe=True).json()

    def filter(self, what: str, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        """Return what is there of a kind, such as ``flow_runs``."""
        found: list[dict[str, Any]] = patiently("POST", f"{self.api}/{what}/filter", is_safe=True, json=wanted).json()
        return found

    def post(self, path: str, body: Any) -> Any:
        """Change something through the API, as the UI does."""
        return patiently("POST", f"{self.api}{path}", is_safe=False, json=body).json()

    def patch(self, path: str, body: dict[str, Any]) -> None:
        """Set fields of something; the same again is fine."""
        patiently("PATCH", f"{self.api}{path}", is_safe=True, json=body)

    def delete(self, path: str) -> None:
        """Delete through the API; what is gone already is gone."""
        try:
            patiently("DELETE", f"{self.api}{path}", is_safe=True)
        except requests.HTTPError as error:
            if error.response.status_code != requests.codes.not_found:
                raise

    def cycles(self) -> list[dict[str, Any]]:
        """Return the table of cycles as the command line has it."""
        return lines_of(run_here(self.workdir, "cycle", "list", "--campaign", CAMPAIGN, "--json"))

    def state(self) -> str:
        """Return the state of the newest cycle, without the command line's second."""
        with self.database() as connection:
            return str(connection.scalar(text("SELECT state FROM cycles ORDER BY number DESC LIMIT 1")))

    def until(self, is_so: Callable[[], bool], what: str, *, seconds: float = 480) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < end, f"{what}: not within {seconds} s"
            time.sleep(0.5)

    def trigger(self, name: str, parameters: dict[str, Any], **env: str) -> str:
        """Start a run of a deployment with changed parameters and variables, as *Custom run* does; return its id."""
        deployment = self.get(f"/deployments/name/{name}")
        body: dict[str, Any] = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        body |= {"idempotency_key": str(uuid4()), "job_variables": {"env": env} if env else {}}
        return str(self.post(f"/deployments/{deployment['id']}/create_flow_run", body)["id"])

    def finished(self, run_id: str, *, seconds: float = 480, states: frozenset[str] = ENDED) -> dict[str, Any]:
        """Wait until a run has ended, or is in one of the states; return it."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            run: dict[str, Any] = self.get(f"/flow_runs/{run_id}")
            if run["state_type"] in states:
                return run
            time.sleep(0.5)
        raise AssertionError(f"run {run_id} did not end in {seconds} s")

    def completed(self, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Start a run of a deployment and wait until it has ended well; return it."""
        run = self.finished(self.trigger(name, parameters))
        assert run["state_type"] == "COMPLETED", run["state"]
        return run

    @contextmanager
    def database(self) -> Iterator[Connection]:
        """Open a transaction in the database of the work folder."""
        with database_url(Settings(workdir=self.workdir)) as url:
            engine = make_engine(url)
            with transaction(engine) as connection:
                yield connection
            engine.dispose()

    def decide(self, **changes: Any) -> None:
        """Change decisions of the campaign, such as its gate; those of one record are given as a function of it."""
        with database_url(Settings(workdir=self.workdir)) as url:
            engine = make_engine(url)
            campaigns = CampaignStore(engine, lambda: datetime.now(UTC))
            campaign = campaigns.get(CAMPAIGN).settings
            new = {n: change(getattr(campaign, n)) if callable(change) else change for n, change in changes.items()}
            campaigns.save(replace(campaign, **new))
            engine.dispose()


@contextmanager
def api_server(folder: Path, env: Mapping[str, str], *options: str) -> Iterator[str]:
    """Serve Prefect's API, with its log in a folder; yield its address."""
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    log = folder / "server.log"
    command = [*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port), *options]
    told = {**env, "PREFECT_API_URL": api}  # by which its pages find it
    with process(command, log=log, env=told, cwd=ROOT) as running:
        wait_for(f"{api}/health", running, log=log)
        yield api


@contextmanager
def prefect_api() -> Iterator[str]:
    """Serve Prefect's API to commands that would each start a server of their own; yield its address.

    Nothing is scheduled, late or told by it: those services look at the database every few seconds.
    """
    with (
        scratch_folder() as folder,
        api_server(folder, environment(folder, **quiet(folder)), "--no-services", "--no-ui") as api,
    ):
        yield api


def quiet(folder: Path) -> dict[str, str]:
    """Return variables of a server that keeps its files in a folder and says nothing to its makers.

    Its SQLite is locked for longer than a request waits where the machine is busy: that is a 500, over which a worker
    ends and a run fails unless they ask again. Servers of a survey have Postgres.
    """
    return {
        "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }


@contextmanager
def prefect_server() -> Iterator[Server]:
    """Serve with two pools, the deployments, and a worker per pool; a small rehearsal is in the work folder."""
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())  # in memory: SQLite waits for the disk at every write
        workdir = folder / "work"
        # Kept running: every run, command and look at a table would start and stop it otherwise.
        stack.enter_context(EmbeddedPostgres(workdir / "postgres"))
        env = environment(
            workdir,
            ALSERVICE_HOME=str(ROOT),
            **SOON,
            PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS="1",
            PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS="2",
            PYTHONUNBUFFERED="1",
            **quiet(folder),
        )
        api = stack.enter_context(api_server(folder, env))
        env["PREFECT_API_URL"] = api
        # Eight galaxies a cycle: with 40 there was nothing left to learn from when the fourth test ran a week.
        small = ("rehearse", "--galaxies", "120", "--cycles", "1", "--json")
        lines_of(run_alservice(workdir, *small, PREFECT_API_URL=api))

        def start(name: str, *arguments: str, **changes: str) -> subprocess.Popen[bytes]:
            log = folder / f"{name}.log"
            return stack.enter_context(process([*PREFECT, *arguments], log=log, env={**env, **changes}, cwd=ROOT))

        def run(*arguments: str) -> None:
            log = folder / "setup.log"
            with process([*PREFECT, *arguments], log=log, env=env, cwd=ROOT) as running:
                assert running.wait(timeout=120) == 0, log.read_text()[-3000:]

        def deploy() -> None:
            run("deploy", "--prefect-file", "deploy/prefect.yaml", "--all")

        for pool in ("cpu", "gpu"):
            run("work-pool", "create", pool, "--type", "process", "--overwrite")  # the client sends a slow one again
        deploy()
        shared = {name: value for name, value in env.items() if name.startswith("PREFECT_")}
        server = Server(api=api, workdir=workdir, env=shared, deploy=deploy, workers={}, begin_worker=start)
        for pool in ("cpu", "gpu"):
            server.start_worker(pool)
        server.decide(training=lambda training: replace(training, batch_galaxies=8))  # what is asserted learns nothing
        yield server
