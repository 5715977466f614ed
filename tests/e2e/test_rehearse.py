"""The main job as a user runs it: real Postgres, Prefect, panoptes-client and HTTP, in a process of its own."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.rehearsals import SMALL, lines_of, run_alservice, run_here

pytestmark = pytest.mark.e2e

Rehearsed = tuple[Path, list[dict[str, Any]]]


def test_every_cycle_ends_with_its_figures(rehearsed: Rehearsed) -> None:
    """The table has the bootstrap and each asked cycle, done, with the figures that users rely on."""
    _, lines = rehearsed
    assert [(line["cycle"], line["kind"], line["state"]) for line in lines] == [
        (0, "bootstrap", "done"),
        (1, "active", "done"),
    ]
    for line in lines:
        assert line["nll_low"] <= line["nll_per_vote"] <= line["nll_high"]
        assert 0 < line["rmse_smooth"] < 1
        assert line["votes"] > 0
    assert lines[0]["verdict"] == "promote"
    assert lines[1]["votes"] > lines[0]["votes"]
    assert lines[1]["galaxies_labelled"] > lines[0]["galaxies_labelled"]
    assert lines[1]["champion_nll_per_vote"] is not None


def test_the_report_needs_nothing_else(rehearsed: Rehearsed) -> None:
    """One HTML file: images and plots are inside, and no address is outside."""
    workdir, _ = rehearsed
    report = (workdir / "report-rehearsal.html").read_text(encoding="utf-8")
    assert report.count("<article") >= 24
    assert report.count("<svg") >= 4
    linked = re.findall(r"""(?:src|href)=["'](?!data:|#)([^"']+)""", report)
    assert not linked


def test_running_again_changes_nothing(rehearsed: Rehearsed, prefect_url: str) -> None:
    """A finished rehearsal is shown, not repeated."""
    workdir, lines = rehearsed
    assert lines_of(run_alservice(workdir, *SMALL, PREFECT_API_URL=prefect_url)) == lines


def test_another_rehearsal_is_kept_out_of_the_folder(rehearsed: Rehearsed, prefect_url: str) -> None:
    """Other options in the same folder are refused by name, and nothing is lost."""
    workdir, _ = rehearsed
    other = ("rehearse", "--galaxies", "60", "--cycles", "1", "--seed", "4")
    refused = run_alservice(workdir, *other, PREFECT_API_URL=prefect_url)
    assert refused.returncode == 1
    assert "[conflict]" in refused.stderr
    assert "seed 3" in refused.stderr


def test_other_commands_find_the_rehearsal(rehearsed: Rehearsed) -> None:
    """Cycles are listed and shown from the same work folder, with the gate's checks and the history."""
    workdir, lines = rehearsed
    listed = lines_of(run_here(workdir, "cycle", "list", "--campaign", "rehearsal", "--json"))
    assert listed == lines
    (shown,) = lines_of(run_here(workdir, "cycle", "show", "--campaign", "rehearsal", "--number", "0", "--json"))
    assert shown["decision"]["checks"][0]["name"] == "first-model"
    assert len(shown["events"]) >= 8


def test_doctor_passes_where_a_rehearsal_ran(rehearsed: Rehearsed) -> None:
    """Every part is found well, the stand-in's login included."""
    workdir, _ = rehearsed
    seen = run_alservice(workdir, "doctor")
    assert seen.returncode == 0, seen.stdout
    assert "logged in as surveyor" in seen.stdout


def test_secrets_stay_where_they_belong(rehearsed: Rehearsed) -> None:
    """Neither the report, the table nor any log holds a secret of the folder, and its file is the owner's alone."""
    workdir, lines = rehearsed
    secrets = {path: path.read_text() for path in (workdir / "secrets").iterdir()}
    shown = (workdir / "report-rehearsal.html").read_text() + json.dumps(lines)
    assert secrets
    for path, secret in secrets.items():
        assert secret not in shown
        assert path.stat().st_mode & 0o077 == 0


def test_what_a_rehearsal_leaves_is_its_users_alone(rehearsed: Rehearsed) -> None:
    """Reports, the stand-in's logins, Prefect's database, votes: nobody else of the machine reads them.

    The kind: files made with the rights that the shell happens to give. Folders may be passed through, which the
    database's own user needs, and not listed.
    """
    workdir, _ = rehearsed
    found = [path for path in workdir.rglob("*") if not path.is_symlink()]
    open_files = [path for path in found if path.is_file() and path.stat().st_mode & 0o077]
    open_folders = [path for path in found if path.is_dir() and path.stat().st_mode & 0o066]
    assert {path.name for path in found} > {"report-rehearsal.html", "standin.db", "prefect.db", "blobs"}
    assert open_files == []
    assert open_folders == []
