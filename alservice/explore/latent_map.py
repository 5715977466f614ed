"""The map of a catalogue: tiles of counts and means as small pictures, galaxies around a place, within a lasso."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Any, Final

import numpy as np
from PIL import Image

from alservice.errors import BadInput, NoMap
from alservice.explore.choice import Choice, column_of
from alservice.explore.columns import CONFIDENCE, MAP_X, MAP_Y, MEASURES, PLACE
from alservice.explore.table import SHOWN, Table, identifier, quoted
from alservice.release.rows import Rows
from alservice.science.plane import Tile, within
from alservice.shapes import FloatArray, IntArray, UInt8Array

CELLS: Final = 256
"""Cells on a side of a tile; fewer, and so larger ones, where it has few galaxies."""

MAX_NEAREST: Final = 1_000
"""Galaxies around a place."""

MAX_WITHIN: Final = 200_000
"""Galaxies of a lasso that may be downloaded."""

NUMBER: Final = "number"
"""What tiles are coloured by that show how many galaxies there are, and nothing of them."""

_COARSER: Final = ((1_000, 64), (20_000, 128))
"""Below so many galaxies of a tile it has so many cells on a side."""

_KEPT: Final = 512
"""Tiles that are remembered: some 10 MB."""

_FEW_AND_MOST: Final = (0.02, 0.98)
"""Quantiles of a measure between which its colours lie."""

_CIVIDIS: Final = (
    (57, 72, 107), (77, 85, 109), (96, 99, 112), (114, 113, 116), (132, 127, 120), (152, 143, 118), (174, 158, 113),
    (196, 175, 104), (219, 193, 90), (243, 212, 68), (254, 232, 56),
)  # fmt: skip
"""The upper four fifths of cividis (Nuñez, Anderton and Renslow 2018): as even steps to those who see few hues as to
all others, and never as dark as the map's ground."""

_HUES: Final = 48
_SHADES: Final = 5
_FAINTEST: Final = 0.5
"""Opacity of a cell with one galaxy among many full ones."""


class LatentMap:
    """A map of galaxies whose coordinates are columns of a table.

    Parameters
    ----------
    table
        With `MAP_X` and `MAP_Y` in [0, 1).

    Raises
    ------
    NoMap
        It has none: its index is of an earlier release, or its model without embeddings.
    """

    def __init__(self, table: Table, *, has_embeddings: bool) -> None:
        if not has_embeddings:
            raise NoMap("the index is of a model without embeddings: there is no map")
        if MAP_X not in table.names:
            raise NoMap("the index was built without a map, by an earlier release")
        self.table = table
        self._tiles: OrderedDict[Any, bytes] = OrderedDict()
        self._ranges: dict[str, tuple[float, float]] = {}
        self._lock = Lock()

    def tile(self, tile: Tile, colour: str, choice: Choice) -> bytes:
        """Return a PNG of a tile, transparent where there is no galaxy.

        Parameters
        ----------
        colour
            A name, as of a condition, whose mean each cell shows; or `NUMBER`.
        choice
            Whose galaxies are shown; its order means nothing.

        Raises
        ------
        BadInput
            The colour or a condition names nothing.
        AnswerTooSlow
            It took too long.
        """
        key = tile, colour, choice.conditions
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
                return self._tiles[key]
        span = self.span(colour)
        counts, sums, valued = self.cells(tile, colour, choice)
        all_counted = 4 * self.table.n / (CELLS << tile.z) ** 2  # a layout leaves about half of its square empty
        picture = paint(counts, sums, valued, span=span, usual=all_counted)
        with self._lock:
            self._tiles[key] = picture
            if len(self._tiles) > _KEPT:
                self._tiles.popitem(last=False)
        return picture

    def cells(self, tile: Tile, colour: str, choice: Choice) -> tuple[IntArray, FloatArray, IntArray]:
        """Return what a tile's cells hold, each (`CELLS`, `CELLS`) by row and column.

        Returns
        -------
        int64 numbers of galaxies, float64 sums of the colour's values, and int64 numbers of galaxies that have one;
        `NUMBER` has none.
        """
        where, values = self._restricted(choice, tile.box)
        column = "NULL" if colour == NUMBER else identifier(column_of(self.table.names, colour))
        left, _, top, _ = tile.box
        scale = float(CELLS << tile.z)
        rows = self.table.arrays(
            f"SELECT least({CELLS - 1}, floor(({MAP_Y} - $top) * $scale))::INTEGER * {CELLS}"  # noqa: S608
            f" + least({CELLS - 1}, floor(({MAP_X} - $left) * $scale))::INTEGER AS cell,"
            f" count(*) AS n, coalesce(sum({column}), 0)::DOUBLE AS total, count({column}) AS valued"
            f" FROM galaxies{where} GROUP BY cell",
            {**values, "left": left, "top": top, "scale": scale},
        )
        found = np.zeros((3, CELLS * CELLS))
        found[:, rows["cell"]] = rows["n"], rows["total"], rows["valued"]
        counts, sums, valued = found.reshape(3, CELLS, CELLS)
        return counts.astype(np.int64), sums, valued.astype(np.int64)

    def span(self, colour: str) -> tuple[float, float]:
        """Return the values of the first and the last colour: 0 and 1 of a fraction, nearly all values of a measure."""
        if colour == NUMBER:
            return 0.0, 1.0
        column = column_of(self.table.names, colour)
        if (column not in MEASURES and column not in SHOWN) or column == CONFIDENCE:
            return 0.0, 1.0
        if column not in self._ranges:
            ((low, high),) = self.table.ask(
                f"SELECT quantile_cont({identifier(column)}, $few), quantile_cont({identifier(column)}, $most)"  # noqa: S608
                " FROM galaxies",
                dict(zip(("few", "most"), _FEW_AND_MOST, strict=True)),
            )
            low = 0.0 if low is None else float(low)
            self._ranges[column] = low, max(float(high or 0.0), low + 1e-6)
        return self._ranges[column]

    def near(self, x: float, y: float, choice: Choice, *, n: int) -> list[Mapping[str, Any]]:
        """Return the galaxies of a choice nearest to a place, each with `MAP_X`, `MAP_Y` and ``map_distance``.

        Raises
        ------
        BadInput
            The place is not on the map, or too many are asked for.
        """
        clause, values = self.nearest_clause(x, y, choice, n=n)
        columns = [*SHOWN, MAP_X, MAP_Y]
        rows = self.table.ask(f"SELECT {quoted(columns)}, {_DISTANCE} FROM galaxies{clause}", values)  # noqa: S608
        return [dict(zip((*columns, "map_distance"), row, strict=True)) for row in rows]

    def nearest_clause(self, x: float, y: float, choice: Choice, *, n: int) -> tuple[str, dict[str, Any]]:
        """Return the clause of the galaxies of a choice nearest to a place, and its values; raises as `near`."""
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise BadInput(f"({x:g}, {y:g}) is not on the map: x and y are 0 to 1", field="x")
        if not 1 <= n <= MAX_NEAREST:
            raise BadInput(f"1 to {MAX_NEAREST:,} galaxies around a place may be asked for, not {n}", field="n")
        where, values = self._restricted(choice, None)
        return f"{where} ORDER BY {_DISTANCE}, {PLACE} LIMIT {n:d}", {**values, "x": x, "y": y}

    def inside(self, corners: FloatArray, choice: Choice) -> IntArray:
        """Return the places of the galaxies of a choice within a polygon (V, 2), in order."""
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        where, values = self._restricted(choice, (float(left), float(right), float(top), float(bottom)), closed=True)
        found = self.table.arrays(f"SELECT {PLACE}, {MAP_X}, {MAP_Y} FROM galaxies{where}", values)  # noqa: S608
        points = np.stack([found[MAP_X], found[MAP_Y]], axis=1)
        return np.sort(found[PLACE][within(points, corners)])

    def rows(self, places: IntArray, *, group: int) -> Iterator[Rows]:
        """Yield all columns of galaxies in order of the catalogue, so many at a time; `BadInput` for too many."""
        if len(places) > MAX_WITHIN:
            raise BadInput(
                f"{len(places):,} galaxies are more than a download's {MAX_WITHIN:,}: draw around fewer",
                field="polygon",
            )
        wanted = {"places": places.tolist()}
        return self.table.stream(f" WHERE {PLACE} IN (SELECT unnest($places)) ORDER BY {PLACE}", wanted, group=group)

    def _restricted(
        self, choice: Choice, box: tuple[float, float, float, float] | None, *, closed: bool = False
    ) -> tuple[str, dict[str, Any]]:
        """Return the clause of the galaxies of a choice that are on the map, in a box of it, and its values."""
        where, values = self.table.where(choice)
        parts = [f"{MAP_X} IS NOT NULL"]
        if box is not None:
            below = "<=" if closed else "<"
            parts = [
                f"{MAP_X} >= $x0 AND {MAP_X} {below} $x1",
                f"{MAP_Y} >= $y0 AND {MAP_Y} {below} $y1",
            ]
            values = {**values, **dict(zip(("x0", "x1", "y0", "y1"), box, strict=True))}
        return f"{where} {'AND' if where else 'WHERE'} {' AND '.join(parts)}", values


_DISTANCE: Final = f"sqrt(pow({MAP_X} - $x, 2) + pow({MAP_Y} - $y, 2))"


def coarser(values: IntArray | FloatArray, cells: int) -> Any:
    """Return sums of a square array in so many cells on a side."""
    step = len(values) // cells
    return values.reshape(cells, step, cells, step).sum(axis=(1, 3))


def paint(counts: IntArray, sums: FloatArray, valued: IntArray, *, span: tuple[float, float], usual: float) -> bytes:
    """Return a PNG of cells (C, C): hue by the mean of their values, opacity by how many galaxies they hold.

    Parameters
    ----------
    span
        Means of the first and the last hue. Cells without a value have the middle one; where no cell has any, hue is
        number as well.
    usual
        Galaxies of a full cell.
    """
    total = int(counts.sum())
    cells = next((side for below, side in _COARSER if total < below), len(counts))
    usual = max(1.0, usual * (len(counts) / cells) ** 2)
    counts, sums, valued = (coarser(values, cells) for values in (counts, sums, valued))
    fullness = np.clip(np.log1p(counts) / np.log1p(max(usual, 2.0)), 0, 1)
    low, high = span
    if valued.any():
        mean = np.divide(sums, valued, out=np.full(counts.shape, (low + high) / 2), where=valued > 0)
        share = np.clip((mean - low) / (high - low), 0, 1)
    else:
        share = fullness
    hue = np.minimum((share * _HUES).astype(np.int64), _HUES - 1)
    shade = np.minimum((fullness * _SHADES).astype(np.int64), _SHADES - 1)
    index = np.where(counts > 0, 1 + hue * _SHADES + shade, 0).astype(np.uint8)
    picture = Image.fromarray(index, mode="P")
    picture.putpalette(np.concatenate([np.zeros((1, 3), np.uint8), np.repeat(hues(_HUES), _SHADES, axis=0)]).tobytes())
    opacity = np.linspace(_FAINTEST, 1, _SHADES) * 255
    written = io.BytesIO()
    transparency = bytes([0, *np.tile(opacity.round().astype(np.uint8), _HUES).tolist()])
    picture.save(written, "PNG", transparency=transparency)
    return written.getvalue()


def hues(n: int) -> UInt8Array:
    """Return the map's colours from the least to the greatest, uint8 (n, 3)."""
    known = np.array(_CIVIDIS, dtype=np.float64)
    at = np.linspace(0, len(known) - 1, n)
    steps = np.stack([np.interp(at, np.arange(len(known)), channel) for channel in known.T], axis=1)
    return steps.round().astype(np.uint8)
