"""Exports, workflow files and listed rows that try something: no row stops an ingest, and none takes the memory."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alservice.errors import BadInput
from alservice.votes import exports as export_files
from alservice.votes.caesar import BadReduction, parse_reduction
from alservice.votes.decoding import read_workflows
from alservice.votes.exports import ExportFile
from alservice.zooniverse.client import TOO_DEEP, classification_of

HEADER = ",".join(export_files.REQUIRED)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def line(
    number: int, *, annotations: str = "[]", created_at: str = "2025-01-01 00:00:00 UTC", metadata: str = "{}"
) -> str:
    """Return one row of an export."""
    cells = [str(number), "", "7", "1.1", created_at, "", metadata, annotations, '{"5": {"retired":null}}', "5"]
    return ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)


def export(path: Path, lines: list[str]) -> ExportFile:
    """Write an export, zipped."""
    path.write_bytes(gzip.compress("\n".join([HEADER, *lines, ""]).encode()))
    return ExportFile(path=path, workflow_ids=frozenset({7}), user_hash_key=b"k", latest=NOW)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (line(1, annotations="[" * 5000), "annotations"),
        (line(1, annotations='[{"task": "T0", "value": ' + "[" * 60 + "]" * 60 + "}]"), "annotations"),
        (line(1, created_at="0001-01-01 00:00:00 UTC"), "created_at"),
        (line(1, created_at="9999-12-31 00:00:00 UTC"), "created_at"),
        (line(1, metadata='{"session": "a\\u0000b"}'), "metadata"),
        (line(1, metadata='{"session": "\\ud800"}'), "metadata"),
        (line(10**30), "classification_id"),
    ],
)
def test_a_row_that_cannot_be_kept_waits_alone(tmp_path: Path, row: str, field: str) -> None:
    """Kind: one value loses a whole ingest. Depth, years of no calendar, NUL, half a character, ids without end."""
    (batch,) = export(tmp_path / "e.csv.gz", [line(2), row, line(3)]).batches()
    assert [raw.classification_id for raw in batch.rows] == [2, 3]
    assert [fault.field for fault in batch.faults] == [field]


def test_long_rows_make_short_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: a small file that unfolds. Thirty thousand rows of a megabyte were one batch; bytes count as rows do."""
    monkeypatch.setattr(export_files, "BATCH_BYTES", 1_000_000)
    long = '[{"task": "T0", "value": "%s"}]' % ("x" * 100_000)
    file = export(tmp_path / "e.csv.gz", [line(number, annotations=long) for number in range(1, 41)])
    assert file.path.stat().st_size < 20_000
    sizes = [len(batch.rows) for batch in file.batches()]
    assert sum(sizes) == 40
    assert max(sizes) <= 10


def listed(**changes: Any) -> dict[str, Any]:
    """Return a classification as the API lists it."""
    metadata = {"session": "s", "workflow_version": "1.1", **changes.pop("metadata", {})}
    return {
        "id": "5",
        "links": {"workflow": "7", "subjects": ["5"]},
        "created_at": "2025-01-01T00:00:00Z",
        "annotations": [{"task": "T0", "value": 0}],
        "metadata": metadata,
    } | changes


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 5000, "\u202e", ["a"], {"a": 1}, 5])
def test_what_a_browser_sent_stops_no_listing(text: object) -> None:
    """Kind: volunteers write metadata themselves. A text that cannot be kept is as one that is absent."""
    row = classification_of(
        listed(metadata=dict.fromkeys(("session", "started_at", "finished_at", "workflow_version"), text)), b"k"
    )
    assert (row.session, row.started_at, row.finished_at, row.workflow_version) == (None, None, None, "")


def test_an_answer_too_deep_to_read_waits_in_quarantine() -> None:
    """It has a value that no answer has."""
    deep: Any = 0
    for _ in range(500):
        deep = [deep]
    row = classification_of(listed(annotations=[{"task": "T0", "value": deep}]), b"k")
    assert row.annotations == ({"task": "T0", "value": TOO_DEEP},)
    assert classification_of(listed(), b"k").annotations == ({"task": "T0", "value": 0},)


@pytest.mark.parametrize(
    "document",
    [
        '{"id": 1e999, "version": "1.1", "tasks": {}}',
        '{"id": 99999999999999999999, "version": "1.1", "tasks": {}}',
        '{"id": -1, "version": "1.1", "tasks": {}}',
        '{"id": 1, "version": "1\\u0000", "tasks": {}}',
        '{"id": 1, "version": "%s", "tasks": {}}' % ("1" * 3000),
        '{"id": 1, "version": "1.1", "tasks": {"T0": ' + '{"a":' * 500 + "1" + "}" * 502,
        "[" * 100_000,
        "[" + "1," * 4_000_001 + "1]",
    ],
    ids=lambda document: document[:30],
)
def test_workflow_versions_that_are_none(tmp_path: Path, document: str) -> None:
    """Kind: ids, versions and depth beyond what is kept; and a file that takes more memory than it is long."""
    path = tmp_path / "versions.json"
    path.write_text(document, encoding="utf-8")
    with pytest.raises(BadInput, match=r"versions\.json"):
        read_workflows(path)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-01-01T00:00:00Z"])
def test_a_reduction_of_no_year_of_ours_is_refused(moment: str) -> None:
    """Kind: times that one side can write and the other cannot read back."""
    body = {
        "id": 1,
        "reducible": {"id": 7, "type": "Workflow"},
        "subject": {"id": 5},
        "reducer_key": "t0",
        "data": {"0": 1},
        "updated_at": moment,
    }
    with pytest.raises(BadReduction, match="updated_at"):
        parse_reduction(json.loads(json.dumps(body)), task=None)
