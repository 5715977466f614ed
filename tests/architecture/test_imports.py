"""What reads millions of votes loads nothing that it does not use: memory is what a big file has least of."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.rehearsals import environment
from tests.support.shared import ROOT

MODELS = frozenset({"torch", "prefect", "matplotlib", "pandas", "jinja2"})
NETWORK = frozenset({"panoptes_client", "requests", "boto3", "fastapi", "PIL", "pyarrow"})
DATABASE = frozenset({"sqlalchemy", "alembic", "psycopg2", "pydantic"})

AFTER_COMMANDS = """
import sys
from typer.testing import CliRunner
from alservice.cli import app

for command in sys.argv[1:]:
    ran = CliRunner().invoke(app, [*command.split(), "--campaign", "none"])
    assert "not-found" in ran.output, ran.output
print(*sys.modules)
"""
"""Opens everything, and ends where the campaign is asked for; what one command loads stays for the next."""

IN_THE_READING_PROCESS = "import sys, alservice.cli.__main__, alservice.votes.exports; print(*sys.modules)"


def loaded(program: str, *arguments: str) -> set[str]:
    """Return what a process of its own has loaded at its end, by top-level name."""
    with tempfile.TemporaryDirectory(prefix="alservice-imports-") as folder:
        ran = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env=environment(Path(folder)),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    return {name.partition(".")[0] for name in ran.stdout.split()}


@pytest.mark.parametrize(
    ("commands", "unwanted"),
    [
        (
            (
                "ingest export votes.csv",
                "ingest workflows versions.json",
                "quarantine list",
                "quarantine replay",
                "tally recount",
            ),
            MODELS | NETWORK,
        ),
        (("ingest api",), MODELS),
    ],
    ids=["files", "api"],
)
def test_commands_that_read_votes_load_no_model(commands: tuple[str, ...], unwanted: frozenset[str]) -> None:
    """Torch and the report's plots take 250 MiB: half of what a file of five million rows may."""
    assert not loaded(AFTER_COMMANDS, *commands) & unwanted


def test_the_reading_process_loads_no_database_either() -> None:
    """It begins with what the command line's main module imports, and then reads."""
    assert not loaded(IN_THE_READING_PROCESS) & (MODELS | NETWORK | DATABASE)


def test_a_tick_that_decides_on_votes_loads_no_network() -> None:
    """Drawing and stopping read summaries: torch is there only where draws are made again."""
    assert (
        not loaded("import sys, alservice.acquisition.service, alservice.acquisition.stopping; print(*sys.modules)")
        & MODELS
    )


def test_a_run_that_trains_nothing_loads_no_torch() -> None:
    """A tick every quarter of an hour looks for votes: torch would be most of its time and memory."""
    assert "torch" not in loaded("import sys, flows.cycle, flows.unattended; print(*sys.modules)")
