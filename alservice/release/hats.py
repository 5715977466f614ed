"""HATS: a catalogue as Parquet files by HEALPix pixel, whose size adapts to the density of its galaxies.

Two passes over the galaxies in flat memory. The first counts them in fine pixels: a pixel is cut in four until it holds
few enough. The second appends each row to a scratch file of its pixel; in the end each scratch file is sorted by
position and becomes a Parquet file. The package `hats` numbers pixels, names files and writes the catalogue's metadata.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from alservice.constants import VERSION
from alservice.release.columns import DEC, ID, RA
from alservice.release.records import Records
from alservice.release.rows import Rows
from alservice.shapes import FloatArray, IntArray

PIXEL_ROWS: Final = 50_000
"""The most rows of a file: some 100 MB in memory for the Galaxy Zoo 2 tree."""

FINE_ORDER: Final = 8
"""HEALPix order beyond which no pixel is cut: 786,432 pixels of 0.05 square degrees."""

INDEX: Final = "_healpix_29"
"""Column of the position as one number, by which rows are sorted."""

_INDEX_ORDER: Final = 29
_MEANING: Final = "Number of its HEALPix pixel of order 29, nested."


class HatsWriter:
    """A HATS catalogue that grows; `close` makes it one.

    Parameters
    ----------
    folder
        Where it will be; must not exist.
    name
        Of the catalogue.
    records
        Layout of the scratch files.
    positions
        Right ascensions and declinations (deg) of all rows that will come, some at a time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        schema: pa.Schema,
        records: Records,
        positions: Iterator[tuple[FloatArray, FloatArray]],
    ) -> None:
        index = pa.field(INDEX, pa.int64(), nullable=False, metadata={"unit": "", "meaning": _MEANING})
        self._folder, self._name, self._records = folder, name, records
        self._schema = schema.insert(0, index)
        self._scratch = folder.with_name(f"{folder.name}.rows")
        self._scratch.mkdir(parents=True)
        counts = np.zeros(12 * 4**FINE_ORDER, dtype=np.int64)
        for ra, dec in positions:
            counts += np.bincount(_pixels(ra, dec) >> 2 * (_INDEX_ORDER - FINE_ORDER), minlength=len(counts))
        self._pixels = cut_pixels(counts, PIXEL_ROWS)
        self._starts = np.array([pixel << 2 * (_INDEX_ORDER - order) for order, pixel in self._pixels], dtype=np.int64)

    def write(self, rows: Rows) -> None:
        """Append rows to the scratch files of their pixels."""
        records = self._records.of(rows)
        place = np.searchsorted(self._starts, _pixels(rows[RA], rows[DEC]), side="right") - 1
        for own in np.unique(place).tolist():
            with self._part(own).open("ab") as file:
                file.write(records[place == own].tobytes())

    def close(self) -> None:
        """Sort each pixel's rows, and write them and the catalogue's metadata."""
        from hats.catalog.partition_info import PartitionInfo
        from hats.io import paths
        from hats.io.parquet_metadata import write_parquet_metadata
        from hats.pixel_math.healpix_pixel import HealpixPixel

        found = [HealpixPixel(order, pixel) for order, pixel in self._pixels]
        for place, pixel in enumerate(found):
            path = Path(str(paths.pixel_catalog_file(self._folder, pixel)))
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(self._table(place), path, compression="zstd")
            self._part(place).unlink()
        shutil.rmtree(self._scratch)
        n_rows = write_parquet_metadata(self._folder)
        PartitionInfo.from_healpix(found).write_to_file(catalog_path=self._folder)
        self._properties(n_rows).to_properties_file(self._folder)

    def _properties(self, n_rows: int) -> Any:
        """Return the catalogue's properties: without the date of its making, so that equal rows give equal bytes."""
        from hats.catalog.dataset.table_properties import TableProperties

        given: dict[str, Any] = {
            "catalog_name": self._name,
            "catalog_type": "object",
            "total_rows": n_rows,
            "ra_column": RA,
            "dec_column": DEC,
            "healpix_column": INDEX,
            "healpix_order": _INDEX_ORDER,
            "hats_max_rows": PIXEL_ROWS,
            "hats_builder": f"alservice v{VERSION}, hats v{version('hats')}",
            "hats_version": "v1.0",
        }
        return TableProperties(**given)

    def _table(self, place: int) -> pa.Table:
        """Return the rows of one pixel in the order of their positions."""
        rows = self._records.rows(np.fromfile(self._part(place), dtype=self._records.dtype))
        index = _pixels(rows[RA], rows[DEC])
        order = np.lexsort((rows[ID].astype(str), index))
        sorted_rows = {INDEX: index[order], **{name: values[order] for name, values in rows.items()}}
        arrays = [pa.array(sorted_rows[field.name], field.type, from_pandas=True) for field in self._schema]
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def _part(self, place: int) -> Path:
        return self._scratch / f"{place:06}"


def cut_pixels(counts: IntArray, most: int) -> list[tuple[int, int]]:
    """Return the largest pixels, (order, number) by position, of at most so many galaxies each; no empty ones.

    Parameters
    ----------
    counts
        Galaxies in each pixel of the finest order, nested; a pixel of that order is not cut, whatever it holds.
    """
    below = np.concatenate([[0], np.cumsum(counts)])
    finest = (len(counts) // 12).bit_length() // 2
    found: list[tuple[int, int]] = []
    waiting = [(0, pixel) for pixel in reversed(range(12))]
    while waiting:
        order, pixel = waiting.pop()
        width = 4 ** (finest - order)
        inside = int(below[(pixel + 1) * width] - below[pixel * width])
        if inside > most and order < finest:
            waiting += [(order + 1, 4 * pixel + quarter) for quarter in (3, 2, 1, 0)]
        elif inside:
            found.append((order, pixel))
    return found


def _pixels(ra: FloatArray, dec: FloatArray) -> IntArray:
    from hats.pixel_math.spatial_index import compute_spatial_index

    index: IntArray = np.asarray(compute_spatial_index(ra, dec), dtype=np.int64)
    return index
