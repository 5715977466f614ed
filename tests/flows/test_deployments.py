"""Deployments on a real Prefect server with real workers: scheduled, triggered, split over two pools."""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from alservice.adapters.sql.campaigns import SqlCampaignStore
from alservice.adapters.sql.engine import make_engine
from alservice.core.gate import GatePolicy
from alservice.factory.context import database_url
from alservice.settings import Settings
from tests.support.processes import free_port, process, wait_for
from tests.support.rehearsals import environment, lines_of, run_alservice
from tests.support.shared import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

BUSY = 503

ENDED = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})

PREFECT = [sys.executable, "-m", "prefect", "--no-prompt"]


@dataclass(frozen=True)
class Server:
    """A Prefect server with every deployment of deploy/prefect.yaml and a worker per pool."""

    api: str
    workdir: Path

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Call the API as the UI does; like Prefect's own client, again while its database is busy."""
        for wait_s in (1, 2, 4, 8, 0):
            answer = requests.post(f"{self.api}{path}", json=body, timeout=30)
            if answer.status_code != BUSY:
                break
            time.sleep(wait_s)
        answer.raise_for_status()
        return answer.json()

    def get(self, path: str) -> Any:
        """Read from the API."""
        answer = requests.get(f"{self.api}{path}", timeout=30)
        answer.raise_for_status()
        return answer.json()

    def trigger(self, name: str, parameters: dict[str, Any]) -> str:
        """Start a run of a deployment with changed parameters, as *Custom run* does; return its id."""
        deployment = self.get(f"/deployments/name/{name}")
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}, "idempotency_key": str(uuid4())}
        return str(self.post(f"/deployments/{deployment['id']}/create_flow_run", body)["id"])

    def finished(self, run_id: str, *, seconds: float = 240, states: frozenset[str] = ENDED) -> dict[str, Any]:
        """Wait until a run has ended, or is in one of the states; return it."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            run: dict[str, Any] = self.get(f"/flow_runs/{run_id}")
            if run["state_type"] in states:
                return run
            time.sleep(1)
        raise AssertionError(f"run {run_id} did not end in {seconds} s")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server, two pools, the deployments, and a worker per pool; a small rehearsal is in the work folder."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alservice-prefect-")))
        workdir = folder / "work"
        lines_of(run_alservice(workdir, "rehearse", "--galaxies", "40", "--cycles", "1", "--json"))
        _hold_every_candidate(workdir)
        port = free_port()
        api = f"http://127.0.0.1:{port}/api"
        env = environment(
            workdir,
            ALSERVICE_HOME=str(ROOT),
            PREFECT_HOME=str(folder / "prefect"),
            PREFECT_API_URL=api,
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
            PREFECT_SERVER_UI_V2_ENABLED="false",
            DO_NOT_TRACK="1",
            PREFECT_WORKER_QUERY_SECONDS="1",
            PYTHONUNBUFFERED="1",
        )

        def start(name: str, *arguments: str) -> Any:
            log = folder / f"{name}.log"
            return stack.enter_context(process([*PREFECT, *arguments], log=log, env=env, cwd=ROOT)), log

        running, log = start("server", "server", "start", "--host", "127.0.0.1", "--port", str(port))
        wait_for(f"{api}/health", running, log=log)
        for pool in ("cpu", "gpu"):
            _run(env, folder, "work-pool", "create", pool, "--type", "process")
        _run(env, folder, "deploy", "--prefect-file", "deploy/prefect.yaml", "--all")
        for pool in ("cpu", "gpu"):
            start(f"worker-{pool}", "worker", "start", "--pool", pool)
        yield Server(api=api, workdir=workdir)


def _hold_every_candidate(workdir: Path) -> None:
    """Give the campaign a gate that is never sure, and a person two days."""
    with database_url(Settings(workdir=workdir)) as url:
        engine = make_engine(url)
        campaigns = SqlCampaignStore(engine, lambda: datetime.now(UTC))
        decisions = campaigns.get("rehearsal").campaign
        campaigns.save(replace(decisions, hold_hours=48.0, gate=GatePolicy(min_galaxies=10**6)))
        engine.dispose()


def _run(env: dict[str, str], folder: Path, *arguments: str) -> None:
    log = folder / "setup.log"
    with process([*PREFECT, *arguments], log=log, env=env, cwd=ROOT) as running:
        assert running.wait(timeout=120) == 0, log.read_text()[-3000:]


def test_the_weekly_cycle_is_scheduled(server: Server) -> None:
    """The cron line yields runs: a scheduler that silently creates none is the known failure of a wrong lock."""
    until = time.monotonic() + 90
    scheduled: list[dict[str, Any]] = []
    while not scheduled and time.monotonic() < until:
        scheduled = server.post(
            "/flow_runs/filter",
            {
                "flows": {"name": {"any_": ["weekly-cycle"]}},
                "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
            },
        )
        time.sleep(1)
    assert scheduled
    deployment = server.get("/deployments/name/weekly-cycle/weekly-cycle")
    schedule = deployment["schedules"][0]["schedule"]
    assert (schedule["cron"], schedule["timezone"]) == ("0 10 * * 4", "Europe/London")


def test_the_ui_gets_forms_with_help(server: Server) -> None:
    """Parameters render as a form: each has a type and a sentence."""
    schema = server.get("/deployments/name/weekly-cycle/weekly-cycle")["parameter_openapi_schema"]
    assert set(schema["properties"]) == {"campaign", "dispatch"}
    assert all(field.get("description") for field in schema["properties"].values())


def test_a_triggered_run_predicts_in_the_gpu_pool_and_ends_in_collecting(server: Server) -> None:
    """A run with changed parameters goes through both workers; then ingest waits, for nobody has voted."""
    parameters = {"campaign": "rehearsal", "dispatch": "deployments"}
    run = server.finished(server.trigger("weekly-cycle/weekly-cycle", parameters))
    assert run["state_type"] == "COMPLETED", run["state"]
    assert "collecting" in run["state"]["message"]
    predicted = server.post("/flow_runs/filter", {"flows": {"name": {"any_": ["predict"]}}})
    assert [r["state_type"] for r in predicted] == ["COMPLETED"]
    assert [r["work_pool_name"] for r in predicted] == ["gpu"]

    ingested = server.finished(server.trigger("ingest/ingest", parameters))
    assert ingested["state_type"] == "COMPLETED", ingested["state"]
    lines = lines_of(run_alservice(server.workdir, "cycle", "list", "--campaign", "rehearsal", "--json"))
    assert [line["state"] for line in lines] == ["done", "done", "collecting"]

    again = server.finished(server.trigger("weekly-cycle/weekly-cycle", parameters))
    assert again["state_type"] == "COMPLETED"
    after = lines_of(run_alservice(server.workdir, "cycle", "list", "--campaign", "rehearsal", "--json"))
    assert after == lines, "a second tick doubles nothing"


def test_a_held_gate_suspends_until_a_person_decides_in_the_form(server: Server) -> None:
    """The run ends without a process and shows a form; what is filled in there promotes the candidate."""
    held = lines_of(run_alservice(server.workdir, "cycle", "resume", "--campaign", "rehearsal", "--json"))[0]
    assert (held["state"], held["verdict"]) == ("held", "hold")
    run_id = server.trigger("advance/advance", {"campaign": "rehearsal", "dispatch": "deployments"})
    suspended = server.finished(run_id, states=ENDED | {"PAUSED"})
    assert (suspended["state_type"], suspended["state"]["name"]) == ("PAUSED", "Suspended"), suspended["state"]
    keys = suspended["state"]["state_details"]["run_input_keyset"]
    form = server.get(f"/flow_runs/{run_id}/input/{keys['schema']}")
    assert set(form["properties"]) == {"decision", "reason", "actor"}
    assert form["required"] == ["reason"]
    assert "evaluation-galaxies" in server.get(f"/flow_runs/{run_id}/input/{keys['description']}")

    answer = {"decision": "approve", "reason": "looks right to me", "actor": "ann"}
    assert server.post(f"/flow_runs/{run_id}/resume", {"run_input": answer})["status"] == "ACCEPT"
    done = server.finished(run_id)
    assert done["state_type"] == "COMPLETED", done["state"]
    shown = lines_of(run_alservice(server.workdir, "gate", "show", "--campaign", "rehearsal", "--json"))[0]
    assert (shown["state"], shown["verdict"]) == ("done", "promote")
    assert shown["checks"][-1]["detail"] == "ann: looks right to me"
