"""What strangers send: numbers beyond any table, answers of any shape, bodies that are not quite JSON."""

import logging
import socket
from urllib.parse import urlsplit

import pytest
import requests

from alservice.standin.server import Standin
from tests.standin.support import Api, Launch, as_owner, ask, classification, counts

HUGE = ["9" * 30, "9" * 5000]
EXPORT = "/projects/1/classifications_export"
REQUEST = {"media": {"content_type": "text/csv"}}


@pytest.mark.parametrize("number", HUGE)
@pytest.mark.parametrize(
    "path",
    [
        "/projects/{}",
        "/workflows/{}",
        "/subjects/{}",
        "/subject_sets/{}",
        "/set_member_subjects/{}",
        "/subject_workflow_statuses/{}",
        "/classifications/{}",
        "/users/{}",
        "/subjects/queued?workflow_id={}",
    ],
)
def test_a_number_beyond_every_table_is_nobodys(standin: Standin, path: str, number: str) -> None:
    """An id that no row can have is a 404, not an accident of the database."""
    assert as_owner(standin).get(path.format(number)).status_code == 404


@pytest.mark.parametrize("number", HUGE)
@pytest.mark.parametrize(
    ("kind", "query"),
    [
        ("subjects", "project_id={}"),
        ("subjects", "subject_set_ids=1,{}"),
        ("workflows", "id={}"),
        ("set_member_subjects", "subject_id={}"),
        ("subject_workflow_statuses", "subject_id={}"),
        ("classifications", "subject_id={}"),
    ],
)
def test_a_filter_by_such_a_number_leaves_nothing(standin: Standin, kind: str, query: str, number: str) -> None:
    """The listing is empty."""
    answer = as_owner(standin).get(f"/{kind}?{query.format(number)}")
    assert (answer.status_code, answer.json()[kind]) == (200, [])


@pytest.mark.parametrize("number", HUGE)
def test_links_to_such_numbers_are_links_to_nothing(standin: Standin, number: str) -> None:
    """A link is a 422, an unlink passes over them, and a classification of one is refused."""
    owner = as_owner(standin)
    set_id = owner.new_set()
    assert owner.link(set_id, [number]).status_code == 422
    assert owner.call("DELETE", f"/subject_sets/{set_id}/links/subjects/{number[:30]}").status_code == 204
    assert owner.post("/workflows/10/links/subject_sets", {"subject_sets": [number]}).status_code == 422
    assert owner.classify(number).status_code == 422


@pytest.mark.parametrize("query", ["page", "page_size"])
@pytest.mark.parametrize("number", HUGE)
def test_a_page_beyond_every_listing_is_a_422(standin: Standin, query: str, number: str) -> None:
    """Pages and sizes have at most nine digits."""
    assert as_owner(standin).get(f"/classifications?{query}={number}").status_code == 422


@pytest.mark.parametrize("call", ["retired_subjects", "unretire_subjects"])
def test_a_worker_passes_over_such_numbers(standin: Standin, call: str) -> None:
    """The call is a 204 as for any unknown subject, and what was known beside it is done."""
    owner = as_owner(standin)
    subject = owner.new_subject()
    assert owner.post(f"/workflows/10/{call}", {"subject_ids": [HUGE[0], subject]}).status_code == 204
    assert owner.get("/projects/1").status_code == 200
    assert counts(standin)["pending_jobs"] == 0
    assert counts(standin)["retired"] == (call == "retired_subjects")


def test_a_job_that_fails_is_buried_and_hurts_no_other_call(standin: Standin, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged as an error and undone; the next job and the next call go on."""
    owner = as_owner(standin)
    subject = owner.new_subject()
    with standin.state.transaction() as tx:
        tx.defer("retire", workflow_id=10, subject_ids=[10**30], reason=None)
    owner.post("/workflows/10/retired_subjects", {"subject_ids": [subject]})
    with caplog.at_level(logging.ERROR):
        assert owner.get("/projects/1").status_code == 200
    assert "buried the job retire" in caplog.text
    assert (counts(standin)["retired"], counts(standin)["pending_jobs"]) == (1, 0)


@pytest.mark.parametrize("kind", ["combo", "drawing", "multiple", "single"])
@pytest.mark.parametrize("value", [[1, "x", None], {"a": 1}, "text", [[1]], 10**30])
def test_an_answer_of_any_shape_does_not_break_the_export(standin: Standin, kind: str, value: object) -> None:
    """Anybody may post any value, so labelling takes any; so does the recorded workflow version."""
    owner = as_owner(standin)
    ask(owner, tasks={"T0": {"type": kind, "question": "?", "answers": [{"label": "Smooth"}], "tools": []}})
    assert owner.classify(owner.new_subject(), value, workflow_version=f"{HUGE[0]}.1").status_code == 201
    owner.post(EXPORT, REQUEST)
    (medium,) = owner.get(EXPORT).json()["media"]
    assert medium["metadata"]["state"] == "ready"


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_what_python_alone_takes_for_json_is_a_400(standin: Standin, constant: str) -> None:
    """JSON has no such numbers: they would make every later listing unreadable."""
    owner = as_owner(standin)
    body = f'{{"subjects": {{"locations": [], "metadata": {{"z": {constant}}}, "links": {{"project": "1"}}}}}}'
    assert owner.session.post(f"{owner.endpoint}/api/subjects", data=body).status_code == 400


@pytest.mark.parametrize("length", ["many", "-1", "9" * 30])
def test_a_body_of_impossible_length_is_a_400(standin: Standin, length: str) -> None:
    """The connection is answered and ended: what follows cannot be told from the next request."""
    with socket.create_connection((urlsplit(standin.endpoint).hostname, urlsplit(standin.endpoint).port)) as wire:
        wire.sendall(f"POST /api/subjects HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
        assert wire.makefile("rb").readline().split()[1] == b"400"


def test_head_is_answered_as_get_without_the_body(standin: Standin) -> None:
    """As Rails and the file storage do: for a listing, and for an image that is not there."""
    owner = as_owner(standin)
    shown = owner.call("HEAD", "/projects/1")
    assert (shown.status_code, shown.content) == (200, b"")
    assert shown.headers["ETag"] == owner.etag("/projects/1")
    subject = owner.only(f"/subjects/{owner.new_subject()}")
    assert requests.head(subject["locations"][0]["image/jpeg"]).status_code == 404


def test_a_reader_of_listings_gets_a_304_too(standin: Standin) -> None:
    """If-None-Match may be weak, and one of several."""
    owner = as_owner(standin)
    path = "/subjects?project_id=1"
    etag = owner.etag(path)
    assert owner.get(path, If_None_Match=f'"other", W/{etag}').status_code == 304
    owner.new_subject()
    assert owner.get(path, If_None_Match=etag).status_code == 200


def test_belongs_to_and_has_many_keys_filter(standin: Standin) -> None:
    """Classifications are found by user, workflows by a set that is linked to them."""
    owner = as_owner(standin)
    subject, set_id = owner.new_subject(), owner.new_set()
    owner.classify(subject)
    Api(standin).classify(subject)
    (own,) = owner.get("/classifications").json()["classifications"]
    found = owner.get(f"/classifications/project?user_id={own['links']['user']}").json()["classifications"]
    assert [entry["id"] for entry in found] == [own["id"]]
    assert owner.get(f"/workflows?subject_set_id={set_id}").json()["workflows"] == []
    owner.post("/workflows/10/links/subject_sets", {"subject_sets": [set_id]})
    answer = owner.get(f"/workflows?project_id=1&subject_set_id={set_id}").json()
    assert [entry["id"] for entry in answer["workflows"]] == ["10"]
    assert answer["meta"]["workflows"]["first_href"] == f"/workflows?project_id=1&subject_set_id={set_id}"


def test_anybody_reads_the_export_of_workflows_and_only_the_owner_asks_for_it(launch: Launch) -> None:
    """Reading is for owners where people's answers or subjects are inside."""
    standin = launch()
    owner, path = as_owner(standin), "/projects/1/workflows_export"
    owner.post(path, REQUEST)
    owner.post(EXPORT, REQUEST)
    assert Api(standin).get(path).status_code == 200
    assert Api(standin).get(EXPORT).status_code == 404


def test_a_classification_may_leave_its_state_out(standin: Standin) -> None:
    """`completed` is true unless it is said not to be, as the column's default has it."""
    body = classification(as_owner(standin).new_subject())
    del body["completed"]
    as_owner(standin).post("/classifications", {"classifications": body})
    assert len(as_owner(standin).get("/classifications").json()["classifications"]) == 1
