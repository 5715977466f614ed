"""Clients that leave before their request is whole: nobody is to blame, so there is neither an error nor a traceback."""

from __future__ import annotations

import logging
import socket
import time

import httpx
import pytest

from alservice.access import Scope
from alservice.app.feeds import issue_webhook
from tests.support.dashboards import World
from tests.web.conftest import PATIENCE_S, secret_of


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
    login = issue_webhook(world.factory, "gz-demo", key=None, expires_days=1, actor="test")
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
