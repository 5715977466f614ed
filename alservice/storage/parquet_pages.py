"""What the pages of a Parquet file unfold to, read from their headers before any page is.

A file's footer says how long columns are, and may say anything; a page's own header is what its reader believes. Arrow
does not show them, so they are read here: https://parquet.apache.org/docs/file-format/data-pages, in Thrift's compact
form, of which three numbers of each page matter.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import IO, Any, Final

import pyarrow.parquet as pq

from alservice.errors import BadInput
from alservice.files import open_regular

MAX_UNFOLDED_BYTES: Final = 512 * 1024 * 1024
"""Most that the pages of all columns read at a time may hold: four times a batch of the largest images."""

MAX_BATCH_BYTES: Final = 128 * 1024 * 1024
"""Most that one batch of rows may become where all its cells are the longest that the file can hold."""

MAX_ROWS_PER_BYTE: Final = 4
"""Rows that a byte of a file may stand for: ids are different, and take bytes each; what repeats takes none."""

_KIND, _UNCOMPRESSED, _COMPRESSED, _DATA, _DATA_2 = 1, 2, 3, 5, 8
_ENCODING, _ENCODING_2 = 2, 4
_DICTIONARY, _DELTA_BYTE_ARRAY = 2, 7
_MAX_DEPTH: Final = 8
_MAX_ITEMS: Final = 100_000
_SHORT, _WIDE = (4, 5, 6), {3: 1, 7: 8}
_TRUE, _FALSE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 8, 9, 10, 12


class Unfolds(BadInput):
    """A small part of a file becomes more than a machine should hold."""

    code = "unfolds"
    remedy = "Write the file with smaller pages, such as pyarrow's data_page_size=1<<20, or with shorter cells."


def refuse_many_rows(path: Path, metadata: pq.FileMetaData) -> None:
    """Raise `Unfolds` if a file says to hold more rows than its bytes can tell apart."""
    size = path.stat().st_size
    if metadata.num_rows > MAX_ROWS_PER_BYTE * size:
        raise Unfolds(f"{path.name}: says to hold {metadata.num_rows:,} rows in {size:,} bytes", file=str(path))


def batch_rows(path: Path, metadata: pq.FileMetaData, columns: Collection[str], *, most: int) -> int:
    """Return how many rows may be read at a time so that memory is bounded, whatever the cells are.

    The largest pages of all columns are held together, and a cell can be as long as its column's dictionary, or as the
    page in which texts are written as what differs from the one before: both may stand in every row.

    Raises
    ------
    Unfolds
        Naming file and column: the pages are too large together, or one cell may be.
    BadInput
        A page cannot be found where the file says it is.
    """
    pages: dict[str, int] = {}
    cells: dict[str, int] = {}
    with open_regular(path) as file:
        for group in range(metadata.num_row_groups):
            for place in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(place)
                name = _column_of(chunk.path_in_schema, columns)
                if name is not None:
                    held, repeated = _sizes(path, file, chunk)
                    pages[name], cells[name] = max(pages.get(name, 0), held), max(cells.get(name, 0), repeated)
    for sizes, limit, what in ((pages, MAX_UNFOLDED_BYTES, "pages"), (cells, MAX_BATCH_BYTES, "cells")):
        if sum(sizes.values()) > limit:
            worst = max(sizes, key=lambda name: sizes[name])
            raise Unfolds(
                f"{path.name}: {what} of column {worst!r} unfold to {sizes[worst]:,} bytes, more than "
                f"{limit:,} with the other columns",
                file=str(path),
                column=worst,
            )
    return min(most, MAX_BATCH_BYTES // max(1, sum(cells.values())))


def _column_of(place: str, columns: Collection[str]) -> str | None:
    """Return the column that holds a leaf of the schema, if it is asked for; a column's own name may have dots."""
    return next((name for name in columns if place == name or place.startswith(f"{name}.")), None)


def _sizes(path: Path, file: IO[bytes], chunk: pq.ColumnChunkMetaData) -> tuple[int, int]:
    """Return the bytes of a column chunk's dictionary and largest other page, and of the longest cell to repeat."""
    place = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < place:
        place = chunk.dictionary_page_offset
    end = place + chunk.total_compressed_size
    dictionary = largest = growing = 0
    try:
        while place < end:
            file.seek(place)
            header = _struct(file, _MAX_DEPTH)
            kind, unfolded, stored = (header[field] for field in (_KIND, _UNCOMPRESSED, _COMPRESSED))
            if kind == _DICTIONARY:
                dictionary = max(dictionary, unfolded)
            largest = max(largest, unfolded)
            encoding = header.get(_DATA, {}).get(_ENCODING, header.get(_DATA_2, {}).get(_ENCODING_2))
            growing = max(growing, unfolded if encoding == _DELTA_BYTE_ARRAY else 0)
            place = file.tell() + _length(stored)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        column = chunk.path_in_schema
        raise BadInput(
            f"{path.name} cannot be read: a page of column {column!r} is broken: {error}", file=str(path), column=column
        ) from error
    return dictionary + largest, max(dictionary, growing) if chunk.physical_type == "BYTE_ARRAY" else 0


def _length(stored: int) -> int:
    """Return the length of a page; a reader that is led back would read for ever."""
    if stored < 0:
        raise ValueError(f"its length is {stored}")
    return stored


def _struct(file: IO[bytes], depth: int) -> dict[int, Any]:
    """Return the whole numbers and the structures of a structure by field; the rest is passed over."""
    if depth == 0:
        raise ValueError("it is nested too deep")
    found: dict[int, Any] = {}
    field = 0
    while head := file.read(1)[0]:
        field = field + (head >> 4) if head >> 4 else _signed(file)
        value = _value(file, head & 15, depth)
        if value is not None:
            found[field] = value
    return found


def _value(file: IO[bytes], kind: int, depth: int) -> int | dict[int, Any] | None:
    if kind in _SHORT:
        return _signed(file)
    if kind in _WIDE:
        file.seek(_WIDE[kind], 1)
    elif kind == _BINARY:
        file.seek(_varint(file), 1)
    elif kind in {_LIST, _SET}:
        head = file.read(1)[0]
        n = head >> 4 if head >> 4 != 15 else _varint(file)
        if n > _MAX_ITEMS:
            raise ValueError(f"it has a list of {n} items")
        for _ in range(n):
            _value(file, head & 15, depth)
    elif kind == _STRUCT:
        return _struct(file, depth - 1)
    elif kind not in {_TRUE, _FALSE}:
        raise ValueError(f"it holds what pages do not, of kind {kind}")
    return None


def _signed(file: IO[bytes]) -> int:
    value = _varint(file)
    return (value >> 1) ^ -(value & 1)


def _varint(file: IO[bytes]) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)[0]
        value |= (byte & 127) << shift
        if byte < 128:
            return value
    raise ValueError("a number is too long")
