"""The rows of the CSV exports, as Panoptes' formatters write them."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from alservice.standin.config import csv_stamp
from alservice.standin.media import PUBLIC
from alservice.standin.retirement import status_json
from alservice.standin.state import Row, Transaction, sql
from alservice.standin.subjects import locations_of
from alservice.standin.task_text import label_annotation, split_text
from alservice.standin.wire import row_number
from alservice.standin.workflows import attributes_of, retirement_of

Cells = list[object]
_PSEUDONYM_DIGITS = 20

CLASSIFICATION_COLUMNS = [
    "classification_id",
    "user_name",
    "user_id",
    "user_ip",
    "workflow_id",
    "workflow_name",
    "workflow_version",
    "created_at",
    "gold_standard",
    "expert",
    "metadata",
    "annotations",
    "subject_data",
    "subject_ids",
]
SUBJECT_COLUMNS = [
    "subject_id",
    "project_id",
    "workflow_id",
    "subject_set_id",
    "metadata",
    "locations",
    "classifications_count",
    "retired_at",
    "retirement_reason",
    "created_at",
    "updated_at",
]
WORKFLOW_COLUMNS = [
    "workflow_id",
    "display_name",
    "version",
    "active",
    "classifications_count",
    "pairwise",
    "grouped",
    "prioritized",
    "primary_language",
    "first_task",
    "tutorial_subject_id",
    "retired_set_member_subjects_count",
    "tasks",
    "retirement",
    "strings",
    "minor_version",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One dump: its transaction, the key of its pseudonyms, where files are, and the tasks read so far."""

    tx: Transaction
    key: str
    base_url: str
    tasks: dict[tuple[int, str], dict[str, Any]] = field(default_factory=dict)

    def pseudonym(self, client_ip: str) -> str:
        """Return the name of an address within this file; another run gives another name."""
        return self.tx.derive("pseudonym", self.key, client_ip)[:_PSEUDONYM_DIGITS]


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def render(run: Run, resource: str, resource_id: int, export: str) -> bytes:
    """Return an export as gzip: minimal quoting, one line feed per row."""
    columns, rows = {
        "classifications": (CLASSIFICATION_COLUMNS, _classifications(run, resource, resource_id)),
        "subjects": (SUBJECT_COLUMNS, _subjects(run, resource_id)),
        "workflows": (WORKFLOW_COLUMNS, _workflows(run.tx, resource_id)),
    }[export]
    return _gzip_csv(columns, rows)


def _gzip_csv(columns: Iterable[str], rows: Iterable[Cells]) -> bytes:
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped,
        io.TextIOWrapper(zipped, encoding="utf-8", newline="") as text,
    ):
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    return buffer.getvalue()


_SCOPES = {
    "projects": "c.project_id = ?",
    "workflows": "c.workflow_id = ?",
    "subject_sets": (
        "c.id IN (SELECT j.classification_id FROM classification_subjects j JOIN set_member_subjects m "
        "ON m.subject_id = j.subject_id WHERE m.subject_set_id = ?)"
    ),
}


def _classifications(run: Run, resource: str, resource_id: int) -> Iterator[Cells]:
    """Yield complete classifications of undeleted workflows, by ascending id."""
    statement = sql(
        "SELECT c.*, u.login, w.display_name AS workflow_name FROM classifications c",
        "JOIN workflows w ON w.id = c.workflow_id LEFT JOIN users u ON u.id = c.user_id",
        "WHERE c.completed AND NOT w.deleted AND",
        _SCOPES[resource],
        "ORDER BY c.id",
    )
    for row in run.tx.run(statement, resource_id):
        yield _classification(run, row)


def _classification(run: Run, row: Row) -> Cells:
    user_ip = run.pseudonym(row["user_ip"])
    tasks = _tasks_at(run, row["workflow_id"], row["workflow_version"])
    subject_ids: list[int] = json.loads(row["subject_ids"])
    return [
        row["id"],
        f"not-logged-in-{user_ip}" if row["login"] is None else row["login"],
        row["user_id"],
        user_ip,
        row["workflow_id"],
        row["workflow_name"],
        row["workflow_version"],
        csv_stamp(row["created_at"]),
        "true" if row["gold_standard"] else "",
        row["expert"],
        _json(json.loads(row["metadata"])),
        _json([label_annotation(annotation, tasks) for annotation in json.loads(row["annotations"])]),
        _json(_subject_data(run.tx, row["workflow_id"], subject_ids)),
        ";".join(map(str, subject_ids)),
    ]


def _subject_data(tx: Transaction, workflow_id: int, subject_ids: list[int]) -> dict[str, Any]:
    return {
        str(subject_id): {
            "retired": status_json(tx, workflow_id, subject_id),
            **json.loads(tx.value("SELECT metadata FROM subjects WHERE id = ?", subject_id)),
        }
        for subject_id in subject_ids
    }


def _tasks_at(run: Run, workflow_id: int, version: str) -> dict[str, Any]:
    """Return the tasks of the first workflow version that is not older than the recorded one."""
    key = workflow_id, version
    if key not in run.tasks:
        major, _, minor = version.partition(".")
        found = run.tx.one(
            "SELECT * FROM workflow_versions WHERE workflow_id = ? AND (major, minor) >= (?, ?) "
            "ORDER BY major, minor LIMIT 1",
            workflow_id,
            row_number(major),
            row_number(minor),
        )
        run.tasks[key] = {} if found is None else attributes_of(found)["tasks"]
    return run.tasks[key]


def _subjects(run: Run, project_id: int) -> Iterator[Cells]:
    """Yield one row per subject, set and workflow linked to the set; subjects in no set are absent."""
    rows = run.tx.run(
        "SELECT s.*, m.subject_set_id, w.workflow_id, "
        "t.classifications_count, t.retired_at, t.retirement_reason "
        "FROM set_member_subjects m JOIN subjects s ON s.id = m.subject_id "
        "LEFT JOIN workflow_subject_sets w ON w.subject_set_id = m.subject_set_id "
        "LEFT JOIN subject_workflow_statuses t ON t.subject_id = s.id AND t.workflow_id = w.workflow_id "
        "WHERE s.project_id = ? AND s.active = 1 ORDER BY m.id, w.workflow_id",
        project_id,
    )
    for row in rows:
        urls = [location.url or f"{run.base_url}{PUBLIC}/{location.path}" for location in locations_of(row)]
        yield [
            row["id"],
            project_id,
            row["workflow_id"],
            row["subject_set_id"],
            _json(json.loads(row["metadata"])),
            _json({str(index): url for index, url in enumerate(urls)}),
            row["classifications_count"] or 0,
            csv_stamp(row["retired_at"]),
            row["retirement_reason"],
            csv_stamp(row["created_at"]),
            csv_stamp(row["updated_at"]),
        ]


def _workflows(tx: Transaction, project_id: int) -> Iterator[Cells]:
    """Yield one row per version of each workflow; tasks hold text keys, the text is beside them."""
    rows = tx.run(
        "SELECT v.*, w.classifications_count, w.retired_count FROM workflow_versions v "
        "JOIN workflows w ON w.id = v.workflow_id WHERE w.project_id = ? AND NOT w.deleted "
        "ORDER BY v.workflow_id, v.major, v.minor",
        project_id,
    )
    for row in rows:
        given = attributes_of(row)
        structure, strings = split_text(given["tasks"])
        yield [
            row["workflow_id"],
            row["display_name"],
            row["major"],
            _boolean(row["active"]),
            row["classifications_count"],
            _boolean(given["pairwise"]),
            _boolean(given["grouped"]),
            _boolean(given["prioritized"]),
            given["primary_language"],
            given["first_task"],
            "",
            row["retired_count"],
            _json(structure),
            _json(retirement_of(row)),
            _json(strings),
            row["minor"],
        ]


def _boolean(value: object) -> str:
    return "true" if value else "false"
