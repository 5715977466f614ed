"""The life of an export: asked for, made by a worker, throttled silently, read through an expiring URL."""

from __future__ import annotations

import json
from datetime import timedelta

from alservice.standin import export_rows, media
from alservice.standin.config import parse_stamp
from alservice.standin.errors import UnknownCallError, api_error
from alservice.standin.replies import Reply, dump_json
from alservice.standin.rights import project_row, subject_set_row, workflow_row
from alservice.standin.schemas import EXPORT_CREATE
from alservice.standin.state import Row, Transaction
from alservice.standin.wire import Call, Resource, body_etag, created, envelope, one_page, strong_etag, unless_known

KIND = "media"
THROTTLE = timedelta(hours=24)
_GONE = "workflow_contents"
_PUBLIC = "workflows"
_ROWS_OF = {"projects": project_row, "workflows": workflow_row, "subject_sets": subject_set_row}
_OFFERED = {
    "projects": ("classifications", "subjects", "workflows"),
    "workflows": ("classifications",),
    "subject_sets": ("classifications",),
}


def _target(call: Call, *, writable: bool) -> tuple[str, Row, str]:
    """Return the resource kind, its row and the export's type, or raise what hides or misses it."""
    kind, export = call.parameters["resource"], call.parameters["export"]
    row = _ROWS_OF[kind](call, writable=writable)
    if export != _GONE and export not in _OFFERED[kind]:
        raise UnknownCallError(f"{kind} have no {export}_export here")
    return kind, row, export


def _resource(call: Call, medium: Row) -> Resource:
    kind, row_id, export = medium["resource"], medium["resource_id"], medium["export"]
    return {
        "id": str(medium["id"]),
        "href": f"/{kind}/{row_id}/{export}_export",
        "src": media.private_url(call, medium["path"]),
        "content_type": medium["content_type"],
        "media_type": f"{kind.removesuffix('s')}_{export}_export",
        "external_link": False,
        "created_at": medium["created_at"],
        "updated_at": medium["updated_at"],
        "metadata": json.loads(medium["metadata"]),
        "links": {"linked": {"id": str(row_id), "type": kind, "href": f"/{kind}/{row_id}"}},
    }


def create(call: Call) -> Reply:
    """Answer POST /<resource>/ID/<type>_export.

    The medium goes back to ``creating`` in any case; within 24 h of the last dump the job is cancelled
    silently, so the state stays there while ``src`` still leads to the old file.

    Raises
    ------
    RefusalError
        404 without rights, 410 for ``workflow_contents``, 422 for the schema.
    """
    kind, row, export = _target(call, writable=True)
    if export == _GONE:
        raise api_error(410, "This export is gone: use workflows_export")
    EXPORT_CREATE(KIND, call.attributes(KIND))
    tx = call.tx
    metadata = json.dumps({"recipients": [call.viewer.user_id], "state": "creating"})
    path = f"{kind.removesuffix('s')}_{export}_export/{tx.derive('export', kind, row['id'], export)[:32]}.csv"
    medium = tx.only(
        "INSERT INTO media "
        "(resource, resource_id, export, content_type, path, metadata, created_at, updated_at) "
        "VALUES (?, ?, ?, 'text/csv', ?, ?, ?, ?) ON CONFLICT (resource, resource_id, export) "
        "DO UPDATE SET metadata = excluded.metadata, updated_at = excluded.updated_at RETURNING *",
        kind,
        row["id"],
        export,
        path,
        metadata,
        tx.stamp,
        tx.stamp,
    )
    dumped_at = medium["dumped_at"]
    if dumped_at is None or tx.now - parse_stamp(dumped_at) >= THROTTLE:
        tx.update(KIND, medium["id"], dumped_at=tx.stamp)
        tx.defer("dump_export", medium_id=medium["id"], base_url=call.request.base_url)
    return created(call, KIND, _resource(call, medium), strong_etag(KIND, medium["id"], medium["updated_at"]))


def show(call: Call) -> Reply:
    """Answer GET /<resource>/ID/<type>_export, for owners unless it holds workflows; no scope is checked."""
    kind, row, export = _target(call, writable=call.parameters["export"] != _PUBLIC)
    medium = call.tx.one(
        "SELECT * FROM media WHERE resource = ? AND resource_id = ? AND export = ?", kind, row["id"], export
    )
    if medium is None:
        name = kind.removesuffix("s")
        raise api_error(404, f"No {export}_export exists for {name} #{row['id']}")
    body = dump_json(envelope(KIND, [_resource(call, medium)], one_page(KIND)))
    return unless_known(call, body, body_etag(body))


def dump(tx: Transaction, medium_id: int, base_url: str) -> None:
    """Write the file of one export and mark it ready."""
    medium = tx.only("SELECT * FROM media WHERE id = ?", medium_id)
    run = export_rows.Run(tx=tx, key=f"{medium_id}/{tx.stamp}", base_url=base_url)
    content = export_rows.render(run, medium["resource"], medium["resource_id"], medium["export"])
    media.write_blob(tx, medium["path"], "text/csv", content)
    metadata = {**json.loads(medium["metadata"]), "state": "ready", "job_id": tx.derive("job", run.key)[:24]}
    tx.update(KIND, medium_id, metadata=json.dumps(metadata), updated_at=tx.stamp)
