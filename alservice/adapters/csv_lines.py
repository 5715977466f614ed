"""Rows as lines of CSV that a spreadsheet opens and does not run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def spreadsheet_safe(value: object) -> object:
    """Return the value; text that a spreadsheet would run as a formula gets a leading quote."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def csv_lines(rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Yield one line per row, formulas made harmless."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for row in rows:
        writer.writerow([spreadsheet_safe(value) for value in row])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
