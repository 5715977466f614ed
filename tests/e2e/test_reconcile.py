"""``alservice reconcile`` as a user runs it, on a work folder whose stand-in holds a published batch."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from alservice.app import open_app
from alservice.settings import Settings
from alservice.subjects.subject import draft_subject
from tests.support.rehearsals import lines_of, run_alservice
from tests.support.worlds import import_rows, make_campaign, make_row

pytestmark = pytest.mark.e2e

COMMAND = ("reconcile", "--campaign", "test")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work folder with four live subjects; the folder's own stand-in keeps them."""
    folder = tmp_path_factory.mktemp("work")
    with open_app(Settings(workdir=folder)) as factory, factory.sites.local.opened():
        row = import_rows(factory, make_campaign(), [make_row(n) for n in range(4)])
        cycle = factory.cycle.start(row.settings.name, actor="test")
        galaxies = factory.catalogues.galaxies(cycle.catalogue_id)
        drafts = [draft_subject("test", cycle.number, galaxy) for galaxy in galaxies]
        report = factory.subjects.deliver(cycle, row.settings, drafts, 3, actor="test")
    assert report.live == 4
    return folder


def test_differences_are_named_then_repaired_and_recorded(workdir: Path) -> None:
    """A clean campaign passes; an unlinked subject fails the command until it is repaired."""
    (clean,) = lines_of(run_alservice(workdir, *COMMAND, "--json"))
    assert clean["clean"]
    assert clean["rows"] == 4
    assert not any(clean["found"].values())

    with closing(sqlite3.connect(workdir / "standin" / "standin.db")) as connection, connection:
        connection.execute("DELETE FROM set_member_subjects WHERE id = (SELECT min(id) FROM set_member_subjects)")

    failed = run_alservice(workdir, *COMMAND)
    assert failed.returncode == 1, failed.stderr
    assert "unlinked           1  g0" in failed.stdout
    repaired = run_alservice(workdir, *COMMAND, "--repair", "--json")
    assert repaired.returncode == 0, repaired.stderr
    document = json.loads(repaired.stdout)
    assert len(document["found"]["unlinked"]) == 1
    assert document["repairs"] == {"removed": [], "linked": 1, "moved": {}}
    assert not any(document["left"].values())
    with open_app(Settings(workdir=workdir)) as factory:
        (event, *_) = factory.events.list(factory.campaigns.get("test").id)
    assert (event.kind, event.detail["linked"]) == ("subjects.repaired", 1)


def test_a_campaign_of_the_stand_in_is_validated_on_it(workdir: Path) -> None:
    """``campaign validate`` finds the folder's stand-in too; an empty workflow is given the tree's tasks."""
    finished = run_alservice(workdir, "campaign", "validate", "--campaign", "test")
    assert finished.returncode == 0, finished.stderr
    assert "11 questions" in finished.stdout
