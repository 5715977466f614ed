"""The service as a process: its commands, its schema and port, and two of it on one database."""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

import httpx
import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from alservice.app import open_app
from alservice.cli import app
from alservice.storage.postgres import transaction
from tests.web.conftest import PATIENCE_S, log_in

START_S = 60
"""Longest wait for a service to listen."""


@pytest.fixture(autouse=True)
def settings(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the command line at this test's database."""
    monkeypatch.setenv("ALSERVICE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALSERVICE_WORKDIR", str(tmp_path))


def run(*words: str) -> tuple[int, str, str]:
    """Run a command; return its exit code and both outputs."""
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.stdout, result.stderr


@contextmanager
def serving(port: int) -> Iterator[Popen[str]]:
    """Run ``alservice serve`` as a process, ended at the end."""
    command = [sys.executable, "-m", "alservice.cli", "serve", "--port", str(port)]
    with Popen(command, stdout=DEVNULL, stderr=PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_a_token_is_shown_once_and_kept_as_a_hash(engine: Engine) -> None:
    """The secret goes to standard output alone; the database and the list know only its name, scope and end."""
    code, out, err = run("token", "create", "--scope", "read", "--name", "anna", "--expires-days", "30")
    secret = out.strip()
    assert (code, secret[:4]) == (0, "als_")
    assert secret not in err
    with transaction(engine) as connection:
        row = str(connection.execute(text("SELECT * FROM tokens")).one())
    assert secret not in row
    assert secret[4:] not in row
    code, listed, _ = run("token", "list", "--json")
    found = json.loads(listed)
    assert (found["name"], found["scope"], found["state"]) == ("anna", "read", "valid")
    assert secret not in listed


def test_tokens_end(engine: Engine) -> None:
    """A revoked token is listed as such; a name is never used twice; days and names are checked."""
    assert run("token", "create", "--scope", "operate", "--name", "ben")[0] == 0
    assert run("token", "revoke", "ben")[0] == 0
    assert "revoked" in run("token", "list")[1]
    for words, said in (
        (("create", "--scope", "read", "--name", "ben"), "[conflict]"),
        (("create", "--scope", "read", "--expires-days", "-1"), "[bad-input]"),
        (("create", "--scope", "read", "--expires-days", "4000"), "[bad-input]"),
        (("create", "--scope", "read", "--campaign", "gz"), "[bad-input]"),
        (("rotate", "nobody"), "[not-found]"),
        (("rotate", "ben"), "[conflict]"),
        (("rotate", "ben", "--overlap-hours", "9999"), "[bad-input]"),
        (("create", "--scope", "read", "--name", " "), "[bad-input]"),
        (("revoke", "nobody"), "[not-found]"),
    ):
        code, _, err = run("token", *words)
        assert code == 1
        assert said in err
    assert run("token", "create", "--scope", "admin")[0] == 2


def test_tokens_end_by_default_and_rotate(engine: Engine) -> None:
    """Kind: good for ever unless somebody thinks of it. 90 days, never when asked; a rotated secret has an overlap."""

    def listed() -> dict[str, dict]:
        return {token["name"]: token for token in map(json.loads, run("token", "list", "--json")[1].splitlines())}

    first = run("token", "create", "--scope", "read", "--name", "anna")[1].strip()
    run("token", "create", "--scope", "read", "--name", "prometheus", "--expires-days", "0")
    created, ends = (datetime.fromisoformat(listed()["anna"][name]) for name in ("created_at", "expires_at"))
    assert abs(ends - created - timedelta(days=90)) < timedelta(minutes=1)
    assert listed()["prometheus"]["expires_at"] is None
    assert "ends never" in run("token", "list")[1]
    code, out, err = run("token", "rotate", "anna", "--overlap-hours", "2", "--expires-days", "30")
    second = out.strip()
    assert (code, second[:4], second != first) == (0, "als_", True)
    assert "the secret before is good until" in err
    assert second not in err
    until = datetime.fromisoformat(listed()["anna"]["previous_until"])
    assert timedelta(minutes=110) < until - datetime.now(UTC) <= timedelta(minutes=120)
    assert "opens nothing any more" in run("token", "rotate", "anna", "--overlap-hours", "0")[2]
    assert listed()["anna"]["previous_until"] is None


def test_sessions_are_listed_and_ended(engine: Engine) -> None:
    """People are logged out by number, by token or all; what is not there is named."""
    secret = run("token", "create", "--scope", "read", "--name", "anna")[1].strip()
    assert "nobody is logged in" in run("session", "list")[1]
    with open_app() as factory:
        token = factory.access.recognise(secret)
        for browser in ("one", "two", "three"):
            factory.access.open_session(token, address="192.0.2.7", user_agent=browser)
    found = [json.loads(line) for line in run("session", "list", "--json")[1].splitlines()]
    assert [(session["token_name"], session["user_agent"]) for session in found][-1] == ("anna", "one")
    assert "192.0.2.7  three" in run("session", "list")[1]
    assert run("session", "end", str(found[0]["id"]))[1] == "1 sessions ended\n"
    assert "[not-found]" in run("session", "end", str(found[0]["id"]))[2]
    assert "[not-found]" in run("session", "end", "--token", "nobody")[2]
    assert run("session", "end")[0] == 2
    assert run("session", "end", "--token", "anna")[1] == "2 sessions ended\n"
    assert run("session", "end", "--all")[1] == "0 sessions ended\n"


def test_a_wrong_schema_is_not_served(engine: Engine) -> None:
    """The service refuses to start and says how the schema is brought up to date."""
    with transaction(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with serving(0) as process:
        assert process.wait(START_S) == 1
        assert process.stderr is not None
        said = process.stderr.read()
    assert "[schema-mismatch]" in said
    assert "alservice db upgrade" in said


def test_a_taken_port_is_named(engine: Engine) -> None:
    """A port that somebody listens on is an error with its number."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with serving(port) as process:
            assert process.wait(START_S) == 1
            assert process.stderr is not None
            assert f"[port-in-use] port {port}" in process.stderr.read()


def test_it_serves_and_stops(engine: Engine) -> None:
    """A token made on the command line opens the running service; SIGTERM ends it cleanly."""
    secret = run("token", "create", "--scope", "read")[1].strip()
    with serving(0) as process:
        assert process.stderr is not None
        address = next(line.split()[-1] for line in process.stderr if line.startswith("serving on"))
        with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {secret}"}) as client:
            until = time.monotonic() + START_S
            while time.monotonic() < until:
                try:
                    assert client.get("/healthz").json() == {"status": "ok"}
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            assert client.get("/api/v1/campaigns").json() == {"items": [], "next": None}
        process.terminate()
        assert process.wait(START_S) == 128 + signal.SIGTERM


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
