"""HEALPix: equal cells of the sphere, numbered so that near ones have near numbers (Gorski et al. 2005)."""

from __future__ import annotations

from typing import Final

import numpy as np

from alservice.shapes import FloatArray, IntArray

MAX_ORDER: Final = 29
"""Cells of 0.4 milliarcseconds: 12 x 4^29 numbers fit into 63 bits."""

_SPREAD: Final = (
    (16, 0x0000FFFF0000FFFF),
    (8, 0x00FF00FF00FF00FF),
    (4, 0x0F0F0F0F0F0F0F0F),
    (2, 0x3333333333333333),
    (1, 0x5555555555555555),
)


def nested_cells(ra_deg: FloatArray, dec_deg: FloatArray, *, order: int) -> IntArray:
    """Return the HEALPix cells of positions in the nested scheme.

    Parameters
    ----------
    ra_deg, dec_deg
        (N,) right ascension and declination (deg, ICRS).
    order
        0 to `MAX_ORDER`: there are 12 x 4^order cells.

    Returns
    -------
    IntArray
        (N,) int64 in [0, 12 x 4^order). A position within rounding of an edge may fall on either side of it.

    Raises
    ------
    ValueError
        The order is none.

    Notes
    -----
    Gorski et al. 2005 (ApJ 622, 759), section 5 and equations 4 to 9; the branches are those of HEALPix C++'s
    ``loc2pix``.
    """
    if not 0 <= order <= MAX_ORDER:
        raise ValueError(f"order {order} is not within 0 to {MAX_ORDER}")
    n_side = 1 << order
    dec = np.deg2rad(np.asarray(dec_deg, dtype=np.float64))
    z = np.sin(dec)
    quarter = np.mod(np.asarray(ra_deg, dtype=np.float64) / 90.0, 4.0)
    face, x, y = _equatorial(quarter, z, order, n_side)
    polar = np.abs(z) > 2 / 3
    if polar.any():
        face[polar], x[polar], y[polar] = _polar(quarter[polar], dec[polar], n_side)
    cells: IntArray = (face << (2 * order)) | _spread(x) | (_spread(y) << 1)
    return cells


def _equatorial(quarter: FloatArray, z: FloatArray, order: int, n_side: int) -> tuple[IntArray, IntArray, IntArray]:
    """Return face and place on it (N,) of positions with |z| <= 2/3."""
    middle, height = n_side * (0.5 + quarter), n_side * 0.75 * z
    rising, falling = np.floor(middle - height).astype(np.int64), np.floor(middle + height).astype(np.int64)
    up, down = rising >> order, falling >> order
    face = np.where(up == down, (up & 3) + 4, np.where(up < down, up & 3, (down & 3) + 8))
    return face, falling & (n_side - 1), n_side - (rising & (n_side - 1)) - 1


def _polar(quarter: FloatArray, dec: FloatArray, n_side: int) -> tuple[IntArray, IntArray, IntArray]:
    """Return face and place on it (N,) of positions with |z| > 2/3."""
    face = np.minimum(quarter.astype(np.int64), 3)
    share = quarter - face
    # 1 - |sin dec| without the digits that a subtraction loses near a pole.
    distance = n_side * np.sqrt(3 / (1 + np.abs(np.sin(dec)))) * np.cos(dec)
    rising = np.minimum((share * distance).astype(np.int64), n_side - 1)
    falling = np.minimum(((1 - share) * distance).astype(np.int64), n_side - 1)
    north = dec >= 0
    x = np.where(north, n_side - falling - 1, rising)
    y = np.where(north, n_side - rising - 1, falling)
    return np.where(north, face, face + 8), x, y


def _spread(values: IntArray) -> IntArray:
    """Return numbers (N,) with a zero between each two of their bits."""
    for shift, mask in _SPREAD:
        values = (values | (values << shift)) & mask
    return values
