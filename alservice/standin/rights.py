"""Who may write what: a project's owner and nobody else; a row one may not write does not exist (404)."""

from __future__ import annotations

from alservice.standin.errors import not_found, not_linkable
from alservice.standin.listing import ids_in, marks
from alservice.standin.state import Row, sql
from alservice.standin.wire import Call


def owns_project(call: Call, project_id: int) -> bool:
    """Return whether the viewer owns the project."""
    owner = call.tx.value("SELECT owner_id FROM projects WHERE id = ?", project_id)
    return owner is not None and owner == call.viewer.user_id


def linkable_project(call: Call, project_id: str | int) -> Row:
    """Return the project a new row is to belong to.

    Raises
    ------
    RefusalError
        422 when it is absent or not the viewer's.
    """
    project = call.tx.one("SELECT * FROM projects WHERE id = ?", ids_in(str(project_id))[0])
    if project is None or project["owner_id"] != call.viewer.user_id:
        raise not_linkable("project")
    return project


def linkable_sets(call: Call, identities: list[str | int]) -> list[Row]:
    """Return the subject sets that a row is to be linked to.

    Raises
    ------
    RefusalError
        422 when one is absent.
    """
    ids = sorted({ids_in(str(identity))[0] for identity in identities})
    statement = sql("SELECT * FROM subject_sets WHERE id IN", marks(ids))
    found = call.tx.all(statement, *ids)
    if len(found) != len(ids):
        raise not_linkable("subject_sets")
    return found


def subject_row(call: Call, *, writable: bool = False) -> Row:
    """Return the subject in the path, or raise the 404 that hides it."""
    row = call.tx.one("SELECT * FROM subjects WHERE id = ? AND active = 1", call.id)
    if row is None or (writable and not owns_project(call, row["project_id"])):
        raise not_found("subject", call.id)
    return row


def subject_set_row(call: Call, *, writable: bool = False) -> Row:
    """Return the subject set in the path, or raise the 404 that hides it."""
    row = call.tx.one("SELECT * FROM subject_sets WHERE id = ?", call.id)
    if row is None or (writable and not owns_project(call, row["project_id"])):
        raise not_found("subject_set", call.id)
    return row


def workflow_row(call: Call, *, writable: bool = False) -> Row:
    """Return the workflow in the path, or raise the 404 that hides it."""
    row = call.tx.one("SELECT * FROM workflows WHERE id = ? AND NOT deleted", call.id)
    if row is None or (writable and not owns_project(call, row["project_id"])):
        raise not_found("workflow", call.id)
    return row


def project_row(call: Call, *, writable: bool = False) -> Row:
    """Return the project in the path, or raise the 404 that hides it."""
    row = call.tx.one("SELECT * FROM projects WHERE id = ?", call.id)
    if row is None or (writable and row["owner_id"] != call.viewer.user_id):
        raise not_found("project", call.id)
    return row
