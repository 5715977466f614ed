"""Who is told to stop stops the database that it started: an orchestrator's SIGTERM, a terminal that is closed.

The kind: a signal whose default ends a process on the spot, past everything that it would have put in order.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.postgres import scratch_folder
from tests.support.processes import is_at_work
from tests.support.rehearsals import environment
from tests.support.shared import ROOT

pytestmark = pytest.mark.e2e

SERVE = ("serve", "--port", "0")
REHEARSE = ("rehearse", "--galaxies", "60", "--cycles", "1")


def wait_until_ready(folder: Path, running: subprocess.Popen[bytes], log: Path, *, says: str | None) -> int:
    """Return the database's process id once it is ready, and the command has said what it says."""
    file = folder / "postgres" / "data" / "postmaster.pid"
    until = time.monotonic() + 240
    while time.monotonic() < until and running.poll() is None:
        if file.exists() and "ready" in file.read_text() and (says is None or says in log.read_text()):
            return int(file.read_text().split()[0])
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@contextmanager
def hang_up_by_default() -> Iterator[None]:
    """Let processes that begin here end by SIGHUP: whoever runs tests under nohup hands on that it is ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("command", "says", "told"),
    [
        (SERVE, "serving on", signal.SIGTERM),
        (SERVE, "serving on", signal.SIGHUP),
        (REHEARSE, None, signal.SIGTERM),
    ],
)
def test_a_command_that_is_told_to_stop_stops_its_database(
    command: tuple[str, ...], says: str | None, told: signal.Signals
) -> None:
    """Nothing keeps running on the work folder, and a shell reads which signal it was."""
    with scratch_folder() as folder:
        log = folder / "log"
        with log.open("wb") as output, hang_up_by_default():
            running = subprocess.Popen(
                [sys.executable, "-m", "alservice.cli", *command],
                env=environment(folder),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        server = None
        try:
            server = wait_until_ready(folder, running, log, says=says)
            running.send_signal(told)
            code = running.wait(timeout=120)
            assert not is_at_work(server), log.read_text()
        finally:
            running.kill()
            running.wait()
            if server is not None and is_at_work(server):
                os.kill(server, signal.SIGINT)
                psutil.wait_procs([psutil.Process(server)], timeout=60)
        assert "Traceback" not in log.read_text()
        assert code == (130 if command is REHEARSE else 128 + told), log.read_text()
