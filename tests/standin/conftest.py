"""Fixtures of the stand-in's tests: nothing here can reach the real site, and nothing really waits."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import panoptes_client
import pytest
import redo
import requests
from panoptes_client import exportable

from alservice.standin.config import StandinConfig
from alservice.standin.server import Standin
from tests.standin.support import (
    CLIENT_ID,
    CLIENT_SECRET,
    OTHER,
    OTHER_PASSWORD,
    OWNER,
    PASSWORD,
    FakeClock,
    Launch,
    trace_entry,
)


@pytest.fixture(autouse=True)
def _stay_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Point stray clients at a closed local port, and make the client's waits take no time."""
    monkeypatch.setenv("PANOPTES_ENDPOINT", "http://127.0.0.1:9")
    for name in ("USERNAME", "PASSWORD", "CLIENT_ID", "CLIENT_SECRET", "REDIRECT_URL"):
        monkeypatch.delenv(f"PANOPTES_{name}", raising=False)
    no_sleep = SimpleNamespace(sleep=lambda _seconds: None)
    monkeypatch.setattr(redo, "time", no_sleep)
    monkeypatch.setattr(exportable, "time", no_sleep)
    monkeypatch.setattr(panoptes_client.Panoptes._local, "panoptes_client", None, raising=False)


@pytest.fixture
def clock() -> FakeClock:
    """Return the clock of every stand-in of the test."""
    return FakeClock()


@pytest.fixture
def launch(tmp_path: Path, clock: FakeClock) -> Iterator[Launch]:
    """Return a function that starts a stand-in; all of them are stopped at the end."""
    with ExitStack() as running:

        def start(**changes: Any) -> Standin:
            settings: dict[str, Any] = {
                "state": tmp_path / "state",
                "users": ((OWNER, PASSWORD), (OTHER, OTHER_PASSWORD)),
                "client_id": CLIENT_ID,
                "client_secret": CLIENT_SECRET,
                "project_name": "Galaxy Zoo Local",
                "seed": 7,
            }
            return running.enter_context(Standin(StandinConfig(**{**settings, **changes}), clock=clock))

        yield start


@pytest.fixture
def standin(launch: Launch) -> Standin:
    """Return a stand-in with the usual settings."""
    return launch()


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return a list that fills with the calls this process sends."""
    calls: list[dict[str, Any]] = []
    send: Callable[..., requests.Response] = requests.Session.send

    def send_and_note(
        session: requests.Session, request: requests.PreparedRequest, **settings: Any
    ) -> requests.Response:
        response = send(session, request, **settings)
        calls.append(trace_entry(request, response))
        return response

    monkeypatch.setattr(requests.Session, "send", send_and_note)
    return calls
