"""HEALPix cells are those of the field's own library."""

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import Latitude, Longitude
from cdshealpix.nested import lonlat_to_healpix
from hypothesis import given
from hypothesis import strategies as st

from alservice.science.healpix import MAX_ORDER, nested_cells


def reference(ra_deg, dec_deg, order):
    """Return the cells by cdshealpix."""
    return lonlat_to_healpix(Longitude(ra_deg * units.deg), Latitude(dec_deg * units.deg), order).astype(np.int64)


@pytest.mark.parametrize("order", [0, 1, 5, 12, 18, MAX_ORDER])
def test_cells_are_those_of_cdshealpix(order: int) -> None:
    """All over the sphere, its poles included; only rounding at an edge may move a position, at the finest orders."""
    rng = np.random.default_rng(order)
    ra, dec = rng.uniform(0, 360, 20_000), np.rad2deg(np.arcsin(rng.uniform(-1, 1, 20_000)))
    dec[:200] = rng.choice([-1, 1], 200) * (90 - 10.0 ** rng.uniform(-6, 0, 200))
    same = nested_cells(ra, dec, order=order) == reference(ra, dec, order)
    assert same.mean() == 1 if order < 13 else same.mean() > 0.99 if order < 20 else same.mean() > 0.5


@given(st.floats(0, 360, exclude_max=True), st.floats(-90, 90), st.integers(0, MAX_ORDER - 1))
def test_a_cell_holds_the_cells_of_the_next_order(ra: float, dec: float, order: int) -> None:
    """The nested scheme: a quarter of a cell has its number times four, and up to three more."""
    coarse, fine = (nested_cells(np.array([ra]), np.array([dec]), order=o)[0] for o in (order, order + 1))
    assert 0 <= coarse < 12 << (2 * order)
    assert fine >> 2 == coarse or order > 20


def test_an_order_that_is_none_is_refused() -> None:
    """Beyond 29 numbers would not fit."""
    with pytest.raises(ValueError, match="order 30"):
        nested_cells(np.zeros(1), np.zeros(1), order=30)
