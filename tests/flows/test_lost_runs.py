"""Runs of the pool gpu that are killed, stopped or cut off: their parent notices, and the cycle goes on.

The kind: whoever waits for a run elsewhere. Bounds are short here; a worker is a process and its runs are others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from alservice.campaigns.policies import GatePolicy
from alservice.settings import Settings
from alservice.storage.embedded_postgres import database_url
from tests.support.prefect_server import RESUME, SPLIT, Server
from tests.support.proxy import Proxy, tcp, unix
from tests.support.rehearsals import lines_of, run_alservice

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1200)]

SHORT = {"ALSERVICE_RUN_SILENCE_S": "12"}
"""Bound on silence of parents here, and twelve signs of life a second apart of their runs."""


@pytest.fixture(scope="module")
def decided(server: Server) -> Iterator[Server]:
    """The server, whose campaign trains for a moment and holds nothing; a usual worker is there after the file."""
    server.decide(
        hold_hours=0.0,
        gate=GatePolicy(min_galaxies=1, repeats=100),
        training=lambda training: replace(training, steps=8),
    )
    yield server
    server.kill_worker("gpu")
    server.start_worker("gpu")


@pytest.fixture
def gpu(decided: Server) -> Server:
    """The server with a new worker of the pool gpu, which a test may end."""
    decided.kill_worker("gpu")
    decided.start_worker("gpu", **SHORT)
    return decided


def rows(server: Server, sql: str) -> list[tuple[Any, ...]]:
    """Return what the work folder's database says."""
    with server.database() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


def until_at_work(server: Server, attempt: int) -> None:
    """Wait until the run of an attempt has reported."""
    wanted = f"SELECT 1 FROM sent_steps WHERE attempt = {attempt} AND heard_at IS NOT NULL"
    server.until(lambda: bool(rows(server, wanted)), f"attempt {attempt} is at work")


def until_training(server: Server) -> None:
    """Wait until the newest run that trains is within its step."""
    of_run = {"id": {"any_": [runs_of(server, "train")[-1]["id"]]}}
    running = {"name": {"like_": ": training"}, "state": {"type": {"any_": ["RUNNING"]}}}
    wanted = {"flow_runs": of_run, "task_runs": running}
    server.until(lambda: bool(server.filter("task_runs", wanted)), "the training runs")


def taken_back(server: Server) -> list[dict[str, Any]]:
    """Return what the audit says of steps of the newest cycle that were taken back, oldest first."""
    return [
        row[0]
        for row in rows(
            server,
            "SELECT detail FROM events WHERE kind = 'step.taken_back'"
            " AND cycle_id = (SELECT max(id) FROM cycles) ORDER BY id",
        )
    ]


def runs_of(server: Server, flow: str) -> list[dict[str, Any]]:
    """Return the runs of a flow, oldest first."""
    return server.filter("flow_runs", {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_ASC"})


def is_whole(server: Server) -> None:
    """Check that the newest cycle is done, with one candidate and one way through its states."""
    assert server.state() == "done"
    assert rows(server, "SELECT count(*) FROM models WHERE cycle_id = (SELECT max(id) FROM cycles)") == [(1,)]
    moves = rows(
        server,
        "SELECT detail->>'from' FROM events WHERE kind = 'cycle.moved'"
        " AND cycle_id = (SELECT max(id) FROM cycles) ORDER BY id",
    )
    assert len(set(moves)) == len(moves)
    assert ("failed",) not in moves
    assert rows(server, "SELECT count(*) FROM sent_steps") == [(0,)]


def cables(server: Server, open_: ExitStack) -> tuple[Proxy, Proxy, dict[str, str]]:
    """Return the cables to Prefect's server and to the database, and the variables of a worker behind them."""
    port = urlsplit(server.api).port
    assert port is not None
    to_server = open_.enter_context(Proxy(tcp(port)))
    url = open_.enter_context(database_url(Settings(workdir=server.workdir)))
    query = dict(pair.split("=") for pair in urlsplit(url).query.split("&"))
    folder = query["host"].replace("%2F", "/")
    to_database = open_.enter_context(Proxy(unix(f"{folder}/.s.PGSQL.{query['port']}")))
    behind = url.partition("?")[0].replace("@/", f"@127.0.0.1:{to_database.port}/")
    env = {
        "PREFECT_API_URL": f"http://127.0.0.1:{to_server.port}/api",
        "ALSERVICE_DATABASE_URL": behind,
        "ALSERVICE_OBJECT_STORE": str(server.workdir / "objects"),
        **SHORT,
    }
    return to_server, to_database, env


def test_a_training_outlives_a_killed_worker_and_two_cut_cables(gpu: Server) -> None:
    """Killed with its worker, then cut off from the database, then from Prefect's server: the third run ends it.

    The first two are given up, marked as crashed and told; the third beats in the database and does its work there.
    """
    before = len(runs_of(gpu, "train"))
    parent = gpu.trigger("retrain-only/retrain-only", SPLIT, **SHORT)
    until_at_work(gpu, 1)
    gpu.kill_worker("gpu")
    with ExitStack() as open_:
        _, to_database, behind = cables(gpu, open_)
        gpu.start_worker("gpu", **behind)
        until_at_work(gpu, 2)
        to_database.cut()
        cut_off = gpu.kill_worker("gpu", runs=False)  # or it would take the next run as well
        to_server, _, behind = cables(gpu, open_)
        gpu.start_worker("gpu", **behind)
        until_at_work(gpu, 3)
        until_training(gpu)  # before that Prefect asks the server whether a task may begin
        to_server.cut()
        ended = gpu.finished(parent)
        for process in cut_off:
            if process.is_running():
                process.kill()
    assert ended["state_type"] == "COMPLETED", ended["state"]
    is_whole(gpu)
    told = taken_back(gpu)
    assert [(event["step"], event["attempt"]) for event in told] == [("training", 1), ("training", 2)]
    assert {event["reason"] for event in told} == {"nothing was heard of it for longer than 12 s"}
    assert all(event["worker"] and event["last_heard_of"] for event in told)
    lost = runs_of(gpu, "train")[before:][:2]
    assert [run["state_type"] for run in lost] == ["CRASHED"] * 2
    assert all("given up by its sender" in run["state"]["message"] for run in lost)


def test_a_prediction_outlives_a_killed_worker(gpu: Server) -> None:
    """The other step that is sent: the week's run goes on with the next worker, and the cycle to its end."""
    parent = gpu.trigger("weekly-cycle/weekly-cycle", SPLIT, **SHORT)
    until_at_work(gpu, 1)
    gpu.kill_worker("gpu")
    gpu.start_worker("gpu", **SHORT)
    ended = gpu.finished(parent)
    assert ended["state_type"] == "COMPLETED", ended["state"]
    assert "collecting" in ended["state"]["message"]
    assert [(event["step"], event["attempt"]) for event in taken_back(gpu)] == [("predicting", 1)]
    lines_of(run_alservice(gpu.workdir, *RESUME, **gpu.env))
    is_whole(gpu)


def test_a_run_that_wakes_up_late_writes_nothing(gpu: Server) -> None:
    """Stopped by SIGSTOP within its training and given up; woken by SIGCONT when another has done its work."""
    parent = gpu.trigger("retrain-only/retrain-only", SPLIT, **SHORT)
    gpu.until(lambda: bool(rows(gpu, "SELECT 1 FROM sent_steps")), "the training is sent")
    with gpu.database() as connection:
        # The training begins by reading them: it cannot end before it is stopped.
        connection.execute(text("LOCK TABLE training_snapshots IN ACCESS EXCLUSIVE MODE"))
        until_at_work(gpu, 1)
        until_training(gpu)
        stopped = gpu.freeze("gpu")
    late = runs_of(gpu, "train")[-1]
    ended = gpu.finished(parent)
    assert ended["state_type"] == "COMPLETED", ended["state"]
    is_whole(gpu)
    before = rows(gpu, "SELECT * FROM events ORDER BY id")
    for process in stopped:
        process.resume()
    gpu.until(lambda: not any(process.is_running() for process in stopped), "the late run ends")
    assert "lease-lost" in gpu.get(f"/flow_runs/{late['id']}")["state"]["message"]
    assert rows(gpu, "SELECT * FROM events ORDER BY id") == before
    is_whole(gpu)
