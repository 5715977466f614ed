"""Automations on a real Prefect server: each fires at what it waits for, and the on-call person's webhook hears of it."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from alservice.campaigns.policies import GatePolicy
from tests.support.prefect_server import CAMPAIGN, INLINE, Server
from tests.support.processes import process
from tests.support.rehearsals import environment, run_alservice, run_here
from tests.support.shared import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1200)]

BLOCK = "on-call"

LATE_HOURS = "0.003"
"""Eleven seconds: Prefect looks for what did not happen no oftener than every ten."""

MAKE_BLOCK = """
import sys
from prefect.blocks.notifications import CustomWebhookNotificationBlock

CustomWebhookNotificationBlock(
    name="test", url=sys.argv[1], method="POST", json_data={"subject": "{{subject}}", "body": "{{body}}"}
).save(sys.argv[2], overwrite=True)
"""

Heard = Callable[[str, str], None]
"""Waits until a message with a subject, and a name in its text, has come."""


@pytest.fixture(scope="module")
def messages(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, str]]]:
    """What reaches the on-call person's webhook, for which the server has a block."""
    received: list[dict[str, str]] = []

    class Webhook(BaseHTTPRequestHandler):
        """Keeps what is posted."""

        def do_POST(self) -> None:
            """Read it and say so."""
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Webhook) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{listening.server_port}/"
        command = [sys.executable, "-c", MAKE_BLOCK, url, BLOCK]
        log = tmp_path_factory.mktemp("block") / "block.log"
        with process(command, log=log, env=environment(server.workdir, **server.env), cwd=ROOT) as making:
            assert making.wait(timeout=120) == 0, log.read_text()
        for _ in range(2):  # again, without doubles
            command = ["prefect", "automations", "--notify", f"custom-webhook/{BLOCK}", "--late-hours", LATE_HOURS]
            done = run_alservice(server.workdir, *command, **server.env)
            assert done.returncode == 0, done.stderr
        try:
            yield received
        finally:
            for automation in server.filter("automations", {}):
                server.delete(f"/automations/{automation['id']}")
            listening.shutdown()
            thread.join()


@pytest.fixture
def heard(server: Server, messages: list[dict[str, str]]) -> Heard:
    """How a test waits for a message; one that names no section of the runbook is none."""

    def wait(subject: str, about: str) -> None:
        section = {"A run is late": "run late", "A run failed": "run failed", "A cycle is late": "cycle late"}
        section |= {"A cycle failed": "cycle failed", "A candidate waits for a decision": "gate held"}

        def has_come() -> bool:
            named = f'deploy/runbook.md, "{section[subject]}"'
            return any(m["subject"] == subject and about in m["body"] and named in m["body"] for m in list(messages))

        server.until(has_come, f"{subject}: {about} is told; so far {messages}", seconds=180)

    return wait


def test_the_automations_of_the_file_are_there_once(server: Server, messages: list[dict[str, str]]) -> None:
    """Registered twice; what is late is what the command said, in place of the file's eight days."""
    there = server.filter("automations", {})
    names = ["cycle failed", "cycle late", "gate held", "run died", "run failed", "run late"]
    assert sorted(a["name"] for a in there) == names
    (late,) = (a["trigger"] for a in there if a["name"] == "cycle late")
    assert (late["posture"], round(late["within"])) == ("Proactive", 11)


def test_a_notification_block_must_exist(server: Server) -> None:
    """A name that the server does not know is told, and nothing is registered."""
    done = run_alservice(server.workdir, "prefect", "automations", "--notify", "slack-webhook/nobody", **server.env)
    assert done.returncode == 1
    assert "no block slack-webhook/nobody" in done.stderr


def test_a_run_that_fails_is_told(server: Server, heard: Heard) -> None:
    """Its name leads to its log."""
    failed = server.finished(server.trigger("reconcile/reconcile", {"campaign": "nobody"}))
    assert failed["state_type"] == "FAILED"
    assert "nobody" in failed["state"]["message"]
    heard("A run failed", failed["name"])


def test_a_run_that_no_worker_takes_is_told(server: Server, heard: Heard) -> None:
    """Its pool gives out nothing, as when its worker is down."""
    server.patch("/work_pools/gpu", {"is_paused": True})
    try:
        run_id = server.trigger("predict-only/predict-only", {"campaign": CAMPAIGN})
        heard("A run is late", server.get(f"/flow_runs/{run_id}")["name"])
        server.delete(f"/flow_runs/{run_id}")
    finally:
        server.patch("/work_pools/gpu", {"is_paused": False})


def test_a_hold_is_told_and_so_is_a_cycle_that_does_not_end(server: Server, heard: Heard) -> None:
    """The gate could not tell, and nobody decides: two alarms of one cycle."""
    shorter = {"training": lambda training: replace(training, steps=2)}
    server.decide(hold_hours=48.0, gate=GatePolicy(min_galaxies=10**6), **shorter)
    server.completed("retrain-only/retrain-only", INLINE)
    assert server.state() == "held"
    heard("A candidate waits for a decision", CAMPAIGN)
    heard("A cycle is late", f"alservice.campaign.{CAMPAIGN}")
    decided = ("gate", "reject", "--campaign", CAMPAIGN, "--reason", "a test", "--actor", "ann")
    done = run_here(server.workdir, *decided)
    assert done.returncode == 0, done.stderr
    server.completed("advance/advance", INLINE)
    assert server.state() == "done"
    server.decide(hold_hours=0.0)


def test_a_cycle_that_fails_is_told_and_goes_on_once_it_can(server: Server, heard: Heard) -> None:
    """The images are gone when a candidate is to learn from them; they come back, and the cycle ends."""
    packs = server.workdir / "objects" / "packs"
    away = packs.rename(packs.with_name("packs-away"))
    try:
        failed = server.finished(server.trigger("retrain-only/retrain-only", INLINE))
        assert failed["state_type"] == "FAILED", failed["state"]
        assert server.state() == "failed"
        heard("A cycle failed", CAMPAIGN)
    finally:
        away.rename(packs)
    server.completed("advance/advance", INLINE)
    assert server.state() == "done"
