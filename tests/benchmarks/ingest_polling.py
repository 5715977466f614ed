"""Classifications per second from the API listing, at its page cap, to committed tallies.

The stand-in is a process of its own, as Zooniverse is; its rows are put into its database beforehand. Its answers take
time of their own, which the figure includes.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alservice.app import App
from alservice.constants import INGEST_PAGE
from alservice.standin.config import StandinConfig
from alservice.standin.folder import STANDIN_USER
from alservice.standin.server import Standin
from alservice.zooniverse.workflow import tasks_of
from tests.support.processes import free_port, process, wait_for
from tests.support.shared import ROOT
from tests.support.worlds import TREE

STAMP = "2026-01-01T00:00:00.000Z"
LOGIN = (STANDIN_USER, "secret of standin-password")


def fill(state: Path, rows: int, subjects: int) -> None:
    """Make a stand-in's state with classifications that walk the first two questions."""
    with Standin(StandinConfig(state=state, users=(LOGIN,), seed=1)):
        pass
    task = TREE.questions[0].task
    other = TREE.question("something-odd").task
    with sqlite3.connect(state / "standin.db") as database:
        tasks = json.dumps(tasks_of(TREE))
        database.execute("UPDATE workflows SET attributes = json_set(attributes, '$.tasks', json(?))", (tasks,))
        version = database.execute("SELECT major || '.' || minor FROM workflows").fetchone()[0]
        database.executemany(
            "INSERT INTO classifications (project_id, workflow_id, user_ip, completed, workflow_version, metadata,"
            " annotations, subject_ids, created_at, updated_at) VALUES (1, 10, '', 1, ?, ?, ?, ?, ?, ?)",
            (
                (
                    version,
                    json.dumps({"session": f"s{i}", "started_at": STAMP, "finished_at": STAMP, "live_project": True}),
                    json.dumps([{"task": task, "value": i % 2}, {"task": other, "value": 1}]),
                    json.dumps([100 + i % subjects]),
                    STAMP,
                    STAMP,
                )
                for i in range(rows)
            ),
        )
    database.close()


@contextmanager
def serving(state: Path) -> Iterator[str]:
    """Serve a state in another process; give its address."""
    port = free_port()
    log = state.with_suffix(".log")
    command = [sys.executable, "-m", "alservice.cli", "standin", "--state", str(state), "--port", str(port)]
    endpoint = f"http://127.0.0.1:{port}"
    with process(command, log=log, env=os.environ, cwd=ROOT) as running:
        wait_for(f"{endpoint}/standin/state", running, log=log)
        yield endpoint


def poll(factory: App, name: str, rows: int) -> str:
    """Read the listing and return what it took."""
    start, cpu = time.perf_counter(), time.process_time()
    report = factory.votes.ingest_api(name)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    assert report.new == rows, report.text()
    start = time.perf_counter()
    again = factory.votes.ingest_api(name)
    overlap = time.perf_counter() - start
    return (
        f"{rows / seconds:.0f} rows/s ({seconds:.1f} s, CPU {cpu:.1f} s) in pages of {INGEST_PAGE}; "
        f"{report.text()}; the overlap again: {again.requested} rows, {overlap:.1f} s"
    )
