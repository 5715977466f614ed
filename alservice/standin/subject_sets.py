"""Subject sets and their members: unique names, idempotent links, an optimistic lock, late counters."""

from __future__ import annotations

import json
from collections import defaultdict

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
from alservice.standin.membership import add_members, follow_up, remove_members
from alservice.standin.replies import Reply
from alservice.standin.rights import linkable_project, subject_set_row
from alservice.standin.schemas import SUBJECT_SET_CREATE, SUBJECT_SET_UPDATE
from alservice.standin.state import Row, Transaction, sql
from alservice.standin.wire import Call, Resource, created, require_match, resource, shown, strong_etag, updated

KIND = "subject_sets"
FIRST_COUNT_S = 2.0
"""When the counter first touches a new set, however short the settling delay: a rename in between succeeds."""

_UNLINKABLE = "Error: check the subject set and all the subjects exist."


def resources(tx: Transaction, rows: list[Row]) -> list[Resource]:
    """Return the entries of these sets, in order, with their workflows."""
    ids = [row["id"] for row in rows]
    workflows: dict[int, list[str]] = defaultdict(list)
    statement = sql("SELECT * FROM workflow_subject_sets WHERE subject_set_id IN", marks(ids))
    for link in tx.all(statement, *ids):
        workflows[link["subject_set_id"]].append(str(link["workflow_id"]))
    return [_resource(row, workflows[row["id"]]) for row in rows]


def _resource(row: Row, workflows: list[str]) -> Resource:
    attributes = {
        "display_name": row["display_name"],
        "set_member_subjects_count": row["counted_members"],
        "metadata": json.loads(row["metadata"]),
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "completeness": {},
    }
    return resource(KIND, row["id"], attributes, {"project": str(row["project_id"]), "workflows": workflows})


def etag(row: Row) -> str:
    """Return the ETag of one set; link calls and counters change it."""
    return strong_etag(KIND, row["id"], row["updated_at"], row["revision"])


def show(call: Call) -> Reply:
    """Answer GET /subject_sets/ID."""
    row = subject_set_row(call)
    return shown(call, KIND, resources(call.tx, [row])[0], etag(row))


def index(call: Call) -> Reply:
    """Answer GET /subject_sets: by id, project, workflow, and ``metadata.<key>``, which works only here."""
    page = page_of(call)
    chosen = filter_ids(call, {"id": "s.id", "project_id": "s.project_id"})
    by_workflow = filter_ids(call, {"workflow_id": "w.workflow_id"})
    source = "subject_sets s"
    if by_workflow.conditions:
        source = "subject_sets s JOIN workflow_subject_sets w ON w.subject_set_id = s.id"
        chosen.merge(by_workflow)
    for name, value in call.request.query.items():
        if name.startswith("metadata."):
            chosen.require(
                "EXISTS (SELECT 1 FROM json_each(s.metadata) e WHERE e.key = ? AND CAST(e.value AS TEXT) = ?)",
                name.removeprefix("metadata."),
                value,
            )
            chosen.echo[name] = value
    count = count_rows(call.tx, source=source, chosen=chosen)
    ids = ids_on_page(call.tx, source=source, column="s.id", chosen=chosen, page=page, count=count)
    entries = resources(call.tx, rows_by_id(call.tx, KIND, ids))
    return listed(call, KIND, entries, counted_meta(f"/{KIND}", page, chosen.echo, count))


def _refuse_taken_name(call: Call, project_id: int, display_name: str, but: int = 0) -> None:
    taken = call.tx.value(
        "SELECT id FROM subject_sets WHERE project_id = ? AND display_name = ? AND id <> ?",
        project_id,
        display_name,
        but,
    )
    if taken is not None:
        raise invalid("Display name has already been taken")
    if not display_name.strip():
        raise invalid("Display name can't be blank")


def create(call: Call) -> Reply:
    """Answer POST /subject_sets; the name is unique in its project, the only natural key of this API.

    Raises
    ------
    RefusalError
        422 for schema and links, 400 for a name that is taken.
    """
    given = call.attributes(KIND)
    SUBJECT_SET_CREATE(KIND, given)
    if given["links"].keys() - {"project"}:
        raise UnknownCallError("POST /subject_sets with links besides project is not modelled")
    project = linkable_project(call, given["links"]["project"])
    _refuse_taken_name(call, project["id"], given["display_name"])
    tx = call.tx
    set_id = tx.insert_dated(
        KIND,
        project_id=project["id"],
        display_name=given["display_name"],
        metadata=json.dumps(given.get("metadata", {})),
    )
    tx.defer("count_set", at_least_s=FIRST_COUNT_S, subject_set_id=set_id)
    row = tx.only("SELECT * FROM subject_sets WHERE id = ?", set_id)
    return created(call, KIND, resources(tx, [row])[0], etag(row))


def update(call: Call) -> Reply:
    """Answer PUT /subject_sets/ID: name and metadata, each replaced as a whole."""
    row = subject_set_row(call, writable=True)
    require_match(call, etag(row))
    given = call.attributes(KIND)
    SUBJECT_SET_UPDATE(KIND, given)
    if "links" in given:
        raise UnknownCallError("PUT /subject_sets/ID with links is not modelled")
    _refuse_taken_name(call, row["project_id"], given.get("display_name", row["display_name"]), but=row["id"])
    changes = dict(given)
    if "metadata" in given:
        changes["metadata"] = json.dumps(given["metadata"])
    _rewrite(call.tx, row, **changes)
    return updated(KIND, resources(call.tx, [subject_set_row(call)])[0])


def destroy(call: Call) -> Reply:
    """Answer DELETE /subject_sets/ID: its memberships and workflow links go with it, its subjects stay."""
    row = subject_set_row(call, writable=True)
    require_match(call, etag(row))
    call.tx.run("DELETE FROM set_member_subjects WHERE subject_set_id = ?", row["id"])
    call.tx.run("DELETE FROM workflow_subject_sets WHERE subject_set_id = ?", row["id"])
    call.tx.run("DELETE FROM subject_sets WHERE id = ?", row["id"])
    return Reply(status=204)


def _rewrite(tx: Transaction, row: Row, **columns: object) -> None:
    """Move the lock version and the ETag on, as every write through the API does."""
    tx.revise(KIND, row["id"], lock_version=row["lock_version"] + 1, **columns)


def lock_version(tx: Transaction, set_id: int) -> int | None:
    """Return the lock version that a link call reads on arrival; None when the set is absent."""
    found = tx.value("SELECT lock_version FROM subject_sets WHERE id = ?", set_id)
    return None if found is None else int(found)


def _refuse_stale(call: Call, row: Row) -> None:
    """Refuse a link call when another one committed since this one arrived."""
    if call.seen_lock is not None and call.seen_lock != row["lock_version"]:
        raise api_error(409, "Attempted to update a stale object: SubjectSet.")


def link_subjects(call: Call) -> Reply:
    """Answer POST /subject_sets/ID/links/subjects: all or nothing, and repeating it changes nothing.

    Raises
    ------
    RefusalError
        404 without rights, 422 when the body key is not ``subjects`` or when an id is missing, inactive or
        given twice, 409 when another link call on this set committed meanwhile.
    """
    row = subject_set_row(call, writable=True)
    given = call.document().get("subjects")
    if not isinstance(given, list):
        raise api_error(422, "Link relation subjects must match body key")
    ids = [ids_in(str(identity))[0] for identity in given]
    statement = sql("SELECT count(*) FROM subjects WHERE active = 1 AND id IN", marks(ids))
    if call.tx.value(statement, *ids) != len(ids):
        raise api_error(422, _UNLINKABLE)
    _refuse_stale(call, row)
    fresh = add_members(call.tx, row["id"], ids)
    _rewrite(call.tx, row)
    follow_up(call.tx, row["id"], fresh)
    return updated(KIND, resources(call.tx, [subject_set_row(call)])[0])


def unlink_subjects(call: Call) -> Reply:
    """Answer DELETE /subject_sets/ID/links/subjects/1,2,3: absent ids are ignored."""
    row = subject_set_row(call, writable=True)
    _refuse_stale(call, row)
    remove_members(call.tx, row["id"], ids_in(call.parameters["ids"]))
    _rewrite(call.tx, row)
    follow_up(call.tx, row["id"])
    return Reply(status=204)


def _member_resource(row: Row) -> Resource:
    attributes = {
        "priority": None if row["priority"] is None else str(row["priority"]),
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }
    links = {"subject_set": str(row["subject_set_id"]), "subject": str(row["subject_id"])}
    return resource("set_member_subjects", row["id"], attributes, links)


def index_members(call: Call) -> Reply:
    """Answer GET /set_member_subjects: by set, subject or id."""
    page = page_of(call)
    chosen = filter_ids(call, {"id": "id", "subject_set_id": "subject_set_id", "subject_id": "subject_id"})
    count: int | None = None
    if chosen.echo.keys() == {"subject_set_id"} and len(chosen.values) == 1:
        count = call.tx.value("SELECT members FROM subject_sets WHERE id = ?", *chosen.values)
    if count is None:
        count = count_rows(call.tx, source="set_member_subjects", chosen=chosen)
    ids = ids_on_page(call.tx, source="set_member_subjects", column="id", chosen=chosen, page=page, count=count)
    entries = [_member_resource(row) for row in rows_by_id(call.tx, "set_member_subjects", ids)]
    return listed(call, "set_member_subjects", entries, counted_meta("/set_member_subjects", page, chosen.echo, count))


def show_member(call: Call) -> Reply:
    """Answer GET /set_member_subjects/ID."""
    row = call.tx.one("SELECT * FROM set_member_subjects WHERE id = ?", call.id)
    if row is None:
        raise api_error(404, f"Could not find set_member_subject with id='{call.id}'")
    entry = _member_resource(row)
    return shown(call, "set_member_subjects", entry, strong_etag("set_member_subjects", row["id"], row["updated_at"]))
