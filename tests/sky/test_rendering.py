"""Rendering: what a galaxy has is in its light, at the stated signal-to-noise and the stated angle."""

import io
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alservice.sky.rendering import _SOFTENING, _WHITE_LEVEL, Kind, Morphology, draw_morphology, render, render_jpeg

SIZE_PX = 96
DISC = Morphology(
    kind=Kind.DISC,
    signal_to_noise=500.0,
    half_light_px=14.0,
    psf_sigma_px=1.0,
    axis_ratio=0.8,
    position_angle_rad=0.4,
    bulge_fraction=0.2,
    sersic_index=2.0,
    n_arms=2,
    pitch_rad=math.radians(20),
)
ELLIPTICAL = replace(DISC, kind=Kind.ELLIPTICAL, bulge_fraction=1.0, sersic_index=4.0)


def image(galaxy: Morphology, seed: int = 0) -> np.ndarray:
    """Render in float, (H, W, C)."""
    return render(galaxy, np.random.default_rng(seed), SIZE_PX).astype(float)


def mean_image(galaxy: Morphology) -> np.ndarray:
    """Return the mean over noise and field stars of the middle of a galaxy's image, grey (H, W)."""
    middle = slice(16, 80)
    return np.mean([image(galaxy, seed).mean(axis=2)[middle, middle] for seed in range(8)], axis=0)


@given(seed=st.integers(0, 2**32), size_px=st.sampled_from([32, 63, 96, 128]))
@settings(max_examples=150, deadline=None)
def test_every_galaxy_that_can_be_drawn_can_be_rendered(seed, size_px):
    """No overflow, no invalid number, the right shape and type, and something to see."""
    rng = np.random.default_rng(seed)
    galaxy = draw_morphology(rng, size_px)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        pixels = render(galaxy, rng, size_px)
    assert (pixels.shape, pixels.dtype) == ((size_px, size_px, 3), np.uint8)
    assert pixels.std() > 1


def test_the_same_generator_state_gives_the_same_bytes():
    """Rendering draws from its generator alone."""
    first, second = (render_jpeg(DISC, np.random.default_rng(5), SIZE_PX) for _ in range(2))
    assert first == second
    assert first != render_jpeg(DISC, np.random.default_rng(6), SIZE_PX)


def test_the_jpeg_is_the_rendered_image():
    """Compression changes grey levels by a few units, no more."""
    decoded = np.asarray(Image.open(io.BytesIO(render_jpeg(DISC, np.random.default_rng(5), SIZE_PX))))
    difference = decoded.astype(float).mean(axis=2) - image(DISC, 5).mean(axis=2)
    assert np.abs(difference).mean() < 6


@pytest.mark.parametrize(
    "feature",
    [
        {"bar_strength": 0.6},
        {"arm_strength": 0.6},
        {"ring_strength": 0.7},
        {"clump_strength": 0.4},
        {"tail_strength": 0.7},
        {"dust_strength": 0.7},
        {"star_strength": 0.5},
        {"companion_fraction": 0.6, "companion_separation": 1.5, "companion_angle_rad": 1.0},
        {"bulge_fraction": 0.6},
        {"axis_ratio": 0.5},
    ],
    ids=lambda feature: next(iter(feature)),
)
def test_each_feature_of_a_disc_shows(feature):
    """With the same noise, an image with the feature differs plainly from one without."""
    changed = image(replace(DISC, **feature)).mean(axis=2) - image(DISC).mean(axis=2)
    assert np.abs(changed).max() > 25


def test_a_gravitational_arc_shows_beside_an_elliptical():
    """Light appears at the arc's radius, on one side."""
    extra = mean_image(replace(ELLIPTICAL, arc_strength=0.9)) - mean_image(ELLIPTICAL)
    assert extra.max() > 20


@pytest.mark.parametrize("angle_rad", [0.0, 0.7, 1.8, 2.9])
def test_an_edge_on_disc_is_a_thin_line_along_its_position_angle(angle_rad):
    """Second moments of a thin disc give its angle and a small axis ratio."""
    light = mean_image(replace(DISC, axis_ratio=0.1, bulge_fraction=0.05, position_angle_rad=angle_rad))
    light = np.clip(light - np.median(light) - 10, 0, None)
    y, x = np.mgrid[: light.shape[0], : light.shape[1]] - (light.shape[0] - 1) / 2
    xx, yy, xy = ((light * a).sum() for a in (x * x, y * y, x * y))
    values, vectors = np.linalg.eigh([[xx, xy], [xy, yy]])
    turned = math.atan2(vectors[1, 1], vectors[0, 1]) - angle_rad
    assert abs(math.remainder(turned, math.pi)) < 0.05
    assert math.sqrt(values[0] / values[1]) < 0.3


@pytest.mark.parametrize("n_arms", [1, 2, 3, 4])
def test_a_face_on_spiral_has_the_stated_number_of_arms(n_arms):
    """Around a circle, light varies as often as there are arms."""
    spiral = replace(DISC, axis_ratio=1.0, bulge_fraction=0.05, arm_strength=1.0, n_arms=n_arms)
    light = mean_image(spiral)
    angles = np.linspace(0, 2 * math.pi, 360, endpoint=False)
    middle = (light.shape[0] - 1) / 2
    rows = np.rint(middle + 18 * np.sin(angles)).astype(int)
    columns = np.rint(middle + 18 * np.cos(angles)).astype(int)
    power = np.abs(np.fft.rfft(light[rows, columns]))[1:8]
    assert np.argmax(power) + 1 == n_arms


def test_signal_to_noise_is_what_the_galaxy_states():
    """Twice the signal-to-noise is twice the light over the same sky."""
    shown = [mean_image(replace(ELLIPTICAL, signal_to_noise=value))[28:36, 28:36] for value in (60, 120)]
    faint, bright = (np.sinh(levels / 255 * math.asinh(_WHITE_LEVEL / _SOFTENING)).mean() for levels in shown)
    assert bright / faint == pytest.approx(2, rel=0.1)


def test_a_wider_point_spread_function_flattens_the_centre():
    """Blur lowers the peak of a cuspy galaxy and keeps its surroundings."""
    sharp, blurred = (mean_image(replace(ELLIPTICAL, psf_sigma_px=sigma)) for sigma in (0.8, 2.4))
    assert np.ptp(sharp[28:36, 28:36]) > 1.2 * np.ptp(blurred[28:36, 28:36])


def test_the_sense_of_rotation_mirrors_the_arms():
    """Spirals of both hands exist: a negative pitch is the mirror image."""
    spiral = replace(DISC, position_angle_rad=0.0, axis_ratio=1.0, arm_strength=1.0)
    mirrored = mean_image(replace(spiral, pitch_rad=-spiral.pitch_rad))
    assert np.abs(mirrored - mean_image(spiral)[::-1]).mean() < 0.5 * np.abs(mirrored - mean_image(spiral)).mean()


def test_rendering_warns_about_nothing():
    """Stars and trails, which are no galaxies, are rendered without a complaint either."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image(replace(DISC, kind=Kind.STAR)).max() == 255
        assert image(replace(DISC, kind=Kind.TRAIL)).max() > 100
