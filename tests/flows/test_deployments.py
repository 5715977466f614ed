"""Deployments on a real Prefect server with real workers: scheduled, triggered, split over two pools, cut off."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from playwright.sync_api import Page
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from sqlalchemy import text

from alservice.campaigns.policies import GatePolicy
from tests.support.browser import launched
from tests.support.prefect_server import CAMPAIGN, ENDED, INLINE, RESUME, SPLIT, Server
from tests.support.processes import process
from tests.support.rehearsals import environment, lines_of, run_alservice, run_here
from tests.support.shared import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]


@contextmanager
def prefect_page(path: str, server: Server) -> Iterator[Page]:
    """Open a page of Prefect's own UI in a browser; nothing is asked of another machine."""
    hosts: set[str] = set()
    with launched() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname or ""))
        page.goto(server.api.removesuffix("/api") + path)
        yield page
    assert hosts <= {"127.0.0.1", ""}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Where pages are kept as figures: the folder of ALSERVICE_IMAGES."""
    return Path(os.environ.get("ALSERVICE_IMAGES", tmp_path))


def kill(server: Server, run_id: str, is_there: Callable[[], bool]) -> str:
    """End the process that works under the campaign's lease with SIGKILL, at a moment; return who it acted as."""
    wanted = text("SELECT pid, actor FROM leases WHERE actor LIKE :actor")
    found: list[Any] = []

    def is_at_work() -> bool:
        with server.database() as connection:
            found[:] = connection.execute(wanted, {"actor": f"prefect:% {run_id[:8]}"})
        return bool(found) and is_there()

    server.until(is_at_work, f"run {run_id} is at work")
    os.kill(found[0].pid, signal.SIGKILL)
    ended = server.finished(run_id)
    assert ended["state_type"] == "CRASHED", ended["state"]
    return str(found[0].actor)


@contextmanager
def never_trained(server: Server) -> Iterator[None]:
    """Let models be read and not written: a training goes on until the block ends, however fast the machine is."""
    with server.database() as connection:
        connection.execute(text("LOCK TABLE models IN SHARE MODE"))
        yield


def settle(server: Server) -> None:
    """Wait until no run is at work: a cycle's end is seen a moment before its run gives the lease back."""
    at_work = {"flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}}
    server.until(lambda: not server.filter("flow_runs", at_work), "no run is at work")


def takeovers(server: Server) -> list[str]:
    """Return the runs whose leases were taken over, oldest first."""
    with server.database() as connection:
        wanted = text("SELECT detail->>'from' FROM events WHERE kind = 'lease.taken_over' ORDER BY id")
        return [str(name) for name in connection.scalars(wanted)]


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
    server.decide(training=lambda training: replace(training, steps=20))
    with never_trained(server):
        run_id = server.trigger("retrain-only/retrain-only", INLINE)
        server.until(lambda: server.state() == "training", "training begins")
        server.post(f"/flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
        assert server.finished(run_id)["state_type"] == "CANCELLED"
    server.until(lambda: server.state() == "cancelled", "the cycle is marked")

    server.completed("ingest/ingest", SPLIT)
    assert server.state() == "cancelled", "a tick does not undo what a person did"

    server.completed("advance/advance", SPLIT)
    last = server.cycles()[-1]
    assert (last["kind"], last["state"]) == ("retrain", "done")
    # Its sender goes on once the cycle has moved, a moment before the run itself is over.
    trained = [server.finished(r["id"]) for r in server.filter("flow_runs", {"flows": {"name": {"any_": ["train"]}}})]
    assert [(r["state_type"], r["work_pool_name"]) for r in trained] == [("COMPLETED", "gpu")], (
        "under the lease it lent"
    )


def test_a_killed_training_is_taken_over_by_the_next_tick(server: Server) -> None:
    """Nobody was told: the process is gone by kill -9. The tick starts advance, which takes the lease and ends well."""
    server.decide(training=lambda training: replace(training, steps=10))
    with never_trained(server):
        run_id = server.trigger("retrain-only/retrain-only", INLINE)
        actor = kill(server, run_id, lambda: server.state() == "training")
    assert server.state() == "training"
    server.completed("ingest/ingest", SPLIT)
    server.until(lambda: server.state() == "done", "advance, which the tick started, ends the cycle")
    settle(server)
    assert takeovers(server)[-1] == actor


def test_runs_beside_the_cycle_end_well(server: Server) -> None:
    """Every part works, the ledger agrees, and both say so in a table and a report; nothing has expired."""
    runs = [
        server.trigger("flight-check/flight-check", {}),
        server.trigger("reconcile/reconcile", {"campaign": "rehearsal"}),
        server.trigger("forget-expired/forget-expired", {}),
    ]
    for run_id in runs:
        run = server.finished(run_id)
        assert run["state_type"] == "COMPLETED", run["state"]["message"]
    parts = json.loads(server.get("/artifacts/flight-check/latest")["data"])
    assert {"database", "schema", "object store", "zooniverse login", "zooniverse rights", "prefect", "disk"} <= {
        row["part"] for row in parts
    }
    assert {row["works"] for row in parts} == {"yes"}
    assert "campaign rehearsal" in server.get("/artifacts/reconcile-rehearsal/latest")["data"]


def test_the_weekly_cycle_is_scheduled(server: Server) -> None:
    """The cron line yields runs: a scheduler that silently creates none is the known failure of a wrong lock."""
    until = time.monotonic() + 90
    scheduled: list[dict[str, Any]] = []
    while not scheduled and time.monotonic() < until:
        scheduled = server.filter(
            "flow_runs",
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
    server.decide(hold_hours=48.0, gate=GatePolicy(min_galaxies=10**6))
    run = server.completed("weekly-cycle/weekly-cycle", SPLIT)
    assert "collecting" in run["state"]["message"]
    sent = server.filter("flow_runs", {"flows": {"name": {"any_": ["predict"]}}})
    predicted = [server.finished(run["id"]) for run in sent]
    assert [r["state_type"] for r in predicted] == ["COMPLETED"]
    assert [r["work_pool_name"] for r in predicted] == ["gpu"]

    server.completed("ingest/ingest", SPLIT)
    lines = server.cycles()
    assert {line["state"] for line in lines[:-1]} == {"done"}
    assert lines[-1]["state"] == "collecting"

    number = lines[-1]["cycle"]
    report = server.get(f"/artifacts/rehearsal-cycle-{number}-report/latest")["data"]
    assert f"# Cycle {number} of rehearsal: collecting" in report
    assert "data:image/jpeg;base64," in server.get(f"/artifacts/rehearsal-cycle-{number}-gallery/latest")["data"]
    assert [r["name"] for r in predicted] == [f"rehearsal cycle {number}: predict"]
    assert server.get(f"/flow_runs/{run['id']}")["name"] == f"rehearsal cycle {number}: weekly-cycle"
    tagged = {"flow_runs": {"tags": {"all_": ["campaign:rehearsal", f"cycle:{number}"]}}}
    assert {r["flow_id"] for r in server.filter("flow_runs", tagged)} >= {run["flow_id"], predicted[0]["flow_id"]}


def test_a_killed_tick_is_taken_over_by_the_next(server: Server) -> None:
    """It dies while it reads where it stopped: nothing is half written, and the next one reads."""
    with server.database() as connection:
        connection.execute(text("LOCK TABLE ingest_cursors IN ACCESS EXCLUSIVE MODE"))
        actor = kill(server, server.trigger("ingest/ingest", SPLIT), lambda: True)
    server.completed("ingest/ingest", SPLIT)
    assert server.state() == "collecting"
    assert takeovers(server)[-1] == actor


def test_a_person_starts_a_run_in_the_ui_with_changed_parameters(server: Server, images: Path) -> None:
    """In a browser: Deployments, Run, Custom run, another campaign, Submit; the form has help, and nothing leaves here."""
    deployment = server.get("/deployments/name/reconcile/reconcile")
    with prefect_page(f"/deployments/deployment/{deployment['id']}", server) as page:
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_text("Custom run").click()
        campaign = page.locator("textarea").first
        campaign.wait_for()
        assert campaign.input_value() == "gz2"
        assert "as given to alservice campaign create" in page.inner_text("body")
        assert "Set right what a machine may" in page.inner_text("body")
        campaign.fill(CAMPAIGN)
        page.screenshot(path=images / "prefect-custom-run.png")
        submit = page.get_by_role("button", name="Submit")

        def is_submitted() -> bool:
            """Press the button, and again where a busy server did not take it."""
            if submit.is_visible():
                with suppress(PlaywrightTimeout):
                    submit.click(timeout=2_000)
                page.wait_for_timeout(2_000)
            return page.url.endswith("tab=Runs")

        server.until(is_submitted, "the form is sent", seconds=180)
    runs = server.filter("flow_runs", {"flow_runs": {"deployment_id": {"any_": [deployment["id"]]}}})
    by_hand = [one for one in runs if "auto-scheduled" not in one["tags"]]  # the scheduler may add its own meanwhile
    run = max(by_hand, key=lambda one: one["created"])
    assert run["parameters"] == {"campaign": CAMPAIGN, "repair": False}
    ended = server.finished(run["id"])
    assert ended["state_type"] == "COMPLETED", ended["state"]


def test_the_schedule_fires_and_doubles_nothing(server: Server) -> None:
    """A second tick, by a schedule that is accelerated to seconds, finds the open cycle and goes on with it."""
    lines = server.cycles()
    deployment = server.get("/deployments/name/weekly-cycle/weekly-cycle")
    soon = {"schedule": {"interval": 5, "timezone": "Europe/London"}, "active": True, "max_scheduled_runs": 1}
    soon["parameters"] = SPLIT
    (schedule,) = server.post(f"/deployments/{deployment['id']}/schedules", [soon])
    wanted = {
        "deployments": {"id": {"any_": [deployment["id"]]}},
        "flow_runs": {"tags": {"all_": ["auto-scheduled"]}, "state": {"type": {"any_": ["COMPLETED"]}}},
    }
    server.until(lambda: bool(server.filter("flow_runs", wanted)), "a scheduled run ends well")
    assert server.cycles() == lines
    server.delete(f"/deployments/{deployment['id']}/schedules/{schedule['id']}")
    settle(server)


def test_a_held_gate_is_approved_in_the_ui(server: Server, images: Path) -> None:
    """The run ends without a process and shows a form in a browser; what a person fills in promotes the candidate."""
    held = lines_of(run_alservice(server.workdir, *RESUME, **server.env))[0]
    assert (held["state"], held["verdict"]) == ("held", "hold")
    run_id = server.trigger("advance/advance", SPLIT)
    suspended = server.finished(run_id, states=ENDED | {"PAUSED"})
    assert (suspended["state_type"], suspended["state"]["name"]) == ("PAUSED", "Suspended"), suspended["state"]
    keys = suspended["state"]["state_details"]["run_input_keyset"]
    assert server.get(f"/flow_runs/{run_id}/input/{keys['schema']}")["required"] == ["reason"]

    with prefect_page(f"/runs/flow-run/{run_id}", server) as page:
        page.get_by_role("button", name="Resume", exact=True).click()
        form = page.locator(".p-modal")
        form.get_by_text("Why; it is kept in the audit.").wait_for()
        shown = form.inner_text()
        assert f"Cycle {held['cycle']} of {CAMPAIGN} is held on" in shown
        assert "evaluation-galaxies" in shown
        decision = form.locator("button.p-select-button__control")
        assert decision.inner_text() == "reject", "who only presses Submit keeps the champion"
        decision.focus()
        page.keyboard.press("ArrowDown")
        page.get_by_role("option", name="approve").click()
        reason, actor = form.locator("textarea").all()
        reason.fill("looks right to me")
        actor.fill("ann")
        page.screenshot(path=images / "prefect-held-gate.png")
        submit = form.get_by_role("button", name="Submit")

        def is_sent() -> bool:
            """Press the button, and again where a busy server did not take it."""
            if submit.is_visible():
                with suppress(PlaywrightTimeout):
                    submit.click(timeout=2_000)
                page.wait_for_timeout(2_000)
            return bool(server.get(f"/flow_runs/{run_id}")["state"]["name"] != "Suspended")

        server.until(is_sent, "the form is sent", seconds=180)
    done = server.finished(run_id)
    assert done["state_type"] == "COMPLETED", done["state"]
    decided = lines_of(run_here(server.workdir, "gate", "show", "--campaign", CAMPAIGN, "--json"))[0]
    assert (decided["state"], decided["verdict"]) == ("done", "promote")
    assert decided["checks"][-1]["detail"] == "ann: looks right to me"


def test_one_process_serves_every_deployment(server: Server, tmp_path: Path) -> None:
    """Refused where pools have them; on a server without them they are this process's, and it runs what is triggered."""
    refused = run_alservice(server.workdir, "prefect", "serve", **server.env)
    assert refused.returncode == 1
    assert "is in work pool cpu of this server" in refused.stderr
    for deployment in server.filter("deployments", {}):
        server.delete(f"/deployments/{deployment['id']}")
    log = tmp_path / "serve.log"
    command = [sys.executable, "-m", "alservice.cli", "prefect", "serve"]
    with process(command, log=log, env=environment(server.workdir, **server.env), cwd=ROOT) as serving:

        def is_served() -> bool:
            assert serving.poll() is None, log.read_text()[-3000:]
            return "flight-check" in {one["name"] for one in server.filter("deployments", {})}

        server.until(is_served, "the deployments are registered")
        run = server.finished(server.trigger("flight-check/flight-check", {}))
    assert run["state_type"] == "COMPLETED", log.read_text()[-3000:]
    deployment = server.get("/deployments/name/weekly-cycle/weekly-cycle")
    assert (deployment["paused"], deployment["work_pool_name"]) == (False, None), "stopping it does not pause the week"
    server.deploy()
