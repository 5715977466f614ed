"""Explicit retirement and status rows."""

from typing import Any

import pytest
from panoptes_client import Panoptes, Workflow

from alservice.standin.server import Standin
from tests.standin.support import (
    OWNER,
    PASSWORD,
    Api,
    FakeClock,
    Launch,
    as_owner,
    counts,
)

RETIRE, UNRETIRE = "/workflows/10/retired_subjects", "/workflows/10/unretire_subjects"


def statuses(api: Api, query: str = "workflow_id=10") -> list[dict[str, Any]]:
    """Return the status rows a query finds."""
    return api.get(f"/subject_workflow_statuses?{query}").json()["subject_workflow_statuses"]


def reasons(api: Api) -> dict[str, str | None]:
    """Return the reason of each retired subject of workflow 10."""
    rows = statuses(api)
    return {row["links"]["subject"]: row["retirement_reason"] for row in rows if row["retired_at"] is not None}


def test_retirement_is_answered_at_once_and_happens_later(launch: Launch, clock: FakeClock) -> None:
    """The 204 has no body; the status row appears with the settling delay and its own time."""
    owner = as_owner(launch(settle_s=2.0))
    subject = owner.new_subject()
    answer = owner.post(RETIRE, {"subject_ids": [subject], "retirement_reason": "consensus"})
    assert (answer.status_code, answer.content) == (204, b"")
    clock.advance(1.9)
    assert statuses(owner) == []
    clock.advance(0.1)
    (row,) = statuses(owner)
    assert row["retired_at"] == "2026-03-01T12:00:02.000Z"
    assert (row["retirement_reason"], row["classifications_count"]) == ("consensus", 0)
    assert row["links"] == {"subject": subject, "workflow": "10"}


@pytest.mark.parametrize("reason", ["classification_count", "flagged", "nothing_here", "consensus", "human"])
def test_every_reason_of_the_list_is_kept(standin: Standin, reason: str) -> None:
    """The reason comes back as it was given."""
    owner = as_owner(standin)
    subject = owner.new_subject()
    owner.post(RETIRE, {"subject_ids": [subject], "retirement_reason": reason})
    assert reasons(owner) == {subject: reason}


def test_blank_is_the_old_name_of_nothing_here_and_none_is_allowed(standin: Standin) -> None:
    """Two special values are taken, every other word is a 422."""
    owner = as_owner(standin)
    first, second = owner.new_subject(), owner.new_subject()
    owner.post(RETIRE, {"subject_ids": [first], "retirement_reason": "blank"})
    owner.post(RETIRE, {"subject_ids": [second]})
    assert reasons(owner) == {first: "nothing_here", second: None}
    refused = owner.post(RETIRE, {"subject_ids": [first], "retirement_reason": "boring"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["message"] == "Retirement reason is not included in the list"


def test_retiring_again_changes_nothing_and_unknown_subjects_are_skipped(standin: Standin, clock: FakeClock) -> None:
    """The first time and reason stay; an id nobody knows is passed over in silence."""
    owner = as_owner(standin)
    subject = owner.new_subject()
    owner.post(RETIRE, {"subject_ids": [subject, 7], "retirement_reason": "human"})
    (first,) = statuses(owner)
    clock.advance(60)
    owner.post(RETIRE, {"subject_ids": [int(subject)], "retirement_reason": "other"})
    assert statuses(owner) == [first]
    assert owner.only("/workflows/10")["retired_set_member_subjects_count"] == 1


def test_subjects_come_back_one_by_one_or_by_set(standin: Standin) -> None:
    """Un-retiring clears time and reason, counts stay, and the workflow's counter follows."""
    owner = as_owner(standin)
    set_id, subjects = owner.new_set(), [owner.new_subject() for _ in range(3)]
    owner.link(set_id, subjects[1:])
    owner.post(RETIRE, {"subject_ids": subjects, "retirement_reason": "other"})
    owner.post(UNRETIRE, {"subject_ids": [subjects[0]]})
    assert set(reasons(owner)) == set(subjects[1:])
    assert owner.only("/workflows/10")["retired_set_member_subjects_count"] == 2
    owner.post(UNRETIRE, {"subject_set_ids": [set_id]})
    assert reasons(owner) == {}
    assert counts(standin)["retired"] == 0
    assert owner.only("/workflows/10")["retired_set_member_subjects_count"] == 0


@pytest.mark.parametrize("path", [RETIRE, UNRETIRE])
def test_subject_ids_are_a_list(standin: Standin, path: str) -> None:
    """A single id is a 422."""
    assert as_owner(standin).post(path, {"subject_ids": "100000001"}).status_code == 422


def test_status_rows_appear_after_a_link(launch: Launch, clock: FakeClock) -> None:
    """A subject has no row until the worker wrote it: after its link, or after its set's link."""
    standin = launch(settle_s=4.0)
    owner = as_owner(standin)
    set_id, early, late = owner.new_set(), owner.new_subject(), owner.new_subject()
    owner.link(set_id, [early])
    clock.advance(4)
    assert statuses(owner) == []
    owner.post("/workflows/10/links/subject_sets", {"subject_sets": [set_id]})
    with Panoptes(endpoint=standin.endpoint, username=OWNER, password=PASSWORD):
        with pytest.raises(StopIteration):
            Workflow(10).subject_workflow_status(early)
        clock.advance(4)
        assert Workflow(10).subject_workflow_status(early).classifications_count == 0
    owner.link(set_id, [late])
    assert len(statuses(owner)) == 1
    clock.advance(4)
    assert [row["links"]["subject"] for row in statuses(owner)] == [early, late]


def test_statuses_are_listed_without_a_count(standin: Standin) -> None:
    """Every page but the empty one promises a next page, and counts are zero."""
    owner = as_owner(standin)
    subjects = [owner.new_subject() for _ in range(3)]
    owner.post(RETIRE, {"subject_ids": subjects, "retirement_reason": "other"})
    path, sizes = "/subject_workflow_statuses?page_size=2&workflow_id=10", []
    while path is not None:
        answer = owner.get(path).json()
        meta = answer["meta"]["subject_workflow_statuses"]
        assert (meta["count"], meta["page_count"]) == (0, 0)
        sizes.append(len(answer["subject_workflow_statuses"]))
        path = meta["next_href"]
    assert sizes == [2, 1, 0]


def test_statuses_are_found_by_a_list_of_subjects(standin: Standin) -> None:
    """The client joins ids with commas, sometimes with blanks after them."""
    owner = as_owner(standin)
    subjects = [owner.new_subject() for _ in range(3)]
    owner.post(RETIRE, {"subject_ids": subjects, "retirement_reason": "other"})
    for joined in (f"{subjects[0]},{subjects[2]}", f"{subjects[0]}, {subjects[2]}"):
        rows = statuses(owner, f"workflow_id=10&subject_ids={joined}")
        assert [row["links"]["subject"] for row in rows] == [subjects[0], subjects[2]]
    assert statuses(owner, "workflow_id=11") == []
    (row,) = statuses(owner, f"subject_id={subjects[1]}")
    assert owner.only(row["href"]) == row
    assert owner.get("/subject_workflow_statuses/999").status_code == 404
