"""Rows as records of one length, one after the other: what a FITS table is, and what HATS is sorted from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from alservice.errors import BadInput
from alservice.release.columns import Column
from alservice.release.rows import Rows


class Records:
    """The layout of a record.

    Parameters
    ----------
    id_bytes
        Bytes of the longest id (UTF-8).
    big_endian
        As FITS has it, truth being ``T`` and ``F``; as this machine has it otherwise.
    """

    def __init__(self, columns: Sequence[Column], id_bytes: int, *, big_endian: bool = False) -> None:
        self._columns = columns
        self._letters = big_endian
        kinds = {c.name: c.numpy(id_bytes) for c in columns}
        if big_endian:
            kinds = {
                name: np.dtype("S1") if kind.kind == "b" else kind.newbyteorder(">") for name, kind in kinds.items()
            }
        self.dtype: np.dtype[Any] = np.dtype(list(kinds.items()))

    def of(self, rows: Rows) -> npt.NDArray[Any]:
        """Return rows (N,) as records (N,); `BadInput` for a text that is longer than its column."""
        n_rows = len(rows[self._columns[0].name])
        records = np.zeros(n_rows, dtype=self.dtype)
        for column in self._columns:
            values = rows[column.name]
            if column.kind == "text":
                values = np.char.encode(values.astype(str), "utf-8") if n_rows else values.astype("S1")
                if values.dtype.itemsize > self.dtype[column.name].itemsize:
                    raise BadInput(f"column {column.name}: a text is longer than the column", column=column.name)
            elif column.kind == "boolean" and self._letters:
                values = np.where(values, b"T", b"F")
            records[column.name] = values
        return records

    def rows(self, records: npt.NDArray[Any]) -> Rows:
        """Return what `of` was given, for records of this machine."""
        return {
            column.name: np.char.decode(records[column.name], "utf-8").astype(object)
            if column.kind == "text"
            else records[column.name]
            for column in self._columns
        }
