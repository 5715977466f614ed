"""The REST API: what it answers, in pages, and that an act happens once."""

from __future__ import annotations

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from alservice.access import Scope
from alservice.campaigns.cycle import CycleState, Pause
from alservice.cycle.report import AnswerBar
from alservice.ops.metrics import FAMILIES
from alservice.ops.service import Done
from alservice.registry.records import Check
from alservice.states import ModelState
from alservice.web.schemas import ActOut, AnswerOut, CheckOut, PauseOut, Record
from tests.support.dashboards import FORMULA, World
from tests.web.conftest import secret_of

BASE = "/api/v1/campaigns/gz-demo"


@pytest.fixture
def operator(client: httpx.Client, world: World) -> httpx.Client:
    """The client with an operator's token."""
    client.headers["Authorization"] = f"Bearer {secret_of(world.factory, Scope.OPERATE, name='anna')}"
    return client


@pytest.mark.parametrize(
    ("answer", "record"), [(PauseOut, Pause), (CheckOut, Check), (AnswerOut, AnswerBar), (ActOut, Done)]
)
def test_an_answer_tells_all_of_its_record(answer: type[Record], record: type) -> None:
    """Kind: a stage renames or adds a field, and the API goes on without it."""
    assert list(answer.model_fields) == [field.name for field in fields(record)]


def all_of(client: httpx.Client, path: str, cursor: str, limit: int) -> list[dict]:
    """Return all items of all pages."""
    items, given = [], {}
    while True:
        page = client.get(path, params={"limit": limit, **given}).json()
        items += page["items"]
        assert len(page["items"]) <= limit
        if page["next"] is None:
            return items
        given = {cursor: page["next"]}


@pytest.mark.parametrize(
    ("path", "cursor", "key"),
    [
        ("/cycles", "before", "number"),
        ("/models", "before", "id"),
        ("/galaxies", "after", "galaxy_id"),
        ("/subjects", "after", "galaxy_id"),
        ("/predictions", "after", "galaxy_id"),
        ("/decisions", "before", "cycle"),
    ],
)
def test_pages_hold_everything_once(operator: httpx.Client, path: str, cursor: str, key: str) -> None:
    """Walking small pages gives what one large page gives."""
    walked = all_of(
        operator, BASE + path, cursor, {"/cycles": 1, "/models": 1, "/decisions": 1, "/predictions": 30}.get(path, 7)
    )
    whole = operator.get(BASE + path, params={"limit": 50}).json()
    assert [item[key] for item in walked][:50] == [item[key] for item in whole["items"]]
    assert len({item[key] for item in walked}) == len(walked) > 2


def test_filters(operator: httpx.Client) -> None:
    """Lists can be of one state, and galaxies of the evaluation stream or not."""
    get = operator.get
    assert {m["state"] for m in get(f"{BASE}/models?state=retired").json()["items"]} == {"retired"}
    assert [s["galaxy_id"] for s in get(f"{BASE}/subjects?state=failed").json()["items"]] == ["extra-2"]
    assert [c["number"] for c in get(f"{BASE}/cycles?state=held").json()["items"]] == [2]
    members = get(f"{BASE}/galaxies?evaluation=true&limit=200").json()["items"]
    others = get(f"{BASE}/galaxies?evaluation=false&limit=200").json()["items"]
    assert len(members) + len(others) == 60
    assert all(g["evaluation"] for g in members)


def test_one_of_each(operator: httpx.Client, world: World) -> None:
    """Single records carry what lists leave out."""
    cycle = operator.get(f"{BASE}/cycles/1").json()
    steps = {step["step"]: step for step in cycle["steps"]}
    assert steps["collecting"]["retries"] == 1
    assert "503" in steps["collecting"]["errors"][0]
    assert steps["predicting"]["seconds"] == 21 * 60
    decision = operator.get(f"{BASE}/cycles/2/decision").json()
    assert (decision["verdict"], decision["checks"][0]["name"]) == ("hold", "nll-per-vote")
    galaxy = operator.get(f"{BASE}/galaxies/survey/field%207").json()
    assert galaxy["galaxy_id"] == "survey/field 7"
    prediction = operator.get(f"{BASE}/predictions?limit=1").json()["items"][0]
    answers = prediction["questions"]["smooth-or-featured"]
    assert sum(a["mean"] for a in answers) == pytest.approx(1, abs=1e-5)
    assert all(a["low"] <= a["mean"] <= a["high"] for a in answers)
    assert operator.get("/api/v1/campaigns/gz-demo").json()["state"] == "held"
    assert operator.get(f"{BASE}/events?limit=3").json()["items"][0]["kind"]
    rounded = operator.get(f"{BASE}/galaxies/5.877e%2b17")
    assert (rounded.status_code, rounded.json()["code"]) == (422, "rounded-id")
    for path in ("/cycles/99", "/cycles/99/decision", "/models/999999", "/galaxies/none"):
        answer = operator.get(BASE + path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found"), path


def test_exports_are_whole_and_run_nothing(operator: httpx.Client, world: World) -> None:
    """A table downloads as CSV with every row, and no cell that a spreadsheet would run."""
    answer = operator.get(f"{BASE}/exports/tallies.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="gz-demo-tallies.csv"'
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert len(rows) == 1 + 36
    assert f"'{FORMULA}" in {row[0] for row in rows}
    assert {len(row) for row in rows} == {len(rows[0])}
    subjects = list(csv.reader(io.StringIO(operator.get(f"{BASE}/exports/subjects.csv").text)))
    assert len(subjects) == 1 + 39
    for row in (*rows, *subjects):
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)


def test_approving_promotes_once(operator: httpx.Client, world: World) -> None:
    """The same word again gives the first answer; the other word is refused; the audit names the token."""
    body, headers = {"verdict": "approve", "reason": "looks right"}, {"Idempotency-Key": "k-1"}
    path = f"{BASE}/cycles/2/decision"
    first = operator.post(path, json=body, headers=headers)
    again = operator.post(path, json=body, headers=headers)
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    other = operator.post(path, json={**body, "reason": "other"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    late = operator.post(path, json=body, headers={"Idempotency-Key": "k-2"})
    assert (late.status_code, late.json()) == (200, first.json())
    opposite = operator.post(path, json={**body, "verdict": "reject"}, headers={"Idempotency-Key": "k-3"})
    assert (opposite.status_code, opposite.json()["code"]) == (409, "conflict")
    factory = world.factory
    assert factory.cycles.get(world.held.id).state is CycleState.PROMOTED
    assert factory.models.champion(world.campaign.id).id == world.models[-1].id
    decided = next(e for e in factory.events.list(world.campaign.id) if e.kind == "gate.decided")
    assert decided.actor == "token:anna"
    assert "looks right" in decided.detail["checks"][-1]["detail"]


def test_rejecting_keeps(operator: httpx.Client, world: World) -> None:
    """A rejected candidate stays out; the champion stays."""
    body = {"verdict": "reject", "reason": "bars are worse"}
    assert operator.post(f"{BASE}/cycles/2/decision", json=body).status_code == 200
    assert world.factory.cycles.get(world.held.id).state is CycleState.KEPT
    assert world.factory.models.get(world.models[-1].id).state is ModelState.REJECTED


def test_rolling_back(operator: httpx.Client, world: World) -> None:
    """An earlier champion is live again, the present one retires, and only such a model can be chosen."""
    ids = [model.id for model in world.models]
    assert operator.post(f"{BASE}/rollback", json={"model": ids[0], "reason": "bad images"}).status_code == 200
    assert world.factory.models.champion(world.campaign.id).id == ids[0]
    assert world.factory.models.get(ids[1]).state is ModelState.RETIRED
    for model, status in ((ids[0], 409), (999_999, 404)):
        answer = operator.post(f"{BASE}/rollback", json={"model": model, "reason": "again"})
        assert answer.status_code == status
    answer = operator.post(f"{BASE}/cycles/2/decision", json={"verdict": "approve", "reason": "x"})
    assert answer.status_code == 409, "the cycle compared with a model that is live no more"


def test_pausing_and_resuming(operator: httpx.Client, world: World) -> None:
    """A pause is told, doubled pauses and resumes of what runs are refused."""

    def act(name: str) -> int:
        return operator.post(f"{BASE}/{name}", json={"reason": "storage is moved"}).status_code

    assert act("resume") == 409
    assert [act("pause"), act("pause")] == [200, 409]
    pause = world.factory.ops.paused(world.campaign)
    assert (pause.actor, pause.reason) == ("token:anna", "storage is moved")
    assert operator.get("/api/v1/campaigns/gz-demo").json()["paused"]["actor"] == "token:anna"
    assert [act("resume"), act("resume")] == [200, 409]
    kinds = [e.kind for e in world.factory.events.list(world.campaign.id, limit=2)]
    assert kinds == ["campaign.resumed", "campaign.paused"]


def test_resuming_brings_a_stopped_cycle_back(operator: httpx.Client, world: World) -> None:
    """A cancelled cycle goes on with the step it stopped in."""
    world.factory.cycle.cancel(world.held.id, reason="test", actor="test")
    assert operator.post(f"{BASE}/resume", json={"reason": "go on"}).status_code == 200
    assert world.factory.cycles.get(world.held.id).state is CycleState.HELD


def test_two_at_once_are_one(operator: httpx.Client, world: World) -> None:
    """Of simultaneous decisions one counts; the same key never acts twice."""

    def send(n: int) -> httpx.Response:
        return operator.post(
            f"{BASE}/cycles/2/decision",
            json={"verdict": "approve", "reason": "ok"},
            headers={"Idempotency-Key": "same" if n % 2 else f"own-{n}"},
        )

    with ThreadPoolExecutor(6) as pool:
        codes = sorted(answer.status_code for answer in pool.map(send, range(6)))
    decided = [e for e in world.factory.events.list(world.campaign.id) if e.kind == "gate.decided"]
    assert sum(e.actor == "token:anna" for e in decided) == 1
    assert set(codes) <= {200, 409}
    assert 200 in codes


def test_metrics(operator: httpx.Client) -> None:
    """Prometheus is told where campaigns stand and how requests went."""
    operator.get("/api/v1/campaigns")
    text = operator.get("/metrics").text
    assert 'alservice_cycle_state{campaign="gz-demo",state="held"} 1.0' in text
    assert 'alservice_subjects{campaign="gz-demo",state="failed"} 1.0' in text
    assert 'alservice_quarantined_classifications{campaign="gz-demo"} 3.0' in text
    assert 'alservice_http_requests_total{method="GET",route="/api/v1/campaigns",status="200"} 1.0' in text


def test_metrics_of_steps_and_adapters(operator: httpx.Client) -> None:
    """What rules and dashboards ask for is scraped here: each family once, with the steps and calls of runs."""
    families = list(text_string_to_metric_families(operator.get("/metrics").text))
    names = [family.name for family in families]
    assert len(set(names)) == len(names)
    assert {name.removesuffix("_total") for name in FAMILIES} <= set(names)
    samples = {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}
    stopped = ("campaign", "gz-demo"), ("ended_in", "failed"), ("step", "collecting")
    assert samples["alservice_steps_total", *stopped] == 1
    assert (
        samples[
            "alservice_step_seconds_total", ("campaign", "gz-demo"), ("ended_in", "acquiring"), ("step", "predicting")
        ]
        == 2 * 21 * 60
    )
    assert samples["alservice_gate_held_seconds", ("campaign", "gz-demo")] > 0
    read = ("adapter", "sql"), ("call", "transaction"), ("outcome", "ok")
    assert samples["alservice_adapter_calls_total", *read] > 0
    assert samples["alservice_adapter_seconds_total", *read] > 0


def test_an_empty_database_answers(empty_client: httpx.Client) -> None:
    """Without a campaign lists are empty and named things are not found."""
    assert empty_client.get("/api/v1/campaigns").json() == {"items": [], "next": None}
    assert empty_client.get("/api/v1/campaigns/none").status_code == 404
    assert empty_client.get("/metrics").status_code == 200
