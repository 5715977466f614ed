"""Rows as lines of CSV that a spreadsheet opens and does not run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from alservice.storage.csv import safe_cell


def csv_lines(rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Yield one line per row, formulas made harmless."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for row in rows:
        writer.writerow([safe_cell(value) if isinstance(value, str) else value for value in row])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
