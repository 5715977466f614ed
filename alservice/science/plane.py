"""A plane of galaxies: coordinates in the unit square, tiles of it, and what lies within a polygon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from alservice.errors import BadInput
from alservice.shapes import BoolArray, FloatArray, IntArray

MAX_ZOOM: Final = 12
"""Deepest level of tiles: a 4,096th of the square is one."""

MAX_VERTICES: Final = 200
"""Corners of a polygon."""

_MARGIN: Final = 0.03
"""Share of the square that stays empty at each side."""

_BELOW_ONE: Final = np.nextafter(np.float32(1), np.float32(0))


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """A square of the plane that becomes the unit square.

    Parameters
    ----------
    left, top
        Its corner of least coordinates.
    side
        Above 0.
    """

    left: float
    top: float
    side: float

    @classmethod
    def around(cls, points: FloatArray) -> Frame:
        """Return the square in whose middle points (N, 2) lie, a margin about them; points that coincide get a unit."""
        low, high = points.min(axis=0).astype(float), points.max(axis=0).astype(float)
        side = (float((high - low).max()) or 1.0) / (1 - 2 * _MARGIN)
        left, top = (low + high) / 2 - side / 2
        return cls(left=float(left), top=float(top), side=side)

    def unit(self, points: FloatArray) -> FloatArray:
        """Return points (N, 2) float32 in [0, 1); what lies outside the square is at its edge."""
        found = (np.asarray(points, dtype=np.float64) - (self.left, self.top)) / self.side
        return np.clip(found, 0, _BELOW_ONE).astype(np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """One of the 2^z by 2^z tiles of the unit square, counted from the corner of least coordinates.

    Raises
    ------
    BadInput
        There is no such tile.
    """

    z: int
    x: int
    y: int

    def __post_init__(self) -> None:
        """Refuse what is outside."""
        if not 0 <= self.z <= MAX_ZOOM:
            raise BadInput(f"tiles have levels 0 to {MAX_ZOOM}, not {self.z}", field="z")
        for name, value in (("x", self.x), ("y", self.y)):
            if not 0 <= value < 1 << self.z:
                raise BadInput(f"tiles of level {self.z} are 0 to {(1 << self.z) - 1}, not {value}", field=name)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Least and largest x, least and largest y; the largest are the next tile's."""
        side = 1 / (1 << self.z)
        return self.x * side, (self.x + 1) * side, self.y * side, (self.y + 1) * side


def polygon_of(text: str) -> FloatArray:
    """Return the corners (V, 2) float64 of a text ``x,y;x,y;x,y``.

    Raises
    ------
    BadInput
        They are fewer than 3, more than `MAX_VERTICES`, not in the unit square or no numbers.
    """
    parts = text.split(";", MAX_VERTICES + 1)  # no more than it takes to see that there are too many
    if not 3 <= len(parts) <= MAX_VERTICES:
        told = f"more than {MAX_VERTICES}" if len(parts) > MAX_VERTICES else str(len(parts) if text else 0)
        raise BadInput(f"a polygon has 3 to {MAX_VERTICES} corners, not {told}", field="polygon")
    try:
        corners = np.array([[float(value) for value in part.split(",", 2)] for part in parts], dtype=np.float64)
    except ValueError:
        raise BadInput("a polygon is written x,y;x,y;x,y", field="polygon") from None
    if corners.shape[1:] != (2,):
        raise BadInput("a polygon is written x,y;x,y;x,y", field="polygon")
    if not ((corners >= 0) & (corners <= 1)).all():  # NaN is neither
        raise BadInput("a polygon's corners lie in the unit square", field="polygon")
    return corners


def within(points: FloatArray, corners: FloatArray) -> BoolArray:
    """Return which points (N, 2) lie within a polygon (V, 2), where sides cross by the even-odd rule.

    Each side is compared with the points at its height alone, which are found by bisection: a lasso of many short sides
    costs little more than a triangle.
    """
    order: IntArray = np.argsort(points[:, 1], kind="stable")
    x, y = points[order, 0].astype(np.float64), points[order, 1].astype(np.float64)
    crossed = np.zeros(len(points), dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        first, last = np.searchsorted(y, [min(y0, y1), max(y0, y1)])  # the lower end counts, the upper does not
        at = x0 + (y[first:last] - y0) * ((x1 - x0) / (y1 - y0))
        crossed[first:last] ^= x[first:last] < at
    inside = np.empty_like(crossed)
    inside[order] = crossed
    return inside
