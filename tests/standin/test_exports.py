"""The life of an export and the rows in it."""

import csv
import gzip
import io
import json
from typing import Any

import pytest
import requests

from alservice.standin.server import Standin
from tests.standin.support import (
    OTHER,
    Api,
    FakeClock,
    Launch,
    as_other,
    as_owner,
    ask,
    classification,
    tasks,
)

EXPORT = "/projects/1/classifications_export"
REQUEST = {"media": {"content_type": "text/csv"}}
DAY = 24 * 3600


def medium(api: Api, path: str = EXPORT) -> dict[str, Any]:
    """Return the description of an export."""
    return api.get(path).json()["media"][0]


def rows(api: Api, path: str = EXPORT) -> list[dict[str, str]]:
    """Generate an export and return its rows."""
    assert api.post(path, REQUEST).status_code == 201
    return read(medium(api, path))


def read(described: dict[str, Any]) -> list[dict[str, str]]:
    """Return the rows of the file an export leads to."""
    return list(csv.DictReader(io.StringIO(requests.get(described["src"]).content.decode(), newline="")))


def test_an_export_goes_from_creating_to_ready(launch: Launch, clock: FakeClock) -> None:
    """Before the first request 404, then creating with a src that leads nowhere, then ready with a job id."""
    owner = as_owner(launch(settle_s=60.0))
    absent = owner.get(EXPORT)
    assert absent.status_code == 404
    assert absent.json()["errors"][0]["message"] == "No classifications_export exists for project #1"
    created = owner.post(EXPORT, REQUEST)
    described = created.json()["media"][0]
    assert (created.status_code, described["metadata"]) == (201, {"recipients": [1], "state": "creating"})
    assert described["href"] == EXPORT
    assert described["media_type"] == "project_classifications_export"
    assert requests.get(described["src"]).status_code == 404
    assert medium(owner)["metadata"]["state"] == "creating"
    clock.advance(60)
    ready = medium(owner)
    assert ready["metadata"]["state"] == "ready"
    assert ready["metadata"]["job_id"]
    assert ready["id"] == described["id"]


def test_a_second_request_within_a_day_is_never_ready(launch: Launch, clock: FakeClock) -> None:
    """It goes back to creating, stays there, and src still leads to the old file; a day later it works."""
    owner = as_owner(launch(token_lifetime_s=2 * DAY))
    subject = owner.new_subject()
    assert rows(owner) == []
    owner.classify(subject)
    clock.advance(DAY - 1)
    assert owner.post(EXPORT, REQUEST).status_code == 201
    clock.advance(10_000)
    stale = medium(owner)
    assert stale["metadata"]["state"] == "creating"
    assert read(stale) == []
    assert len(rows(owner)) == 1


def test_the_throttle_is_each_exports_own(standin: Standin) -> None:
    """Subjects and workflows can be exported although classifications just were."""
    owner = as_owner(standin)
    for path in (EXPORT, "/projects/1/subjects_export", "/projects/1/workflows_export"):
        owner.post(path, REQUEST)
        assert medium(owner, path)["metadata"]["state"] == "ready"


def test_src_is_private_and_expires(standin: Standin, clock: FakeClock) -> None:
    """Without its signature, or after five minutes, the file is refused; a fresh src works."""
    owner = as_owner(standin)
    rows(owner)
    src = medium(owner)["src"]
    assert requests.get(src.split("?")[0]).status_code == 403
    clock.advance(300)
    assert requests.get(src).status_code == 403
    assert requests.get(medium(owner)["src"]).status_code == 200


def test_the_file_is_gzip_without_a_charset(standin: Standin) -> None:
    """text/csv with Content-Encoding gzip, as an attachment, with bare line feeds."""
    owner = as_owner(standin)
    rows(owner)
    answer = requests.get(medium(owner)["src"], stream=True)
    raw = answer.raw.read(decode_content=False)
    assert answer.headers["Content-Type"] == "text/csv"
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert gzip.decompress(raw).startswith(b"classification_id,")
    assert b"\r" not in gzip.decompress(raw)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/projects/1/workflow_contents_export", REQUEST, 410),
        ("/projects/1/aggregations_export", REQUEST, 501),
        (EXPORT, {"media": {"metadata": {}}}, 422),
        (EXPORT, {"media": {"content_type": "text/csv", "src": "x"}}, 422),
        ("/projects/2/classifications_export", REQUEST, 404),
    ],
)
def test_an_export_that_cannot_be_is_refused(standin: Standin, path: str, body: dict[str, Any], status: int) -> None:
    """Gone, not modelled, off the schema, or of nothing."""
    assert as_owner(standin).post(path, body).status_code == status


def test_classifications_are_exported_with_labels(standin: Standin) -> None:
    """Answers are words, unknown ones say so, null stays null; metadata loses the version."""
    owner = as_owner(standin)
    ask(owner)
    subject = owner.new_subject(**{"#id": "J1", "name": 'Åsa, "quoted"'})
    for value in (1, 7, None):
        Api(standin).classify(subject, value)
    first, unknown, null = rows(owner)
    assert json.loads(first["annotations"]) == [
        {"task": "T0", "taskType": "single", "value": "Features", "task_label": "Is it smooth?"}
    ]
    assert json.loads(unknown["annotations"])[0]["value"] == "unknown answer label"
    assert json.loads(null["annotations"])[0]["value"] is None
    assert json.loads(first["metadata"])["live_project"] is True
    assert "workflow_version" not in json.loads(first["metadata"])
    assert (first["workflow_version"], first["workflow_id"]) == ("2.2", "10")
    assert first["created_at"] == "2026-03-01 12:00:00 UTC"
    assert first["subject_ids"] == subject
    assert json.loads(first["subject_data"]) == {subject: {"retired": None, "#id": "J1", "name": 'Åsa, "quoted"'}}


def test_labels_are_those_of_the_version_that_was_shown(standin: Standin) -> None:
    """A classification made under an earlier wording is exported in that wording."""
    owner = as_owner(standin)
    ask(owner)
    subject = owner.new_subject()
    Api(standin).classify(subject, 0, workflow_version="2.2")
    answers = [{"label": "Round"}, {"label": "Features"}]
    ask(owner, tasks={"T0": {**tasks()["T0"], "answers": answers}})
    Api(standin).classify(subject, 0, workflow_version="2.3")
    Api(standin).classify(subject, 0, workflow_version="9.9")
    values = [json.loads(row["annotations"])[0]["value"] for row in rows(owner)]
    assert values == ["Smooth", "Round", 0]


def test_people_have_names_and_strangers_pseudonyms_that_change(standin: Standin, clock: FakeClock) -> None:
    """A pseudonym is the same within a file and another in the next one; experts are marked."""
    owner = as_owner(standin)
    subject = owner.new_subject()
    for api in (as_other(standin), owner, Api(standin), Api(standin)):
        api.classify(subject)
    first = rows(owner)
    clock.advance(DAY)
    second = rows(as_owner(standin))
    assert [row["user_name"] for row in first[:2]] == [OTHER, "Zoo"]
    assert [row["user_id"] for row in first] == ["2", "1", "", ""]
    assert [row["expert"] for row in first] == ["", "owner", "", ""]
    assert first[2]["user_name"] == first[3]["user_name"] == f"not-logged-in-{first[2]['user_ip']}"
    assert len(first[2]["user_ip"]) == 20
    assert first[2]["user_ip"] != second[2]["user_ip"]


def test_only_complete_rows_of_living_workflows_are_exported(standin: Standin, clock: FakeClock) -> None:
    """Unfinished rows are left out, and everything of a deleted workflow; gold standard is marked."""
    owner = as_owner(standin)
    subject = owner.new_subject()
    for change in ({"completed": False}, {"gold_standard": True}):
        owner.post("/classifications", {"classifications": {**classification(subject), **change}})
    assert [row["gold_standard"] for row in rows(owner)] == ["true"]
    owner.call("DELETE", "/workflows/10", If_Match=owner.etag("/workflows/10"))
    clock.advance(DAY)
    assert rows(as_owner(standin)) == []


def test_workflow_and_set_exports_hold_their_own_rows(standin: Standin) -> None:
    """A set's export has the classifications of its members, a workflow's all of its own."""
    owner = as_owner(standin)
    set_id, inside, outside = owner.new_set(), owner.new_subject(), owner.new_subject()
    owner.link(set_id, [inside])
    for subject in (inside, outside):
        owner.classify(subject)
    by_set = rows(owner, f"/subject_sets/{set_id}/classifications_export")
    assert [row["subject_ids"] for row in by_set] == [inside]
    by_workflow = rows(owner, "/workflows/10/classifications_export")
    assert [row["subject_ids"] for row in by_workflow] == [inside, outside]


def test_subjects_are_exported_per_set_and_workflow(standin: Standin) -> None:
    """One row per set and linked workflow, a blank workflow where there is none, orphans absent."""
    owner = as_owner(standin)
    linked, loose, subject = owner.new_set("a"), owner.new_set("b"), owner.new_subject(ra=1.5)
    owner.new_subject()
    for set_id in (linked, loose):
        owner.link(set_id, [subject])
    owner.post("/workflows/10/links/subject_sets", {"subject_sets": [linked]})
    owner.classify(subject)
    owner.post("/workflows/10/retired_subjects", {"subject_ids": [subject], "retirement_reason": "human"})
    first, second = rows(owner, "/projects/1/subjects_export")
    assert (first["subject_set_id"], first["workflow_id"]) == (linked, "10")
    assert (first["classifications_count"], first["retirement_reason"]) == ("1", "human")
    assert first["retired_at"] == "2026-03-01 12:00:00 UTC"
    assert (second["subject_set_id"], second["workflow_id"], second["retired_at"]) == (loose, "", "")
    assert json.loads(first["metadata"]) == {"ra": 1.5}
    public = owner.only(f"/subjects/{subject}")["locations"][0]["image/jpeg"]
    assert json.loads(first["locations"]) == {"0": public}


def test_workflows_are_exported_per_version_with_their_text_apart(standin: Standin) -> None:
    """Tasks hold keys, strings hold the text of each version."""
    owner = as_owner(standin)
    ask(owner)
    first, second = rows(owner, "/projects/1/workflows_export")
    assert (first["version"], first["minor_version"]) == ("1", "1")
    assert (second["version"], second["minor_version"]) == ("2", "2")
    assert json.loads(second["tasks"])["T0"]["question"] == "T0.question"
    assert json.loads(second["strings"])["T0.answers.1.label"] == "Features"
    assert second["active"] == "false"
