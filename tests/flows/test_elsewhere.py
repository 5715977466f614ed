"""Prefect's runs as their sender sees them where the server is away, unwell or silent: the kind is a call without an end."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import uuid4

import pytest
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, temporary_settings

from alservice.campaigns.cycle import CycleState
from alservice.cycle.sent_steps import RunState
from alservice.errors import PrefectUnavailable
from flows import elsewhere
from flows.elsewhere import PrefectRuns
from flows.tasks import CycleSummary

RUNS = PrefectRuns(CycleSummary(campaign="survey", cycle_id=1, number=3, state=CycleState.TRAINING))
RUN = str(uuid4())


@contextmanager
def answering(status: int) -> Iterator[int]:
    """Serve one answer to every question; yield the port."""

    class Answer(BaseHTTPRequestHandler):
        """Says the same to everybody."""

        def do_GET(self) -> None:
            """Answer."""
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            """Answer."""
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(10)


@contextmanager
def away() -> Iterator[int]:
    """Yield a port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextmanager
def silent() -> Iterator[int]:
    """Yield a port that takes connections and never answers: a server that hangs, or a network that drops."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture(params=["away", "silent", 500, 502, 503])
def unwell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server of which nothing can be learned."""
    monkeypatch.setattr(elsewhere, "ANSWER_S", 0.3)
    kinds = {"away": away, "silent": silent}
    server = kinds[request.param]() if request.param in kinds else answering(request.param)
    with server as port, temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
        yield


@pytest.mark.usefixtures("unwell")
def test_nothing_is_known_of_a_run_whose_server_is_away() -> None:
    """Neither is it believed dead, nor is anybody kept waiting: each call ends by itself, once."""
    assert RUNS.state(RUN) is RunState.UNKNOWN
    assert RUNS.name(RUN) == RUN
    assert RUNS.give_up(RUN, "silent") is False


@pytest.mark.usefixtures("unwell")
def test_a_run_is_not_started_where_the_server_is_away() -> None:
    """Its caller asks again, for as long as an outage may last, with the same token."""
    with pytest.raises(PrefectUnavailable):
        RUNS.start(CycleState.TRAINING, "token")


def test_a_run_that_somebody_deleted_is_over_unless_it_reports() -> None:
    """Its sender does not fail of it: like a crashed one it is given up when its beats stop."""
    with answering(404) as port, temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
        assert RUNS.state(RUN) is RunState.CRASHED
        assert RUNS.name(RUN) == RUN
        assert RUNS.give_up(RUN, "silent") is False


def test_an_answer_that_refuses_is_seen_as_it_is() -> None:
    """A mistake of ours, or wrong credentials, is no outage."""
    wrong = answering(401)
    with (
        wrong as port,
        temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}),
        pytest.raises(PrefectHTTPStatusError, match="401"),
    ):
        RUNS.state(RUN)
