"""Subject sets, their members and their counters."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from alservice.standin.server import Standin
from tests.standin.support import Api, FakeClock, Launch, add_faults, app_token, as_owner, counts


def members(api: Api, set_id: str) -> list[str]:
    """Return the subjects of a set by membership."""
    listed = api.get(f"/set_member_subjects?subject_set_id={set_id}&page_size=100").json()
    return [entry["links"]["subject"] for entry in listed["set_member_subjects"]]


def test_a_name_is_taken_once_per_project(standin: Standin) -> None:
    """A second set of that name is a 400, by create and by rename; a set may keep its own name."""
    owner = as_owner(standin)
    owner.new_set("active")
    body = {"display_name": "active", "links": {"project": "1"}}
    again = owner.post("/subject_sets", {"subject_sets": body})
    assert again.status_code == 400
    assert again.json()["errors"][0]["message"] == "Validation failed: Display name has already been taken"
    path = f"/subject_sets/{owner.new_set('pool')}"
    rename = {"subject_sets": {"display_name": "active"}}
    assert owner.put(path, rename, owner.etag(path)).status_code == 400
    keep = {"subject_sets": {"display_name": "pool", "metadata": {"tier": 3}}}
    assert owner.put(path, keep, owner.etag(path)).status_code == 200
    assert owner.only(path)["metadata"] == {"tier": 3}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"display_name": 3}, 422),
        ({"expert_set": True}, 422),
        ({"links": {}}, 422),
        ({"links": {"project": "5"}}, 422),
        ({"display_name": " "}, 400),
        ({"links": {"project": "1", "workflows": ["10"]}}, 501),
    ],
)
def test_a_set_that_cannot_be_is_refused(standin: Standin, changes: dict[str, object], status: int) -> None:
    """Schema and links are a 422, a blank name a 400, and what is not modelled is loud."""
    body = {"display_name": "a", "links": {"project": "1"}, **changes}
    assert as_owner(standin).post("/subject_sets", {"subject_sets": body}).status_code == status


def test_linking_is_idempotent(standin: Standin) -> None:
    """Linked twice, or together with new ones, a subject is a member once."""
    owner = as_owner(standin)
    set_id, subjects = owner.new_set(), [owner.new_subject() for _ in range(3)]
    for batch in (subjects[:2], subjects[:2], subjects):
        assert owner.link(set_id, batch).status_code == 200
    assert members(owner, set_id) == subjects


@pytest.mark.parametrize("spoiler", ["missing", "twice"])
def test_a_link_call_is_all_or_nothing(standin: Standin, spoiler: str) -> None:
    """One id that is missing or given twice is a 422, and nothing is linked."""
    owner = as_owner(standin)
    set_id, subjects = owner.new_set(), [owner.new_subject() for _ in range(2)]
    answer = owner.link(set_id, [*subjects, "7" if spoiler == "missing" else subjects[0]])
    assert answer.status_code == 422
    assert "check the subject set and all the subjects exist" in answer.text
    assert members(owner, set_id) == []


def test_the_body_key_of_a_link_is_the_relation(standin: Standin) -> None:
    """Any other key is a 422 that says so."""
    owner = as_owner(standin)
    answer = owner.post(f"/subject_sets/{owner.new_set()}/links/subjects", {"subject_ids": ["1"]})
    assert answer.status_code == 422
    assert "must match body key" in answer.text


def test_unlinking_ignores_absent_ids(standin: Standin) -> None:
    """A 204 takes out what was there."""
    owner = as_owner(standin)
    set_id, subjects = owner.new_set(), [owner.new_subject() for _ in range(3)]
    owner.link(set_id, subjects)
    path = f"/subject_sets/{set_id}/links/subjects/{subjects[0]},{subjects[2]},7"
    assert [owner.call("DELETE", path).status_code for _ in range(2)] == [204, 204]
    assert members(owner, set_id) == [subjects[1]]
    assert owner.get(f"/subjects?subject_set_id={set_id}").json()["meta"]["subjects"]["count"] == 1


def test_the_counter_of_a_set_follows_later_and_spoils_its_etag(launch: Launch, clock: FakeClock) -> None:
    """A link call changes the ETag at once, the counter after the settling delay, and then the ETag again."""
    owner = as_owner(launch(settle_s=3.0))
    path = f"/subject_sets/{owner.new_set()}"
    fresh = owner.etag(path)
    owner.link(path.split("/")[2], [owner.new_subject()])
    linked = owner.etag(path)
    assert owner.only(path)["set_member_subjects_count"] == 0
    clock.advance(3)
    assert owner.only(path)["set_member_subjects_count"] == 1
    assert len({fresh, linked, owner.etag(path)}) == 3
    rename = {"subject_sets": {"display_name": "late"}}
    assert owner.put(path, rename, linked).status_code == 412


def test_the_etag_of_a_create_goes_stale_within_seconds(standin: Standin, clock: FakeClock) -> None:
    """The counter touches a new set by itself: a rename at once works, one a little later is a 412."""
    owner = as_owner(standin)
    path = f"/subject_sets/{owner.new_set()}"
    etag = owner.etag(path)
    clock.advance(1.9)
    assert owner.etag(path) == etag
    clock.advance(0.1)
    assert owner.put(path, {"subject_sets": {"metadata": {}}}, etag).status_code == 412


def link_together(standin: Standin, calls: list[tuple[str, str]]) -> list[requests.Response]:
    """Send link calls of one subject each, all of which arrive before any of them goes on."""
    add_faults(standin, {"path": "/links/subjects", "kind": "latency", "seconds": 60})
    token = app_token(standin)
    with ThreadPoolExecutor(len(calls)) as pool:
        sent = [pool.submit(Api(standin, token).link, set_id, [subject]) for set_id, subject in calls]
        while requests.get(f"{standin.endpoint}/standin/faults").json()[0]["hits"] < len(calls):
            assert not any(call.done() for call in sent)
        requests.delete(f"{standin.endpoint}/standin/faults")
        return [call.result() for call in sent]


def test_link_calls_that_overlap_on_one_set_are_stale(standin: Standin) -> None:
    """Of two calls that both read the set before either wrote, one is a 409 that linked nothing."""
    owner = as_owner(standin)
    set_id, subjects = owner.new_set(), [owner.new_subject() for _ in range(2)]
    answers = link_together(standin, [(set_id, subject) for subject in subjects])
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    stale = max(answers, key=lambda answer: answer.status_code)
    assert stale.json()["errors"][0]["message"] == "Attempted to update a stale object: SubjectSet."
    assert len(members(owner, set_id)) == 1


def test_link_calls_that_overlap_on_two_sets_are_both_good(standin: Standin) -> None:
    """The lock is one set's own."""
    owner = as_owner(standin)
    sets, subject = [owner.new_set(name) for name in "ab"], owner.new_subject()
    answers = link_together(standin, [(set_id, subject) for set_id in sets])
    assert [answer.status_code for answer in answers] == [200, 200]


def test_sets_are_found_by_name_in_metadata_and_by_workflow(standin: Standin) -> None:
    """The metadata filter works on sets, and only there."""
    owner = as_owner(standin)
    first, second = owner.new_set("a"), owner.new_set("b")
    path = f"/subject_sets/{first}"
    owner.put(path, {"subject_sets": {"metadata": {"tier": 3}}}, owner.etag(path))
    owner.post("/workflows/10/links/subject_sets", {"subject_sets": [second]})

    def ids(query: str) -> list[str]:
        return [entry["id"] for entry in owner.get(f"/subject_sets?{query}").json()["subject_sets"]]

    assert ids("project_id=1") == [first, second]
    assert ids("metadata.tier=3&project_id=1") == [first]
    assert ids("metadata.tier=4") == []
    assert ids("workflow_id=10") == [second]


def test_members_are_found_by_set_and_by_subject(standin: Standin) -> None:
    """The client asks with both, and counts the rows of the answer."""
    owner = as_owner(standin)
    first, second = owner.new_set("a"), owner.new_set("b")
    subjects = [owner.new_subject() for _ in range(2)]
    owner.link(first, subjects)
    owner.link(second, subjects[:1])

    def found(query: str) -> tuple[int, int]:
        answer = owner.get(f"/set_member_subjects?{query}").json()
        return len(answer["set_member_subjects"]), answer["meta"]["set_member_subjects"]["count"]

    assert found(f"subject_set_id={first}") == (2, 2)
    assert found(f"subject_id={subjects[0]}") == (2, 2)
    assert found(f"subject_set_id={second}&subject_id={subjects[1]}") == (0, 0)
    assert found(f"subject_set_id={second}&subject_id={subjects[0]}") == (1, 1)
    member = owner.get(f"/set_member_subjects?subject_set_id={second}").json()["set_member_subjects"][0]
    assert owner.only(member["href"]) == member


def test_a_deleted_set_leaves_its_subjects(standin: Standin) -> None:
    """Memberships and workflow links go, the subjects become orphans, and the name is free again."""
    owner = as_owner(standin)
    set_id = owner.new_set("a")
    owner.link(set_id, [owner.new_subject()])
    owner.post("/workflows/10/links/subject_sets", {"subject_sets": [set_id]})
    path = f"/subject_sets/{set_id}"
    assert owner.call("DELETE", path, If_Match=owner.etag(path)).status_code == 204
    assert owner.get(path).status_code == 404
    assert owner.only("/workflows/10")["links"]["subject_sets"] == []
    assert (counts(standin)["orphans"], counts(standin)["set_member_subjects"]) == (1, 0)
    assert owner.new_set("a") != set_id


def test_what_is_not_modelled_on_sets_is_loud(standin: Standin) -> None:
    """Replacing links by a PUT is a 501."""
    owner = as_owner(standin)
    path = f"/subject_sets/{owner.new_set()}"
    body = {"subject_sets": {"links": {"subjects": ["1"]}}}
    assert owner.put(path, body, owner.etag(path)).status_code == 501
