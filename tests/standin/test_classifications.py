"""Classifications: taking them, what the worker adds, how they count, and how they are read back."""

from typing import Any

import pytest
import requests
from panoptes_client import Classification, Panoptes

from alservice.standin.server import Standin
from tests.standin.support import (
    OTHER,
    OTHER_PASSWORD,
    OWNER,
    PASSWORD,
    Api,
    FakeClock,
    Launch,
    app_token,
    as_other,
    as_owner,
    classification,
)


def prepare(standin: Standin, subjects: int = 1, count: int = 3) -> tuple[Api, list[str]]:
    """Return the owner and subjects linked to workflow 10, which retires after `count`."""
    owner = as_owner(standin)
    set_id, ids = owner.new_set(), [owner.new_subject() for _ in range(subjects)]
    owner.link(set_id, ids)
    owner.post("/workflows/10/links/subject_sets", {"subject_sets": [set_id]})
    rule = {"criteria": "classification_count", "options": {"count": count}}
    owner.put("/workflows/10", {"workflows": {"retirement": rule}}, owner.etag("/workflows/10"))
    return owner, ids


def rows(api: Api, query: str = "project_id=1") -> list[dict[str, Any]]:
    """Return the project's classifications."""
    return api.get(f"/classifications/project?{query}").json()["classifications"]


def status(api: Api, subject: str) -> dict[str, Any]:
    """Return the status of a subject in workflow 10."""
    found = api.get(f"/subject_workflow_statuses?workflow_id=10&subject_id={subject}").json()
    return found["subject_workflow_statuses"][0]


def test_anybody_may_classify_and_twice_is_two_rows(standin: Standin) -> None:
    """No token is needed, nothing is deduplicated, and ids have nine digits."""
    _, (subject,) = prepare(standin)
    answers = [Api(standin).classify(subject, value=1) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    first, second = (answer.json()["classifications"][0] for answer in answers)
    assert (first["id"], second["id"]) == ("500000001", "500000002")
    assert first["annotations"] == [{"task": "T0", "taskType": "single", "value": 1}]
    assert first["links"] == {
        "project": "1",
        "user": None,
        "user_group": None,
        "workflow": "10",
        "subjects": [subject],
    }


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("metadata", {"started_at": None}),
        ("metadata", {"workflow_version": 2.2}),
        ("metadata", {"utc_offset": 0}),
        ("metadata", {"seen_before": False}),
        ("links", {"subjects": ["12a"]}),
        ("links", {"subjects": [""]}),
        ("links", {"subjects": []}),
        ("links", {"subjects": "100000001"}),
        ("links", {"project": "9"}),
        ("links", {"workflow": "9"}),
        ("links", {"user": "1"}),
    ],
)
def test_the_schema_is_closed_and_links_are_checked(standin: Standin, part: str, change: Any) -> None:
    """Metadata has required strings, links are digits and exist; a refusal leaves no row."""
    owner, (subject,) = prepare(standin)
    body = classification(subject)
    body[part] = {**body[part], **change}
    assert Api(standin).post("/classifications", {"classifications": body}).status_code == 422
    assert rows(owner) == []


@pytest.mark.parametrize("missing", ["metadata", "annotations", "links"])
def test_three_parts_are_required_and_others_unknown(standin: Standin, missing: str) -> None:
    """A part left out is a 422, and so is one that is not in the schema."""
    _, (subject,) = prepare(standin)
    body = classification(subject)
    unknown = {**body, "user_ip": "127.0.0.1"}
    del body[missing]
    for given in (body, unknown):
        assert Api(standin).post("/classifications", {"classifications": given}).status_code == 422


@pytest.mark.parametrize("value", [None, [], [0, 1], {"x": 1}, "text", 7])
def test_any_value_and_any_further_metadata_is_kept(standin: Standin, value: Any) -> None:
    """Null answers, lists and free metadata come back as they were sent."""
    owner, (subject,) = prepare(standin)
    Api(standin).classify(subject, value, session="abc", viewport={"width": 320, "height": 480})
    (row,) = rows(owner)
    assert row["annotations"][0]["value"] == value
    assert row["metadata"]["session"] == "abc"
    assert row["metadata"]["viewport"] == {"width": 320, "height": 480}
    assert row["metadata"]["workflow_version"] == "2.2"


def test_a_row_changes_after_it_was_first_read(launch: Launch, clock: FakeClock) -> None:
    """live_project, user_group_ids and seen_before are added by a worker, with a new updated_at."""
    standin = launch(settle_s=5.0)
    owner, (subject,) = prepare(standin)
    visitor = as_other(standin)
    for _ in range(2):
        visitor.classify(subject)
    early = rows(owner)
    assert all("live_project" not in row["metadata"] for row in early)
    clock.advance(5)
    first, repeat = rows(owner)
    assert first["updated_at"] > early[0]["updated_at"]
    assert first["metadata"] == {**early[0]["metadata"], "live_project": True, "user_group_ids": []}
    assert repeat["metadata"]["seen_before"] is True


def test_repeats_by_a_user_do_not_count_and_anonymous_ones_do(standin: Standin) -> None:
    """A user counts once per subject and workflow, an anonymous sitting each time."""
    owner, (subject,) = prepare(standin, count=10)
    for api in (as_other(standin), as_other(standin), Api(standin), Api(standin), owner):
        api.classify(subject)
    assert status(owner, subject)["classifications_count"] == 4
    assert owner.only("/workflows/10")["classifications_count"] == 5
    assert ["seen_before" in row["metadata"] for row in rows(owner)] == [False, True, False, False, False]


def test_a_claimed_repeat_gold_standard_and_unfinished_ones_do_not_count(standin: Standin) -> None:
    """seen_before sent by a client, gold_standard and incomplete rows leave the count as it is."""
    owner, (subject,) = prepare(standin)
    visitor = Api(standin)
    visitor.classify(subject, seen_before=True)
    for change in ({"gold_standard": True}, {"completed": False}):
        visitor.post("/classifications", {"classifications": {**classification(subject), **change}})
    assert len(rows(owner)) == 3
    assert status(owner, subject)["classifications_count"] == 0


def test_an_unfinished_row_does_not_make_the_finished_one_a_repeat(standin: Standin) -> None:
    """Only complete classifications mark a subject as seen."""
    owner, (subject,) = prepare(standin)
    visitor = as_other(standin)
    unfinished = {**classification(subject), "completed": False}
    visitor.post("/classifications", {"classifications": unfinished})
    visitor.classify(subject)
    assert status(owner, subject)["classifications_count"] == 1


def test_a_subject_retires_at_the_count(standin: Standin) -> None:
    """The rule is count or more; sittings that come later still count."""
    owner, (subject, other) = prepare(standin, subjects=2, count=2)
    Api(standin).classify(subject)
    assert status(owner, subject)["retired_at"] is None
    Api(standin).classify(subject)
    assert status(owner, subject)["retired_at"] is not None
    Api(standin).classify(subject)
    row = status(owner, subject)
    assert (row["classifications_count"], row["retirement_reason"]) == (3, "classification_count")
    assert status(owner, other)["retired_at"] is None
    assert owner.only("/workflows/10")["retired_set_member_subjects_count"] == 1


def test_a_workflow_that_never_retires_only_counts(standin: Standin) -> None:
    """With never_retire the count grows and nothing retires."""
    owner, (subject,) = prepare(standin)
    rule = {"retirement": {"criteria": "never_retire", "options": {}}}
    owner.put("/workflows/10", {"workflows": rule}, owner.etag("/workflows/10"))
    for _ in range(16):
        Api(standin).classify(subject)
    row = status(owner, subject)
    assert (row["classifications_count"], row["retired_at"]) == (16, None)


def test_a_project_in_development_never_counts(launch: Launch) -> None:
    """While the project is not live nothing counts or retires; explicit retirement works."""
    standin = launch(live_project=False)
    owner, (subject,) = prepare(standin, count=1)
    Api(standin).classify(subject)
    assert rows(owner)[0]["metadata"]["live_project"] is False
    assert status(owner, subject)["classifications_count"] == 0
    owner.post("/workflows/10/retired_subjects", {"subject_ids": [subject], "retirement_reason": "human"})
    assert status(owner, subject)["retirement_reason"] == "human"


def test_a_cursor_needs_its_project(standin: Standin) -> None:
    """last_id alone is a 422."""
    owner, _ = prepare(standin)
    refused = owner.get("/classifications/project?last_id=1")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["message"] == "Project ID required if last_id is included"


def test_a_cursor_repeats_rows_where_ids_grow_a_digit(launch: Launch) -> None:
    """The next cursor is the largest id as text: a page of 99 to 101 goes on after 99."""
    standin = launch(first_classification_id=98)
    owner, (subject,) = prepare(standin)
    for _ in range(6):
        Api(standin).classify(subject)
    answer = owner.get("/classifications/project?project_id=1&last_id=98&page_size=3").json()
    assert [row["id"] for row in answer["classifications"]] == ["99", "100", "101"]
    href = answer["meta"]["classifications"]["next_href"]
    assert href == "/classifications/project?last_id=99&page_size=3&project_id=1"
    again = owner.get(href).json()["classifications"]
    assert [row["id"] for row in again] == ["100", "101", "102"]


def test_the_real_client_reads_on_to_an_empty_page(standin: Standin) -> None:
    """Nine-digit ids never repeat, and every row is read once."""
    _, (subject,) = prepare(standin)
    for _ in range(5):
        Api(standin).classify(subject)
    with Panoptes(endpoint=standin.endpoint, username=OWNER, password=PASSWORD):
        found = Classification.where(scope="project", project_id=1, last_id=500000000, page_size=2)
        assert [int(row.id) - 500000000 for row in found] == [1, 2, 3, 4, 5]


def test_everybody_reads_his_own_and_the_owner_the_project(standin: Standin) -> None:
    """Own complete ones, own unfinished ones, the project's for its owner, nothing for a stranger."""
    owner, (subject,) = prepare(standin)
    visitor = as_other(standin)
    visitor.classify(subject)
    visitor.post("/classifications", {"classifications": {**classification(subject), "completed": False}})
    Api(standin).classify(subject)

    def ids(api: Api, path: str) -> list[int]:
        found = api.get(f"/classifications{path}").json()["classifications"]
        return [int(row["id"]) - 500000000 for row in found]

    assert ids(visitor, "") == [1]
    assert ids(visitor, "/incomplete") == [2]
    assert ids(visitor, "/project?project_id=1") == []
    assert ids(owner, "/project") == ids(owner, "/project?project_id=1") == [1, 2, 3]
    assert ids(owner, "/project?workflow_id=11") == []
    assert ids(owner, f"/project?subject_ids={subject}&project_id=1") == [1, 2, 3]
    assert ids(owner, "/project?subject_id=7") == []
    assert ids(owner, "") == []


def test_gold_standard_is_public_where_the_workflow_says_so(standin: Standin) -> None:
    """Strangers read gold-standard rows of such workflows only; the owner always does."""
    owner, (subject,) = prepare(standin)
    gold = {**classification(subject), "gold_standard": True}
    owner.post("/classifications", {"classifications": gold})
    owner.classify(subject)

    def found(api: Api) -> int:
        return len(api.get("/classifications/gold_standard").json()["classifications"])

    assert (found(owner), found(Api(standin))) == (1, 0)
    public = {"workflows": {"public_gold_standard": True}}
    owner.put("/workflows/10", public, owner.etag("/workflows/10"))
    assert found(Api(standin)) == 1


def test_a_complete_classification_is_final(standin: Standin) -> None:
    """One's own is shown; changing it is a 403, somebody else's a 404, an unfinished one is not modelled."""
    owner, (subject,) = prepare(standin)
    visitor = as_other(standin)
    path = visitor.classify(subject).json()["classifications"][0]["href"]
    unfinished = {**classification(subject), "completed": False}
    draft = visitor.post("/classifications", {"classifications": unfinished}).json()["classifications"][0]
    assert visitor.only(path)["id"] == "500000001"
    assert owner.get(path).status_code == 404
    body = {"classifications": {"annotations": []}}
    assert visitor.call("PUT", path, body).status_code == 403
    assert visitor.call("DELETE", path).status_code == 403
    assert owner.call("PUT", path, body).status_code == 404
    assert visitor.call("PUT", draft["href"], body).status_code == 501


def test_a_narrow_token_reads_nothing_and_the_client_takes_it_for_the_end(standin: Standin) -> None:
    """The empty 403 looks to the real client like a project without classifications."""
    _, (subject,) = prepare(standin)
    Api(standin).classify(subject)
    client = Panoptes(endpoint=standin.endpoint, username=OTHER, password=OTHER_PASSWORD)
    client.get_bearer_token()
    client.bearer_token = app_token(standin, scope="public project")
    with client:
        assert list(Classification.where(scope="project", project_id=1)) == []


def test_a_queue_gives_unseen_subjects_until_none_are_left(standin: Standin) -> None:
    """A volunteer never gets a retired or seen subject while there is another; then anything goes."""
    owner, subjects = prepare(standin, subjects=4)
    owner.post("/workflows/10/retired_subjects", {"subject_ids": subjects[:1], "retirement_reason": "other"})
    visitor = as_other(standin)
    visitor.classify(subjects[1])

    def queue(api: Api, query: str = "workflow_id=10") -> list[dict[str, Any]]:
        return api.get(f"/subjects/queued?{query}").json()["subjects"]

    assert {entry["id"] for entry in queue(visitor)} == set(subjects[2:])
    assert {entry["selection_state"] for entry in queue(visitor)} == {"normal"}
    assert {entry["id"] for entry in queue(Api(standin))} == set(subjects[1:])
    assert len(queue(Api(standin), "workflow_id=10&page_size=2")) == 2
    for subject in subjects[2:]:
        visitor.classify(subject)
    spent = {entry["id"]: entry for entry in queue(visitor)}
    assert set(spent) == set(subjects)
    assert spent[subjects[0]]["retired"] is True
    assert spent[subjects[0]]["already_seen"] is False
    assert spent[subjects[1]]["already_seen"] is True
    assert spent[subjects[1]]["selection_state"] == "failover_fallback"
    assert spent[subjects[1]]["finished_workflow"] is True


def test_a_queue_draws_from_all_sets_and_from_all_subjects(standin: Standin) -> None:
    """Over many calls each subject of each linked set comes up, in one set as in two."""
    owner, subjects = prepare(standin, subjects=6)
    second, more = owner.new_set("b"), [owner.new_subject() for _ in range(6)]
    owner.link(second, [*more, subjects[0]])
    owner.post("/workflows/10/links/subject_sets", {"subject_sets": [second]})
    path = "/subjects/queued?workflow_id=10&page_size=1"
    drawn = [owner.get(path).json()["subjects"][0]["id"] for _ in range(150)]
    assert set(drawn) == {*subjects, *more}
    whole = owner.get("/subjects/queued?workflow_id=10&page_size=50").json()["subjects"]
    assert sorted(entry["id"] for entry in whole) == sorted({*subjects, *more})


def test_a_prioritised_queue_is_in_order_and_a_grouped_one_needs_its_set(standin: Standin) -> None:
    """Lowest priority first, those without one last; a grouped workflow asks for subject_set_id."""
    owner, _ = prepare(standin, subjects=0)
    second = owner.new_set("b")
    low, high, none = (owner.new_subject(**key) for key in ({"#priority": 1}, {"#priority": 2.5}, {}))
    owner.link(second, [none, high, low])
    owner.post("/workflows/10/links/subject_sets", {"subject_sets": [second]})
    change = {"workflows": {"prioritized": True, "grouped": True}}
    owner.put("/workflows/10", change, owner.etag("/workflows/10"))
    assert owner.get("/subjects/queued?workflow_id=10").status_code == 422
    answer = owner.get(f"/subjects/queued?workflow_id=10&subject_set_id={second}").json()
    assert [entry["id"] for entry in answer["subjects"]] == [low, high, none]
    assert owner.get("/subjects/queued?workflow_id=10&subject_set_id=1001").status_code == 404


def test_a_queue_of_nothing_is_refused(standin: Standin) -> None:
    """No workflow named is a 422; an unknown one, one without sets, or without subjects is a 404."""
    owner = as_owner(standin)
    paths = ["/subjects/queued", "/subjects/queued?workflow_id=9", "/subjects/queued?workflow_id=10"]
    assert [owner.get(path).status_code for path in paths] == [422, 404, 404]
    owner.post("/workflows/10/links/subject_sets", {"subject_sets": [owner.new_set()]})
    assert owner.get(paths[2]).status_code == 404


def test_classifications_are_no_secret_of_the_connection(standin: Standin) -> None:
    """A body that is not JSON, from a stranger, is a 400 and not an error of the stand-in."""
    headers = {"Accept": "application/vnd.api+json; version=1", "Content-Type": "application/json"}
    answer = requests.post(f"{standin.endpoint}/api/classifications", data=b"\xff", headers=headers)
    assert answer.status_code == 400
