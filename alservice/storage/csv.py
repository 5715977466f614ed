"""CSV files of any size as rows, in flat memory: bytes in, gzip or not, strict UTF-8, and faults told by row."""

from __future__ import annotations

import csv
import gzip
import io
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from alservice.files import open_regular


def csv_lines(rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Yield one line per row, formulas made harmless."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for row in rows:
        writer.writerow([safe_cell(value) if isinstance(value, str) else value for value in row])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


MAX_ROW_BYTES: Final = 1 << 20
"""Longest row: a thousand times a classification of questions; a longer one is a fault, and is not kept in memory."""

_FORMULA: Final = ("=", "+", "-", "@")
_BREAKS: Final = ("\t", "\r", "\n")
_MINUSES: Final = "\u2010\u2011\u2012\u2013\u2212"
_INVISIBLE: Final = frozenset({"Cc", "Cf"})

BOM: Final = b"\xef\xbb\xbf"
"""What some programs put before UTF-8; no part of the first cell."""

UNREADABLE: Final = (EOFError, OSError, zlib.error)
"""What reading a damaged file raises, zipped or not."""

_GZIP: Final = b"\x1f\x8b"


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """Open a file, unzipped if it is gzip by its first bytes.

    Raises
    ------
    BadInput
        It cannot be opened, or is no regular file: a pipe gives what it holds to one reader only.
    """
    with open_regular(path) as file:
        if file.read(2) == _GZIP:
            file.seek(0)
            with gzip.GzipFile(fileobj=file) as unzipped:
                yield unzipped
        else:
            file.seek(0)
            yield file


def records(file: IO[bytes] | gzip.GzipFile) -> Iterator[tuple[bytes, str | None]]:
    """Yield the bytes of each CSV row, and what is wrong with it as a whole.

    Line ends inside quotes belong to the row. Of a row beyond `MAX_ROW_BYTES` only its beginning is kept.
    """
    parts: list[bytes] = []
    size, is_open = 0, False
    try:
        while line := file.readline(MAX_ROW_BYTES):
            if size <= MAX_ROW_BYTES:
                parts.append(line)
            size += len(line)
            is_open ^= line.count(b'"') % 2 == 1
            if is_open or (len(line) == MAX_ROW_BYTES and not line.endswith(b"\n")):
                continue
            yield b"".join(parts), f"is longer than {MAX_ROW_BYTES} bytes" if size > MAX_ROW_BYTES else None
            parts, size = [], 0
    except UNREADABLE as error:
        yield b"".join(parts), f"ends with the file: {error}"
        return
    if parts:
        yield b"".join(parts), "is cut off: a quote is never closed" if is_open else None


def cells(record: bytes) -> list[str]:
    """Return the cells of one row; raises `ValueError` saying what is wrong with it."""
    try:
        rows = list(csv.reader([record.decode("utf-8")], strict=True))
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    except csv.Error as error:
        raise ValueError(f"is not CSV: {error}") from None
    return rows[0] if rows else []


def safe_cell(text: str) -> str:
    """Return text that a spreadsheet does not run as a formula: with a leading quote where it would.

    A text that begins with quotes before a formula gets one as well, so that `plain_cell` gives back every text.
    """
    return f"'{text}" if _runs(text.lstrip("'")) else text


def plain_cell(text: str) -> str:
    """Return what `safe_cell` was given."""
    return text[1:] if text.startswith("'") and _runs(text.lstrip("'")) else text


def _runs(text: str) -> bool:
    """Tell whether a spreadsheet may take a text for a formula.

    Some pass over blanks and invisible marks first, and take wide, small and raised signs for the plain ones.
    """
    if text.startswith(_BREAKS):
        return True
    for character in text:
        if character.isspace() or unicodedata.category(character) in _INVISIBLE:
            continue
        return character in _MINUSES or unicodedata.normalize("NFKC", character).startswith(_FORMULA)
    return False
