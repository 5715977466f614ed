"""Deployments on a real Prefect server with real workers: scheduled, triggered, split over two pools."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import requests
import yaml
from playwright.sync_api import sync_playwright

from alservice.adapters.sql.campaigns import SqlCampaignStore
from alservice.adapters.sql.engine import make_engine
from alservice.core.gate import GatePolicy
from alservice.factory.context import database_url
from alservice.settings import Settings
from tests.support.postgres import scratch_folder
from tests.support.processes import free_port, process, wait_for
from tests.support.rehearsals import environment, lines_of, run_alservice
from tests.support.shared import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]

ANSWER_S = 300
"""Seconds for one answer: beside two workers that start processes, a server on a shared core has taken over 30."""

ENDED = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})

PREFECT = [sys.executable, "-m", "prefect", "--no-prompt"]


@dataclass(frozen=True)
class Server:
    """A Prefect server with every deployment of deploy/prefect.yaml and a worker per pool."""

    api: str
    workdir: Path
    env: dict[str, str]

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Call the API as the UI does."""
        return self._patiently("POST", path, json=body).json()

    def cycles(self) -> list[dict[str, Any]]:
        """Return the table of cycles as the command line has it."""
        return lines_of(run_alservice(self.workdir, "cycle", "list", "--campaign", "rehearsal", "--json"))

    def until(self, is_so: Callable[[], bool], what: str, *, seconds: float = 480) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < end, f"{what}: not within {seconds} s"
            time.sleep(0.5)

    def get(self, path: str) -> Any:
        """Read from the API."""
        return self._patiently("GET", path).json()

    def delete(self, path: str) -> None:
        """Delete through the API."""
        self._patiently("DELETE", path)

    def _patiently(self, method: str, path: str, **body: Any) -> requests.Response:
        """Call the API; like Prefect's own client, again while its database of one file is busy."""
        for wait_s in (1, 2, 4, 8, 16, 0):
            answer = requests.request(method, f"{self.api}{path}", timeout=ANSWER_S, **body)
            if answer.status_code != requests.codes.unavailable:
                break
            time.sleep(wait_s)
        answer.raise_for_status()
        return answer

    def trigger(self, name: str, parameters: dict[str, Any]) -> str:
        """Start a run of a deployment with changed parameters, as *Custom run* does; return its id."""
        deployment = self.get(f"/deployments/name/{name}")
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}, "idempotency_key": str(uuid4())}
        return str(self.post(f"/deployments/{deployment['id']}/create_flow_run", body)["id"])

    def finished(self, run_id: str, *, seconds: float = 480, states: frozenset[str] = ENDED) -> dict[str, Any]:
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
        folder = stack.enter_context(scratch_folder())  # in memory: SQLite waits for the disk at every write
        workdir = folder / "work"
        lines_of(run_alservice(workdir, "rehearse", "--galaxies", "40", "--cycles", "1", "--json"))
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
            PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS="1",
            PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS="2",
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
        yield Server(api=api, workdir=workdir, env={k: v for k, v in env.items() if k.startswith("PREFECT_")})


BLOCK = "on-call"

MAKE_BLOCK = """
import sys
from prefect.blocks.notifications import CustomWebhookNotificationBlock

CustomWebhookNotificationBlock(
    name="test", url=sys.argv[1], method="POST", json_data={"text": "{{subject}}: {{body}}"}
).save(sys.argv[2], overwrite=True)
"""


@pytest.fixture
def told(server: Server, tmp_path: Path) -> Iterator[list[str]]:
    """What reaches the on-call person's webhook, for which the server has a block."""
    bodies: list[str] = []

    class Webhook(BaseHTTPRequestHandler):
        """Keeps what is posted."""

        def do_POST(self) -> None:
            """Read it and say so."""
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Webhook) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{listening.server_port}/"
        command = [sys.executable, "-c", MAKE_BLOCK, url, BLOCK]
        log = tmp_path / "block.log"
        with process(command, log=log, env=environment(server.workdir, **server.env), cwd=ROOT) as making:
            assert making.wait(timeout=120) == 0, log.read_text()
        try:
            yield bodies
        finally:
            listening.shutdown()
            thread.join()


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


def test_every_deployment_of_the_file_is_there(server: Server) -> None:
    """With its schedule in the named zone; every parameter has a type and a sentence for the form."""
    documents = yaml.safe_load((ROOT / "deploy" / "prefect.yaml").read_text())["deployments"]
    for document in documents:
        flow = document["entrypoint"].partition(":")[2].replace("_", "-")
        deployment = server.get(f"/deployments/name/{flow}/{document['name']}")
        schedules = [one["schedule"] for one in deployment["schedules"]]
        assert [s["cron"] for s in schedules] == [s["cron"] for s in document.get("schedules", [])]
        assert all(s["timezone"] == "Europe/London" for s in schedules)
        for name, field in deployment["parameter_openapi_schema"]["properties"].items():
            assert field.get("description"), f"{document['name']}: {name}"
            assert {"type", "$ref", "anyOf", "allOf"} & set(field), f"{document['name']}: {name}"


def test_a_cancelled_training_resumes_into_its_step(server: Server) -> None:
    """Cancelled in the UI, the run's process ends and the cycle keeps its step; advance then takes it to its end."""
    config = server.workdir / "longer.yaml"
    with database_url(Settings(workdir=server.workdir)) as url:
        engine = make_engine(url)
        campaign = SqlCampaignStore(engine, lambda: datetime.now(tz=UTC)).get("rehearsal").campaign
        engine.dispose()
    longer = asdict(replace(campaign, training=replace(campaign.training, steps=60)))
    config.write_text(json.dumps(longer))
    assert run_alservice(server.workdir, "campaign", "create", "--config", str(config)).returncode == 0

    run_id = server.trigger("retrain-only/retrain-only", {"campaign": "rehearsal", "dispatch": "inline"})
    server.until(lambda: server.cycles()[-1]["state"] == "training", "training begins")
    server.post(f"/flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    assert server.finished(run_id)["state_type"] == "CANCELLED"
    server.until(lambda: server.cycles()[-1]["state"] == "cancelled", "the cycle is marked")

    ticked = server.finished(server.trigger("ingest/ingest", {"campaign": "rehearsal", "dispatch": "deployments"}))
    assert ticked["state_type"] == "COMPLETED", ticked["state"]
    assert server.cycles()[-1]["state"] == "cancelled", "a tick does not undo what a person did"

    resumed = server.finished(server.trigger("advance/advance", {"campaign": "rehearsal", "dispatch": "deployments"}))
    assert resumed["state_type"] == "COMPLETED", resumed["state"]
    last = server.cycles()[-1]
    assert (last["kind"], last["state"]) == ("retrain", "done")
    trained = server.post("/flow_runs/filter", {"flows": {"name": {"any_": ["train"]}}})
    assert [(r["state_type"], r["work_pool_name"]) for r in trained] == [("COMPLETED", "gpu")], (
        "under the lease it lent"
    )


def test_flight_check_and_reconcile_leave_artifacts(server: Server) -> None:
    """Every part works, the ledger agrees; both say so in a table and a report."""
    runs = [
        server.trigger("flight-check/flight-check", {}),
        server.trigger("reconcile/reconcile", {"campaign": "rehearsal"}),
    ]
    for run_id in runs:
        run = server.finished(run_id)
        assert run["state_type"] == "COMPLETED", run["state"]
    parts = json.loads(server.get("/artifacts/flight-check/latest")["data"])
    assert {"database", "schema", "object store", "zooniverse", "prefect", "disk"} <= {row["part"] for row in parts}
    assert {row["works"] for row in parts} == {"yes"}
    assert "campaign rehearsal" in server.get("/artifacts/reconcile-rehearsal/latest")["data"]


def test_a_failed_run_notifies_through_an_automation(server: Server, told: list[str]) -> None:
    """The automations of the file register, again without doubles, and one fires at a run that fails."""
    for _ in range(2):
        done = run_alservice(
            server.workdir, "prefect", "automations", "--notify", f"custom-webhook/{BLOCK}", **server.env
        )
        assert done.returncode == 0, done.stderr
    names = [a["name"] for a in server.post("/automations/filter", {})]
    assert sorted(names) == ["cycle failed", "cycle late", "gate held", "run failed", "run late"]
    failed = server.finished(server.trigger("reconcile/reconcile", {"campaign": "nobody"}))
    assert failed["state_type"] == "FAILED"
    assert "nobody" in failed["state"]["message"]
    server.until(lambda: any("deploy/runbook.md" in body for body in told), "a message arrives")


def test_a_notification_block_must_exist(server: Server) -> None:
    """A name that the server does not know is told, and nothing is registered."""
    done = run_alservice(server.workdir, "prefect", "automations", "--notify", "slack-webhook/nobody", **server.env)
    assert done.returncode == 1
    assert "no block slack-webhook/nobody" in done.stderr


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


def test_a_triggered_run_predicts_in_the_gpu_pool_and_ends_in_collecting(server: Server) -> None:
    """A run with changed parameters goes through both workers; then ingest waits, for nobody has voted."""
    _hold_every_candidate(server.workdir)
    parameters = {"campaign": "rehearsal", "dispatch": "deployments"}
    run = server.finished(server.trigger("weekly-cycle/weekly-cycle", parameters))
    assert run["state_type"] == "COMPLETED", run["state"]
    assert "collecting" in run["state"]["message"]
    predicted = server.post("/flow_runs/filter", {"flows": {"name": {"any_": ["predict"]}}})
    assert [r["state_type"] for r in predicted] == ["COMPLETED"]
    assert [r["work_pool_name"] for r in predicted] == ["gpu"]

    ingested = server.finished(server.trigger("ingest/ingest", parameters))
    assert ingested["state_type"] == "COMPLETED", ingested["state"]
    lines = server.cycles()
    assert [line["state"] for line in lines] == ["done", "done", "done", "collecting"]

    report = server.get("/artifacts/cycles-rehearsal/latest")["data"]
    assert "# Cycle 3 of rehearsal: collecting" in report
    assert "data:image/jpeg;base64," in server.get("/artifacts/gallery-rehearsal/latest")["data"]


def test_a_person_starts_a_run_in_the_ui_with_changed_parameters(server: Server, tmp_path: Path) -> None:
    """In a browser: Deployments, Run, Custom run, another campaign, Submit; the form has help, and nothing leaves here.

    With ALSERVICE_IMAGES the page is kept as a figure.
    """
    browser = Path("/usr/bin/chromium")
    if not browser.exists():
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse("no Chromium on this machine")
    images = Path(os.environ.get("ALSERVICE_IMAGES", tmp_path))
    deployment = server.get("/deployments/name/reconcile/reconcile")
    base = server.api.removesuffix("/api")
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
        with playwright.chromium.launch(executable_path=browser, args=options) as chromium:
            page = chromium.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(120_000)
            hosts: set[str] = set()
            page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname or ""))
            page.goto(f"{base}/deployments/deployment/{deployment['id']}")
            page.get_by_role("button", name="Run", exact=True).click()
            page.get_by_text("Custom run").click()
            campaign = page.locator("textarea").first
            campaign.wait_for()
            assert campaign.input_value() == "gz2"
            assert "as given to alservice campaign create" in page.inner_text("body")
            assert "Set right what a machine may" in page.inner_text("body")
            campaign.fill("rehearsal")
            name = page.locator("input").first.input_value()
            page.screenshot(path=images / "prefect-custom-run.png")
            page.get_by_role("button", name="Submit").click()
            page.wait_for_url("**/deployment/*tab=Runs")
            (run,) = server.post("/flow_runs/filter", {"flow_runs": {"name": {"any_": [name]}}})
            assert run["parameters"] == {"campaign": "rehearsal", "repair": False}
            assert server.finished(run["id"])["state_type"] == "COMPLETED"
    assert hosts <= {"127.0.0.1", ""}


def test_the_schedule_fires_and_doubles_nothing(server: Server) -> None:
    """A second tick, by a schedule that is accelerated to seconds, finds the open cycle and goes on with it."""
    lines = server.cycles()
    deployment = server.get("/deployments/name/weekly-cycle/weekly-cycle")
    soon = {"schedule": {"interval": 5, "timezone": "Europe/London"}, "active": True, "max_scheduled_runs": 1}
    soon["parameters"] = {"campaign": "rehearsal", "dispatch": "deployments"}
    (schedule,) = server.post(f"/deployments/{deployment['id']}/schedules", [soon])
    wanted = {
        "deployments": {"id": {"any_": [deployment["id"]]}},
        "flow_runs": {"tags": {"all_": ["auto-scheduled"]}, "state": {"type": {"any_": ["COMPLETED"]}}},
    }
    server.until(lambda: bool(server.post("/flow_runs/filter", wanted)), "a scheduled run ends well")
    assert server.cycles() == lines
    server.delete(f"/deployments/{deployment['id']}/schedules/{schedule['id']}")


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


def test_one_process_serves_every_deployment(server: Server, tmp_path: Path) -> None:
    """Refused where pools have them; on a server without them they are this process's, and it runs what is triggered."""
    refused = run_alservice(server.workdir, "prefect", "serve", **server.env)
    assert refused.returncode == 1
    assert "is in work pool cpu of this server" in refused.stderr
    for deployment in server.post("/deployments/filter", {}):
        server.delete(f"/deployments/{deployment['id']}")
    log = tmp_path / "serve.log"
    command = [sys.executable, "-m", "alservice.cli", "prefect", "serve"]
    with process(command, log=log, env=environment(server.workdir, **server.env), cwd=ROOT) as serving:

        def is_served() -> bool:
            assert serving.poll() is None, log.read_text()[-3000:]
            return "flight-check" in {one["name"] for one in server.post("/deployments/filter", {})}

        server.until(is_served, "the deployments are registered")
        run = server.finished(server.trigger("flight-check/flight-check", {}))
    assert run["state_type"] == "COMPLETED", log.read_text()[-3000:]
    deployment = server.get("/deployments/name/weekly-cycle/weekly-cycle")
    assert (deployment["paused"], deployment["work_pool_name"]) == (False, None), "stopping it does not pause the week"
