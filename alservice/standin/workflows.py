"""Workflows: versions, the freeze of a live project, and links to subject sets."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from alservice.standin.errors import UnknownCallError, api_error, invalid
from alservice.standin.listing import (
    count_rows,
    counted_meta,
    filter_ids,
    ids_in,
    ids_on_page,
    listed,
    marks,
    page_of,
    rows_by_id,
)
from alservice.standin.replies import Reply
from alservice.standin.rights import linkable_project, linkable_sets, workflow_row
from alservice.standin.schemas import WORKFLOW_CREATE, WORKFLOW_UPDATE
from alservice.standin.state import Row, Transaction, sql
from alservice.standin.task_text import split_text
from alservice.standin.wire import Call, Resource, created, require_match, resource, shown, strong_etag, updated

KIND = "workflows"
PAGE_CAP = 25
CRITERIA = ("classification_count", "never_retire")
DEFAULT_RETIREMENT = {"criteria": "classification_count", "options": {"count": 15}}

_FROZEN_WHEN_LIVE = ("first_task", "grouped", "pairwise", "prioritized")
_ATTRIBUTES: dict[str, Any] = {
    "configuration": {},
    "first_task": "",
    "grouped": False,
    "mobile_friendly": False,
    "pairwise": False,
    "primary_language": "en",
    "prioritized": False,
    "public_gold_standard": False,
    "retirement": {},
    "steps": [],
    "tasks": {},
}


def attributes_of(row: Row) -> dict[str, Any]:
    """Return the settable attributes of a workflow or of one of its versions, defaults included."""
    return {**_ATTRIBUTES, **json.loads(row["attributes"])}


def retirement_of(row: Row) -> dict[str, Any]:
    """Return the retirement rule in force; an empty one means 15 classifications."""
    rule: dict[str, Any] = attributes_of(row)["retirement"]
    return rule or DEFAULT_RETIREMENT


def _sets_of(tx: Transaction, rows: list[Row]) -> dict[int, list[Row]]:
    ids = [row["id"] for row in rows]
    linked: dict[int, list[Row]] = defaultdict(list)
    statement = sql(
        "SELECT w.workflow_id, s.id, s.counted_members FROM workflow_subject_sets w",
        "JOIN subject_sets s ON s.id = w.subject_set_id WHERE w.workflow_id IN",
        marks(ids),
    )
    for link in tx.all(statement, *ids):
        linked[link["workflow_id"]].append(link)
    return linked


def resources(tx: Transaction, rows: list[Row]) -> list[Resource]:
    """Return the entries of these workflows, in order."""
    linked = _sets_of(tx, rows)
    return [_resource(row, linked[row["id"]]) for row in rows]


def _resource(row: Row, sets: list[Row]) -> Resource:
    subjects = sum(subject_set["counted_members"] for subject_set in sets)
    given = attributes_of(row)
    attributes = {
        **given,
        "display_name": row["display_name"],
        "active": bool(row["active"]),
        "retirement": retirement_of(row),
        "classifications_count": row["classifications_count"],
        "subjects_count": subjects,
        "retired_set_member_subjects_count": row["retired_count"],
        "completeness": min(1.0, row["retired_count"] / subjects) if subjects else 0.0,
        "content_language": given["primary_language"],
        "version": f"{row['major']}.{row['minor']}",
        "finished_at": None,
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }
    links = {
        "project": str(row["project_id"]),
        "subject_sets": [str(subject_set["id"]) for subject_set in sets],
        "tutorial_subject": None,
        "published_version": None,
        "attached_images": {"href": f"/workflows/{row['id']}/attached_images", "ids": [], "type": "media"},
    }
    return resource(KIND, row["id"], attributes, links)


def etag(tx: Transaction, row: Row) -> str:
    """Return the ETag of one workflow; background counters of subjects change it too."""
    subjects = sum(subject_set["counted_members"] for subject_set in _sets_of(tx, [row])[row["id"]])
    return strong_etag(KIND, row["id"], row["updated_at"], row["revision"], subjects, row["retired_count"])


def show(call: Call) -> Reply:
    """Answer GET /workflows/ID."""
    row = workflow_row(call)
    return shown(call, KIND, resources(call.tx, [row])[0], etag(call.tx, row))


def index(call: Call) -> Reply:
    """Answer GET /workflows: by id or project, at most 25 on a page."""
    page = page_of(call, cap=PAGE_CAP)
    chosen = filter_ids(call, {"id": "id", "project_id": "project_id"})
    chosen.require("NOT deleted")
    by_set = filter_ids(call, {"subject_set_id": "subject_set_id"})
    if by_set.conditions:
        linked = sql("id IN (SELECT workflow_id FROM workflow_subject_sets", by_set.where, ")")
        chosen.require(linked, *by_set.values)
        chosen.echo.update(by_set.echo)
    active = call.request.query.get("active")
    if active is not None:
        chosen.require("active = ?", active == "true")
        chosen.echo["active"] = active
    count = count_rows(call.tx, source=KIND, chosen=chosen)
    ids = ids_on_page(call.tx, source=KIND, column="id", chosen=chosen, page=page, count=count)
    entries = resources(call.tx, rows_by_id(call.tx, KIND, ids))
    return listed(call, KIND, entries, counted_meta(f"/{KIND}", page, chosen.echo, count))


def _check_retirement(rule: dict[str, Any]) -> None:
    if not rule:
        return
    count = rule.get("options", {}).get("count")
    if rule.get("criteria") not in CRITERIA:
        raise invalid("Retirement criteria must be one of classification_count, never_retire")
    if rule["criteria"] == "classification_count" and (not isinstance(count, int) or isinstance(count, bool)):
        raise invalid("Retirement count must be a number")


def insert_workflow(
    tx: Transaction,
    *,
    project_id: int,
    display_name: str,
    active: bool,
    given: dict[str, Any],
    workflow_id: int | None,
) -> int:
    """Write a new workflow and its first version, and return its id."""
    kept = {name: given[name] for name in _ATTRIBUTES if name in given}
    new_id = tx.insert_dated(
        KIND,
        id=workflow_id,
        project_id=project_id,
        display_name=display_name,
        attributes=json.dumps(kept),
        major=1,
        minor=1,
        active=active,
    )
    _keep_version(tx, new_id)
    return new_id


def _keep_version(tx: Transaction, workflow_id: int) -> None:
    """Record the present content under its version, which exports look labels up by."""
    tx.run(
        "INSERT OR REPLACE INTO workflow_versions "
        "(workflow_id, major, minor, display_name, active, attributes, created_at) "
        "SELECT id, major, minor, display_name, active, attributes, ? FROM workflows WHERE id = ?",
        tx.stamp,
        workflow_id,
    )


def create(call: Call) -> Reply:
    """Answer POST /workflows; in a live project a new workflow starts inactive."""
    given = call.attributes(KIND)
    WORKFLOW_CREATE(KIND, given)
    if given["links"].keys() - {"project"}:
        raise UnknownCallError("POST /workflows with links besides project is not modelled")
    project = linkable_project(call, given["links"]["project"])
    _check_retirement(given.get("retirement", {}))
    workflow_id = insert_workflow(
        call.tx,
        project_id=project["id"],
        display_name=given["display_name"],
        active=bool(given.get("active", True)) and not project["live"],
        given=given,
        workflow_id=None,
    )
    row = call.tx.only("SELECT * FROM workflows WHERE id = ?", workflow_id)
    return created(call, KIND, resources(call.tx, [row])[0], etag(call.tx, row))


def _bumps(before: dict[str, Any], after: dict[str, Any]) -> tuple[bool, bool]:
    """Return whether the structure changed (major) and whether any text did (minor)."""
    old_tasks, old_text = split_text(before["tasks"])
    new_tasks, new_text = split_text(after["tasks"])
    structure = old_tasks != new_tasks or any(before[name] != after[name] for name in _FROZEN_WHEN_LIVE)
    return structure, old_text != new_text


def update(call: Call) -> Reply:
    """Answer PUT /workflows/ID: each attribute is replaced as a whole.

    Raises
    ------
    RefusalError
        404, 428, 412, 422 for the schema, 400 for a bad retirement rule, and 403 when the structure of an
        active workflow of a live project would change.
    """
    row = workflow_row(call, writable=True)
    require_match(call, etag(call.tx, row))
    given = call.attributes(KIND)
    WORKFLOW_UPDATE(KIND, given)
    if "links" in given:
        raise UnknownCallError("PUT /workflows/ID with links is not modelled")
    _check_retirement(given.get("retirement", {}))
    before = attributes_of(row)
    after = {**before, **{name: given[name] for name in _ATTRIBUTES if name in given}}
    structure, text = _bumps(before, after)
    live = call.tx.value("SELECT live FROM projects WHERE id = ?", row["project_id"])
    if live and row["active"] and structure:
        raise api_error(403, "Can't change an active workflow for a live project.")
    call.tx.revise(
        KIND,
        row["id"],
        display_name=given.get("display_name", row["display_name"]),
        active=given.get("active", row["active"]),
        attributes=json.dumps(after),
        major=row["major"] + structure,
        minor=row["minor"] + text,
    )
    _keep_version(call.tx, row["id"])
    return updated(KIND, resources(call.tx, [workflow_row(call)])[0])


def destroy(call: Call) -> Reply:
    """Answer DELETE /workflows/ID: hidden, and left out of exports."""
    row = workflow_row(call, writable=True)
    require_match(call, etag(call.tx, row))
    call.tx.revise(KIND, row["id"], deleted=True)
    call.tx.run("DELETE FROM workflow_subject_sets WHERE workflow_id = ?", row["id"])
    return Reply(status=204)


def link_subject_sets(call: Call) -> Reply:
    """Answer POST /workflows/ID/links/subject_sets; status rows of the members follow later."""
    row = workflow_row(call, writable=True)
    given = call.document().get("subject_sets")
    if not isinstance(given, list):
        raise api_error(422, "Link relation subject_sets must match body key")
    for subject_set in linkable_sets(call, given):
        call.tx.run(
            "INSERT OR IGNORE INTO workflow_subject_sets (workflow_id, subject_set_id) VALUES (?, ?)",
            row["id"],
            subject_set["id"],
        )
        call.tx.defer("welcome_set", workflow_id=row["id"], subject_set_id=subject_set["id"])
    call.tx.revise(KIND, row["id"])
    return updated(KIND, resources(call.tx, [workflow_row(call)])[0])


def unlink_subject_sets(call: Call) -> Reply:
    """Answer DELETE /workflows/ID/links/subject_sets/1,2: absent ids are ignored."""
    row = workflow_row(call, writable=True)
    ids = ids_in(call.parameters["ids"])
    statement = sql("DELETE FROM workflow_subject_sets WHERE workflow_id = ? AND subject_set_id IN", marks(ids))
    call.tx.run(statement, row["id"], *ids)
    call.tx.revise(KIND, row["id"])
    return Reply(status=204)
