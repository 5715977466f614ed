"""Classification exports of Zooniverse: rows with labels for answers, and all that the API hides.

No name and no address of a volunteer passes, nor does a fault quote what stood in a cell that may hold one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from alservice.checks import is_shallow
from alservice.constants import FIRST_YEAR
from alservice.errors import BadInput
from alservice.files import sha256_of_file
from alservice.ids import hash_user
from alservice.storage.csv import BOM, cells, open_bytes, records
from alservice.votes.classification import RawClassification
from alservice.votes.export_cells import (
    CellFault,
    document,
    flag,
    is_id,
    moment,
    plain,
    subject_of,
    text_of,
    was_retired,
    whole,
)
from alservice.votes.ingest import ExportBatch
from alservice.votes.quarantine import RowFault

BATCH_ROWS: Final = 30_000
"""Rows per transaction: some ten MB, and less than a second of work."""

BATCH_BYTES: Final = 32 * 1024 * 1024
"""Bytes of rows per transaction: fewer rows where they are long, so that memory does not grow with them."""

CACHE_CHARS: Final = 4096
"""Longest cell that is kept parsed: of fifty thousand a volunteer could make gigabytes."""

CACHE_CELLS: Final = 50_000
"""Annotations kept parsed, and users hashed: volunteers walk a tree in a few thousand ways, and come again."""

REQUIRED: Final = (
    "classification_id",
    "user_id",
    "workflow_id",
    "workflow_version",
    "created_at",
    "gold_standard",
    "metadata",
    "annotations",
    "subject_data",
    "subject_ids",
)


class BadExport(BadInput):
    """A file is not a classification export of Zooniverse."""

    code = "bad-export"
    remedy = "Download the classification export of the project or workflow; other tables have no answers by id."


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportFile:
    """One export.

    Parameters
    ----------
    workflow_ids
        Rows of other workflows are counted and not read.
    user_hash_key
        Secret bytes that turn user ids into pseudonyms.
    latest
        Classifications cannot be from later than this.
    """

    path: Path
    workflow_ids: frozenset[int]
    user_hash_key: bytes
    latest: datetime

    def batches(self, size: int = BATCH_ROWS) -> Iterator[ExportBatch]:
        """Yield the rows in order.

        Raises
        ------
        BadExport
            The header is not that of a classification export; the message names what is missing.
        """
        with open_bytes(self.path) as file:
            lines = records(file)
            reader = _Reader(self, self._header(next(lines, (b"", None))))
            for number, (record, fault) in enumerate(lines, start=1):
                reader.add(number, record, fault)
                if reader.n_rows >= size or reader.n_bytes >= BATCH_BYTES:
                    yield reader.take()
            yield reader.take()

    def digest(self) -> str:
        """Return the sha256 of the file's bytes as they lie there, zipped or not."""
        return sha256_of_file(self.path)

    def _header(self, first: tuple[bytes, str | None]) -> Sequence[str]:
        name = self.path.name
        record, fault = first
        try:
            header = cells(record.removeprefix(BOM))
        except ValueError as error:
            header, fault = [], fault or str(error)
        if fault is not None:
            raise BadExport(f"{name}: the header {fault}", path=str(self.path))
        missing = [column for column in REQUIRED if column not in header]
        if missing:
            lacks = f"it has no column {', '.join(missing[:4])}" if record else "it is empty"
            raise BadExport(f"{name} is not a classification export: {lacks}", missing=missing)
        return header


class _Reader:
    """Collects rows and faults; remembers annotations that it has parsed, for many are alike."""

    def __init__(self, file: ExportFile, header: Sequence[str]) -> None:
        self._file = file
        self._width = len(header)
        self._pick = itemgetter(*(header.index(column) for column in REQUIRED))
        self._annotations: dict[str, tuple[Mapping[str, Any], ...]] = {}
        self._users: dict[str, str] = {}
        self._rows: list[RawClassification] = []
        self._faults: list[RowFault] = []
        self._foreign: Counter[int] = Counter()
        self.n_bytes = 0

    @property
    def n_rows(self) -> int:
        """Rows collected, foreign ones aside."""
        return len(self._rows) + len(self._faults)

    def take(self) -> ExportBatch:
        """Return what was collected and begin anew."""
        batch = ExportBatch(rows=tuple(self._rows), faults=tuple(self._faults), foreign=dict(self._foreign))
        self._rows, self._faults, self._foreign, self.n_bytes = [], [], Counter(), 0
        return batch

    def add(self, number: int, record: bytes, fault: str | None) -> None:
        """Read one row: a classification, a foreign one, or a fault."""
        row: Sequence[str] = ()
        self.n_bytes += len(record)
        try:
            row = self._cells(record, fault)
            if row:
                self._read(row)
        except CellFault as error:
            self._faults.append(
                RowFault(
                    row=number,
                    digest=hashlib.sha256(record).hexdigest(),
                    classification_id=self._id(row),
                    field=error.field,
                    reason=f"row {number} {error}" if error.field == "row" else f"row {number}: {error.field} {error}",
                )
            )

    def _cells(self, record: bytes, fault: str | None) -> Sequence[str]:
        if fault is not None:
            raise CellFault("row", fault)
        try:
            row = cells(record)
        except ValueError as error:
            raise CellFault("row", str(error)) from None
        if row and len(row) != self._width:
            raise CellFault("row", f"has {len(row)} of {self._width} cells")
        if row and not record.endswith(b"\n"):
            *_, data, subjects = self._pick(row)
            if any(f'"{subject}"' not in data for subject in subjects.split(";")):
                raise CellFault("row", "is cut off in its last cell, and names another subject than it tells of")
        return row

    def _id(self, row: Sequence[str]) -> int | None:
        text = self._pick(row)[0] if len(row) == self._width else ""
        return int(text) if is_id(text) else None

    def _read(self, row: Sequence[str]) -> None:
        number_of, user_id, workflow_of, version, at, gold, meta, given, data, subjects = self._pick(row)
        number, workflow_id = whole(number_of, "classification_id"), whole(workflow_of, "workflow_id")
        if workflow_id not in self._file.workflow_ids:
            self._foreign[workflow_id] += 1
            return
        created_at = moment(at, "created_at")
        if created_at.year < FIRST_YEAR:
            raise CellFault("created_at", f"{created_at.isoformat()} is before anybody classified")
        if created_at > self._file.latest:
            raise CellFault("created_at", f"{created_at.isoformat()} is in the future")
        metadata = document(meta, "metadata", dict)
        selection = metadata.get("subject_selection_state")
        served_retired = isinstance(selection, dict) and selection.get("retired") is True
        self._rows.append(
            RawClassification(
                classification_id=number,
                workflow_id=workflow_id,
                workflow_version=text_of(version, "workflow_version") or "",
                zooniverse_subject_id=subject_of(subjects),
                user_hash=self._user(user_id) if user_id else None,
                session=text_of(metadata.get("session"), "metadata"),
                started_at=text_of(metadata.get("started_at"), "metadata"),
                finished_at=text_of(metadata.get("finished_at"), "metadata"),
                seen_before=metadata.get("seen_before") is True,
                live_project=metadata.get("live_project") is not False,
                created_at=created_at,
                annotations=self._answers(given),
                completed=True,
                gold_standard=flag(gold),
                after_retirement=served_retired or was_retired(data, created_at),
            )
        )

    def _user(self, user_id: str) -> str:
        known = self._users.get(user_id)
        if known is None:
            known = hash_user(str(whole(user_id, "user_id")), self._file.user_hash_key)
            if len(self._users) >= CACHE_CELLS:
                self._users.clear()
            self._users[user_id] = known
        return known

    def _answers(self, cell: str) -> tuple[Mapping[str, Any], ...]:
        """Return task and value of each annotation; the question's text is the version's to tell."""
        known = self._annotations.get(cell)
        if known is None:
            items = document(cell, "annotations", list)
            if not all(isinstance(item, dict) for item in items):
                raise CellFault("annotations", "is not a list of objects")
            if not is_shallow(items):
                raise CellFault("annotations", "is nested too deep")
            known = tuple({"task": item.get("task"), "value": plain(item.get("value"))} for item in items)
            if len(self._annotations) >= CACHE_CELLS:
                self._annotations.clear()
            if len(cell) <= CACHE_CHARS:
                self._annotations[cell] = known
        return known
