"""Hostile input: bodies too long, tricks in paths, foreign forms, scripts in names; refused clearly, nothing leaks."""

from __future__ import annotations

import logging

import httpx
import pytest
from sqlalchemy import text

from alservice.access import Scope
from alservice.storage.postgres import transaction
from tests.support.dashboards import HOSTILE, World, fail_cycle
from tests.web.conftest import log_in, secret_of

BASE = "/api/v1/campaigns/gz-demo"
PAGES = ("", "/cycles", "/cycles/0", "/cycles/2", "/votes", "/subjects", "/models", "/gallery", "/events")


@pytest.fixture
def operator(client: httpx.Client, world: World) -> httpx.Client:
    """The client with an operator's token and session."""
    secret = secret_of(world.factory, Scope.OPERATE, name="anna")
    log_in(client, secret)
    client.headers["Authorization"] = f"Bearer {secret}"
    return client


def csrf_of(client: httpx.Client) -> str:
    """Return the proof that forms of this session carry."""
    page = client.get("/campaigns/gz-demo/act/pause").text
    return page.split('name="csrf" value="')[1].split('"')[0]


def test_long_bodies_are_refused(operator: httpx.Client) -> None:
    """Told or not, no more than the limit is read."""
    long = b"x" * ((1 << 20) + 1)
    told = operator.post(f"{BASE}/pause", content=long, headers={"Content-Type": "application/json"})
    assert (told.status_code, told.json()["code"]) == (413, "too-large")
    pieces = (long[i : i + 65_536] for i in range(0, len(long), 65_536))
    untold = operator.post(f"{BASE}/pause", content=pieces, headers={"Content-Type": "application/json"})
    assert (untold.status_code, untold.json()["code"]) == (413, "too-large")
    form = operator.post("/login", content=long, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert form.status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "/static/../../pyproject.toml",
        "/static/%2e%2e/%2e%2e/settings.py",
        "/static/..%2f..%2fsettings.py",
        "/api/v1/campaigns/gz-demo/galaxies/..%2f..%2fetc%2fpasswd",
        "/api/v1/campaigns/gz-demo/exports/..%2f..%2fsecrets.csv",
        "/campaigns/gz-demo/catalogues/1/images/..%2f..%2fsecrets%2fsession-key",
        "/campaigns/gz-demo/exports/..%2fx.csv",
        "/campaigns/..%2f..%2fx",
        "/api/v1/campaigns/%00",
        "/api/v1/campaigns/gz-demo/galaxies/a%00b",
        "/campaigns/gz-demo/exports/nothing.csv",
    ],
)
def test_paths_lead_nowhere_else(operator: httpx.Client, path: str) -> None:
    """No path reaches a file or a record that it does not name."""
    answer = operator.get(path)
    assert answer.status_code in {404, 422}, answer.text
    assert "secret of" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"reason": ""}', b'{"reason": "  "}', b'{"reason": 1}', b"\xff"])
def test_bodies_that_say_nothing_are_refused(operator: httpx.Client, body: bytes) -> None:
    """Broken or empty JSON is a problem that names the field, and nothing happens."""
    answer = operator.post(f"{BASE}/pause", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert operator.get(BASE).json()["paused"] is None


def test_reasons_with_control_characters(operator: httpx.Client) -> None:
    """What the database cannot store is refused before it gets there."""
    for reason in ("a\0b", "x" * 1001):
        assert operator.post(f"{BASE}/pause", json={"reason": reason}).status_code == 422
    odd = operator.post(f"{BASE}/pause", content=b'{"reason": "\\ud800"}', headers={"Content-Type": "application/json"})
    assert odd.status_code == 422


@pytest.mark.parametrize("path", PAGES)
def test_text_from_outside_is_shown_not_run(operator: httpx.Client, world: World, path: str) -> None:
    """Ids, reasons and errors with markup appear as text on every page, before and after a failure."""
    fail_cycle(world)
    page = operator.get(f"/campaigns/gz-demo{path}")
    assert page.status_code == 200
    assert HOSTILE not in page.text
    if path in {"", "/cycles", "/models", "/gallery", "/cycles/0", "/cycles/2"}:
        return
    assert "&lt;script&gt;" in page.text


def test_security_headers_are_everywhere(operator: httpx.Client) -> None:
    """Pages, API, files and refusals carry them; the policy allows no inline script and no other host."""
    for path in ("/", "/login", BASE, "/static/style.css", "/nothing", "/healthz", "/api/v1/nothing"):
        headers = operator.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy, path
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers or "uvicorn" in headers["server"]
    for page in ("/", "/campaigns/gz-demo", "/campaigns/gz-demo/models"):
        text_of = operator.get(page).text
        assert " style=" not in text_of
        assert "<script>" not in text_of
        assert " onclick" not in text_of


def test_forms_need_their_proof(operator: httpx.Client) -> None:
    """A form without this session's proof, from another site, or of another type does nothing."""
    path, proof = "/campaigns/gz-demo/act/pause", csrf_of(operator)
    fields = {"csrf": proof, "reason": "x"}
    tries = (
        ({}, {"reason": "x"}, 403),
        ({}, {"csrf": "0" * 64, "reason": "x"}, 403),
        ({"Origin": "https://evil.example"}, fields, 403),
        ({"Sec-Fetch-Site": "cross-site"}, fields, 403),
    )
    for headers, data, status in tries:
        assert operator.post(path, data=data, headers=headers).status_code == status
    assert operator.post(path, json=fields).status_code == 422
    assert operator.get(BASE).json()["paused"] is None
    assert operator.post(path, data=fields).status_code == 303
    assert operator.get(BASE).json()["paused"]["actor"] == "token:anna"


def test_readers_cannot_decide_by_form(client: httpx.Client, world: World) -> None:
    """A reader sees no buttons, and a form with a right proof is refused for its scope."""
    log_in(client, secret_of(world.factory, Scope.READ))
    page = client.get("/campaigns/gz-demo").text
    assert "/act/" not in page
    proof = page.split('name="csrf" value="')[1].split('"')[0]
    answer = client.post("/campaigns/gz-demo/act/approve", data={"csrf": proof, "given": "2", "reason": "x"})
    assert answer.status_code == 403
    assert client.get("/campaigns/gz-demo/act/approve").status_code == 403


def test_refusals_beside_the_form(operator: httpx.Client) -> None:
    """An act that cannot be done says why on its page, with what was typed."""
    fields = {"csrf": csrf_of(operator), "given": "0", "reason": "kept text"}
    answer = operator.post("/campaigns/gz-demo/act/approve", data=fields)
    assert answer.status_code == 409
    assert "not held" in answer.text
    assert "kept text" in answer.text
    for given in ("", "x", "9" * 30):
        assert operator.post("/campaigns/gz-demo/act/approve", data={**fields, "given": given}).status_code == 422
    assert operator.post("/campaigns/gz-demo/act/fly", data=fields).status_code == 404


def test_faults_of_ours_stay_in_the_log(operator: httpx.Client, world: World, caplog: pytest.LogCaptureFixture) -> None:
    """When the database fails, the answer names no host, table or query; the log has them."""
    with transaction(world.factory.engine) as connection:
        connection.execute(text("ALTER TABLE cycles RENAME TO cycles_gone"))
    with caplog.at_level(logging.ERROR):
        answer = operator.get(f"{BASE}/cycles")
        page = operator.get("/")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert page.status_code == 500
    for said in (answer.text, page.text):
        assert "cycles_gone" not in said
        assert "SELECT" not in said
        assert "psycopg2" not in said
    assert "UndefinedTable" in caplog.text


def test_refusals_are_logged(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    """A refused request leaves a line, without the secret it tried."""
    with caplog.at_level(logging.WARNING, logger="alservice.web"):
        client.get("/api/v1/campaigns", headers={"Authorization": "Bearer als_not-a-secret"})
    assert "GET /api/v1/campaigns refused with 401" in caplog.text
    assert "als_not-a-secret" not in caplog.text
