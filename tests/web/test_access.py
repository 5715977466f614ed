"""Who is let in: every endpoint without a token, with a wrong, an expired or a revoked one, or one of too little scope."""

from __future__ import annotations

import base64

import httpx
import pytest

from alservice.core.access import Scope
from alservice.factory.access import revoke_token
from alservice.web.application import create_app
from alservice.web.limits import Limits
from tests.support.dashboards import World
from tests.support.web_server import served
from tests.web.conftest import log_in, secret_of

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


def test_who_guesses_is_slowed_down(world: World) -> None:
    """After some wrong tokens an address has to wait, also with a right one; who never erred does not."""
    read = secret_of(world.factory, Scope.READ)
    app = create_app(world.factory, limits=Limits(attempts_per_minute=3, requests_per_minute=5))
    with served(app) as url, httpx.Client(base_url=url) as client:
        assert ask(client, "GET", "/api/v1/campaigns", read).status_code == 200
        answers = [ask(client, "GET", "/api/v1/campaigns", f"als_{n}").status_code for n in range(5)]
        assert answers == [401, 401, 401, 429, 429]
        last = ask(client, "GET", "/api/v1/campaigns", read)
        assert refused(last, 429, "too-many-requests")
        assert int(last.headers["retry-after"]) >= 1


def test_one_token_may_ask_so_often(world: World) -> None:
    """A token's requests in a minute are bounded."""
    read = secret_of(world.factory, Scope.READ)
    with (
        served(create_app(world.factory, limits=Limits(requests_per_minute=5))) as url,
        httpx.Client(base_url=url) as client,
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
    """A cookie with another token's number, a longer life or no signature is refused."""
    log_in(client, secret_of(world.factory, Scope.READ))
    token, end, signature = client.cookies["alservice_session"].split(".")
    for forged in (
        f"{int(token) + 1}.{end}.{signature}",
        f"{token}.{int(end) + 9}.{signature}",
        f"{token}.{end}.",
        "x",
    ):
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
