"""Sessions of people: known to every process, listed, and ended by logout, by their token, or everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from sqlalchemy import text

from alservice.access import Scope
from alservice.app.access import (
    create_token,
    end_sessions,
    list_sessions,
    open_session,
    recognise,
    recognise_session,
    revoke_token,
    rotate_token,
)
from alservice.app.operations import paused
from alservice.errors import NotAuthenticated
from alservice.ops.sessions import MAX_SESSIONS
from alservice.storage.postgres import transaction
from alservice.web.application import create_app
from tests.support.dashboards import World
from tests.support.web_server import served
from tests.web.conftest import PATIENCE_S, log_in, secret_of

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
    assert paused(world.factory, world.campaign) is not None


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
    assert paused(world.factory, world.campaign) is None


def test_an_owner_sees_and_ends_sessions(client: httpx.Client, replica: httpx.Client, world: World) -> None:
    """The page lists this token's sessions and no other's; one is ended alone, or all everywhere."""
    secret = secret_of(world.factory, Scope.READ, name="anna")
    log_in(client, secret)
    replica.headers["User-Agent"] = f"browser <b>\u202e{'x' * 500}"
    log_in(replica, secret)
    other = open_session(
        world.factory, recognise(world.factory, secret_of(world.factory, Scope.READ)), address="x", user_agent="ben's"
    )
    page = client.get("/sessions").text
    assert page.count('/end"') == 2 + 1
    assert "127.0.0.1" in page
    assert "browser &lt;b&gt;" in page
    assert not any(mark in page for mark in ("\u202e", "\x80", "x" * 200))
    assert "ben&#39;s" not in page
    second, first = list_sessions(world.factory, token=recognise(world.factory, secret))
    foreign = recognise_session(world.factory, other)[0].id
    fields = {"csrf": csrf_of(client)}
    assert client.post(f"/sessions/{foreign}/end", data=fields).status_code == 404
    assert client.post(f"/sessions/{second.id}/end", data={"csrf": "0" * 64}).status_code == 403
    assert replica.get("/").status_code == 200
    assert client.post(f"/sessions/{second.id}/end", data=fields).headers["location"] == "/sessions"
    assert replica.get("/").status_code == 303
    log_in(replica, secret)
    assert client.post("/sessions/end", data=fields).headers["location"] == "/login"
    assert [browser.get("/").status_code for browser in (client, replica)] == [303, 303]
    assert recognise_session(world.factory, other)[0].id == foreign
    assert first.id not in {session.id for session in list_sessions(world.factory)}


def test_logging_in_again_ends_the_session_before(client: httpx.Client, world: World) -> None:
    """A browser has one session: what it brings along is over once it has another, and no cookie stays the same."""
    secret = secret_of(world.factory, Scope.READ)
    log_in(client, secret)
    before = client.cookies[COOKIE]
    log_in(client, secret)
    assert client.cookies[COOKIE] != before
    with pytest.raises(NotAuthenticated):
        recognise_session(world.factory, before)
    assert len(list_sessions(world.factory)) == 1


def test_sessions_end_with_their_token(world: World) -> None:
    """Revoked: at once. Rotated with an overlap: not; without one: at once. Over by itself: gone with the next log-in."""
    factory = world.factory
    token, _ = create_token(factory, scope=Scope.READ, name="anna")

    def opened() -> str:
        return open_session(factory, token, address="192.0.2.1", user_agent="test")

    def lives(cookie: str) -> bool:
        try:
            return recognise_session(factory, cookie)[1].id == token.id
        except NotAuthenticated:
            return False

    cookie = opened()
    rotate_token(factory, "anna")
    assert lives(cookie)
    rotate_token(factory, "anna", overlap_hours=0)
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
    assert len(list_sessions(factory)) == MAX_SESSIONS
    assert lives(cookie), "the oldest went"
    revoke_token(factory, "anna")
    assert not lives(cookie)
    assert list_sessions(factory) == []
    assert end_sessions(factory) == 0


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
