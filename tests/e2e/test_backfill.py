"""The backfill command as a user runs it: processes, resume after SIGKILL, files, the same curves twice."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.shared import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

SMALL = ("--galaxies", "260", "--rounds", "2", "--seeds", "2", "--initial", "24", "--batch", "8", "--steps", "4")
TINY = (
    *SMALL,
    "--px",
    "16",
    "--field",
    "1.0",
    "--passes",
    "2",
    "--policies",
    "power_bald",
    "--workers",
    "2",
    "--test",
    "30",
)


def command(out: Path) -> list[str]:
    """Return the command line."""
    return [sys.executable, "-m", "alservice.cli", "backfill", "--out", str(out), *TINY]


@pytest.fixture
def env(tmp_path: Path, prefect_url: str) -> dict[str, str]:
    """An environment of its own, with a Prefect server that is there."""
    return {
        **os.environ,
        "ALSERVICE_WORKDIR": str(tmp_path / "work"),
        "OMP_NUM_THREADS": "1",
        "PREFECT_API_URL": prefect_url,
    }


def run(out: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run to the end."""
    return subprocess.run(command(out), cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=400)


def test_a_backfill_killed_on_the_way_ends_as_one_that_was_not(tmp_path: Path, env: dict[str, str]) -> None:
    """The same command goes on; curves are the same to the last digit, and so are the savings."""
    whole = run(tmp_path / "whole", env)
    assert whole.returncode == 0, whole.stderr[-3000:]
    out = tmp_path / "killed"
    process = subprocess.Popen(
        command(out),
        cwd=ROOT,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until = time.monotonic() + 300
    while len(list(out.glob("rounds/*.npz"))) < 3 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "report.html").exists()
    resumed = run(out, env)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    for name in ("curves.csv", "savings.csv"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    rows = list(csv.DictReader((out / "curves.csv").read_text().splitlines()))
    assert len(rows) == 2 * 2 * 3
    assert {row["policy"] for row in rows} == {"random", "power_bald"}
    page = (out / "report.html").read_text()
    assert "figures 11 and 12" in page
    assert 'src="http' not in page
    assert 'href="http' not in page
    assert "power_bald" in resumed.stdout


DOORS = """
import json, sys
from typer.testing import CliRunner
from alservice.cli import app
for arguments in json.loads(sys.argv[1]):
    ran = CliRunner().invoke(app, ["backfill", *arguments])
    print(json.dumps([ran.exit_code, ran.stderr]), file=sys.__stdout__)
"""
"""The command several times over in one process, whose imports take longer than all of them."""


def test_bad_input_is_one_line_with_what_is_wrong(tmp_path: Path, env: dict[str, str]) -> None:
    """At each door: policy, question, file, folder."""
    doors = (
        (["--policies", "bold", "--galaxies", "50"], "policy 'bold' is none of"),
        (["--question", "ring", "--galaxies", "50"], "ring"),
        (["--data", str(tmp_path / "missing.parquet")], "missing.parquet"),
        ([], "needs a number of galaxies"),
    )
    typed = json.dumps([["--out", str(tmp_path / "out"), *arguments] for arguments, _ in doors])
    ran = subprocess.run(
        [sys.executable, "-c", DOORS, typed],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    ends = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(ends) == len(doors), ran.stderr
    for (code, said), (_, text) in zip(ends, doors, strict=True):
        assert code == 1
        assert text in said
        assert "Traceback" not in said + ran.stderr
