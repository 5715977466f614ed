"""Commands of feeds and forgetting, as a person runs them."""

import json
import re
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

from alservice.campaigns.policies import LabelRule
from alservice.cli import app
from alservice.errors import NotAuthenticated
from alservice.zooniverse.workflow import Workflow, tasks_of
from tests.support.exports import export_cells, write_export
from tests.support.worlds import TREE, make_factory
from tests.votes.test_classification import raw
from tests.votes.test_collect_classifications import START, World
from tests.votes.test_reductions import payload


@pytest.fixture
def world(engine: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A campaign on the database that the command line opens, with the key that it hashes by."""
    monkeypatch.setenv("ALSERVICE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALSERVICE_WORKDIR", str(tmp_path))
    monkeypatch.setenv("ALSERVICE_USER_HASH_KEY", "secret of user-hash-key")
    made = World(make_factory(engine, tmp_path))
    workflow = Workflow(workflow_id=10, version="1.1", tasks=tasks_of(TREE)).plain()
    made.factory.workflows.save(made.campaign.id, [workflow], source="test")
    return made


def run(*arguments: str, code: int = 0) -> Result:
    """Run a command; its exit code is as expected."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result


def issued(output: str) -> tuple[str, str]:
    """Return user and password as printed."""
    found = re.search(r"user +(\S+)\npassword +(\S+)\n", output)
    assert found is not None, output
    return found[1], found[2]


def test_a_login_is_shown_once_and_opens_the_door(world: World) -> None:
    """The second one ends the first; the path is printed as Caesar needs it."""
    first = run("campaign", "webhook", "--campaign", "test", "--key", "galaxy_zoo").output
    assert "/caesar/reductions/galaxy_zoo_t0" in first
    user, password = issued(run("campaign", "webhook", "--campaign", "test").output)
    service = world.factory.votes.receive()
    body = json.dumps(payload()).encode()
    assert user == "caesar"
    assert service.run("test_t0", token=world.factory.access.recognise(password), body=body)
    with pytest.raises(NotAuthenticated, match="revoked"):
        world.factory.access.recognise(issued(first)[1])
    refused = run("campaign", "webhook", "--campaign", "test", "--key", "gz_t0", code=1)
    assert "cannot name a webhook" in refused.output


def test_feeds_are_compared_for_people_and_programs(world: World) -> None:
    """Equal feeds end well; a difference shows both numbers and fails."""
    assert "0 differences in 0 galaxies" in run("tally", "compare", "--campaign", "test").output
    _, password = issued(run("campaign", "webhook", "--campaign", "test").output)
    token = world.factory.access.recognise(password)
    world.factory.votes.receive().run("test_t0", token=token, body=json.dumps(payload(data={"0": 2})).encode())
    shown = run("tally", "compare", "--campaign", "test", code=1).output
    assert "g00 smooth-or-featured: classifications 0+0+0=0, reductions 2+0+0=2" in shown
    assert "total smooth-or-featured: 0 by classifications, 2 by reductions" in shown
    found = json.loads(run("tally", "compare", "--campaign", "test", "--json", code=1).stdout)
    assert found["differences"][0]["reductions"] == [2, 0, 0]
    assert (found["counts_from"], found["is_equal"]) == ("classifications", False)


def test_what_cannot_be_read_is_listed_and_replayed(world: World) -> None:
    """A row and two reductions wait for an answer's meaning; with the campaign's rule all are read."""
    tasks = deepcopy(tasks_of(TREE))
    tasks["T0"]["answers"].append({"label": "A ghost"})
    workflow = Workflow(workflow_id=10, version="1.2", tasks=tasks).plain()
    world.factory.workflows.save(world.campaign.id, [workflow], source="test")
    _, password = issued(run("campaign", "webhook", "--campaign", "test").output)
    for subject in (100, 101):
        body = json.dumps(payload(data={"0": 2, "3": 1}, subject={"id": subject}, id=subject)).encode()
        token = world.factory.access.recognise(password)
        world.factory.votes.receive().run("test_t0", token=token, body=body)
    world.send(1, workflow_version="1.2")
    world.run()
    listed = run("quarantine", "list", "--campaign", "test").output
    assert "       1  task T0 of version 1.2" in listed
    assert "       2  reduction: task T0 of version 1.2" in listed
    (line,) = run("quarantine", "list", "--campaign", "test", "--json").stdout.splitlines()
    assert list(json.loads(line)["reductions"].values()) == [2]
    assert run("quarantine", "replay", "--campaign", "test").output == "0 rows left quarantine\n"
    rule = LabelRule(task="T0", labels={"A ghost": "ignored"})
    world.factory.campaigns.save(replace(world.campaign.settings, decoding=(rule,)))
    assert run("quarantine", "replay", "--campaign", "test").output == "1 rows left quarantine\n"
    assert run("quarantine", "list", "--campaign", "test").output == "quarantine is empty\n"


def test_every_row_of_a_bad_file_is_told(world: World, tmp_path: Path) -> None:
    """Landed, quarantined and excluded are the rows of the file, at the door that people use."""
    rows = [export_cells(raw(START + n, zooniverse_subject_id=100), tasks_of(TREE)) for n in range(10)]
    spoilt = {0: (0, "500000000.0"), 1: (10, "{"), 2: (7, "2999-01-01 00:00:00 UTC"), 3: (11, "[]]"), 4: (4, "77")}
    for number, (place, cell) in spoilt.items():
        rows[number][place] = cell
    rows[5][13] = "999"
    path = write_export(tmp_path / "bad.csv", rows)
    path.write_bytes(path.read_bytes()[:-40])
    shown = run("ingest", "export", str(path), "--campaign", "test").output
    assert "10 rows: 3 landed, 5 quarantined, 2 excluded (unknown-subject 1, wrong-workflow 1); 4 new" in shown
    listed = run("quarantine", "list", "--campaign", "test").output
    for reason in (
        "row 1: classification_id '500000000.0' is not a whole number, but a float, some of whose digits may be lost",
        "row 2: metadata is not JSON",
        "row 3: created_at 2999-01-01T00:00:00+00:00 is in the future",
        "row 4: annotations is not JSON",
        "row 10 has 12 of 14 cells",
    ):
        assert reason in listed
    for wrong in (tmp_path, tmp_path / "none.csv"):
        assert str(wrong) in run("ingest", "export", str(wrong), "--campaign", "test", code=1).output
        assert wrong.name in run("ingest", "workflows", str(wrong), "--campaign", "test", code=1).output
    assert "no campaign 'nope'" in run("ingest", "export", str(path), "--campaign", "nope", code=1).output


def test_galaxies_at_fault_are_listed(world: World) -> None:
    """By galaxy and question; nothing to list says so."""
    assert "every galaxy's votes fit the tree" in run("tally", "faults", "--campaign", "test").output
    world.send(1, annotations=({"task": "T0", "value": None}, {"task": "T6", "value": 0}))
    world.run()
    assert "g00: how-rounded" in run("tally", "faults", "--campaign", "test").output
    (line,) = run("tally", "faults", "--campaign", "test", "--json").stdout.splitlines()
    assert json.loads(line) == {"galaxy_id": "g00", "questions": ["how-rounded"]}


def test_a_person_is_forgotten_by_id_or_hash(world: World) -> None:
    """What is not clear is refused before anything is opened."""
    seen = world.factory.votes.hash_of_user(77)
    world.listing.rows = [
        raw(START + 1, user_hash=seen),
        raw(START + 2, user_hash=world.factory.votes.hash_of_user(78)),
    ]
    world.run()
    for wrong in ([], ["--all"], ["--user-id", "77"], ["--all", "--user-id", "7", "--user-hash", "x"]):
        run("forget-user", *wrong, code=2)
    assert "test: 1 classifications" in run("forget-user", "--user-id", "77", "--all").output
    other = world.factory.votes.hash_of_user(78)
    assert "test: 1 classifications" in run("forget-user", "--user-hash", other, "--campaign", "test").output
    assert "test: 0 classifications" in run("forget-expired", "--all").output
    run("forget-expired", code=2)
