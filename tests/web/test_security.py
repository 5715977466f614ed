"""Who is let in: tokens of every kind and scope at every endpoint, and sessions of people, from login to their end."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

import httpx
import pytest
from sqlalchemy import event, text

from alservice.access import Scope
from alservice.errors import NotAuthenticated
from alservice.ops.sessions import MAX_SESSIONS
from alservice.storage.postgres import transaction
from alservice.web.application import create_app
from alservice.web.limits import Limits
from tests.attack.doors import VALUES
from tests.support.dashboards import World
from tests.support.web_server import served
from tests.web.conftest import PATIENCE_S, log_in, secret_of, stopped

OPEN = {("GET", "/healthz"), ("GET", "/readyz")}
WEBHOOK = ("POST", "/caesar/reductions/{key}")
"""It has logins of its own, since Caesar sends no tokens; see test_caesar."""

INDEXED = (
    "/explore",
    "/explore/download",
    "/similar",
    "/map",
    "/map/tiles/0/0/0",
    "/map/near",
    "/map/within",
    "/map/download",
    "/selections/barred",
    "/selections/barred/download",
    "/anomalies/rings",
    "/anomalies/rings/top",
    "/anomalies/rings/download",
)
"""Endings of what asks an index, a selection or a search that is not there."""


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
    world.factory.access.revoke("gone")
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
        if method != "GET" and not path.endswith("/similar"):  # which looks, by POST for an image
            assert refused(answer, 403, "not-allowed"), path
        elif path.endswith(INDEXED):  # this campaign has no index to look into
            assert answer.status_code in {404, 422}, (path, answer.text)
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
    world.factory.access.revoke("ben")
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


COOKIE = "alservice_session"


@pytest.fixture
def replica(world: World) -> Iterator[httpx.Client]:
    """A client of a second service over the same database, whose work folder and secrets are its own."""
    factory = replace(world.factory, secret=lambda name: f"another {name}")
    with served(create_app(factory, figures_life_s=0)) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        yield client


def csrf_of(client: httpx.Client, path: str = "/sessions") -> str:
    """Return the proof that forms of this session carry."""
    return client.get(path).text.split('name="csrf" value="')[1].split('"')[0]


def test_a_session_is_known_to_every_process(client: httpx.Client, replica: httpx.Client, world: World) -> None:
    """Kind: kept in one process. A cookie of one replica opens the other, and its forms hold there too."""
    log_in(client, secret_of(world.factory, Scope.OPERATE))
    replica.cookies.set(COOKIE, client.cookies[COOKIE])
    assert replica.get("/").status_code == 200
    proof = csrf_of(client)
    answer = replica.post("/campaigns/gz-demo/act/pause", data={"csrf": proof, "reason": "disk"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/campaigns/gz-demo?done=pause")
    assert world.factory.ops.paused(world.campaign) is not None


def test_logging_out_ends_the_session(client: httpx.Client, replica: httpx.Client, world: World) -> None:
    """Kind: over in the browser only. The old cookie, with the old proof, opens no page and pauses nothing, anywhere."""
    log_in(client, secret_of(world.factory, Scope.OPERATE))
    cookie, proof = client.cookies[COOKIE], csrf_of(client)
    assert client.post("/logout", data={"csrf": proof}).status_code == 303
    assert COOKIE not in client.cookies
    for browser in (client, replica):
        browser.cookies.set(COOKIE, cookie)
        page = browser.get("/campaigns/gz-demo")
        assert (page.status_code, page.headers["location"].partition("?")[0]) == (303, "/login")
        tried = browser.post("/campaigns/gz-demo/act/pause", data={"csrf": proof, "reason": "disk"})
        assert tried.status_code == 401
    assert world.factory.ops.paused(world.campaign) is None


def test_an_owner_sees_and_ends_sessions(client: httpx.Client, replica: httpx.Client, world: World) -> None:
    """The page lists this token's sessions and no other's; one is ended alone, or all everywhere."""
    secret = secret_of(world.factory, Scope.READ, name="anna")
    log_in(client, secret)
    replica.headers["User-Agent"] = f"browser <b>\u202e{'x' * 500}"
    log_in(replica, secret)
    other = world.factory.access.open_session(
        world.factory.access.recognise(secret_of(world.factory, Scope.READ)), address="x", user_agent="ben's"
    )
    page = client.get("/sessions").text
    assert page.count('/end"') == 2 + 1
    assert "127.0.0.1" in page
    assert "browser &lt;b&gt;" in page
    assert not any(mark in page for mark in ("\u202e", "\x80", "x" * 200))
    assert "ben&#39;s" not in page
    second, first = world.factory.access.list_sessions(token=world.factory.access.recognise(secret))
    foreign = world.factory.access.recognise_session(other)[0].id
    fields = {"csrf": csrf_of(client)}
    assert client.post(f"/sessions/{foreign}/end", data=fields).status_code == 404
    assert client.post(f"/sessions/{second.id}/end", data={"csrf": "0" * 64}).status_code == 403
    assert replica.get("/").status_code == 200
    assert client.post(f"/sessions/{second.id}/end", data=fields).headers["location"] == "/sessions"
    assert replica.get("/").status_code == 303
    log_in(replica, secret)
    assert client.post("/sessions/end", data=fields).headers["location"] == "/login"
    assert [browser.get("/").status_code for browser in (client, replica)] == [303, 303]
    assert world.factory.access.recognise_session(other)[0].id == foreign
    assert first.id not in {session.id for session in world.factory.access.list_sessions()}


def test_logging_in_again_ends_the_session_before(client: httpx.Client, world: World) -> None:
    """A browser has one session: what it brings along is over once it has another, and no cookie stays the same."""
    secret = secret_of(world.factory, Scope.READ)
    log_in(client, secret)
    before = client.cookies[COOKIE]
    log_in(client, secret)
    assert client.cookies[COOKIE] != before
    with pytest.raises(NotAuthenticated):
        world.factory.access.recognise_session(before)
    assert len(world.factory.access.list_sessions()) == 1


def test_sessions_end_with_their_token(world: World) -> None:
    """Revoked: at once. Rotated with an overlap: not; without one: at once. Over by itself: gone with the next log-in."""
    factory = world.factory
    token, _ = factory.access.create(scope=Scope.READ, name="anna")

    def opened() -> str:
        return factory.access.open_session(token, address="192.0.2.1", user_agent="test")

    def lives(cookie: str) -> bool:
        try:
            return factory.access.recognise_session(cookie)[1].id == token.id
        except NotAuthenticated:
            return False

    cookie = opened()
    factory.access.rotate("anna")
    assert lives(cookie)
    factory.access.rotate("anna", overlap_hours=0)
    assert not lives(cookie)
    cookie = opened()
    world.hands.forward(hours=13)
    assert not lives(cookie)
    opened()
    with transaction(factory.engine) as connection:
        rows = connection.execute(text("SELECT web_sessions::text FROM web_sessions")).scalars().all()
    assert len(rows) == 1
    assert cookie not in rows[0]
    for _ in range(MAX_SESSIONS + 3):
        cookie = opened()
    assert len(factory.access.list_sessions()) == MAX_SESSIONS
    assert lives(cookie), "the oldest went"
    factory.access.revoke("anna")
    assert not lives(cookie)
    assert factory.access.list_sessions() == []
    assert factory.access.end_sessions() == 0


def test_a_cookie_is_sent_over_tls_only_where_people_come_by_tls(world: World) -> None:
    """Kind: told by the client and believed. The address that people use decides, not what a client says of itself."""
    secret = secret_of(world.factory, Scope.READ)
    for address, secure in (("https://alservice.example.org", True), (None, False)):
        settings = world.factory.settings.model_copy(update={"dashboard_url": address})
        with (
            served(create_app(replace(world.factory, settings=settings))) as url,
            httpx.Client(base_url=url, timeout=PATIENCE_S, headers={"X-Forwarded-Proto": "https"}) as client,
        ):
            answer = client.post("/login", data={"token": secret, "next": "/"})
        assert ("Secure" in answer.headers["set-cookie"]) is secure
