"""From the parameters of a galaxy to the JPEG that volunteers see.

One galaxy at a time: its pixels fill the vector units and stay in cache, and no other galaxy of a run can
change a bit of it. Light (float32) is summed over components, blurred by the point-spread function,
scaled to the wanted signal-to-noise, and only then come noise and display stretch.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from PIL import Image

from alservice.shapes import FloatArray, UInt8Array

REFERENCE_PX = 96
"""Image width (px) at which sizes are stated; another width samples the same sky more or less finely."""


class Kind(IntEnum):
    """What stands in the middle of the image."""

    ELLIPTICAL = 0
    DISC = 1
    IRREGULAR = 2
    MERGER = 3
    STAR = 4
    TRAIL = 5


KIND_SHARES: Mapping[Kind, float] = MappingProxyType(
    {
        Kind.ELLIPTICAL: 0.49,
        Kind.DISC: 0.43,
        Kind.IRREGULAR: 0.03,
        Kind.MERGER: 0.03,
        Kind.STAR: 0.01,
        Kind.TRAIL: 0.01,
    }
)
"""Share of each kind in the sky."""

_KINDS = tuple(KIND_SHARES)
_CUMULATIVE_SHARES = np.cumsum(tuple(KIND_SHARES.values()))
_ARM_COUNTS = np.array([1, 2, 3, 4, 6])
_ARM_COUNT_SHARES = (0.06, 0.58, 0.15, 0.11, 0.10)


@dataclass(frozen=True, kw_only=True, slots=True)
class Morphology:
    """Generating parameters of one galaxy; a strength is 0 (absent) to 1 (striking).

    Parameters
    ----------
    kind
        What stands in the middle of the image.
    signal_to_noise
        Of the whole galaxy against the sky: root of the summed squared light (sky sigma).
    half_light_px
        Semi-major axis of the ellipse that holds half of the light (px).
    psf_sigma_px
        Width of the Gaussian point-spread function (px).
    axis_ratio
        Apparent minor over major axis.
    position_angle_rad
        Of the major axis, from the image's x axis (rad).
    bulge_fraction
        Bulge over total light.
    sersic_index
        Of the bulge, or of the whole elliptical.
    bulge_boxiness
        0 an elliptical bulge, 1 a box.
    bar_strength, bar_angle_rad
        Bar, and its angle in the plane of the disc (rad).
    arm_strength, n_arms, pitch_rad
        Logarithmic spiral arms: contrast, number, and pitch angle (rad; small is tightly wound, its sign is
        the sense of rotation).
    ring_strength, arc_strength, tail_strength, dust_strength, clump_strength, star_strength
        Ring of stars, gravitational arc, tidal tail, dust lane, star-forming clumps, foreground star.
    companion_fraction, companion_separation, companion_angle_rad
        Merging neighbour: light over the galaxy's own, distance (half-light radii), direction (rad).
    """

    kind: Kind
    signal_to_noise: float
    half_light_px: float
    psf_sigma_px: float
    axis_ratio: float
    position_angle_rad: float
    bulge_fraction: float = 0.0
    sersic_index: float = 1.0
    bulge_boxiness: float = 0.0
    bar_strength: float = 0.0
    bar_angle_rad: float = 0.0
    arm_strength: float = 0.0
    n_arms: int = 0
    pitch_rad: float = 0.0
    ring_strength: float = 0.0
    arc_strength: float = 0.0
    tail_strength: float = 0.0
    dust_strength: float = 0.0
    clump_strength: float = 0.0
    star_strength: float = 0.0
    companion_fraction: float = 0.0
    companion_separation: float = 0.0
    companion_angle_rad: float = 0.0


def draw_morphology(rng: np.random.Generator, size_px: int) -> Morphology:
    """Draw one galaxy of the survey.

    Parameters
    ----------
    rng
        The galaxy's own generator.
    size_px
        Image width (px); lengths scale with it, the draws do not depend on it.
    """
    scale = size_px / REFERENCE_PX
    base = Morphology(
        kind=_KINDS[int(np.searchsorted(_CUMULATIVE_SHARES, rng.random(), side="right"))],
        signal_to_noise=math.exp(rng.normal(math.log(200), 0.65)),
        half_light_px=scale * 12.0 * math.exp(rng.normal(0, 0.22)),
        psf_sigma_px=scale * rng.uniform(0.9, 2.4),
        axis_ratio=1.0,
        position_angle_rad=rng.uniform(0, math.pi),
    )
    match base.kind:
        case Kind.ELLIPTICAL:
            return _with_oddities(_elliptical(base, rng), rng)
        case Kind.DISC:
            return _with_oddities(_draw_disc(base, rng), rng)
        case Kind.IRREGULAR:
            return _draw_irregular(base, rng)
        case Kind.MERGER:
            host = _draw_disc(base, rng) if rng.random() < 0.6 else _elliptical(base, rng)
            return _with_companion(host, rng)
        case Kind.STAR | Kind.TRAIL:
            return replace(base, signal_to_noise=base.signal_to_noise * rng.uniform(2, 6))


def _elliptical(base: Morphology, rng: np.random.Generator) -> Morphology:
    return replace(
        base, axis_ratio=1 - 0.7 * rng.beta(1.2, 2.0), bulge_fraction=1.0, sersic_index=rng.uniform(2.0, 4.5)
    )


def _draw_disc(base: Morphology, rng: np.random.Generator) -> Morphology:
    """Draw a disc at a random inclination; what it has is drawn whether or not the inclination shows it."""
    thickness = rng.uniform(0.08, 0.15)
    axis_ratio = math.hypot(thickness, math.sqrt(1 - thickness**2) * rng.random())
    has_arms, has_bar, has_ring, has_dust = rng.random(4) < (0.55, 0.35, 0.06, 0.3 * (axis_ratio < 0.4))
    return replace(
        base,
        axis_ratio=axis_ratio,
        half_light_px=1.25 * base.half_light_px,
        bulge_fraction=(0.45 if has_bar else 0.75) * rng.beta(1.1, 2.5) + (0.25 if has_dust else 0.0),
        sersic_index=rng.uniform(1.0, 3.5),
        bulge_boxiness=float(rng.random() < 0.25),
        bar_strength=rng.beta(3, 2) if has_bar else 0.0,
        bar_angle_rad=rng.uniform(0, math.pi),
        arm_strength=rng.beta(2.5, 1.5) if has_arms else 0.0,
        n_arms=int(rng.choice(_ARM_COUNTS, p=_ARM_COUNT_SHARES)) if has_arms else 0,
        pitch_rad=math.radians(rng.uniform(7, 32)) * float(rng.choice((-1, 1))),
        ring_strength=rng.uniform(0.4, 1.0) if has_ring else 0.0,
        dust_strength=rng.uniform(0.4, 1.0) if has_dust else 0.0,
        clump_strength=rng.uniform(0.0, 0.4) if has_arms else 0.0,
    )


def _draw_irregular(base: Morphology, rng: np.random.Generator) -> Morphology:
    return replace(
        base,
        axis_ratio=rng.uniform(0.45, 1.0),
        half_light_px=1.2 * base.half_light_px,
        clump_strength=rng.uniform(0.6, 1.0),
    )


def _with_companion(host: Morphology, rng: np.random.Generator) -> Morphology:
    return replace(
        host,
        companion_fraction=rng.uniform(0.25, 1.0),
        companion_separation=rng.uniform(1.0, 2.2),
        companion_angle_rad=rng.uniform(0, 2 * math.pi),
        tail_strength=rng.uniform(0.3, 1.0) if rng.random() < 0.7 else 0.0,
    )


def _with_oddities(galaxy: Morphology, rng: np.random.Generator) -> Morphology:
    """Give a few galaxies a tidal tail, a lensed arc or a bright foreground star."""
    has_tail, has_arc, has_star = rng.random(3) < (
        0.03,
        0.02 if galaxy.kind is Kind.ELLIPTICAL else 0.0,
        0.04,
    )
    return replace(
        galaxy,
        tail_strength=rng.uniform(0.4, 1.0) if has_tail else 0.0,
        arc_strength=rng.uniform(0.4, 1.0) if has_arc else 0.0,
        star_strength=rng.uniform(0.4, 1.0) if has_star else 0.0,
    )


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


JPEG_QUALITY = 90
"""On Pillow's scale: faint arms survive, and a 96 px image takes about 4 kB."""

_OLD, _DISC, _YOUNG, _WHITE = (1.08, 1.0, 0.78), (1.0, 1.0, 0.93), (0.86, 1.0, 1.16), (1.0, 1.0, 1.0)
"""Colour of a component: its light in the red, green and blue bands over that in green."""

_GAIN = 40.0
"""Light (sky sigma) whose own photon noise equals the sky's."""

_SOFTENING, _WHITE_LEVEL = 3.0, 120.0
"""Light (sky sigma) where the display turns from linear to logarithmic, and where it is white."""

_SKY_LEVEL = 0.5
"""Light (sky sigma) added before display, so that the darkest noise is not all cut off."""

_THIN = 0.22
"""Axis ratio below which a disc is drawn as a slab of stars seen from its side."""


class _Component(NamedTuple):
    light: FloatArray
    colour: tuple[float, float, float]


def render_jpeg(galaxy: Morphology, rng: np.random.Generator, size_px: int) -> bytes:
    """Return the image of a galaxy as JPEG bytes, RGB.

    Parameters
    ----------
    galaxy
        Its generating parameters.
    rng
        The galaxy's own generator: places clumps and field stars, draws the noise.
    size_px
        Width and height (px).
    """
    buffer = io.BytesIO()
    Image.fromarray(render(galaxy, rng, size_px)).save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def render(galaxy: Morphology, rng: np.random.Generator, size_px: int) -> UInt8Array:
    """Return the image of a galaxy, uint8 (H, W, C), from the arguments of `render_jpeg`."""
    psf = psf_matrix(galaxy.psf_sigma_px, size_px)
    light = psf @ _sum_bands(_components(galaxy, rng, size_px)) @ psf
    light *= galaxy.signal_to_noise / math.sqrt(float(np.square(light[1]).sum()))
    _add_stars(light, galaxy, psf, rng)
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    noise *= np.sqrt(1 + light / _GAIN)
    light += noise
    return _display(light)


def _components(galaxy: Morphology, rng: np.random.Generator, size_px: int) -> list[_Component]:
    match galaxy.kind:
        case Kind.STAR:
            return [_Component(_saturated_star(galaxy, size_px), _WHITE)]
        case Kind.TRAIL:
            return [_Component(_trail(galaxy, rng, size_px), _WHITE)]
        case Kind.IRREGULAR:
            parts = _irregular(galaxy, rng, size_px)
        case Kind.ELLIPTICAL | Kind.DISC | Kind.MERGER:
            parts = _regular(galaxy, rng, size_px)
    if galaxy.companion_fraction:
        parts.append(_Component(_companion(galaxy, size_px), _OLD))
    if galaxy.tail_strength:
        parts.append(_Component(_tail(galaxy, size_px), _DISC))
    if galaxy.arc_strength:
        parts.append(_Component(_arc(galaxy, size_px), _YOUNG))
    return parts


def _regular(galaxy: Morphology, rng: np.random.Generator, size_px: int) -> list[_Component]:
    """Bulge and disc, behind the dust if there is some."""
    x, y = along_axes(size_px, galaxy.position_angle_rad)
    parts = [_Component(with_flux(_bulge(galaxy, x, y), galaxy.bulge_fraction), _OLD)]
    if galaxy.bulge_fraction == 1:
        return parts
    if galaxy.axis_ratio < _THIN:
        parts.append(_Component(with_flux(_slab(galaxy, x, y), 1 - galaxy.bulge_fraction), _DISC))
    else:
        parts += _disc(galaxy, x, y / np.float32(galaxy.axis_ratio), _clumps(galaxy, rng, size_px, n=16, width=0.08))
    if galaxy.dust_strength:
        lane = 1 - 0.95 * galaxy.dust_strength * gauss(y - 0.12 * galaxy.half_light_px, 0.09 * galaxy.half_light_px)
        parts = [_Component(part.light * lane, part.colour) for part in parts]
    return parts


def _bulge(galaxy: Morphology, x: FloatArray, y: FloatArray) -> FloatArray:
    """Sersic spheroid; inside a disc it is small, and rounder than the disc looks."""
    if galaxy.bulge_fraction == 1:
        return sersic(np.hypot(x, y / galaxy.axis_ratio), galaxy.half_light_px, galaxy.sersic_index)
    x, y = np.abs(x), np.abs(y) / max(galaxy.axis_ratio, 0.6)
    power = 2.0 + 2.0 * galaxy.bulge_boxiness
    radius = np.power(np.power(x, power) + np.power(y, power), 1 / power)
    return sersic(radius, (0.12 + 0.3 * galaxy.bulge_fraction) * galaxy.half_light_px, galaxy.sersic_index)


def _disc(galaxy: Morphology, x: FloatArray, y: FloatArray, clumps: FloatArray) -> list[_Component]:
    """Exponential disc in its own plane, with arms, clumps, bar and ring."""
    radius = np.hypot(x, y)
    disc = with_flux(exponential(radius, galaxy.half_light_px), 1 - galaxy.bulge_fraction)
    young = 2 * galaxy.clump_strength * disc * clumps
    if galaxy.arm_strength:
        arms = _arms(galaxy, radius, np.arctan2(y, x))
        young += 2.6 * galaxy.arm_strength * disc * arms
        disc *= 1 - 0.4 * galaxy.arm_strength
    if galaxy.ring_strength:
        ring = gauss(radius - 1.45 * galaxy.half_light_px, 0.16 * galaxy.half_light_px)
        young += with_flux(ring, 0.4 * galaxy.ring_strength * (1 - galaxy.bulge_fraction))
    parts = [_Component(disc, _DISC), _Component(young, _YOUNG)]
    if galaxy.bar_strength:
        bar = with_flux(_bar(galaxy, x, y), 0.5 * galaxy.bar_strength * (1 - galaxy.bulge_fraction))
        parts.append(_Component(bar, _OLD))
    return parts


def _slab(galaxy: Morphology, x: FloatArray, y: FloatArray) -> FloatArray:
    """Disc seen from its side: exponential along, sech squared across (van der Kruit & Searle 1981)."""
    height = 0.6 * galaxy.axis_ratio * galaxy.half_light_px
    across = np.cosh(np.minimum(np.abs(y) / height, 20))
    return exponential(np.hypot(x, 1.0), galaxy.half_light_px) / np.square(across)


def _bar(galaxy: Morphology, x: FloatArray, y: FloatArray) -> FloatArray:
    """Gaussian across, and flat along up to a sharp end."""
    along, across = turned(x, y, galaxy.bar_angle_rad)
    return gauss(np.square(along / _bar_length(galaxy)), 1.0) * gauss(across, 0.1 * galaxy.half_light_px)


def _bar_length(galaxy: Morphology) -> float:
    """Half length of the bar (px); arms begin where it ends."""
    return (0.4 + 0.35 * galaxy.bar_strength) * galaxy.half_light_px


def _arms(galaxy: Morphology, radius: FloatArray, angle: FloatArray) -> FloatArray:
    """Logarithmic spirals, 0 between the arms to 1 on their ridges."""
    turns = np.log(np.maximum(radius, 0.5) / _bar_length(galaxy)) / math.tan(galaxy.pitch_rad)
    ridge = bump(galaxy.n_arms * (angle - galaxy.bar_angle_rad - turns), 3.0)
    return ridge * (1 - gauss(radius, 0.5 * _bar_length(galaxy) + 1))


def _clumps(galaxy: Morphology, rng: np.random.Generator, size_px: int, *, n: int, width: float) -> FloatArray:
    """Round star-forming clumps, strewn over the galaxy: a sum of separable Gaussians of height one.

    Widths are drawn between one and two times `width` (half-light radii).
    """
    place = rng.normal(0, 0.9 * galaxy.half_light_px, (2, n)).astype(np.float32)
    sigma = (galaxy.half_light_px * width * rng.uniform(1, 2, n)).astype(np.float32)
    axis = grid(size_px)[0][0]
    columns, rows = gauss(axis - place[..., None], sigma[:, None])
    clumps: FloatArray = rows.T @ columns
    return clumps


def _irregular(galaxy: Morphology, rng: np.random.Generator, size_px: int) -> list[_Component]:
    """A faint disc off the middle of a few bright clumps."""
    x, y = along_axes(size_px, galaxy.position_angle_rad)
    shift = np.float32(0.5 * galaxy.half_light_px)
    disc = exponential(np.hypot(x - shift, y / galaxy.axis_ratio), galaxy.half_light_px)
    clumps = np.sqrt(exponential(np.hypot(x, y), galaxy.half_light_px)) * _clumps(galaxy, rng, size_px, n=9, width=0.16)
    return [
        _Component(with_flux(disc, 1 - 0.6 * galaxy.clump_strength), _DISC),
        _Component(with_flux(clumps, 0.6 * galaxy.clump_strength), _YOUNG),
    ]


def _companion(galaxy: Morphology, size_px: int) -> FloatArray:
    x, y = grid(size_px)
    distance = galaxy.companion_separation * galaxy.half_light_px
    x, y = turned(
        x - distance * math.cos(galaxy.companion_angle_rad),
        y - distance * math.sin(galaxy.companion_angle_rad),
        2 * galaxy.companion_angle_rad,
    )
    size = galaxy.half_light_px * math.sqrt(galaxy.companion_fraction)
    return with_flux(sersic(np.hypot(x, y / 0.6), 0.7 * size, 1.5), galaxy.companion_fraction)


def _tail(galaxy: Morphology, size_px: int) -> FloatArray:
    """One wide-open arm of stars torn out of the galaxy."""
    x, y = along_axes(size_px, galaxy.position_angle_rad + 1)
    radius = np.hypot(x, y)
    angle = np.arctan2(y, x) - np.log(np.maximum(radius, 1) / galaxy.half_light_px) / math.tan(0.9)
    tail = bump(angle, 9.0) * exponential(radius, 3 * galaxy.half_light_px)
    return with_flux(tail * (1 - gauss(radius, 1.2 * galaxy.half_light_px)), 0.6 * galaxy.tail_strength)


def _arc(galaxy: Morphology, size_px: int) -> FloatArray:
    """A background galaxy stretched around this one by its gravity."""
    x, y = along_axes(size_px, galaxy.position_angle_rad)
    ring = gauss(np.hypot(x, y) - 1.9 * galaxy.half_light_px, 0.09 * galaxy.half_light_px)
    return with_flux(ring * bump(np.arctan2(y, x), 2.5), 0.15 * galaxy.arc_strength)


def _saturated_star(galaxy: Morphology, size_px: int) -> FloatArray:
    """Wide wings (Moffat) and four diffraction spikes."""
    x, y = along_axes(size_px, galaxy.position_angle_rad)
    wings: FloatArray = np.power(1 + np.square(np.hypot(x, y) / galaxy.psf_sigma_px), -1.6)
    spikes = gauss(x, 0.7) * exponential(np.abs(y), 12.0) + gauss(y, 0.7) * exponential(np.abs(x), 12.0)
    return wings + 0.05 * spikes


def _trail(galaxy: Morphology, rng: np.random.Generator, size_px: int) -> FloatArray:
    """A satellite's track across the whole image."""
    _, across = along_axes(size_px, galaxy.position_angle_rad)
    return gauss(across - rng.uniform(-0.2, 0.2) * size_px, 0.5)


def _add_stars(light: FloatArray, galaxy: Morphology, psf: FloatArray, rng: np.random.Generator) -> None:
    """Add faint field stars anywhere and, where the galaxy has one, a bright star beside it."""
    size_px = light.shape[-1]
    n = int(rng.poisson(1.5))
    places = rng.integers(0, size_px, (n, 2)).tolist()
    fluxes = rng.lognormal(math.log(70), 1.0, n).tolist()
    colours = 1 + rng.normal(0, 0.12, (n, 1)) * np.array([1.0, 0.0, -1.0])
    if galaxy.star_strength:
        angle, distance = rng.uniform(0, 2 * math.pi), min(1.3 * galaxy.half_light_px, 0.4 * size_px)
        places.append([int(size_px / 2 + distance * axis) for axis in (math.sin(angle), math.cos(angle))])
        fluxes.append(4000 * galaxy.star_strength)
        colours = np.vstack([colours, _WHITE])
    colours = colours.astype(np.float32) * np.float32(size_px / REFERENCE_PX)
    for (row, column), flux, colour in zip(places, fluxes, colours, strict=True):
        light += np.float32(flux) * colour[:, None, None] * np.outer(psf[row], psf[column])


def _sum_bands(parts: list[_Component]) -> FloatArray:
    """Add components in three bands: float32 (3, H, W)."""
    light = np.stack([part.light for part in parts])
    colours = np.array([part.colour for part in parts], dtype=np.float32)
    bands: FloatArray = np.tensordot(colours.T, light, axes=1)
    return bands


def _display(light: FloatArray) -> UInt8Array:
    """Stretch light (3, H, W) by asinh, as sky surveys do (Lupton et al. 2004), to uint8 (H, W, 3)."""
    stretched = np.arcsinh((light + _SKY_LEVEL) / _SOFTENING) * (255 / math.asinh(_WHITE_LEVEL / _SOFTENING))
    return np.ascontiguousarray(np.clip(np.rint(stretched), 0, 255).astype(np.uint8).transpose(1, 2, 0))
