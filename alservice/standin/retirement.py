"""Retirement and status rows: the call answers at once, a worker acts later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alservice.standin.errors import api_error, not_found
from alservice.standin.listing import (
    filter_ids,
    ids_in,
    ids_on_page,
    listed,
    marks,
    page_of,
    rows_by_id,
    uncounted_meta,
)
from alservice.standin.membership import add_statuses
from alservice.standin.replies import Reply
from alservice.standin.rights import workflow_row
from alservice.standin.state import Row, Transaction, sql
from alservice.standin.wire import Call, Resource, resource, shown, strong_etag

KIND = "subject_workflow_statuses"
REASONS = ("classification_count", "flagged", "nothing_here", "consensus", "other", "human")


def _identities(given: dict[str, Any], name: str) -> list[int]:
    value = given.get(name, [])
    if not isinstance(value, list):
        raise api_error(422, f"{name.replace('_', ' ').capitalize()} is not a valid array")
    return [ids_in(str(identity))[0] for identity in value]


def retire(call: Call) -> Reply:
    """Answer POST /workflows/ID/retired_subjects with 204; unknown subjects are skipped without a word.

    Raises
    ------
    RefusalError
        404 without rights, 422 for a reason outside Panoptes' list.
    """
    row = workflow_row(call, writable=True)
    given = call.document()
    reason = given.get("retirement_reason")
    reason = "nothing_here" if reason == "blank" else reason
    if reason is not None and reason not in REASONS:
        raise api_error(422, "Retirement reason is not included in the list")
    call.tx.defer("retire", workflow_id=row["id"], subject_ids=_identities(given, "subject_ids"), reason=reason)
    return Reply(status=204)


def unretire(call: Call) -> Reply:
    """Answer POST /workflows/ID/unretire_subjects with 204, for subjects or whole sets."""
    row = workflow_row(call, writable=True)
    given = call.document()
    call.tx.defer(
        "unretire",
        workflow_id=row["id"],
        subject_ids=_identities(given, "subject_ids"),
        subject_set_ids=_identities(given, "subject_set_ids"),
    )
    return Reply(status=204)


def retire_now(tx: Transaction, workflow_id: int, subject_ids: Sequence[int], reason: str | None) -> None:
    """Retire the subjects that exist and are not retired yet."""
    ids = list(subject_ids)
    statement = sql("SELECT id FROM subjects WHERE active = 1 AND id IN", marks(ids))
    known = [row["id"] for row in tx.all(statement, *ids)]
    add_statuses(tx, workflow_id, known)
    statement = sql(
        "UPDATE subject_workflow_statuses SET retired_at = ?, retirement_reason = ?, updated_at = ?",
        "WHERE workflow_id = ? AND retired_at IS NULL AND subject_id IN",
        marks(known),
    )
    changed = tx.run(statement, tx.stamp, reason, tx.stamp, workflow_id, *known).rowcount
    _add_to_count(tx, workflow_id, changed)


def unretire_now(tx: Transaction, workflow_id: int, subject_ids: Sequence[int], subject_set_ids: Sequence[int]) -> None:
    """Bring subjects back, named one by one or by set."""
    ids, sets = list(subject_ids), list(subject_set_ids)
    statement = sql(
        "UPDATE subject_workflow_statuses SET retired_at = NULL, retirement_reason = NULL, updated_at = ?",
        "WHERE workflow_id = ? AND retired_at IS NOT NULL AND (subject_id IN",
        marks(ids),
        "OR subject_id IN (SELECT subject_id FROM set_member_subjects WHERE subject_set_id IN",
        marks(sets),
        "))",
    )
    changed = tx.run(statement, tx.stamp, workflow_id, *ids, *sets).rowcount
    _add_to_count(tx, workflow_id, -changed)


def _add_to_count(tx: Transaction, workflow_id: int, change: int) -> None:
    if change:
        tx.run("UPDATE workflows SET retired_count = retired_count + ? WHERE id = ?", change, workflow_id)


def count_classification(tx: Transaction, workflow_id: int, subject_ids: Sequence[int], rule: dict[str, Any]) -> None:
    """Count one classification for its subjects, and retire those that reach the rule's count."""
    ids = list(subject_ids)
    add_statuses(tx, workflow_id, ids)
    statement = sql(
        "UPDATE subject_workflow_statuses",
        "SET classifications_count = classifications_count + 1, updated_at = ?",
        "WHERE workflow_id = ? AND subject_id IN",
        marks(ids),
    )
    tx.run(statement, tx.stamp, workflow_id, *ids)
    if rule["criteria"] != "classification_count":
        return
    statement = sql(
        "SELECT subject_id FROM subject_workflow_statuses",
        "WHERE workflow_id = ? AND retired_at IS NULL AND classifications_count >= ? AND subject_id IN",
        marks(ids),
    )
    full = [row["subject_id"] for row in tx.all(statement, workflow_id, rule["options"]["count"], *ids)]
    retire_now(tx, workflow_id, full, "classification_count")


def _resource(row: Row) -> Resource:
    attributes = {
        name: row[name]
        for name in ("classifications_count", "retired_at", "retirement_reason", "created_at", "updated_at")
    }
    links = {"subject": str(row["subject_id"]), "workflow": str(row["workflow_id"])}
    return resource(KIND, row["id"], attributes, links)


def index(call: Call) -> Reply:
    """Answer GET /subject_workflow_statuses: by id, subject or workflow, without a count."""
    page = page_of(call)
    chosen = filter_ids(call, {"id": "id", "subject_id": "subject_id", "workflow_id": "workflow_id"})
    ids = ids_on_page(call.tx, source=KIND, column="id", chosen=chosen, page=page, count=None)
    entries = [_resource(row) for row in rows_by_id(call.tx, KIND, ids)]
    return listed(call, KIND, entries, uncounted_meta(f"/{KIND}", page, chosen.echo, len(entries)))


def show(call: Call) -> Reply:
    """Answer GET /subject_workflow_statuses/ID."""
    row = call.tx.one("SELECT * FROM subject_workflow_statuses WHERE id = ?", call.id)
    if row is None:
        raise not_found("subject_workflow_status", call.id)
    etag = strong_etag(KIND, row["id"], row["updated_at"], row["classifications_count"], row["retired_at"])
    return shown(call, KIND, _resource(row), etag)


def status_json(tx: Transaction, workflow_id: int, subject_id: int) -> dict[str, Any] | None:
    """Return a retired subject's status as exports embed it, or None while it is not retired."""
    row = tx.one(
        "SELECT * FROM subject_workflow_statuses WHERE subject_id = ? AND workflow_id = ? AND retired_at IS NOT NULL",
        subject_id,
        workflow_id,
    )
    return None if row is None else dict(row)
