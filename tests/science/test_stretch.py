"""Fluxes to grey levels: by definition, for every preset, and what has no image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alservice.errors import BadConfig, BadImage
from alservice.science.stretch import PLAIN, PRESETS, Stretch, stretch_of, stretched

WHOLE = Stretch(low_pct=0, high_pct=100, softening=8)
RNG = np.random.default_rng(0)


def galaxy(bands: int = 1, side: int = 40) -> np.ndarray:
    """Return a bright blob on noise around zero, redder towards the last band."""
    y, x = np.indices((side, side)) - (side - 1) / 2
    light = 50 * np.exp(-np.hypot(x, y) / 4)
    return np.stack([(1 + 0.3 * band) * light for band in range(bands)]) + RNG.normal(0, 0.2, (bands, side, side))


def test_one_band_is_the_definition():
    """Black is the low percentile, white the high one, asinh between."""
    levels = stretched(np.array([[[-1.0, 0.0, 1.0, 3.0]]]), WHOLE)
    x = np.array([0, 0.25, 0.5, 1])
    assert levels.tolist() == [[np.floor(255 * np.arcsinh(8 * x) / np.arcsinh(8) + 0.5).tolist()]]


def test_colours_do_not_depend_on_brightness():
    """Lupton et al. (2004): ratios over the black level are kept, above white as well."""
    colour = np.array([1.0, 2.0, 4.0])
    flux = np.concatenate([[0.0], np.geomspace(2, 400, 30)])
    levels = stretched(colour[:, None, None] * flux[None, None, :], WHOLE)[:, 0, 1:].astype(float)
    assert np.all(np.abs(levels[0] / 255 * 0.5 - levels[1] / 255) < 0.006)
    assert np.all(np.abs(levels[0] / 255 * 0.25 - levels[2] / 255) < 0.006)
    assert levels[0, -1] == 255


def test_percentiles_are_of_the_mean_over_the_bands():
    """So many per cent of the pixels are black, so many white."""
    flux = np.arange(1000.0).reshape(1, 20, 50)
    levels = stretched(flux, Stretch(low_pct=10, high_pct=90))
    assert (levels == 255).sum() == pytest.approx(100, abs=5)
    assert (levels[flux <= np.percentile(flux, 10)] == 0).all()
    assert (levels[flux > np.percentile(flux, 11)] > 0).all()


def test_the_last_band_is_red_unless_told_otherwise():
    """Cutouts are in order of wavelength, images begin with red."""
    flux = galaxy(3)
    centre = stretched(flux, PLAIN)[:, 20, 20].astype(int)
    assert centre[0] > centre[1] > centre[2]
    turned = stretched(flux[::-1], stretch_of("plain,red_first=1"))
    assert np.array_equal(turned, stretched(flux, PLAIN))


@pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))
@pytest.mark.parametrize("bands", [1, 3])
def test_every_preset_shows_a_galaxy_on_a_dark_sky(preset: Stretch, bands: int):
    """Whatever the unit, with pixels that are not known."""
    flux = galaxy(bands)
    flux[0, :5, :5] = np.nan
    flux[-1, 6, :3] = -np.inf
    levels = stretched(flux, preset)
    assert levels.shape == flux.shape
    assert (levels[:, :5, :5] == 0).all()
    assert (levels[:, 6, :3] == 0).all()
    assert levels[:, 18:22, 18:22].max() == 255
    assert np.median(levels) < 120 < levels[:, 18:22, 18:22].mean()
    assert np.array_equal(stretched(flux * 2.0**20, preset), levels)


def test_scales_weigh_the_bands():
    """Each its own, the first in order of wavelength the blue one."""
    flux = galaxy(3)
    weighed = stretched(flux, stretch_of("plain,blue=2,green=3,red=5"))
    assert np.array_equal(weighed, stretched(flux * np.array([2.0, 3, 5])[:, None, None], PLAIN))
    assert not np.array_equal(weighed, stretched(flux, PLAIN))


@pytest.mark.parametrize(
    ("flux", "said"),
    [
        (np.full((1, 8, 8), np.nan), "no pixel has a flux that is a number"),
        (np.full((3, 8, 8), 1e200), "no pixel has a flux that is a number"),
        (np.full((1, 1, 1), 3.0), "nothing to see: .* both 3"),
        (np.zeros((3, 8, 8)), "nothing to see"),
        (np.ones((2, 8, 8)), "1 or 3 bands"),
        (np.ones((8, 8)), "1 or 3 bands"),
        (np.ones((1, 0, 8)), "at least one pixel"),
    ],
)
def test_what_has_no_image_is_refused(flux: np.ndarray, said: str):
    """By name: all unknown, one value alone, another number of bands."""
    with pytest.raises(BadImage, match=said):
        stretched(flux, PLAIN)


@given(st.sampled_from(sorted(PRESETS)), st.floats(0, 49), st.floats(51, 100), st.floats(0.1, 100))
def test_a_stretch_is_read_back_from_its_text(name: str, low: float, high: float, softening: float):
    """Up to the six digits that are written, and a preset by its name alone."""
    given_ = stretch_of(f"{name},low_pct={low:g},high_pct={high:g},softening={softening:g}")
    assert stretch_of(given_.text()) == given_
    assert PRESETS[name].text() == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lsst", "'lsst' is none of plain, sdss"),
        ("plain,gamma=2", "'gamma=2' is no value"),
        ("plain,name=x", "'name=x' is no value"),
        ("plain,softening=loud", "softening must be a number, not 'loud'"),
        ("plain,softening=0", "softening must be above 0"),
        ("plain,softening=nan", "softening must be above 0"),
        ("plain,low_pct=99.9", "low_pct 99.9 must be below"),
        ("plain,high_pct=nan", "must be below"),
        ("plain,blue=-1", "blue must be above 0"),
    ],
)
def test_a_stretch_that_is_none_is_refused(text: str, said: str):
    """With the name of what is wrong."""
    with pytest.raises(BadConfig, match=said):
        stretch_of(text)
