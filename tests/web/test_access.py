"""Who is let in: every endpoint without a token, with a wrong, an expired or a revoked one, or one of too little scope."""

from __future__ import annotations

import base64
from dataclasses import replace
from ipaddress import ip_network

import httpx
import pytest
from sqlalchemy import event, text

from alservice.access import Scope
from alservice.app.access import revoke_token
from alservice.storage.postgres import transaction
from alservice.web.application import create_app
from alservice.web.limits import Limits
from tests.support.dashboards import World
from tests.support.web_server import served
from tests.web.conftest import PATIENCE_S, log_in, secret_of, stopped

OPEN = {("GET", "/healthz"), ("GET", "/readyz")}
WEBHOOK = ("POST", "/caesar/reductions/{key}")
"""It has logins of its own, since Caesar sends no tokens; see test_caesar."""
VALUES = {
    "campaign": "gz-demo",
    "number": "2",
    "model": "1",
    "galaxy_id": "survey/field 7",
    "table": "tallies",
}


def endpoints(client: httpx.Client) -> list[tuple[str, str]]:
    """Return method and address of everything in the OpenAPI document that is not open to all."""
    paths = client.get("/openapi.json").json()["paths"]
    found = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    return [(method, path.format(**VALUES)) for method, path in found if (method, path) not in {*OPEN, WEBHOOK}]


def ask(client: httpx.Client, method: str, path: str, secret: str | None) -> httpx.Response:
    """Send a request that would be fine with the right token."""
    headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
    body = {"reason": "because", "verdict": "approve", "model": 1} if method == "POST" else None
    return client.request(method, path, headers=headers, json=body)


def refused(answer: httpx.Response, status: int, code: str) -> bool:
    """Return whether an answer is this refusal, as problem JSON that gives nothing away."""
    problem = answer.json()
    return (
        answer.status_code == status
        and answer.headers["content-type"] == "application/problem+json"
        and problem["code"] == code
        and problem["status"] == status
        and "als_" not in answer.text
    )


def test_every_endpoint_refuses_who_may_not(client: httpx.Client, world: World) -> None:
    """Without a token, with a made-up, expired or revoked one: 401; with one for votes only: 403."""
    expired = secret_of(world.factory, Scope.OPERATE, days=1)
    world.hands.forward(days=2)
    revoked = secret_of(world.factory, Scope.OPERATE, name="gone")
    revoke_token(world.factory, "gone")
    ingest = secret_of(world.factory, Scope.INGEST)
    found = endpoints(client)
    assert len(found) > 18
    for method, path in found:
        assert refused(ask(client, method, path, None), 401, "not-authenticated"), path
        assert refused(ask(client, method, path, ingest), 403, "not-allowed"), path
    for secret in ("als_made-up", expired, revoked, "x" * 5000):
        assert refused(ask(client, "GET", "/api/v1/campaigns", secret), 401, "not-authenticated")


def test_reading_does_not_reach_to_deciding(client: httpx.Client, world: World) -> None:
    """A token of scope read sees everything and changes nothing."""
    read = secret_of(world.factory, Scope.READ)
    for method, path in endpoints(client):
        answer = ask(client, method, path, read)
        if method == "POST":
            assert refused(answer, 403, "not-allowed"), path
        else:
            assert answer.status_code == 200, (path, answer.text)
    kinds = {event.kind for event in world.factory.events.list(world.campaign.id)}
    assert not kinds & {"campaign.paused", "campaign.resumed", "model.rolled-back"}


def test_a_token_is_a_password_of_basic_auth_too(client: httpx.Client, world: World) -> None:
    """Caesar can send basic auth only: the token is its password, whatever the name."""
    read = secret_of(world.factory, Scope.READ)
    assert client.get("/api/v1/campaigns", auth=("anyone", read)).status_code == 200
    assert client.get("/api/v1/campaigns", auth=("anyone", "wrong")).status_code == 401
    odd = base64.b64encode(b"\xff\xfe").decode()
    assert client.get("/api/v1/campaigns", headers={"Authorization": f"Basic {odd}"}).status_code == 401


def test_health_is_open_and_tells_nothing(client: httpx.Client) -> None:
    """Probes need no token, and learn codes only."""
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {"ready": True, "parts": {"database": "ok", "schema": "ok", "objects": "ok"}}


def made_up(n: int) -> str:
    """Return a secret of a token's form that is nobody's."""
    return f"als_{n:08}{'x' * 35}"


def test_who_guesses_is_slowed_down_and_nobody_else(world: World) -> None:
    """Kind: locked out by others. An address that tries tokens is told to wait, and a valid one from it always passes."""
    read = secret_of(world.factory, Scope.READ)
    app = stopped(create_app(world.factory, limits=Limits(attempts_per_minute=3, requests_per_minute=50)))
    with served(app) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        answers = [ask(client, "GET", "/api/v1/campaigns", made_up(n)) for n in range(6)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429, 429]
        assert refused(answers[-1], 429, "too-many-requests")
        assert int(answers[-1].headers["retry-after"]) >= 1
        for path in ("/api/v1/campaigns", "/metrics"):
            assert ask(client, "GET", path, read).status_code == 200, path
        assert client.post("/login", data={"token": made_up(9), "next": "/"}).status_code == 429
        log_in(client, read)
        assert client.get("/").status_code == 200


def test_a_flood_of_made_up_tokens_resets_no_count(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: forgotten by others' doing. What is counted of valid tokens is not pushed out by made-up ones."""
    monkeypatch.setattr("alservice.web.limits.MAX_CLIENTS", 4)
    read = secret_of(world.factory, Scope.READ)
    app = stopped(create_app(world.factory, limits=Limits(attempts_per_minute=100, requests_per_minute=3)))
    with served(app) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        assert [ask(client, "GET", "/api/v1/campaigns", read).status_code for _ in range(4)] == [200] * 3 + [429]
        for n in range(10):
            ask(client, "GET", "/api/v1/campaigns", made_up(n))
        assert ask(client, "GET", "/api/v1/campaigns", read).status_code == 429


@pytest.mark.parametrize(
    ("trusted", "expected"), [((), [401, 401, 401, 429, 429]), (("127.0.0.0/8",), [401, 401, 401, 401, 401])]
)
def test_addresses_are_what_trusted_proxies_say(world: World, trusted: tuple[str, ...], expected: list[int]) -> None:
    """Kind: told by the client and believed. X-Forwarded-For counts from proxies that the settings name, else never."""
    networks = tuple(ip_network(network) for network in trusted)
    factory = replace(world.factory, settings=world.factory.settings.model_copy(update={"trusted_proxies": networks}))
    with (
        served(stopped(create_app(factory, limits=Limits(attempts_per_minute=3)))) as url,
        httpx.Client(base_url=url, timeout=PATIENCE_S) as client,
    ):

        def guess(n: int, address: str) -> int:
            headers = {"Authorization": f"Bearer {made_up(n)}", "X-Forwarded-For": address}
            return client.get("/api/v1/campaigns", headers=headers).status_code

        assert [guess(n, f"198.51.100.{n}") for n in range(5)] == expected
        if trusted:
            of_one_network = [guess(100 + n, f"2001:db8:1:2::{n}") for n in range(5)]
            assert of_one_network == [401, 401, 401, 429, 429]
            one_beginning = [guess(200, f"203.0.113.{n}") for n in range(5)]
            assert one_beginning == [401, 401, 401, 429, 429], "one token's beginning, tried from everywhere"


def test_what_has_not_a_tokens_form_is_not_looked_up(client: httpx.Client, world: World) -> None:
    """Kind: a cheap question with a costly answer. Text that can be no token or cookie costs no query."""
    asked: list[str] = []
    event.listen(world.factory.engine, "before_cursor_execute", lambda *a: asked.append(a[2]))
    for secret in ("als_x", "x" * 5000, f"{made_up(1)}y"):
        assert ask(client, "GET", "/api/v1/campaigns", secret).status_code == 401
        client.cookies.set("alservice_session", secret[:2000])
        assert client.get("/").status_code in {303, 429}
        client.cookies.clear()
    assert [query for query in asked if "tokens" in query or "web_sessions" in query] == []
    ask(client, "GET", "/api/v1/campaigns", made_up(2))
    assert sum("tokens" in query for query in asked) == 1


def test_one_token_may_ask_so_often(world: World) -> None:
    """A token's requests in a minute are bounded."""
    read = secret_of(world.factory, Scope.READ)
    with (
        served(stopped(create_app(world.factory, limits=Limits(requests_per_minute=5)))) as url,
        httpx.Client(base_url=url, timeout=PATIENCE_S) as client,
    ):
        answers = [ask(client, "GET", "/api/v1/campaigns", read).status_code for _ in range(7)]
    assert answers == [200] * 5 + [429] * 2


@pytest.mark.parametrize("path", ["/", "/campaigns/gz-demo", "/campaigns/gz-demo/act/approve", "/campaigns/gz-demo/x"])
def test_pages_lead_to_the_login(client: httpx.Client, path: str) -> None:
    """Without a session a page leads to the login, and back to itself."""
    answer = client.get(path)
    if path.endswith("/x"):
        assert answer.status_code == 404
        return
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login")


def test_a_session_ends_with_its_token(client: httpx.Client, world: World) -> None:
    """Revoking a token ends what was opened with it; a session of its own ends after a working day."""
    log_in(client, secret_of(world.factory, Scope.READ, name="anna"))
    cookie = client.cookies.jar
    (session,) = [c for c in cookie if c.name == "alservice_session"]
    assert session.has_nonstandard_attr("HttpOnly")
    assert session.get_nonstandard_attr("SameSite") == "strict"
    assert client.get("/").status_code == 200
    world.hands.forward(hours=13)
    assert client.get("/").status_code == 303
    client.cookies.clear()
    log_in(client, secret_of(world.factory, Scope.READ, name="ben"))
    revoke_token(world.factory, "ben")
    assert client.get("/").status_code == 303


def test_a_forged_session_is_none(client: httpx.Client, world: World) -> None:
    """A cookie that nobody was given, of the right form or not, is refused; so is what the database keeps of one."""
    log_in(client, secret_of(world.factory, Scope.READ))
    cookie = client.cookies["alservice_session"]
    with transaction(world.factory.engine) as connection:
        kept = connection.execute(text("SELECT id, digest FROM web_sessions")).one()
    for forged in ("1.1795000000.0", "x", cookie[:-1], cookie[::-1], kept.digest, kept.digest[:43], str(kept.id)):
        client.cookies.clear()
        client.cookies.set("alservice_session", forged)
        assert client.get("/").status_code == 303, forged


def test_votes_tokens_open_no_page(client: httpx.Client, world: World) -> None:
    """A token for votes cannot log in; the page says why."""
    answer = client.post("/login", data={"token": secret_of(world.factory, Scope.INGEST), "next": "/"})
    assert answer.status_code == 403
    assert "not-allowed" in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_the_login_leads_nowhere_else(client: httpx.Client, world: World, target: str) -> None:
    """After the login one is on this service, whatever the address said."""
    answer = client.post("/login", data={"token": secret_of(world.factory, Scope.READ), "next": target})
    assert answer.headers["location"] == "/"
