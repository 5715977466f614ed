"""The project and its people, as far as clients read them."""

from __future__ import annotations

import re
from typing import Any

from alservice.errors import Conflict
from alservice.standin.config import StandinConfig
from alservice.standin.errors import api_error, not_found
from alservice.standin.listing import count_rows, counted_meta, filter_ids, ids_on_page, listed, page_of, rows_by_id
from alservice.standin.replies import Reply
from alservice.standin.rights import project_row
from alservice.standin.state import Row, Transaction
from alservice.standin.wire import Call, Resource, resource, shown, strong_etag
from alservice.standin.workflows import insert_workflow

KIND = "projects"
ROLES = "project_roles"


def install(tx: Transaction, config: StandinConfig) -> None:
    """Write the project and its first workflow, and set whether the project is live.

    Raises
    ------
    Conflict
        The state has another project already.
    """
    there = tx.value("SELECT id FROM projects")
    if there not in {None, config.project_id}:
        raise Conflict(f"the stand-in state {config.state} has project {there}, not {config.project_id}")
    if there is None:
        owner = tx.only("SELECT * FROM users ORDER BY id LIMIT 1")
        words = re.sub(r"[^a-z0-9]+", "-", config.project_name.lower()).strip("-")
        tx.insert_dated(
            KIND,
            id=config.project_id,
            owner_id=owner["id"],
            display_name=config.project_name,
            slug=f"{owner['login'].lower()}/{words}",
            live=config.live_project,
        )
    if tx.value("SELECT live FROM projects WHERE id = ?", config.project_id) != config.live_project:
        tx.revise(KIND, config.project_id, live=config.live_project)
    if tx.one("SELECT 1 FROM workflows WHERE id = ?", config.workflow_id) is None:
        insert_workflow(
            tx,
            project_id=config.project_id,
            display_name=f"{config.project_name} workflow",
            active=False,
            given={},
            workflow_id=config.workflow_id,
        )


def _resource(tx: Transaction, row: Row) -> Resource:
    owner = tx.only("SELECT * FROM users WHERE id = ?", row["owner_id"])
    workflows = tx.all("SELECT id, active FROM workflows WHERE project_id = ? AND NOT deleted", row["id"])
    sets = tx.all("SELECT id, counted_members FROM subject_sets WHERE project_id = ? ORDER BY id", row["id"])
    retired = tx.value("SELECT coalesce(sum(retired_count), 0) FROM workflows WHERE project_id = ?", row["id"])
    subjects = sum(subject_set["counted_members"] for subject_set in sets)
    attributes: dict[str, Any] = {
        "display_name": row["display_name"],
        "title": row["display_name"],
        "description": "",
        "introduction": "",
        "slug": row["slug"],
        "live": bool(row["live"]),
        "private": False,
        "state": None,
        "configuration": {},
        "primary_language": "en",
        "available_languages": ["en"],
        "tags": [],
        "urls": [],
        "classifications_count": row["classifications_count"],
        "classifiers_count": 0,
        "subjects_count": subjects,
        "retired_subjects_count": retired,
        "completeness": min(1.0, retired / subjects) if subjects else 0.0,
        "beta_approved": False,
        "launch_approved": False,
        "launch_date": None,
        "experimental_tools": [],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }
    links = {
        "owner": {
            "id": str(owner["id"]),
            "login": owner["login"],
            "display_name": owner["login"],
            "type": "users",
            "href": f"/users/{owner['id']}",
        },
        "workflows": [str(workflow["id"]) for workflow in workflows],
        "active_workflows": [str(workflow["id"]) for workflow in workflows if workflow["active"]],
        "subject_sets": [str(subject_set["id"]) for subject_set in sets],
    }
    return resource(KIND, row["id"], attributes, links)


def show(call: Call) -> Reply:
    """Answer GET /projects/ID."""
    row = project_row(call)
    entry = _resource(call.tx, row)
    return shown(call, KIND, entry, strong_etag(KIND, row["id"], row["updated_at"], row["revision"]))


def index(call: Call) -> Reply:
    """Answer GET /projects: by id or by slug, which is compared in lower case."""
    page = page_of(call)
    chosen = filter_ids(call, {"id": "id"})
    slug = call.request.query.get("slug")
    if slug is not None:
        chosen.require("slug = ?", slug.lower())
        chosen.echo["slug"] = slug
    count = count_rows(call.tx, source=KIND, chosen=chosen)
    ids = ids_on_page(call.tx, source=KIND, column="id", chosen=chosen, page=page, count=count)
    entries = [_resource(call.tx, row) for row in rows_by_id(call.tx, KIND, ids)]
    return listed(call, KIND, entries, counted_meta(f"/{KIND}", page, chosen.echo, count))


def index_roles(call: Call) -> Reply:
    """Answer GET /project_roles: who is what to a project; here each has its owner and nobody else."""
    page = page_of(call)
    chosen = filter_ids(call, {"id": "id", "project_id": "id"})
    count = count_rows(call.tx, source=KIND, chosen=chosen)
    ids = ids_on_page(call.tx, source=KIND, column="id", chosen=chosen, page=page, count=count)
    entries = [_owner_role(row) for row in rows_by_id(call.tx, KIND, ids)]
    return listed(call, ROLES, entries, counted_meta(f"/{ROLES}", page, chosen.echo, count))


def _owner_role(row: Row) -> Resource:
    owner = {"id": str(row["owner_id"]), "type": "users", "href": f"/users/{row['owner_id']}"}
    return resource(ROLES, row["id"], {"roles": ["owner"]}, {"project": str(row["id"]), "owner": owner})


def _user(call: Call, user_id: int) -> Reply:
    row = call.tx.one("SELECT * FROM users WHERE id = ?", user_id)
    if row is None:
        raise not_found("user", user_id)
    attributes: dict[str, Any] = {
        "login": row["login"],
        "display_name": row["login"],
        "credited_name": None,
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }
    if user_id == call.viewer.user_id:
        attributes["uploaded_subjects_count"] = row["uploaded"]
        attributes["max_subjects"] = call.config.subject_limit
        attributes["upload_whitelist"] = False
        attributes["admin"] = False
    entry = resource("users", row["id"], attributes, {})
    return shown(call, "users", entry, strong_etag("users", row["id"], row["updated_at"], row["uploaded"]))


def show_user(call: Call) -> Reply:
    """Answer GET /users/ID; only the user learns how many subjects were uploaded."""
    return _user(call, call.id)


def show_me(call: Call) -> Reply:
    """Answer GET /me."""
    if call.viewer.user_id is None:
        raise api_error(401, "You must be logged in to access this resource.")
    return _user(call, call.viewer.user_id)
