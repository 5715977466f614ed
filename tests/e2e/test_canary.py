"""No command follows a variable of the Zooniverse client library, whatever it does and in whatever thread.

A rehearsal with ``PANOPTES_ENDPOINT`` exported once sent its login to the server that it names, which usually is the
real site; with ``PANOPTES_CLIENT_ID`` and ``_SECRET`` exported it could not log in at all. The kind: a library that
takes from the environment what we did not tell it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from alservice.cli import app
from alservice.storage.embedded_postgres import EmbeddedPostgres
from tests.support.canary import Canary
from tests.support.postgres import scratch_folder
from tests.support.processes import process
from tests.support.rehearsals import environment, run_alservice
from tests.support.shared import ROOT

pytestmark = pytest.mark.e2e

FOLLOWED = "--campaign rehearsal"


@dataclass(frozen=True, kw_only=True)
class Run:
    """How a command is run: its least arguments, and the exit codes that they may lead to.

    Parameters
    ----------
    alone
        In a process of its own, which Prefect needs; the others share the test's.
    serves
        It says so and goes on until SIGTERM.
    """

    arguments: str = ""
    codes: tuple[int, ...] = (0,)
    alone: bool = False
    serves: bool = False


OF_CAMPAIGN = Run(arguments=FOLLOWED)
FAILS = (1,)
NO_FILE = (1, 2)
"""Exit codes of what is given a file that is not there: it ends before it could ask anybody."""
NOBODY = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_CLIENT_MAX_RETRIES": "0"}
"""A Prefect server that is not there, for commands that only look for one."""
EITHER = (0, 1)
"""Exit codes of what depends on which model the gate preferred, or on whether an index is there yet."""

RUNS = {
    # What asks Zooniverse, in the order of a week.
    "doctor": Run(),
    "campaign validate": OF_CAMPAIGN,
    "reconcile": OF_CAMPAIGN,
    "cycle start": Run(arguments=FOLLOWED, alone=True),
    "subject ask": Run(arguments=f"sky-none {FOLLOWED} --votes 9 --reason test", codes=FAILS),
    "ingest api": OF_CAMPAIGN,
    "tree from-workflow": Run(arguments=f"{FOLLOWED} --out {{folder}}/tree.yaml"),
    "cycle resume": Run(arguments=FOLLOWED, alone=True),
    "rehearse": Run(arguments="--galaxies 60 --cycles 1 --seed 3", alone=True),
    "standin": Run(arguments="--state {folder}/other", serves=True),
    "serve": Run(arguments="--port 0", serves=True),
    # What has no business with it.
    "campaign create": Run(arguments="--config deploy/campaigns/gz2.yaml"),
    "campaign webhook": OF_CAMPAIGN,
    "catalogue import": Run(arguments=f"{{folder}}/none.csv {FOLLOWED}", codes=NO_FILE),
    "catalogue release": Run(arguments=f"{FOLLOWED} --out {{folder}}/release"),
    "catalogue faults": OF_CAMPAIGN,
    "catalogue show": OF_CAMPAIGN,
    "explore anomalies": Run(arguments=f"{FOLLOWED} --search odd", codes=EITHER),
    "explore build": OF_CAMPAIGN,
    "explore similar": Run(arguments=f"{FOLLOWED} --galaxy sky-none", codes=FAILS),
    "selection save": Run(arguments=f"odd {FOLLOWED} --where n_votes:0:1000"),
    "selection list": OF_CAMPAIGN,
    "selection show": Run(arguments=f"odd {FOLLOWED}"),
    "selection send": Run(arguments=f"odd {FOLLOWED} --reason test"),
    "selection withdraw": Run(arguments=f"odd {FOLLOWED} --reason test"),
    "selection delete": Run(arguments=f"odd {FOLLOWED}"),
    "tree show": Run(arguments="gz2"),
    "tree validate": Run(arguments="deploy/trees/decals-rings.yaml"),
    "cycle list": OF_CAMPAIGN,
    "cycle show": OF_CAMPAIGN,
    "cycle forecast": Run(arguments=f"{FOLLOWED} --days 3", codes=FAILS),
    "model list": OF_CAMPAIGN,
    "model promote": Run(arguments=f"{FOLLOWED} --model 1 --reason test"),
    "model rollback": Run(arguments=f"{FOLLOWED} --reason test", codes=EITHER),
    "model shadow": Run(arguments=f"{FOLLOWED} --model 2", codes=EITHER),
    "model bias": Run(arguments=f"{FOLLOWED} --out {{folder}}/bias.html", codes=FAILS),
    "model lineage": OF_CAMPAIGN,
    "gate show": OF_CAMPAIGN,
    "gate approve": Run(arguments=f"{FOLLOWED} --reason test", codes=FAILS),
    "gate reject": Run(arguments=f"{FOLLOWED} --reason test", codes=FAILS),
    "ingest export": Run(arguments=f"{{folder}}/none.csv {FOLLOWED}", codes=NO_FILE),
    "ingest workflows": Run(arguments=f"{{folder}}/none.json {FOLLOWED}", codes=NO_FILE),
    "quarantine list": OF_CAMPAIGN,
    "quarantine replay": OF_CAMPAIGN,
    "tally export": Run(arguments=f"{FOLLOWED} --out {{folder}}/tallies.csv"),
    "tally weights": Run(arguments=f"{FOLLOWED} --out {{folder}}/weights.csv"),
    "tally recount": OF_CAMPAIGN,
    "tally compare": Run(arguments=FOLLOWED, codes=FAILS),  # no reductions came
    "tally faults": OF_CAMPAIGN,
    "forget-user": Run(arguments=f"--user-id 7 {FOLLOWED}"),
    "forget-expired": Run(arguments="--all"),
    "token create": Run(arguments="--scope read --name canary"),
    "token list": Run(),
    "token rotate": Run(arguments="canary"),
    "session list": Run(),
    "session end": Run(arguments="--all"),
    "token revoke": Run(arguments="canary"),
    "metrics": Run(),
    "db upgrade": Run(),
    "db backup": Run(arguments="--out {folder}/backup"),
    "db restore": Run(arguments="{folder}/backup", codes=FAILS),
    "train": Run(arguments="--data {folder}/none.csv --tree gz2 --out {folder}/model", codes=NO_FILE),
    "predict": Run(arguments="--model {folder}/none --data {folder}/none.csv --out {folder}/p.csv", codes=NO_FILE),
    "evaluate": Run(arguments="--predictions {folder}/none.csv --votes {folder}/none.csv", codes=NO_FILE),
    "compare": Run(
        arguments="--votes {folder}/none.csv --experts {folder}/none.csv --label bar --answer bar_yes", codes=NO_FILE
    ),
    "backfill": Run(arguments="--data {folder}/none.csv --out {folder}/backfill", codes=NO_FILE, alone=True),
    "backfill-votes": Run(arguments="--data {folder}/none.csv --out {folder}/votes", codes=NO_FILE),
    "data fetch": Run(arguments="gz3 --out {folder}/gz3", codes=FAILS),
    "prefect automations": Run(codes=FAILS, alone=True),
    "prefect serve": Run(codes=FAILS, alone=True),
}
"""Every command of the command line; a new one needs a line."""


def commands(group: Any, *path: str) -> Iterator[str]:
    """Yield the commands of a group and of the groups inside it."""
    for name, found in group.commands.items():
        if hasattr(found, "commands"):
            yield from commands(found, *path, name)
        else:
            yield " ".join((*path, name))


@pytest.fixture(scope="module")
def workdir(rehearsed: tuple[Path, object]) -> Iterator[Path]:
    """Copy the finished rehearsal; its database is kept running, as starting it takes longer than most commands."""
    with scratch_folder() as folder:
        subprocess.run(["cp", "-a", f"{rehearsed[0]}/.", folder], check=True)
        shutil.rmtree(folder / "prefect", ignore_errors=True)
        with EmbeddedPostgres(folder / "postgres"):
            yield folder


@pytest.fixture
def exported(workdir: Path, canary: Canary) -> Iterator[dict[str, str]]:
    """Export the library's variables in this process, and put everything back at the end."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment(workdir, **canary.environment))
    yield canary.environment
    os.environ.clear()
    os.environ.update(before)


def test_every_command_is_tried() -> None:
    """The table below is the command line, no more and no less."""
    assert set(RUNS) == set(commands(typer.main.get_command(app)))


def test_a_rehearsal_is_not_broken_and_asks_nobody_else(rehearsed: tuple[Path, list[Any]], canary: Canary) -> None:
    """Publishing works in threads, each with a client of its own; the whole loop ran with the variables set."""
    assert [line["state"] for line in rehearsed[1]] == ["done", "done"]
    assert canary.seen == []


@pytest.mark.parametrize("command", RUNS)
def test_a_command_ignores_the_librarys_variables(
    command: str, workdir: Path, exported: dict[str, str], canary: Canary, prefect_url: str
) -> None:
    """It ends as it does without them, and the server that all of them name is never asked."""
    run = RUNS[command]
    arguments = [*command.split(), *run.arguments.format(folder=workdir).split()]
    if run.serves:
        serve(arguments, workdir)
    elif run.alone:
        server = {"PREFECT_API_URL": prefect_url} if command.startswith(("cycle", "rehearse")) else NOBODY
        ran = run_alservice(workdir, *arguments, **exported, **server)
        assert ran.returncode in run.codes, ran.stderr[-3000:]
    else:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code in run.codes, (result.output, result.exception)
    assert canary.seen == []


def serve(arguments: list[str], workdir: Path) -> None:
    """Run what serves until it says so, and end it."""
    log = workdir / "server.log"
    log.unlink(missing_ok=True)
    with process([sys.executable, "-m", "alservice.cli", *arguments], log=log, env=os.environ, cwd=ROOT) as running:
        until = time.monotonic() + 60
        while "serving" not in log.read_text():
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
