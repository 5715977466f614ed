"""Workflows: versions, the freeze of a live project, retirement rules and set links."""

from typing import Any

import pytest

from alservice.standin.server import Standin
from tests.standin.support import Api, FakeClock, Launch, as_owner, ask, tasks

PATH = "/workflows/10"


def put(api: Api, **changes: Any) -> int:
    """Change workflow 10 with its present ETag and return the status."""
    return api.put(PATH, {"workflows": changes}, api.etag(PATH)).status_code


def version(api: Api) -> str:
    """Return the version of workflow 10."""
    return api.only(PATH)["version"]


def reworded(question: str) -> dict[str, Any]:
    """Return the usual tasks with another question text."""
    return {"T0": {**tasks()["T0"], "question": question}}


def test_a_new_state_has_one_inactive_workflow_without_tasks(standin: Standin) -> None:
    """Workflow 10 is there with an empty tree, version 1.1, and retires after 15."""
    workflow = Api(standin).only(PATH)
    assert (workflow["id"], workflow["tasks"], workflow["active"]) == ("10", {}, False)
    assert workflow["version"] == "1.1"
    assert workflow["retirement"] == {"criteria": "classification_count", "options": {"count": 15}}
    assert workflow["configuration"] == {}
    assert workflow["links"]["subject_sets"] == []


def test_structure_bumps_major_and_text_bumps_minor(standin: Standin) -> None:
    """Tasks and the four flags are structure; labels are text; configuration and retirement are neither."""
    owner = as_owner(standin)
    ask(owner)
    assert version(owner) == "2.2"
    put(owner, tasks=reworded("Smooth and round?"))
    assert version(owner) == "2.3"
    put(owner, first_task="T0")
    put(owner, grouped=True)
    put(owner, pairwise=True)
    put(owner, prioritized=True)
    assert version(owner) == "6.3"
    put(owner, configuration={"x": 1}, retirement={"criteria": "never_retire", "options": {}})
    put(owner, display_name="renamed", active=True)
    put(owner, tasks=reworded("Smooth and round?"))
    assert version(owner) == "6.3"
    assert owner.only(PATH)["tasks"] == reworded("Smooth and round?")


def test_a_live_project_freezes_its_active_workflow(standin: Standin) -> None:
    """Structure is a 403 there; text, configuration, retirement and name may still change."""
    owner = as_owner(standin)
    ask(owner, active=True)
    assert put(owner, tasks={}) == 403
    assert put(owner, prioritized=True) == 403
    assert version(owner) == "2.2"
    assert put(owner, tasks=reworded("Round?"), configuration={"a": 1}, display_name="b") == 200
    assert version(owner) == "2.3"
    assert put(owner, active=False) == 200
    assert put(owner, tasks={}) == 200


def test_a_project_in_development_freezes_nothing(launch: Launch) -> None:
    """While the project is not live, even an active workflow may change."""
    owner = as_owner(launch(live_project=False))
    ask(owner, active=True)
    assert put(owner, tasks={}) == 200


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ({}, 200),
        ({"criteria": "never_retire", "options": {}}, 200),
        ({"criteria": "classification_count", "options": {"count": 3}}, 200),
        ({"criteria": "consensus", "options": {}}, 400),
        ({"criteria": "classification_count", "options": {"count": "3"}}, 400),
        ({"criteria": "classification_count", "options": {"count": True}}, 400),
        ({"criteria": "classification_count"}, 400),
        ({"criteria": "never_retire", "options": {}, "why": ""}, 422),
    ],
)
def test_a_retirement_rule_is_checked(standin: Standin, rule: dict[str, Any], status: int) -> None:
    """Criteria and count are validated by the model, other keys by the schema."""
    assert put(as_owner(standin), retirement=rule) == status


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"primary_language": "fr"}, 422),
        ({"subject_selection_strategy": "cellect"}, 422),
        ({"active": "yes"}, 422),
        ({"links": {"project": "1"}}, 422),
        ({"links": {"subject_sets": ["1"]}}, 501),
    ],
)
def test_the_update_schema_is_closed(standin: Standin, change: dict[str, Any], status: int) -> None:
    """The language cannot be changed, the strategy is not in the API, links by PUT are not modelled."""
    assert put(as_owner(standin), **change) == status


def test_linked_sets_show_on_both_sides(standin: Standin) -> None:
    """Linking twice is one link; unlinking ignores what is absent."""
    owner = as_owner(standin)
    first, second = owner.new_set("a"), owner.new_set("b")
    for _ in range(2):
        linked = owner.post(f"{PATH}/links/subject_sets", {"subject_sets": [first, second]})
        assert linked.json()["workflows"][0]["links"]["subject_sets"] == [first, second]
        assert "ETag" not in linked.headers
    assert owner.only(f"/subject_sets/{first}")["links"]["workflows"] == ["10"]
    assert owner.call("DELETE", f"{PATH}/links/subject_sets/{first},7").status_code == 204
    assert owner.only(PATH)["links"]["subject_sets"] == [second]


@pytest.mark.parametrize("body", [{"subject_sets": ["7"]}, {"sets": ["1001"]}, {"subject_sets": "1001"}])
def test_a_link_to_no_set_is_a_422(standin: Standin, body: dict[str, Any]) -> None:
    """Absent sets and wrong body keys link nothing."""
    owner = as_owner(standin)
    owner.new_set()
    assert owner.post(f"{PATH}/links/subject_sets", body).status_code == 422
    assert owner.only(PATH)["links"]["subject_sets"] == []


def test_background_counters_spoil_the_etag_of_a_workflow(launch: Launch, clock: FakeClock) -> None:
    """Once the set's counter or a retirement settles, a save with the earlier ETag is a 412."""
    owner = as_owner(launch(settle_s=1.0))
    set_id, subject = owner.new_set(), owner.new_subject()
    owner.post(f"{PATH}/links/subject_sets", {"subject_sets": [set_id]})
    owner.link(set_id, [subject])
    first = owner.etag(PATH)
    clock.advance(1)
    second = owner.etag(PATH)
    assert owner.only(PATH)["subjects_count"] == 1
    owner.post(f"{PATH}/retired_subjects", {"subject_ids": [subject]})
    assert owner.etag(PATH) == second
    clock.advance(1)
    assert len({first, second, owner.etag(PATH)}) == 3
    assert owner.put(PATH, {"workflows": {"active": True}}, second).status_code == 412


def test_a_created_workflow_is_inactive_while_the_project_is_live(standin: Standin, tmp_path) -> None:
    """POST /workflows needs a language, and gives the next id."""
    owner = as_owner(standin)
    body = {"display_name": "second", "tasks": tasks(), "links": {"project": "1"}}
    assert owner.post("/workflows", {"workflows": body}).status_code == 422
    created = owner.post("/workflows", {"workflows": {**body, "primary_language": "en", "active": True}})
    entry = created.json()["workflows"][0]
    assert (created.status_code, entry["id"], entry["active"]) == (201, "11", False)
    assert entry["tasks"] == tasks()
    assert owner.only("/projects/1")["links"]["workflows"] == ["10", "11"]


def test_a_deleted_workflow_is_gone(standin: Standin) -> None:
    """It is neither shown nor listed."""
    owner = as_owner(standin)
    assert owner.call("DELETE", PATH, If_Match=owner.etag(PATH)).status_code == 204
    assert owner.get(PATH).status_code == 404
    assert owner.get("/workflows?project_id=1").json()["workflows"] == []


def test_workflows_are_listed_by_activity(standin: Standin) -> None:
    """The filter ``active`` is the front end's."""
    owner = as_owner(standin)
    put(owner, active=True)
    assert len(owner.get("/workflows?active=true").json()["workflows"]) == 1
    assert owner.get("/workflows?active=false").json()["workflows"] == []
