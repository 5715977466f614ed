"""Classification exports of Zooniverse: rows with labels for answers, and all that the API hides.

No name and no address of a volunteer passes, nor does a fault quote what stood in a cell that may hold one.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import multiprocessing
import re
import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson

from alservice.checks import is_shallow
from alservice.constants import FIRST_YEAR
from alservice.errors import AlserviceError, BadInput, Retriable
from alservice.files import sha256_of_file
from alservice.ids import ROUNDED_REMEDY, hash_user, rounded
from alservice.storage.csv import BOM, cells, open_bytes, records
from alservice.votes.classification import RowFault
from alservice.zooniverse.records import RawClassification
from alservice.zooniverse.workflow import without_images

_OFFSETS: Final = {"UTC": "+00:00"}
_NUMERIC: Final = re.compile(
    r"[0-9]{1,20}(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?|[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9:.]{1,15})?(Z| UTC)?"
)
_NOT_RETIRED: Final = '"retired":null'


class CellFault(ValueError):
    """A cell that cannot be read."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


def plain(value: Any) -> Any:
    """Return labels without their images, whose addresses are most of their length."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return without_images(value) if isinstance(value, str) else value


def is_id(text: str) -> bool:
    """Tell whether a text is an id of Panoptes."""
    return text.isdecimal() and text.isascii() and len(text) <= 18


def whole(text: str, field: str) -> int:
    """Return an id."""
    if not is_id(text):
        hint = "" if rounded(text) is None else f", but a float, some of whose digits may be lost: {ROUNDED_REMEDY}"
        raise CellFault(field, f"{_shown(text, field)} is not a whole number{hint}")
    return int(text)


def _shown(text: str, field: str) -> str:
    """Return a cell as a fault may quote it: numbers and times, but nothing that may name a person."""
    return repr(text) if field != "user_id" and _NUMERIC.fullmatch(text) else f"a text of {len(text)} characters"


def subject_of(text: str) -> int | None:
    """Return the subject; None for several, which no question of ours is about."""
    ids = [whole(part, "subject_ids") for part in text.split(";")] if text else []
    return ids[0] if len(ids) == 1 else None


def moment(text: str, field: str) -> datetime:
    """Return a time as exports write it."""
    date, _, zone = text.rpartition(" ")
    try:
        return datetime.fromisoformat(f"{date}{_OFFSETS[zone]}")
    except (KeyError, ValueError):
        raise CellFault(field, f"{_shown(text, field)} is not a time in UTC") from None


def text_of(value: object, field: str) -> str | None:
    """Return a text as given, None for what is none."""
    if not isinstance(value, str):
        return None
    if not value.isprintable():
        raise CellFault(field, "holds text that is not printable")
    return value


def flag(text: str) -> bool:
    """Return whether a row is gold standard."""
    if text not in {"", "true", "false"}:
        raise CellFault("gold_standard", f"{_shown(text, 'gold_standard')} is not true, false or blank")
    return text == "true"


def document(cell: str, field: str, kind: type) -> Any:
    """Return the JSON of a cell that must hold an object or a list."""
    try:
        value = _parsed(cell)
    except (ValueError, RecursionError):
        raise CellFault(field, "is not JSON") from None
    if not isinstance(value, kind):
        raise CellFault(field, "is not the JSON of a classification")
    return value


def _parsed(cell: str) -> Any:
    """Return what a cell says; what the fast parser refuses, such as NaN, the tolerant one may read."""
    try:
        return orjson.loads(cell)
    except orjson.JSONDecodeError:
        return json.loads(cell)


def was_retired(cell: str, created_at: datetime) -> bool:
    """Tell whether the subject had been retired when it was classified; the state is that of the export's day."""
    if _NOT_RETIRED in cell:
        return False
    subjects = document(cell, "subject_data", dict).values()
    states = [subject.get("retired") for subject in subjects if isinstance(subject, dict)]
    times = [state.get("retired_at") for state in states if isinstance(state, dict)]
    return any(moment(_as_csv(time), "subject_data") < created_at for time in times if isinstance(time, str))


def _as_csv(time: str) -> str:
    """Return an ISO time of Panoptes in the form of its exports, to the second."""
    return f"{time[:19].replace('T', ' ')} UTC"


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


APART_BYTES: Final = 32 * 1024 * 1024
"""Files from this size on are read apart: less is parsed in the second that a process takes to start."""

_SETTLE_S: Final = 10.0
_ANNOTATIONS: Final = RawClassification._fields.index("annotations")

Annotations: TypeAlias = Sequence[Mapping[str, Any]]
_Plain: TypeAlias = tuple[list[list[Any]], Sequence[RowFault], Mapping[int, int]]


class ReaderDied(Retriable):
    """The process that read an export ended before the file did."""

    code = "reader-died"
    remedy = "Run the same command again: what landed is known. If it happens again, look for a lack of memory."


def read_export(file: ExportFile, size: int = BATCH_ROWS, *, apart_bytes: int = APART_BYTES) -> Iterator[ExportBatch]:
    """Yield the batches of `ExportFile.batches`, read apart if the file has so many bytes.

    Raises
    ------
    BadInput
        The file cannot be opened, or is no classification export.
    ReaderDied
        The process was killed.
    """
    with open_bytes(file.path):
        is_big = file.path.stat().st_size >= apart_bytes
    return _apart(file, size) if is_big else file.batches(size)


def _apart(file: ExportFile, size: int) -> Iterator[ExportBatch]:
    context = multiprocessing.get_context("spawn")  # a fork would copy locks that threads of ours hold
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(theirs, file, size), daemon=True)
    known: dict[str, Annotations] = {}
    with ours:
        process.start()
        theirs.close()
        try:
            while (message := _receive(ours, file)) is not None:
                yield _batch(message, known)
        finally:
            process.terminate()
            process.join(_SETTLE_S)


def _receive(pipe: Connection, file: ExportFile) -> _Plain | None:
    try:
        message: _Plain | AlserviceError | None = pipe.recv()
    except (EOFError, OSError):
        raise ReaderDied(f"{file.path.name}: the process that read it has died", path=str(file.path)) from None
    if isinstance(message, AlserviceError):
        raise message
    return message


def _batch(message: _Plain, known: dict[str, Annotations]) -> ExportBatch:
    """Return records of what came; equal annotations of all batches are one object, read once and kept once."""
    rows, faults, foreign = message
    if len(known) >= CACHE_CELLS:
        known.clear()
    shared: dict[int, Annotations] = {}
    raws = []
    for values in rows:
        given = values[_ANNOTATIONS]
        if id(given) not in shared:
            text = json.dumps(given)
            shared[id(given)] = known.setdefault(text, given) if len(text) <= CACHE_CHARS else given
        values[_ANNOTATIONS] = shared[id(given)]
        raws.append(RawClassification._make(values))
    return ExportBatch(rows=tuple(raws), faults=faults, foreign=foreign)


def _send(pipe: Connection, file: ExportFile, size: int) -> None:
    """Send every batch, then None; or the error that ended reading."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that lands; this one ends with its pipe
    gc.disable()  # rows have no cycles, and looking for some in whole batches is a sixth of the work
    with pipe, contextlib.suppress(BrokenPipeError):
        try:
            for batch in file.batches(size):
                # As lists rows travel in half the time that records take.
                pipe.send(([list(raw) for raw in batch.rows], batch.faults, batch.foreign))
        except AlserviceError as error:
            pipe.send(error)
        else:
            pipe.send(None)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportReceipt:
    """One export file that was read to its end.

    Parameters
    ----------
    digest
        sha256 of the file's bytes.
    n_rows
        Rows of the campaign's workflow, broken ones included.
    newest_id, newest_at
        The highest classification id among them, and when it was created; None for a file without any.
    """

    name: str
    digest: str
    n_rows: int
    newest_id: int | None
    newest_at: datetime | None


def suspicions(export: ExportReceipt, earlier: Sequence[ExportReceipt], n_newer: int) -> tuple[str, ...]:
    """Return what is wrong with an export as a whole, each with its name first: repeat, stale or shrunk.

    A request within a day of the last is cancelled after it was accepted, and the old file is served again.

    Parameters
    ----------
    earlier
        Exports read before, in any order.
    n_newer
        Classifications known from elsewhere with ids above the export's newest.
    """
    found = []
    same = next((other for other in earlier if other.digest == export.digest), None)
    if same is not None:
        found.append(f"repeat: {export.name} has the bytes of {same.name}, which was read before")
    if n_newer and export.newest_at is not None:
        found.append(
            f"stale: {export.name} ends with classification {export.newest_id} of {export.newest_at:%Y-%m-%d %H:%M} "
            f"UTC; {n_newer} later ones are known already"
        )
    largest = max(earlier, key=lambda other: other.n_rows, default=None)
    if largest is not None and largest.n_rows > export.n_rows:
        found.append(f"shrunk: {export.name} has {export.n_rows} rows, {largest.name} had {largest.n_rows}")
    return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportBatch:
    """Some rows of an export file.

    Parameters
    ----------
    rows
        Classifications of the campaign's workflow.
    faults
        Rows that cannot be read.
    foreign
        Rows of other workflows, by workflow id.
    """

    rows: Sequence[RawClassification]
    faults: Sequence[RowFault]
    foreign: Mapping[int, int]
