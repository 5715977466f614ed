"""What can be measured on an image alone: brightness, size, axis ratio, concentration.

The galaxy is taken to be centred, as in a survey's cutouts. Its light is what exceeds the sky, which is the median
of the border pixels; neighbours in the frame count as light. Good enough to group galaxies, not to do photometry.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np

from alservice.errors import BadImage
from alservice.science.pmf import row_slices
from alservice.shapes import FloatArray, UInt8Array

BRIGHTNESS: Final = "brightness"
HALF_LIGHT_RADIUS: Final = "half-light radius [px]"
AXIS_RATIO: Final = "axis ratio"
CONCENTRATION: Final = "concentration"
MEASURED: Final = (BRIGHTNESS, HALF_LIGHT_RADIUS, AXIS_RATIO, CONCENTRATION)

Properties: TypeAlias = dict[str, FloatArray]
"""(N,) float64 by name; NaN where the image shows no light above its sky."""

_SIGMAS: Final = 3.0
"""Pixels fainter than so many standard deviations of the border's noise say nothing about the shape."""

_APERTURE: Final = 1.5
"""Radius within which the shape is measured, in radii that hold 80 % of the light: less would be round by itself."""


def measure_images(images: UInt8Array) -> Properties:
    """Return the properties of images.

    ``brightness`` is the mean excess over the sky, grey levels of 0 to 255 per pixel. The half-light radius (px) is
    that of the circle around the centre with half of the light of the largest one. ``axis ratio`` is the root of
    the ratio of the second moments' eigenvalues within 1.5 times the circle that holds 80 % of the light, 1 for
    round; the aperture makes flat galaxies a little rounder. ``concentration`` is 5 log10 of the radius of the
    circle with 80 % of the light over that with 20 % (Conselice 2003).

    Parameters
    ----------
    images
        (N, C, H, W) uint8, square; channels are averaged.

    Raises
    ------
    BadImage
        The images are not of this shape and type.
    """
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[2] != images.shape[3]:
        raise BadImage(f"properties need square uint8 images (N, C, H, W), not {images.dtype} {images.shape}")
    side = images.shape[2]
    y, x = (axis.ravel() for axis in np.indices((side, side), dtype=np.float64) - (side - 1) / 2)
    found = {name: np.full(len(images), np.nan) for name in MEASURED}
    for rows in row_slices(len(images), side * side):
        grey = images[rows].mean(axis=1)
        border = np.concatenate([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], axis=1)
        sky = np.median(border, axis=1)[:, None]
        noise = 1.4826 * np.median(np.abs(border - sky), axis=1)[:, None]
        for name, values in _measure(grey.reshape(len(grey), -1) - sky, noise, x, y).items():
            found[name][rows] = values
    return found


def _measure(light: FloatArray, noise: FloatArray, x: FloatArray, y: FloatArray) -> Properties:
    """Return the properties of images (n, H W) of light above the sky, negative where noise makes it so."""
    radius = np.hypot(x, y)
    outward = np.argsort(radius, kind="stable")
    outward = outward[radius[outward] <= x.max()]
    grown = np.cumsum(light[:, outward], axis=1)
    is_lit = grown[:, -1] > 0

    def holding(share: float) -> FloatArray:
        pixels = (grown >= share * grown[:, -1:]).argmax(axis=1)
        # Half a pixel: the innermost pixel's centre has radius 0 in a frame of odd side.
        radii: FloatArray = np.maximum(radius[outward][pixels], 0.5)
        return radii

    inner, half, outer = (holding(share) for share in (0.2, 0.5, 0.8))
    ratio = _axis_ratio(np.where((light > _SIGMAS * noise) & (radius <= _APERTURE * outer[:, None]), light, 0.0), x, y)
    return {
        BRIGHTNESS: np.where(is_lit, light.mean(axis=1), np.nan),
        HALF_LIGHT_RADIUS: np.where(is_lit, half, np.nan),
        AXIS_RATIO: np.where(is_lit, ratio, np.nan),
        CONCENTRATION: np.where(is_lit, 5 * np.log10(outer / inner), np.nan),
    }


def _axis_ratio(light: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    """Return the root of the ratio of the eigenvalues of each image's second moments; NaN without light."""
    total = light.sum(axis=1)
    xx, yy, xy = (light @ moment / np.where(total > 0, total, 1.0) for moment in (x * x, y * y, x * y))
    middle, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    # Rounding may leave a line of pixels with a minor axis just below 0.
    minor = np.maximum(middle - spread, 0.0)
    ratio: FloatArray = np.where(middle > 0, np.sqrt(minor / np.where(middle > 0, middle + spread, 1.0)), np.nan)
    return ratio
