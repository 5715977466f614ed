"""Two processes of the service on one database, each with a work folder of its own, as replicas have."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from pathlib import Path
from subprocess import Popen

import httpx
import pytest
from sqlalchemy import Engine

from tests.web.conftest import PATIENCE_S, log_in
from tests.web.test_serve import START_S, run, serving


def client_of(process: Popen[str]) -> httpx.Client:
    """Return a client of a service once that answers."""
    assert process.stderr is not None
    client = httpx.Client(
        base_url=next(line.split()[-1] for line in process.stderr if line.startswith("serving on")), timeout=PATIENCE_S
    )
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        with suppress(httpx.TransportError):
            assert client.get("/healthz").status_code == 200
            break
        time.sleep(0.1)
    return client


def test_replicas_share_sessions_and_trust_no_variable(
    engine: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kinds: kept in one process; set by accident. A cookie of one opens the other and ends for both; uvicorn's own
    variable lets no client name its address.
    """
    monkeypatch.setenv("ALSERVICE_DATABASE_URL", database_url)
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    secret = run("token", "create", "--scope", "operate")[1].strip()
    with ExitStack() as stack:
        processes = []
        for name in ("one", "two"):
            monkeypatch.setenv("ALSERVICE_WORKDIR", str(tmp_path / name))
            processes.append(stack.enter_context(serving(0)))
        first, second = map(client_of, processes)
        stack.callback(first.close)
        stack.callback(second.close)
        log_in(first, secret)
        cookie = first.cookies["alservice_session"]
        second.cookies.set("alservice_session", cookie)
        page = second.get("/sessions")
        assert page.status_code == 200
        proof = page.text.split('name="csrf" value="')[1].split('"')[0]
        assert second.post("/logout", data={"csrf": proof}).headers["location"] == "/login"
        first.cookies.set("alservice_session", cookie)
        assert first.get("/").status_code == 303

        def guess(n: int) -> int:
            headers = {"Authorization": f"Bearer als_{n:08}{'x' * 35}", "X-Forwarded-For": f"198.51.100.{n}"}
            return first.get("/api/v1/campaigns", headers=headers).status_code

        answers = [guess(n) for n in range(20)]
        while len(answers) < 500 and 429 not in answers:  # a slow machine earns new tries meanwhile
            answers.append(guess(len(answers)))
        assert answers == [401] * (len(answers) - 1) + [429]
        valid = first.get("/api/v1/campaigns", headers={"Authorization": f"Bearer {secret}"})
        assert valid.status_code == 200
