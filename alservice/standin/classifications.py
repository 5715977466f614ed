"""Classifications: taken from anybody, completed by a worker, read back by their owners and by the project's.

There is no idempotency: the same body twice is two rows. What the worker adds (``live_project``,
``seen_before``, ``user_group_ids``, the counts) appears only after the settling delay, so a row read at once
changes afterwards.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from alservice.standin.errors import UnknownCallError, api_error, not_found, not_linkable
from alservice.standin.listing import (
    Filter,
    filter_ids,
    ids_on_page,
    listed,
    marks,
    page_of,
    rows_by_id,
    uncounted_meta,
)
from alservice.standin.replies import Reply
from alservice.standin.retirement import count_classification
from alservice.standin.schemas import CLASSIFICATION_CREATE
from alservice.standin.state import Row, Transaction, sql
from alservice.standin.wire import Call, Resource, created, resource, row_number, shown, strong_etag
from alservice.standin.workflows import retirement_of

KIND = "classifications"
_FILTERS = {"id": "c.id", "project_id": "c.project_id", "workflow_id": "c.workflow_id", "user_id": "c.user_id"}


def _resource(row: Row) -> Resource:
    attributes = {
        "annotations": json.loads(row["annotations"]),
        "metadata": {**json.loads(row["metadata"]), "workflow_version": row["workflow_version"]},
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }
    links = {
        "project": str(row["project_id"]),
        "user": None if row["user_id"] is None else str(row["user_id"]),
        "user_group": None,
        "workflow": str(row["workflow_id"]),
        "subjects": [str(subject_id) for subject_id in json.loads(row["subject_ids"])],
    }
    return resource(KIND, row["id"], attributes, links)


def _etag(row: Row) -> str:
    return strong_etag(KIND, row["id"], row["updated_at"], row["metadata"])


def _linked(call: Call, links: dict[str, Any]) -> tuple[Row, Row, list[int]]:
    """Return the project, the workflow and the subjects a classification is about, or raise 422."""
    tx = call.tx
    project = tx.one("SELECT * FROM projects WHERE id = ?", row_number(str(links["project"])))
    if project is None:
        raise not_linkable("project")
    workflow = tx.one(
        "SELECT * FROM workflows WHERE id = ? AND project_id = ? AND NOT deleted",
        row_number(str(links["workflow"])),
        project["id"],
    )
    if workflow is None:
        raise not_linkable("workflow")
    subject_ids = [row_number(str(identity)) for identity in links["subjects"]]
    statement = sql("SELECT count(*) FROM subjects WHERE active = 1 AND id IN", marks(subject_ids))
    if not subject_ids or tx.value(statement, *subject_ids) != len(set(subject_ids)):
        raise not_linkable("subjects")
    return project, workflow, subject_ids


def create(call: Call) -> Reply:
    """Answer POST /classifications, with or without a token.

    Raises
    ------
    RefusalError
        422 for the closed schema and for links to what is absent.
    """
    given = call.attributes(KIND)
    CLASSIFICATION_CREATE(KIND, given)
    project, workflow, subject_ids = _linked(call, given["links"])
    metadata = dict(given["metadata"])
    version = metadata.pop("workflow_version")
    tx, user_id = call.tx, call.viewer.user_id
    row_id = tx.insert_dated(
        KIND,
        project_id=project["id"],
        workflow_id=workflow["id"],
        user_id=user_id,
        user_ip=call.request.client_ip,
        completed=given.get("completed", True),
        gold_standard=given.get("gold_standard"),
        expert="owner" if user_id == project["owner_id"] else None,
        workflow_version=version,
        metadata=json.dumps(metadata),
        annotations=json.dumps(given["annotations"]),
        subject_ids=json.dumps(subject_ids),
    )
    tx.run_many(
        "INSERT OR IGNORE INTO classification_subjects (subject_id, classification_id) VALUES (?, ?)",
        [(subject_id, row_id) for subject_id in subject_ids],
    )
    tx.defer("complete_classification", classification_id=row_id)
    row = tx.only("SELECT * FROM classifications WHERE id = ?", row_id)
    return created(call, KIND, _resource(row), _etag(row))


def complete_classification(tx: Transaction, classification_id: int) -> None:
    """Do what Panoptes' worker does with a new row: mark it, remember who saw what, count, retire.

    A classification counts when it is complete, the project is live and it does not carry ``seen_before``; an
    anonymous one is never marked as a repeat, so it always counts. A gold-standard row never does.
    """
    row = tx.only("SELECT * FROM classifications WHERE id = ?", classification_id)
    subject_ids: list[int] = json.loads(row["subject_ids"])
    live = bool(tx.value("SELECT live FROM projects WHERE id = ?", row["project_id"]))
    metadata = {**json.loads(row["metadata"]), "live_project": live}
    if row["user_id"] is not None:
        metadata["user_group_ids"] = []
        if row["completed"] and _has_seen(tx, row, subject_ids):
            metadata["seen_before"] = True
    tx.update(KIND, row["id"], metadata=json.dumps(metadata), updated_at=tx.stamp)
    if not row["completed"]:
        return
    if live and "seen_before" not in metadata and not row["gold_standard"]:
        workflow = tx.one("SELECT * FROM workflows WHERE id = ?", row["workflow_id"])
        if workflow is not None:
            count_classification(tx, workflow["id"], subject_ids, retirement_of(workflow))
    tx.run(
        "UPDATE workflows SET classifications_count = classifications_count + 1 WHERE id = ?",
        row["workflow_id"],
    )
    tx.run(
        "UPDATE projects SET classifications_count = classifications_count + 1 WHERE id = ?",
        row["project_id"],
    )


def _has_seen(tx: Transaction, row: Row, subject_ids: list[int]) -> bool:
    """Note that this user saw these subjects, and return whether any of them was seen before."""
    fresh = tx.run_many(
        "INSERT OR IGNORE INTO seen_subjects (user_id, workflow_id, subject_id) VALUES (?, ?, ?)",
        [(row["user_id"], row["workflow_id"], subject_id) for subject_id in set(subject_ids)],
    )
    return fresh < len(set(subject_ids))


def _page(call: Call, scope: str, chosen: Filter) -> Reply:
    """Answer one of the four listings; all of them read on to an empty page, and none has a count."""
    path = f"/{KIND}{scope}"
    page = page_of(call)
    chosen.merge(filter_ids(call, _FILTERS))
    source = "classifications c"
    by_subject = filter_ids(call, {"subject_id": "j.subject_id"})
    if by_subject.conditions:
        # CROSS keeps SQLite from walking every classification of the project in search of one subject.
        source = "classification_subjects j CROSS JOIN classifications c ON c.id = j.classification_id"
        chosen.merge(by_subject)
    last_id = call.request.query.get("last_id")
    if last_id is not None:
        if "project_id" not in chosen.echo:
            raise api_error(422, "Project ID required if last_id is included")
        chosen.require("c.id > ?", row_number(last_id))
    ids = ids_on_page(call.tx, source=source, column="c.id", chosen=chosen, page=page, count=None)
    entries = [_resource(row) for row in rows_by_id(call.tx, KIND, ids)]
    meta = uncounted_meta(path, page, chosen.echo, len(entries))
    if last_id is not None and entries:
        meta["next_href"] = _cursor_href(call, path, entries)
    return listed(call, KIND, entries, meta)


def _cursor_href(call: Call, path: str, entries: list[Resource]) -> str:
    """Return where the cursor goes on: after the largest id as text, so after 99 on a page with 100."""
    query = {name: value for name, value in call.request.query.items() if name != "page"}
    query["last_id"] = max(entry["id"] for entry in entries)
    return f"{path}?{urlencode(sorted(query.items()))}"


def _own(call: Call, condition: str) -> Filter:
    chosen = Filter()
    chosen.require("c.user_id = ?", call.viewer.user_id)
    chosen.require(condition)
    return chosen


def index(call: Call) -> Reply:
    """Answer GET /classifications: one's own complete ones."""
    return _page(call, "", _own(call, "c.completed = 1"))


def index_incomplete(call: Call) -> Reply:
    """Answer GET /classifications/incomplete: one's own unfinished ones."""
    return _page(call, "/incomplete", _own(call, "c.completed = 0"))


def index_project(call: Call) -> Reply:
    """Answer GET /classifications/project: everybody's, complete or not, in the projects one owns."""
    chosen = Filter()
    chosen.require("c.project_id IN (SELECT id FROM projects WHERE owner_id = ?)", call.viewer.user_id)
    return _page(call, "/project", chosen)


def index_gold_standard(call: Call) -> Reply:
    """Answer GET /classifications/gold_standard: of workflows that publish them and of one's projects."""
    chosen = Filter()
    chosen.require(
        "c.gold_standard AND c.workflow_id IN "
        "(SELECT w.id FROM workflows w JOIN projects p ON p.id = w.project_id "
        "WHERE json_extract(w.attributes, '$.public_gold_standard') OR p.owner_id = ?)",
        call.viewer.user_id,
    )
    return _page(call, "/gold_standard", chosen)


def _own_row(call: Call) -> Row:
    row = call.tx.one("SELECT * FROM classifications WHERE id = ? AND user_id = ?", call.id, call.viewer.user_id)
    if row is None:
        raise not_found("classification", call.id)
    return row


def show(call: Call) -> Reply:
    """Answer GET /classifications/ID for one's own."""
    row = _own_row(call)
    return shown(call, KIND, _resource(row), _etag(row))


def update(call: Call) -> Reply:
    """Answer PUT and DELETE /classifications/ID: a complete one is final.

    Raises
    ------
    RefusalError
        404 for somebody else's, 403 for a complete one.
    UnknownCallError
        For an incomplete one: no client of this project saves sittings in parts.
    """
    row = _own_row(call)
    if row["completed"]:
        raise api_error(403, f"classifications with id='{call.id}' is complete")
    raise UnknownCallError("writing to an incomplete classification is not modelled")
