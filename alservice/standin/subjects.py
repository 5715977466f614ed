"""Subjects: created one by one, never deduplicated, softly deleted."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from alservice.standin import media
from alservice.standin.errors import api_error
from alservice.standin.listing import (
    Filter,
    count_rows,
    counted_meta,
    filter_ids,
    ids_on_page,
    listed,
    marks,
    page_of,
    rows_by_id,
)
from alservice.standin.membership import add_members, remove_members
from alservice.standin.replies import Reply
from alservice.standin.rights import linkable_project, linkable_sets, subject_row
from alservice.standin.schemas import SUBJECT_CREATE, SUBJECT_UPDATE
from alservice.standin.state import Row, Transaction, sql
from alservice.standin.wire import Call, Resource, created, require_match, resource, shown, strong_etag, updated

KIND = "subjects"
UrlFor = Callable[[Call, media.Location], str]


def locations_of(row: Row) -> list[media.Location]:
    """Return the files of a subject in order."""
    return [media.Location(**entry) for entry in json.loads(row["locations"])]


def _dump_locations(locations: list[media.Location]) -> str:
    return json.dumps([asdict(location) for location in locations])


def resources(call: Call, rows: list[Row], url_for: UrlFor = media.public_url) -> list[Resource]:
    """Return the entries of these subjects, in order, with their memberships."""
    ids = [row["id"] for row in rows]
    memberships: dict[int, list[Row]] = defaultdict(list)
    statement = sql("SELECT id, subject_id, subject_set_id FROM set_member_subjects WHERE subject_id IN", marks(ids))
    for membership in call.tx.all(statement, *ids):
        memberships[membership["subject_id"]].append(membership)
    return [_resource(call, row, memberships[row["id"]], url_for) for row in rows]


def _resource(call: Call, row: Row, memberships: list[Row], url_for: UrlFor) -> Resource:
    attributes = {
        "metadata": json.loads(row["metadata"]),
        "locations": [{location.content_type: url_for(call, location)} for location in locations_of(row)],
        "zooniverse_id": None,
        "external_id": row["external_id"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }
    links = {
        "project": str(row["project_id"]),
        "collections": [],
        "subject_sets": [str(membership["subject_set_id"]) for membership in memberships],
        "set_member_subjects": [str(membership["id"]) for membership in memberships],
    }
    return resource(KIND, row["id"], attributes, links)


def etag(row: Row) -> str:
    """Return the ETag of one subject."""
    return strong_etag(KIND, row["id"], row["updated_at"], row["revision"])


def show(call: Call) -> Reply:
    """Answer GET /subjects/ID."""
    row = subject_row(call)
    return shown(call, KIND, resources(call, [row])[0], etag(row))


def index(call: Call) -> Reply:
    """Answer GET /subjects: by project, by set or by id, ordered by id, with real counts.

    There is no filter on metadata: it is ignored, as any unknown parameter, and everything comes back.
    """
    page = page_of(call)
    by_set = "subject_set_id" in call.request.query or "subject_set_ids" in call.request.query
    chosen = filter_ids(call, {"subject_set_id": "m.subject_set_id"}) if by_set else Filter()
    column = "m.subject_id" if by_set else "s.id"
    others = filter_ids(call, {"id": column, "project_id": "s.project_id"})
    chosen.merge(others)
    if by_set:
        source = "set_member_subjects m"
        if "project_id" in others.echo or "project_ids" in others.echo:
            source = "set_member_subjects m JOIN subjects s ON s.id = m.subject_id"
        chosen.require("m.active = 1")
    else:
        source = "subjects s"
        chosen.require("s.active = 1")
    count = _known_count(call.tx, chosen)
    if count is None:
        count = count_rows(call.tx, source=source, chosen=chosen)
    ids = ids_on_page(call.tx, source=source, column=column, chosen=chosen, page=page, count=count)
    entries = resources(call, rows_by_id(call.tx, KIND, ids))
    return listed(call, KIND, entries, counted_meta(f"/{KIND}", page, chosen.echo, count))


def _known_count(tx: Transaction, chosen: Filter) -> int | None:
    """Return the maintained count for the two listings that can be long."""
    counters = {
        "project_id": "SELECT active_subjects FROM projects WHERE id = ?",
        "subject_set_id": "SELECT active_members FROM subject_sets WHERE id = ?",
    }
    if len(chosen.echo) != 1 or len(chosen.values) != 1:
        return None
    name = next(iter(chosen.echo))
    return int(tx.value(counters[name], chosen.values[0]) or 0) if name in counters else None


def _check_allowance(call: Call) -> None:
    uploaded = call.tx.value("SELECT uploaded FROM users WHERE id = ?", call.viewer.user_id)
    if uploaded >= call.config.subject_limit:
        raise api_error(403, f"User has uploaded {uploaded} subjects of {call.config.subject_limit} maximum")


def _with_priority_key(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return `metadata` with any spelling of ``#priority`` in lower case, the one key the server reads."""
    return {key.lower() if key.lower() == "#priority" else key: value for key, value in metadata.items()}


def create(call: Call) -> Reply:
    """Answer POST /subjects: always a new subject, with signed URLs that take its files.

    Raises
    ------
    RefusalError
        503 while uploading is switched off, 403 over the allowance, 422 for schema and links, 400 for types.
    """
    if not call.config.subject_uploading:
        raise api_error(503, "Feature has been temporarily disabled")
    _check_allowance(call)
    given = call.attributes(KIND)
    SUBJECT_CREATE(KIND, given)
    tx = call.tx
    project = linkable_project(call, given["links"]["project"])
    sets = linkable_sets(call, given["links"].get("subject_sets", []))
    subject_id = tx.insert_dated(
        KIND,
        project_id=project["id"],
        uploader_id=call.viewer.user_id,
        metadata=json.dumps(_with_priority_key(given.get("metadata", {}))),
        locations="[]",
        external_id=given.get("external_id"),
    )
    placed = media.place(tx, subject_id, 0, given["locations"])
    tx.update(KIND, subject_id, locations=_dump_locations(placed))
    tx.run("UPDATE users SET uploaded = uploaded + 1 WHERE id = ?", call.viewer.user_id)
    tx.run("UPDATE projects SET active_subjects = active_subjects + 1 WHERE id = ?", project["id"])
    for subject_set in sets:
        add_members(tx, subject_set["id"], [subject_id])
    row = tx.only("SELECT * FROM subjects WHERE id = ?", subject_id)
    return created(call, KIND, resources(call, [row], media.upload_url)[0], etag(row))


def update(call: Call) -> Reply:
    """Answer PUT /subjects/ID: metadata, locations and links to sets are each replaced as a whole.

    Raises
    ------
    RefusalError
        404, 428, 412, and 422 for anything else in the body.
    """
    row = subject_row(call, writable=True)
    require_match(call, etag(row))
    given = call.attributes(KIND)
    SUBJECT_UPDATE(KIND, given)
    if "subject_sets" in given.get("links", {}):
        _move(call, row["id"], given["links"]["subject_sets"])
    changes = {}
    if "metadata" in given:
        changes["metadata"] = json.dumps(_with_priority_key(given["metadata"]))
    if "locations" in given:
        placed = media.place(call.tx, row["id"], row["revision"] + 1, given["locations"])
        changes["locations"] = _dump_locations(placed)
    call.tx.revise(KIND, row["id"], **changes)
    row = subject_row(call)
    return updated(KIND, resources(call, [row], media.upload_url)[0])


def _move(call: Call, subject_id: int, set_ids: list[str | int]) -> None:
    """Leave a subject in these sets and in no other; as at its creation, what follows a link call does not follow."""
    wanted = {subject_set["id"] for subject_set in linkable_sets(call, set_ids)}
    statement = "SELECT subject_set_id FROM set_member_subjects WHERE subject_id = ?"
    present = {member["subject_set_id"] for member in call.tx.all(statement, subject_id)}
    for set_id in sorted(present - wanted):
        remove_members(call.tx, set_id, [subject_id])
    for set_id in sorted(wanted - present):
        add_members(call.tx, set_id, [subject_id])


def destroy(call: Call) -> Reply:
    """Answer DELETE /subjects/ID: the row stays, hidden, and still counts against the allowance."""
    row = subject_row(call, writable=True)
    require_match(call, etag(row))
    tx = call.tx
    tx.revise(KIND, row["id"], active=False)
    tx.run("UPDATE projects SET active_subjects = active_subjects - 1 WHERE id = ?", row["project_id"])
    tx.run(
        "UPDATE subject_sets SET active_members = active_members - 1 "
        "WHERE id IN (SELECT subject_set_id FROM set_member_subjects WHERE subject_id = ?)",
        row["id"],
    )
    tx.run("UPDATE set_member_subjects SET active = 0 WHERE subject_id = ?", row["id"])
    return Reply(status=204)
