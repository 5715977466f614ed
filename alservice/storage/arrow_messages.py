"""Headers of Arrow IPC files and streams (Feather): what a record batch becomes in memory, told before it is read.

Buffers of a batch may be compressed, each behind its own length. Batches are walked by their headers alone, as
pyarrow's reader says nothing of these lengths before it takes the memory. Headers are FlatBuffers, of which a few
fields matter: https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO, Final

from alservice.errors import BadInput
from alservice.files import open_regular
from alservice.storage.parquet_pages import MAX_ROWS_PER_BYTE, MAX_UNFOLDED_BYTES, Unfolds

MAGIC: Final = b"ARROW1"
"""What a file begins with, and a stream does not."""

FEATHER_1: Final = b"FEA1"
"""What Feather of before 2020 begins with, which is no IPC."""

_BEFORE_MESSAGES: Final = 8
_CONTINUED: Final = 0xFFFFFFFF
_MAX_HEADER_BYTES: Final = 64 * 1024 * 1024
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3
_MESSAGE_KIND, _MESSAGE_HEADER, _MESSAGE_BODY = 1, 2, 3
_BATCH_ROWS, _BATCH_BUFFERS, _BATCH_COMPRESSION = 0, 2, 3
_DICTIONARY_DATA: Final = 1
_LENGTH: Final = struct.Struct("<q")


def count_rows(path: Path) -> int:
    """Return the rows of an IPC file or stream.

    Raises
    ------
    Unfolds
        A record batch, or the dictionaries together, would unfold to more than `MAX_UNFOLDED_BYTES`, or there are more
        rows than its bytes can tell apart.
    BadInput
        It is cut off, or a header is broken.
    """
    size = path.stat().st_size
    rows = dictionaries = 0
    with open_regular(path) as file:
        place = _BEFORE_MESSAGES if file.read(len(MAGIC)) == MAGIC else 0
        try:
            while (found := _message(file, place)) is not None:
                header, start, place = found
                if place > size:
                    raise BadInput(f"{path.name} is cut off: {size:,} bytes of {place:,} or more", file=str(path))
                kind, batch = _batch(header)
                if batch is None:
                    continue
                unfolded = _unfolded(file, batch, start)
                dictionaries += unfolded if kind == _DICTIONARY_BATCH else 0
                rows += batch.number(_BATCH_ROWS, "<q") if kind == _RECORD_BATCH else 0
                _refuse(path, max(unfolded, dictionaries), rows, size)
        except (struct.error, IndexError, OverflowError, OSError) as error:
            raise BadInput(f"{path.name} cannot be read: a header is broken: {error}", file=str(path)) from error
    return rows


def _refuse(path: Path, unfolded: int, rows: int, size: int) -> None:
    if unfolded > MAX_UNFOLDED_BYTES:
        text = f"{path.name}: a record batch unfolds to {unfolded:,} bytes, more than {MAX_UNFOLDED_BYTES:,}"
        raise Unfolds(f"{text}: write it uncompressed, or with a small chunksize such as 128", file=str(path))
    if rows > MAX_ROWS_PER_BYTE * size:
        raise Unfolds(f"{path.name}: says to hold {rows:,} rows in {size:,} bytes", file=str(path))


class _Fields:
    """Fields of a FlatBuffers table by number."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data, self._place = data, place
        self._fields = place - _read(data, place, "<i")
        self._n = _read(data, self._fields, "<H") // 2 - 2

    def at(self, number: int) -> int | None:
        """Return where a field is, None where it is not given."""
        offset = _read(self._data, self._fields + 4 + 2 * number, "<H") if number < self._n else 0
        return self._place + offset if offset else None

    def number(self, number: int, form: str) -> int:
        """Return a number, 0 where it is not given."""
        place = self.at(number)
        return 0 if place is None else _read(self._data, place, form)

    def table(self, number: int) -> _Fields | None:
        """Return a table inside, None where it is not given."""
        place = self.at(number)
        return None if place is None else _Fields(self._data, place + _read(self._data, place, "<I"))

    def pairs(self, number: int) -> list[tuple[int, int]]:
        """Return a vector of pairs of 64 bits."""
        place = self.at(number)
        if place is None:
            return []
        start = place + _read(self._data, place, "<I")
        n = _read(self._data, start, "<I")
        return list(struct.iter_unpack("<qq", self._data[start + 4 : start + 4 + 16 * n]))


def _read(data: bytes, place: int, form: str) -> int:
    if place < 0:
        raise IndexError(f"it points to {place}")
    value: int = struct.unpack_from(form, data, place)[0]
    return value


def _message(file: IO[bytes], place: int) -> tuple[_Fields, int, int] | None:
    """Return the header of the message at a place, where its body begins, and the next message; None after the last."""
    file.seek(place)
    head = file.read(8)
    continued = len(head) == 8 and _read(head, 0, "<I") == _CONTINUED
    start = place + (8 if continued else 4)
    length = _read(head, 4 if continued else 0, "<I") if len(head) >= 4 else 0
    if length == 0:
        return None
    if length > _MAX_HEADER_BYTES:
        raise IndexError(f"it is {length:,} bytes long")
    file.seek(start)
    data = file.read(length)
    header = _Fields(data, _read(data, 0, "<I"))
    body = header.number(_MESSAGE_BODY, "<q")
    if body < 0:
        raise IndexError(f"its body is {body} bytes long")
    return header, start + length, start + length + body


def _batch(message: _Fields) -> tuple[int, _Fields | None]:
    """Return the kind of a message, and the record batch in it; None in others, such as the schema."""
    kind = message.number(_MESSAGE_KIND, "<B")
    inside = message.table(_MESSAGE_HEADER) if kind in {_DICTIONARY_BATCH, _RECORD_BATCH} else None
    return kind, inside.table(_DICTIONARY_DATA) if inside is not None and kind == _DICTIONARY_BATCH else inside


def _unfolded(file: IO[bytes], batch: _Fields, start: int) -> int:
    """Return the bytes that a batch takes in memory; what is not compressed is mapped, and takes none."""
    if batch.at(_BATCH_COMPRESSION) is None:
        return 0
    total = 0
    for offset, length in batch.pairs(_BATCH_BUFFERS):
        if length <= 0:
            continue
        file.seek(start + offset)
        (unfolded,) = _LENGTH.unpack(file.read(_LENGTH.size))
        total += max(0, unfolded)  # -1 where the buffer is as it was
    return total
