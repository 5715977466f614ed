"""A process of its own reads a big export, so that parsing and landing each have a core."""

from __future__ import annotations

import contextlib
import gc
import json
import multiprocessing
import signal
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, Final, TypeAlias

from alservice.errors import AlserviceError, Retriable
from alservice.storage.csv import open_bytes
from alservice.votes.classification import RawClassification
from alservice.votes.exports import BATCH_ROWS, CACHE_CELLS, CACHE_CHARS, ExportFile
from alservice.votes.ingest import ExportBatch
from alservice.votes.quarantine import RowFault

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
