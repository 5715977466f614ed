"""Light profiles and the grids that they are drawn on, float32 (H, W)."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from alservice.shapes import FloatArray


def psf_matrix(sigma_px: float, size_px: int) -> FloatArray:
    """Return Gaussian blur along one axis as a symmetric (H, H) matrix.

    Cut at 5 sigma: further out are denormal numbers, which make the product thirty times slower.
    """
    axis = grid(size_px)[0][0]
    offset = axis[:, None] - axis
    psf = gauss(offset, sigma_px) / np.float32(sigma_px * math.sqrt(2 * math.pi))
    psf[np.abs(offset) > 5 * sigma_px] = 0
    return psf


@cache
def grid(size_px: int) -> tuple[FloatArray, FloatArray]:
    """Return x and y (px) from the image centre, read-only float32 (H, W)."""
    axis = np.arange(size_px, dtype=np.float32) - np.float32((size_px - 1) / 2)
    x, y = np.meshgrid(axis, axis)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def along_axes(size_px: int, angle_rad: float) -> tuple[FloatArray, FloatArray]:
    """Return coordinates along and across a direction (px)."""
    return turned(*grid(size_px), angle_rad)


def turned(x: FloatArray, y: FloatArray, angle_rad: float) -> tuple[FloatArray, FloatArray]:
    """Return coordinates along and across a direction, of those along x and y (px)."""
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    return cos * x + sin * y, cos * y - sin * x


def sersic(radius: FloatArray, half_light_px: float, index: float) -> FloatArray:
    """Return a Sersic (1963) profile, 1 at the half-light radius, with b_n of Ciotti & Bertin (1999)."""
    b_n = 2 * index - 1 / 3 + 4 / (405 * index)
    profile: FloatArray = np.exp(-b_n * (np.power(np.hypot(radius, 0.3) / half_light_px, 1 / index) - 1))
    return profile


def exponential(radius: FloatArray, half_light_px: float) -> FloatArray:
    """Return a Sersic profile of index 1."""
    profile: FloatArray = np.exp(radius * (-1.678 / half_light_px))
    return profile


def gauss(offset: FloatArray, width: float | FloatArray) -> FloatArray:
    """Return a Gaussian, 1 at offset 0."""
    profile: FloatArray = np.exp(-0.5 * np.square(offset / width))
    return profile


def bump(angle: FloatArray, sharpness: float) -> FloatArray:
    """Return a Gaussian on a circle (von Mises), 1 at angle 0."""
    profile: FloatArray = np.exp(sharpness * (np.cos(angle) - 1))
    return profile


def with_flux(light: FloatArray, flux: float) -> FloatArray:
    """Return a component scaled so that its light sums to `flux`."""
    return light * np.float32(flux / float(light.sum()))
