"""State on disk: restarts, kills, one process per folder, many connections, reproducible secrets."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from alservice.errors import BadConfig, Conflict, PortInUse, SchemaMismatch
from alservice.standin.config import StandinConfig
from alservice.standin.server import Standin, known_logins
from alservice.standin.state import State
from tests.standin.support import (
    JPEG,
    OTHER,
    OWNER,
    PASSWORD,
    Api,
    FakeClock,
    Launch,
    Remote,
    app_token,
    as_owner,
    ask,
    counts,
    tasks,
    user_token,
)
from tests.support.shared import ROOT

SERVE = """
import sys
from pathlib import Path
from alservice.standin.config import StandinConfig
from alservice.standin.server import Standin
standin = Standin(StandinConfig(state=Path(sys.argv[1]), users=(("Zoo", "sky-survey-1"),))).start()
print(standin.endpoint, flush=True)
standin.wait()
"""


def whole_state(owner: Api) -> dict[str, Any]:
    """Return everything a reader can see, with hosts taken out."""
    kinds = ("projects", "workflows", "subject_sets", "subjects", "set_member_subjects")
    seen = {kind: owner.get(f"/{kind}").json()[kind] for kind in (*kinds, "subject_workflow_statuses")}
    seen["classifications"] = owner.get("/classifications/project").json()["classifications"]
    return json.loads(json.dumps(seen).replace(owner.endpoint, ""))


def test_a_restart_keeps_everything(launch: Launch) -> None:
    """Rows, files, tokens, the clock's offset and pending effects survive; so does the id sequence."""
    first = launch(settle_s=50.0)
    owner = as_owner(first)
    ask(owner)
    set_id, subject = owner.new_set(), owner.new_subject(key="a")
    body = {"locations": ["image/jpeg"], "links": {"project": "1"}}
    (url,) = owner.post("/subjects", {"subjects": body}).json()["subjects"][0]["locations"][0].values()
    headers = {"x-ms-blob-type": "BlockBlob", "Content-Type": "image/jpeg"}
    requests.put(url, data=JPEG, headers=headers)
    owner.link(set_id, [subject])
    owner.classify(subject)
    requests.post(f"{first.endpoint}/standin/clock", json={"advance_s": 30})
    before, waiting = whole_state(owner), counts(first)["pending_jobs"]
    assert waiting > 0
    token = owner.session.headers["Authorization"].removeprefix("Bearer ")
    first.stop()
    second = launch(settle_s=50.0, users=())
    owner = Api(second, token)
    assert whole_state(owner) == before
    assert counts(second)["pending_jobs"] == waiting
    image = owner.only("/subjects/100000002")["locations"][0]["image/jpeg"]
    assert image.startswith(second.endpoint)
    assert requests.get(image).content == JPEG
    requests.post(f"{second.endpoint}/standin/clock", json={"advance_s": 20})
    assert owner.only(f"/subject_sets/{set_id}")["set_member_subjects_count"] == 1
    assert owner.new_subject() == "100000003"
    assert owner.only("/workflows/10")["tasks"] == tasks()


def test_a_kill_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    """After kill -9 in the midst of writing, every subject whose 201 arrived is there."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SERVE, str(tmp_path / "state")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        remote = Remote(endpoint=process.stdout.readline().strip())
        token, answered = user_token(remote, OWNER, PASSWORD), []
        with ThreadPoolExecutor(4) as pool:
            writers = [pool.submit(_write_until_refused, Api(remote, token), answered) for _ in range(4)]
            while len(answered) < 60:
                assert process.poll() is None
            os.kill(process.pid, signal.SIGKILL)
            for writer in writers:
                writer.result()
        process.wait()
    with Standin(StandinConfig(state=tmp_path / "state")) as again:
        listed, path = set(), "/subjects?project_id=1&page_size=100"
        while path is not None:
            answer = Api(again).get(path).json()
            listed |= {entry["id"] for entry in answer["subjects"]}
            path = answer["meta"]["subjects"]["next_href"]
        assert set(answered) <= listed
        assert len(listed) == counts(again)["uploaded"] == counts(again)["subjects"]


def _write_until_refused(api: Api, answered: list[str]) -> None:
    while True:
        try:
            answered.append(api.new_subject())
        except requests.ConnectionError:
            return


def test_one_folder_serves_one_stand_in(launch: Launch, tmp_path: Path) -> None:
    """A second one on the same folder is refused, and so is a folder of another release."""
    running = launch()
    with pytest.raises(Conflict, match="another stand-in"):
        launch()
    running.stop()
    with sqlite3.connect(tmp_path / "state" / "standin.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(SchemaMismatch, match="version 99"):
        launch()


def test_a_taken_port_has_its_own_error(standin: Standin, tmp_path: Path) -> None:
    """A port in use is told as such, and the folder is free again."""
    port = int(standin.endpoint.rsplit(":", 1)[1])
    config = StandinConfig(state=tmp_path / "other", port=port, users=((OWNER, PASSWORD),))
    with pytest.raises(PortInUse, match=str(port)):
        Standin(config).start()
    assert known_logins(tmp_path / "other") == (OWNER,)


def test_an_address_that_is_not_this_machines_is_named(tmp_path: Path) -> None:
    """A host that cannot be bound is told as such, an empty one is refused: it would be every address."""
    config = StandinConfig(state=tmp_path / "other", host="192.0.2.1", users=((OWNER, PASSWORD),))
    with pytest.raises(BadConfig, match=r"192\.0\.2\.1"):
        Standin(config).start()
    with pytest.raises(BadConfig, match="host"):
        StandinConfig(state=tmp_path, host="")


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_is_named(tmp_path: Path, place: str) -> None:
    """A file in the way of the state folder is told by its name."""
    (tmp_path / "file").touch()
    with pytest.raises(BadConfig, match=place):
        Standin(StandinConfig(state=tmp_path / place, users=((OWNER, PASSWORD),)))


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    """What somebody else keeps as standin.db is left alone."""
    foreign = tmp_path / "standin.db"
    foreign.write_text("a note, not a database, and longer than a header of one hundred bytes" * 2)
    with pytest.raises(BadConfig, match=r"standin\.db"):
        Standin(StandinConfig(state=tmp_path, users=((OWNER, PASSWORD),)))
    assert foreign.read_text().startswith("a note")


def test_a_state_has_one_project(launch: Launch) -> None:
    """Ids are chosen once: another project on the same state is refused, another workflow joins the first."""
    launch(project_id=5, workflow_id=50).stop()
    with pytest.raises(Conflict, match="project 5, not 1"):
        launch()
    owner = as_owner(launch(project_id=5, workflow_id=51))
    assert owner.only("/projects/5")["links"]["workflows"] == ["50", "51"]


def test_a_folder_tells_who_it_knows(launch: Launch, tmp_path: Path) -> None:
    """The CLI asks this before it invents credentials."""
    assert known_logins(tmp_path / "state") == ()
    launch().stop()
    assert known_logins(tmp_path / "state") == (OWNER, OTHER)


def test_stopping_twice_is_fine_and_there_is_no_endpoint_before_the_start(tmp_path: Path) -> None:
    """The endpoint is known between start and stop."""
    standin = Standin(StandinConfig(state=tmp_path, users=((OWNER, PASSWORD),)))
    with pytest.raises(Conflict):
        _ = standin.endpoint
    standin.start()
    assert not standin.endpoint.endswith("/")
    standin.stop()
    standin.stop()


def test_the_project_can_go_live_at_a_restart(launch: Launch) -> None:
    """live_project is applied at each start, and moves the project's ETag."""
    first = launch(live_project=False)
    etag = Api(first).etag("/projects/1")
    assert Api(first).only("/projects/1")["live"] is False
    first.stop()
    second = launch(live_project=True)
    assert Api(second).only("/projects/1")["live"] is True
    assert Api(second).etag("/projects/1") != etag


def test_a_seed_makes_names_reproducible(launch: Launch, tmp_path: Path) -> None:
    """Two states with one seed name files alike; another seed, or none, does not."""

    def name(folder: str, seed: int | None) -> str:
        owner = as_owner(launch(state=tmp_path / folder, seed=seed))
        subject = owner.new_subject()
        return owner.only(f"/subjects/{subject}")["locations"][0]["image/jpeg"].rsplit("/", 1)[1]

    assert name("a", 1) == name("b", 1)
    assert len({name("c", 1), name("d", 2), name("e", None), name("f", None)}) == 4


def test_no_effect_is_due_after_it_was_applied(standin: Standin) -> None:
    """A settled stand-in looks for deferred effects without touching the disk."""
    owner = as_owner(standin)
    owner.link(owner.new_set(), [owner.new_subject()])
    assert standin.state.job_is_due()
    owner.get("/projects/1")
    assert not standin.state.job_is_due()


def test_many_connections_are_served_at_once(standin: Standin) -> None:
    """24 clients writing at the same time get distinct subjects, and every counter agrees."""
    token = app_token(standin)

    def write(number: int) -> list[str]:
        api = Api(standin, token)
        return [api.new_subject(worker=number) for _ in range(5)]

    with ThreadPoolExecutor(24) as pool:
        made = [subject for batch in pool.map(write, range(24)) for subject in batch]
    assert len(set(made)) == 120
    assert counts(standin)["subjects"] == counts(standin)["uploaded"] == 120
    assert Api(standin).get("/subjects?project_id=1").json()["meta"]["subjects"]["count"] == 120


def test_a_failed_transaction_leaves_nothing(tmp_path: Path, clock: FakeClock) -> None:
    """What a block wrote before it raised is rolled back, and the next block works."""
    state = State(tmp_path, clock=clock, seed=1, settle_s=0.0)
    with pytest.raises(sqlite3.IntegrityError):
        _write_two_and_fail(state)
    assert not state.job_is_due()
    with state.transaction() as tx:
        assert tx.value("SELECT count(*) FROM users") == 0
    state.close()


def _write_two_and_fail(state: State) -> None:
    with state.transaction() as tx:
        tx.insert_dated("users", login="a", password="b")
        tx.defer("count_set", subject_set_id=1)
        tx.insert_dated("users", login="A", password="c")


def test_an_error_inside_is_a_500_and_a_log(
    standin: Standin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect of the stand-in is never mistaken for Panoptes: it is logged with its traceback."""
    with standin.state.transaction() as tx:
        tx.run("ALTER TABLE subjects RENAME TO lost")
    answer = Api(standin).get("/subjects")
    assert answer.status_code == 500
    assert "no such table" in caplog.text
