"""Workflow definitions from files: the workflows export, or versions as the API gives them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from alservice.checks import MAX_ID, is_shallow
from alservice.errors import BadInput
from alservice.ids import ROUNDED_REMEDY, rounded
from alservice.storage.csv import BOM, UNREADABLE, cells, open_bytes, records
from alservice.zooniverse.workflow import Workflow

_COLUMNS: Final = ("workflow_id", "version", "minor_version", "tasks", "strings")
_WRAPPERS: Final = ("workflow_versions", "workflows")
_TEXT_KEYS: Final = frozenset({"question", "instruction", "label"})
MAX_JSON_BYTES: Final = 64 << 20
"""Largest file of definitions: a thousand versions."""

MAX_ITEMS: Final = 4_000_000
"""Most values of a JSON file, told by the signs between them: each takes some fifty bytes of memory."""

MAX_VERSION_CHARS: Final = 40
_ITEMS: Final = (b",", b"[", b"{")


def read_workflows(path: Path) -> Sequence[Workflow]:
    """Return every version in a file, CSV or JSON by its first byte, gzip or not.

    Raises
    ------
    BadInput
        Naming the row or entry and what is wrong with it; then none is returned. Or there is none.
    """
    with open_bytes(path) as file:
        try:
            start = file.read(1)
            is_json = start in {b"{", b"["}
            data = start + file.read(MAX_JSON_BYTES) if is_json else b""
        except UNREADABLE as error:
            raise BadInput(f"{path.name}: cannot be read to its end: {error}", path=str(path)) from None
    found = _from_json(path, data) if is_json else _from_csv(path)
    if not found:
        raise BadInput(f"{path.name}: holds no workflow version", path=str(path))
    return found


def _from_json(path: Path, data: bytes) -> Sequence[Workflow]:
    if len(data) > MAX_JSON_BYTES:
        raise BadInput(f"{path.name}: is longer than {MAX_JSON_BYTES} bytes", path=str(path))
    if sum(map(data.count, _ITEMS)) > MAX_ITEMS:
        raise BadInput(f"{path.name}: holds more than {MAX_ITEMS:,} values", path=str(path))
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path.name}: is not JSON: {error}", path=str(path)) from None
    if isinstance(document, dict):
        document = next((document[name] for name in _WRAPPERS if name in document), [document])
    if not isinstance(document, list):
        raise BadInput(f"{path.name}: is not a list of workflow versions", path=str(path))
    return tuple(_entry(entry, f"{path.name}: entry {number}") for number, entry in enumerate(document, start=1))


def _entry(entry: Any, where: str) -> Workflow:
    try:
        if "major_number" in entry:
            workflow_id = entry["links"]["workflow"]
            version = f"{_whole(entry['major_number'])}.{_whole(entry['minor_number'])}"
        else:
            workflow_id, version = entry["id"], entry["version"]
        return _workflow(workflow_id, version, entry["tasks"], entry.get("strings") or {})
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise BadInput(f"{where}: is not a workflow version: {error!r}", where=where) from None


def _from_csv(path: Path) -> Sequence[Workflow]:
    found = []
    header: Sequence[str] = ()
    left = MAX_JSON_BYTES
    with open_bytes(path) as file:
        for number, (record, fault) in enumerate(records(file)):
            left -= len(record)
            if left < 0:
                raise BadInput(f"{path.name}: is longer than {MAX_JSON_BYTES} bytes", path=str(path))
            try:
                row = _cells(record if number else record.removeprefix(BOM), fault)
                if number == 0:
                    header = _header(row)
                elif row:
                    found.append(_row(header, row))
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
                where = f"{path.name}: row {number}" if number else f"{path.name}: the header"
                raise BadInput(f"{where}: {error}", where=where) from None
    return tuple(found)


def _cells(record: bytes, fault: str | None) -> Sequence[str]:
    if fault is not None:
        raise ValueError(fault)
    return cells(record)


def _header(row: Sequence[str]) -> Sequence[str]:
    missing = [column for column in _COLUMNS if column not in row]
    if missing:
        raise ValueError(f"has no column {', '.join(missing)}: not a workflows export")
    return row


def _row(header: Sequence[str], row: Sequence[str]) -> Workflow:
    if len(row) != len(header):
        raise ValueError(f"has {len(row)} of {len(header)} cells")
    given = dict(zip(header, row, strict=True))
    version = f"{_whole(given['version'])}.{_whole(given['minor_version'])}"
    tasks, strings = json.loads(given["tasks"]), json.loads(given["strings"] or "{}")
    return _workflow(given["workflow_id"], version, tasks, strings)


def _whole(value: Any) -> int:
    """Return a whole number, also as text; a float is refused, since its end may be lost."""
    if isinstance(value, float) or (isinstance(value, str) and rounded(value) is not None):
        raise ValueError(f"{value!r} is a float and no id: {ROUNDED_REMEDY}")
    return int(value)


def _workflow(workflow_id: Any, version: Any, tasks: Mapping[str, Any], strings: Mapping[str, str]) -> Workflow:
    if not isinstance(version, str):
        raise TypeError(f"version {version!r} is not text: 28.30 is not 28.3")
    if not 0 < len(version) <= MAX_VERSION_CHARS or not version.isprintable():
        raise ValueError(f"version {version[:40]!r} is none")
    if not 0 < _whole(workflow_id) <= MAX_ID or not is_shallow(tasks):
        raise ValueError("its id is none, or its tasks are nested too deep")
    worded = {str(key): _worded(task, strings) for key, task in tasks.items()}
    return Workflow(workflow_id=_whole(workflow_id), version=version, tasks=worded).plain()


def _worded(node: Any, strings: Mapping[str, str]) -> Any:
    """Return a task with its texts in the place of their keys."""
    if isinstance(node, list):
        return [_worded(item, strings) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: strings.get(value, value) if key in _TEXT_KEYS and isinstance(value, str) else _worded(value, strings)
        for key, value in node.items()
    }
