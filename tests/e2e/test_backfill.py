"""The backfill command as a user runs it: processes, resume after SIGKILL, files, the same curves twice."""

import csv
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


def environment(folder: Path) -> dict[str, str]:
    """Return an environment of its own."""
    return {**os.environ, "ALSERVICE_WORKDIR": str(folder / "work"), "OMP_NUM_THREADS": "1"}


def run(out: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run to the end."""
    return subprocess.run(
        command(out), cwd=ROOT, env=environment(folder), capture_output=True, text=True, check=False, timeout=400
    )


def test_a_backfill_killed_on_the_way_ends_as_one_that_was_not(tmp_path: Path) -> None:
    """The same command goes on; curves are the same to the last digit, and so are the savings."""
    whole = run(tmp_path / "whole", tmp_path)
    assert whole.returncode == 0, whole.stderr[-3000:]
    out = tmp_path / "killed"
    process = subprocess.Popen(
        command(out),
        cwd=ROOT,
        env=environment(tmp_path),
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
    resumed = run(out, tmp_path)
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


def test_bad_input_is_one_line_with_what_is_wrong(tmp_path: Path) -> None:
    """At each door: policy, question, file, folder."""
    data = tmp_path / "missing.parquet"
    for arguments, text in (
        (["--policies", "bold", "--galaxies", "50"], "policy 'bold' is none of"),
        (["--question", "ring", "--galaxies", "50"], "ring"),
        (["--data", str(data)], "missing.parquet"),
        ([], "needs a number of galaxies"),
    ):
        failed = subprocess.run(
            [
                sys.executable,
                "-m",
                "alservice.cli",
                "backfill",
                "--out",
                str(tmp_path / "out"),
                *arguments,
            ],
            cwd=ROOT,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert failed.returncode == 1
        assert text in failed.stderr
        assert "Traceback" not in failed.stderr
