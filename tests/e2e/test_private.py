"""What is written outside the work folder is private too, whatever the shell's umask; monitoring reads its counts."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import process
from tests.support.rehearsals import environment, run_alservice
from tests.support.shared import ROOT

pytestmark = pytest.mark.e2e

IN_A_FLOW = """
import os
os.umask(0o022)
from alservice.app import open_app
with open_app() as factory:
    factory.secret("some")
    (factory.settings.folder / "report.html").touch()
"""
"""As in a worker of Prefect, which never comes through our command line."""


def rights(path: Path) -> int:
    """Return what a file gives to its owner, its group and others."""
    return path.stat().st_mode & 0o777


def test_backups_and_exports_are_private_and_metrics_are_not(tmp_path: Path) -> None:
    """A backup holds every vote and the hashes of tokens; a textfile collector runs as somebody else."""
    workdir = tmp_path / "work"
    made = run_alservice(workdir, "campaign", "create", "--config", "deploy/campaigns/gz2.yaml")
    assert made.returncode == 0, made.stderr
    for command in (
        "db backup --out {0}/kept/dump",
        "tally export --campaign gz2 --out {0}/tallies.csv",
        "metrics --out {0}/metrics.prom",
    ):
        ran = run_alservice(workdir, *command.format(tmp_path).split())
        assert ran.returncode == 0, ran.stderr
    assert rights(tmp_path / "kept") == 0o700
    assert rights(tmp_path / "kept" / "dump") == 0o600
    assert rights(tmp_path / "tallies.csv") == 0o600
    assert rights(tmp_path / "metrics.prom") == 0o644


def test_a_stand_in_in_a_folder_that_others_may_read_keeps_its_files_to_itself(tmp_path: Path) -> None:
    """It has logins, and what volunteers sent."""
    state, log = tmp_path / "state", tmp_path / "log"
    state.mkdir(mode=0o755)
    command = [sys.executable, "-m", "alservice.cli", "standin", "--state", str(state)]
    with process(command, log=log, env=environment(tmp_path), cwd=ROOT) as running:
        while "serving" not in log.read_text():
            assert running.poll() is None, log.read_text()
    made = list(state.rglob("*"))
    assert state / "standin.db" in made
    assert [path for path in made if rights(path) & 0o077] == []


def test_a_process_that_is_no_command_is_as_careful(tmp_path: Path) -> None:
    """Whoever opens the work folder closes what it makes there."""
    subprocess.run(
        [sys.executable, "-c", IN_A_FLOW], env=environment(tmp_path), cwd=ROOT, check=True, capture_output=True
    )
    assert rights(tmp_path / "report.html") == 0o600
    assert rights(tmp_path / "secrets" / "some") == 0o600
    assert rights(tmp_path / "postgres") & 0o066 == 0
