"""Clients that take their time or leave: each phase of a request has a bound, and health is told all the while."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine
from starlette import types as asgi

from alservice.access import Scope
from alservice.errors import BadConfig, TooLarge
from alservice.web.connections import ConnectionLimits, Connections, trusts
from alservice.web.limits import BodyLimit, refusal
from tests.support.dashboards import World
from tests.support.slow_clients import answers, connected, everything, held, limited_service
from tests.support.web_server import served
from tests.web.conftest import PATIENCE_S, secret_of

WAIT_S = 30
"""Longest wait for something that must happen."""

STATUS = b'{"status": "ok"}'
QUICK = ConnectionLimits(
    head_s=0.5, body_s=0.5, idle_s=0.5, stall_s=0.5, answer_s=WAIT_S, rest_s=0.5, rest_bytes=1 << 20
)
HEAD = b"GET /%s HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /read HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def settings(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the command line at this test's database."""
    monkeypatch.setenv("ALSERVICE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALSERVICE_WORKDIR", str(tmp_path / "work"))


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"",
        b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ntoken",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["half a head", "nothing", "half a body", "idle after an answer"],
)
def test_held_connections_do_not_stop_the_service(engine: Engine, tmp_path: Path, sent: bytes) -> None:
    """More held connections than files may be open: health is told, and the log stays small.

    The kind: a client that costs nothing takes what all share (open files, connections, the log's disk).
    """
    log = tmp_path / "log"
    with limited_service(log, files=256) as address, held(address, sent, n=260):
        for _ in range(3):
            assert answers(address, within_s=20)
    assert log.stat().st_size < 100_000, log.read_text()[:2000]
    assert "Traceback" not in log.read_text()


class Probe:
    """An application that answers as its path says, and counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gone = threading.Event()
        self.free = threading.Event()

    def wait_for(self, path: str, n: int) -> None:
        """Wait until a path was asked so often."""
        until = time.monotonic() + WAIT_S
        while self.asked.count(path) < n and time.monotonic() < until:
            time.sleep(0.02)
        assert self.asked.count(path) == n

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        self.asked.append(scope["path"])
        if scope["path"] == "/read":
            try:
                while (message := await receive()).get("more_body", False):
                    pass
            except TooLarge as error:
                status, headers, body = refusal(error, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                await send({"type": "http.response.start", "status": status.value, "headers": headers})
                await send({"type": "http.response.body", "body": body})
                return
            if message["type"] == "http.disconnect":
                self.gone.set()
        if scope["path"] == "/busy":
            await asyncio.to_thread(self.free.wait, WAIT_S)
        long = scope["path"] == "/long"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if long:
            for _ in range(200):
                await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        await send({"type": "http.response.body", "body": STATUS})


@pytest.fixture
def probe() -> Probe:
    """Return the application."""
    return Probe()


@pytest.fixture
def quick(probe: Probe) -> Iterator[str]:
    """Serve it with short bounds."""
    with served(BodyLimit(probe, max_bytes=1000), QUICK) as address:
        yield address


def status_and_code(client: socket.socket, answer: bytes = b"") -> tuple[int, str | None]:
    """Return the status of the next answer and the code of its problem."""
    while b"}" not in answer:
        part = client.recv(65_536)
        assert part, answer
        answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    code = json.loads(body).get("code") if b"problem+json" in head else None
    return int(head.split()[1]), code


@pytest.mark.parametrize("drip", [0, 0.1], ids=["silent", "byte by byte"])
@pytest.mark.parametrize(
    "begun", [HEAD % b"x" + b"X-Slow: ", POST + b"Content-Length: 900\r\n\r\n"], ids=["head", "body"]
)
def test_a_request_arrives_in_time_or_is_refused(quick: str, probe: Probe, begun: bytes, drip: float) -> None:
    """Bytes that go on coming do not lengthen the bound; the client is told, and the handler is not left waiting."""
    with connected(quick) as client:
        client.sendall(begun)
        until = time.monotonic() + WAIT_S
        client.settimeout(drip or WAIT_S)
        answer = b""
        while not answer and time.monotonic() < until:
            try:
                answer = client.recv(65_536)
            except TimeoutError:
                client.sendall(b"x")
        assert status_and_code(client, answer) == (408, "too-slow")
    assert not probe.asked or probe.gone.wait(WAIT_S)


@pytest.mark.parametrize("sent", [b"", HEAD % b"x" + b"\r\n"], ids=["new", "answered"])
def test_a_silent_connection_ends(quick: str, sent: bytes) -> None:
    """One that never asks, or asks no more, is ended without a word."""
    with connected(quick) as client:
        client.sendall(sent)
        answer = everything(client)
    assert answer.startswith(b"HTTP/1.1 200" if sent else b"")
    assert answer.count(b"HTTP/1.1") == (1 if sent else 0)


def test_who_does_not_read_an_answer_is_cut(quick: str, probe: Probe) -> None:
    """An answer is not kept for a reader who takes none of it."""
    with connected(quick, receive_bytes=4096) as client:
        client.sendall(HEAD % b"long" + b"\r\n")
        until = time.monotonic() + WAIT_S
        cut = False
        while not cut and time.monotonic() < until:
            time.sleep(0.2)
            try:
                client.sendall(b"x")
            except ConnectionError:
                cut = True
        assert cut
    assert probe.asked == ["/long"]


def test_who_reads_slowly_has_all(quick: str) -> None:
    """A reader who pauses for less than the bound loses nothing of 200 MiB."""
    with connected(quick) as client:
        client.sendall(HEAD % b"long" + b"Connection: close\r\n\r\n")
        read = 0
        while part := client.recv(1 << 20):
            read += len(part)
            if read < 1 << 20:
                time.sleep(0.05)
    assert read > 200 << 20


@pytest.mark.parametrize("told", [True, False])
def test_a_body_that_was_refused_is_not_read_on(quick: str, told: bool) -> None:
    """After 413 the connection ends, however much more is sent; before, the client can read the answer.

    The kind: an answer that comes before the request's end leaves the rest to be read for ever.
    """
    with connected(quick) as client:
        client.sendall(
            POST + (b"Content-Length: 99999999999\r\n\r\n" if told else b"Transfer-Encoding: chunked\r\n\r\n")
        )
        piece = bytes(1 << 16) if told else b"10000\r\n" + bytes(1 << 16) + b"\r\n"
        client.sendall(piece)
        assert status_and_code(client) == (413, "too-large")
        with pytest.raises(ConnectionError):
            client.sendall(piece * (1 << 10))


def test_a_rest_that_drips_ends_as_well(quick: str) -> None:
    """The kind again, for a path whose handler reads no body: each byte used to lengthen the connection's life."""
    with connected(quick) as client:
        client.sendall(HEAD % b"x" + b"Content-Length: 900\r\n\r\n")
        assert status_and_code(client) == (200, None)
        client.settimeout(0.1)
        until = time.monotonic() + WAIT_S
        ended = False
        while not ended and time.monotonic() < until:
            try:
                client.sendall(b"x")
                ended = client.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                ended = True
    assert ended


def test_the_longest_waiting_makes_room(probe: Probe) -> None:
    """One address holds so many connections; a newcomer takes the place of its silent ones, not of one that is answered."""
    limits = ConnectionLimits(total=8, per_address=8, reserve=1, head_s=WAIT_S)
    with served(probe, limits) as address, connected(address) as busy:
        busy.sendall(HEAD % b"busy" + b"\r\n")
        probe.wait_for("/busy", 1)
        with held(address, HEAD % b"x", n=20) as silent:
            assert answers(address, within_s=WAIT_S)
            assert everything(silent[0]) == b""
            probe.free.set()
            assert busy.recv(65_536).startswith(b"HTTP/1.1 200")


def test_health_is_told_in_the_reserve(probe: Probe) -> None:
    """While every place is being answered, health is told, and all else is asked to come again."""
    limits = ConnectionLimits(total=4, reserve=2)
    with served(probe, limits) as address, held(address, HEAD % b"busy" + b"\r\n", n=4):
        probe.wait_for("/busy", 4)
        assert httpx.get(f"{address}/healthz").json() == {"status": "ok"}
        refused = httpx.get(f"{address}/x")
        assert (refused.status_code, refused.json()["code"]) == (503, "no-room")
        assert refused.headers["retry-after"]
        probe.free.set()


def test_websockets_are_plain_requests(quick: str) -> None:
    """An upgrade would leave the bounds behind."""
    upgrade = (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    with connected(quick) as client:
        client.sendall(HEAD % b"x" + upgrade)
        assert client.recv(65_536).startswith(b"HTTP/1.1 200")


def test_trusted_proxies() -> None:
    """Addresses, networks or all of them; anything else is refused by name."""
    trusted = trusts("127.0.0.1, 10.0.0.0/8,fd00::/8")
    assert [trusted(name) for name in ("127.0.0.1", "10.1.2.3", "fd00::1", "11.0.0.1", "")] == [True] * 3 + [False] * 2
    assert trusts("*")("192.0.2.1")
    assert not trusts("")("127.0.0.1")
    with pytest.raises(BadConfig, match=r"example\.org"):
        trusts("example.org")


def test_too_few_files_are_told_at_the_start() -> None:
    """A process that could hold no connection does not start."""
    with pytest.raises(BadConfig, match="may open 64 files"):
        Connections(ConnectionLimits(), trusts(""), files=64)


def hang_up(client: httpx.Client, path: str, kind: str, secret: str) -> None:
    """Send the head of a POST with the beginning of its body, and leave."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\nContent-Type: {kind}\r\n"
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=PATIENCE_S) as connection:
        connection.sendall(f"{head}Content-Length: 1000\r\n\r\ntoken=als_".encode())


def answers_of(client: httpx.Client, route: str, secret: str) -> dict[str, float]:
    """Return how many answers a route gave, by status."""
    text = client.get("/metrics", headers={"Authorization": f"Bearer {secret}"}).text
    begin = f'alservice_http_requests_total{{method="POST",route="{route}",status="'
    lines = [line.removeprefix(begin) for line in text.splitlines() if line.startswith(begin)]
    return {line[:3]: float(line.rpartition(" ")[2]) for line in lines}


@pytest.mark.parametrize(
    ("path", "route", "kind"),
    [
        ("/login", "/login", "application/x-www-form-urlencoded"),
        ("/api/v1/campaigns/gz-demo/pause", "/api/v1/campaigns/{campaign}/pause", "application/json"),
        ("/caesar/reductions/gz-demo_t0", "/caesar/reductions/{key}", "application/json"),
    ],
)
def test_hanging_up_is_no_error(
    client: httpx.Client, world: World, caplog: pytest.LogCaptureFixture, path: str, route: str, kind: str
) -> None:
    """Kind: a fault of the other side told as ours. A form, a JSON body and a reduction that end half way."""
    operate, scraper = secret_of(world.factory, Scope.OPERATE), secret_of(world.factory, Scope.READ)
    login = world.factory.access.issue_webhook("gz-demo", key=None, expires_days=1, actor="test")
    with caplog.at_level(logging.INFO, logger="alservice.web"):
        hang_up(client, path, kind, login.password if path.startswith("/caesar") else operate)
        until = time.monotonic() + PATIENCE_S
        while not (counted := answers_of(client, route, scraper)):
            assert time.monotonic() < until
            time.sleep(0.05)
    assert counted == {"499": 1.0}
    assert f"POST {path}: the client left before its request was whole" in caplog.text
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
