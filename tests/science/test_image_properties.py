"""Properties measured on images whose truth is known, drawn here, synthetic and real."""

import numpy as np
import pytest

from alservice.catalogue.files import open_catalogue
from alservice.errors import BadImage
from alservice.science.image_properties import (
    AXIS_RATIO,
    BRIGHTNESS,
    CONCENTRATION,
    HALF_LIGHT_RADIUS,
    MEASURED,
    measure_images,
)
from alservice.science.tree import load_tree
from alservice.sky.galaxies import synthetic_sky
from alservice.storage.images import decode
from tests.support.shared import shared_data

TREE = load_tree("gz2")


def gaussian(sigma_px, ratio=1.0, angle=0.0, peak=200.0, side=64, sky=10.0):
    """Return a (1, side, side) image of an elliptical Gaussian on a flat sky."""
    y, x = np.indices((side, side)) - (side - 1) / 2
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    light = peak * np.exp(-((u / sigma_px) ** 2 + (v / (ratio * sigma_px)) ** 2) / 2)
    return np.round(sky + light).astype(np.uint8)[None]


def ranks(values):
    """Return ranks, for a Spearman correlation."""
    return np.argsort(np.argsort(values))


def test_a_gaussian_has_its_known_size_and_concentration() -> None:
    """Half of its light lies within 1.1774 sigma; r80 over r20 is fixed; a wider one is larger and brighter."""
    found = measure_images(np.stack([gaussian(4), gaussian(8)]))
    np.testing.assert_allclose(found[HALF_LIGHT_RADIUS], [1.1774 * 4, 1.1774 * 8], rtol=0.08)
    np.testing.assert_allclose(found[CONCENTRATION], 5 * np.log10(1.7941 / 0.6680), rtol=0.08)
    assert found[BRIGHTNESS][1] == pytest.approx(4 * found[BRIGHTNESS][0], rel=0.1)


@pytest.mark.parametrize("angle", [0.0, 0.4, np.pi / 4, 2.0])
def test_axis_ratio_does_not_depend_on_the_angle(angle) -> None:
    """Round is 1, flatter is smaller, the same at every angle to a few hundredths."""
    found = measure_images(np.stack([gaussian(8, ratio, angle) for ratio in (1.0, 0.6, 0.3)]))[AXIS_RATIO]
    assert found[0] > 0.98
    assert found[0] > found[1] > found[2]
    np.testing.assert_allclose(found, [1.0, 0.6, 0.3], atol=0.07)


@pytest.mark.parametrize("level", [2, 200])
def test_a_line_through_the_centre_is_as_flat_as_can_be(level) -> None:
    """The middle row of an odd frame has no width about its centre, faint or bright on a sky without noise."""
    image = np.full((1, 33, 33), 10, np.uint8)
    image[0, 16, 4:29] += np.uint8(level)
    found = measure_images(image[None])
    assert found[AXIS_RATIO][0] == pytest.approx(0, abs=1e-6)
    # Circles of growing radius hold the line's pixels in pairs: 13 of 25 lie within 6 px.
    assert found[HALF_LIGHT_RADIUS][0] == 6


def test_light_within_the_noise_has_no_shape() -> None:
    """Three standard deviations of the border: a faint bar across a noisy sky does not flatten a round galaxy."""
    round_one = gaussian(6)[0].astype(float)
    bar = np.zeros_like(round_one)
    bar[28:36, 8:56] = 6
    noise = np.random.default_rng(0).normal(0, 5, round_one.shape)
    images = np.stack([(round_one + faint + noise).clip(0, 255).astype(np.uint8)[None] for faint in (0 * bar, bar)])
    plain, barred = measure_images(images)[AXIS_RATIO]
    assert plain > 0.9
    assert barred == pytest.approx(plain, abs=0.05)


def test_an_empty_image_has_no_properties() -> None:
    """Nothing above the sky is NaN everywhere, without a warning, and does not disturb its neighbours."""
    images = np.stack([np.full((1, 32, 32), 7, np.uint8), gaussian(4, side=32)])
    found = measure_images(images)
    assert all(np.isnan(found[name][0]) and np.isfinite(found[name][1]) for name in MEASURED)
    assert all(len(v) == 0 for v in measure_images(images[:0]).values())


@pytest.mark.parametrize(
    "images", [np.zeros((2, 32, 32), np.uint8), np.zeros((2, 1, 32, 32)), np.zeros((2, 1, 32, 16), np.uint8)]
)
def test_other_arrays_are_refused(images) -> None:
    """Shape and type are named."""
    with pytest.raises(BadImage, match="square uint8"):
        measure_images(images)


def test_the_synthetic_sky_agrees_with_its_truth() -> None:
    """Across made-up galaxies without a neighbour in the frame, the measurement follows the truth in rank."""
    alone = ("companion_fraction", "star_strength")
    sky = [g for g in synthetic_sky(TREE, n=200, seed=4) if not any(g.properties[name] for name in alone)]
    assert len(sky) > 80
    found = measure_images(np.stack([decode(g.image, size_px=96, channels=1) for g in sky]))
    ratio = np.array([g.properties["axis_ratio"] for g in sky])
    # The measured circle is as large as the true ellipse, whose half-light radius is along its major axis.
    size = np.array([g.properties["half_light_px"] for g in sky]) * np.sqrt(ratio)
    for name, true, least in ((AXIS_RATIO, ratio, 0.5), (HALF_LIGHT_RADIUS, size, 0.4)):
        known = np.isfinite(found[name])
        assert known.mean() > 0.95
        assert np.corrcoef(ranks(found[name][known]), ranks(true[known]))[0, 1] > least


def test_real_axis_ratios_follow_the_volunteers() -> None:
    """Among real galaxies, rounder images got more votes for completely round (Spearman above 0.5)."""
    file = open_catalogue(shared_data() / "gz2_kaggle.parquet", TREE)
    rows = [row for row in file.rows(600, 3) if row.fractions is not None]
    found = measure_images(np.stack([decode(row.image, size_px=64, channels=1) for row in rows]))[AXIS_RATIO]
    round_fraction = np.array([row.fractions[TREE.columns.index("how-rounded_round")] for row in rows])
    known = np.isfinite(found) & np.isfinite(round_fraction)
    assert known.sum() > 300
    assert np.corrcoef(ranks(found[known]), ranks(round_fraction[known]))[0, 1] > 0.5
