"""Rehearsals in processes of their own, small enough for tests."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import text
from typer.testing import CliRunner

from alservice.cli import app
from alservice.settings import Settings
from alservice.storage.embedded_postgres import database_url
from alservice.storage.postgres import make_engine
from tests.support.shared import ROOT

SMALL = ("rehearse", "--galaxies", "60", "--cycles", "1", "--seed", "3", "--json")
"""Options of a rehearsal that takes seconds."""

TIMEOUT_S = 280


def environment(workdir: Path, **changes: str) -> dict[str, str]:
    """Return the environment of a new user: nothing of ours but the work folder, one thread."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("ALSERVICE_", "PREFECT_", "PANOPTES_"))}
    return {**inherited, "ALSERVICE_WORKDIR": str(workdir), "OMP_NUM_THREADS": "1", **changes}


def run_alservice(workdir: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end; standard output and error are kept apart."""
    return _run([sys.executable, "-m", "alservice.cli", *arguments], workdir, changes)


def run_here(workdir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that needs no Prefect in this process, which saves the seconds of its imports."""
    names = [name for name in os.environ if name.startswith(("ALSERVICE_", "PREFECT_", "PANOPTES_"))]
    changes = {**dict.fromkeys(names), "ALSERVICE_WORKDIR": str(workdir)}
    ran = CliRunner().invoke(app, list(arguments), env=changes)
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return subprocess.CompletedProcess(arguments, ran.exit_code, stdout=ran.stdout, stderr=ran.stderr)


def run_killed(
    workdir: Path, target: str, calls: int, when: str, *arguments: str, **changes: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line until SIGKILL takes it at the n-th call of `target`."""
    return _run([sys.executable, "-m", "tests.e2e.killed", target, str(calls), when, *arguments], workdir, changes)


def run_killed_each(
    workdir: Path, points: Sequence[tuple[str, int, str]], *arguments: str, **changes: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line until SIGKILL takes it at each place in turn; each line of output names one and its end."""
    return _run(
        [sys.executable, "-m", "tests.e2e.killed", json.dumps(points), *arguments], workdir, changes, 4 * TIMEOUT_S
    )


def _run(
    command: list[str], workdir: Path, changes: Mapping[str, str], timeout: float = TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    # Files, not pipes: a server that outlives a killed process would hold a pipe open for ever.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        ended = subprocess.run(
            command,
            cwd=ROOT,
            env=environment(workdir, **changes),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            timeout=timeout,
            check=False,
            umask=0o022,
        )
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, ended.returncode, stdout=out.read(), stderr=err.read())


def lines_of(finished: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Return the JSON lines of standard output; anything else there fails the test."""
    assert finished.returncode == 0, finished.stderr[-4000:]
    return [json.loads(line) for line in finished.stdout.splitlines()]


CONTENT = {
    "cycles": "SELECT number, state FROM cycles ORDER BY number",
    "acquired": """SELECT c.number, a.galaxy_id, a.arm, a.rank, a.score_nats, a.inclusion_probability
        FROM acquired a JOIN cycles c ON c.id = a.cycle_id ORDER BY 1, 2""",
    "subjects": "SELECT galaxy_id, state FROM subjects ORDER BY galaxy_id",
    "tallies": "SELECT galaxy_id, classifications, votes FROM tallies ORDER BY galaxy_id",
    "counted": "SELECT verdict, count(*) FROM classifications WHERE verdict = 'counted' GROUP BY verdict",
    "models": "SELECT digest, state FROM models ORDER BY cycle_id",
    "stops": """SELECT s.galaxy_id, c.number, x.state, x.reason, x.votes, x.stopped_votes, x.mark, x.detail
        FROM stops x JOIN subjects s ON s.id = x.subject_id JOIN cycles c ON c.id = x.cycle_id ORDER BY 1, 2""",
    "decisions": "SELECT document FROM gate_decisions ORDER BY cycle_id",
}
"""What a rehearsal leaves behind, ids of Zooniverse, times and attempts aside."""


def content_of(workdir: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows that two rehearsals with the same seed must share."""
    with database_url(Settings(workdir=workdir)) as url:
        engine = make_engine(url)
        with engine.connect() as connection:
            found = {name: [tuple(row) for row in connection.execute(text(sql))] for name, sql in CONTENT.items()}
        engine.dispose()
    return found
