"""What a synthetic galaxy is: the parameters that generate it, drawn like a survey draws galaxies.

Half of the sky is elliptical and smooth. Discs are seen at every inclination, so about one in five is
close to edge-on; arms, bars and rings are each a minority of the discs; irregulars, mergers and artifacts
are a few in a hundred (`KIND_SHARES`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from types import MappingProxyType

import numpy as np

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
            return _with_oddities(_disc(base, rng), rng)
        case Kind.IRREGULAR:
            return _irregular(base, rng)
        case Kind.MERGER:
            host = _disc(base, rng) if rng.random() < 0.6 else _elliptical(base, rng)
            return _with_companion(host, rng)
        case Kind.STAR | Kind.TRAIL:
            return replace(base, signal_to_noise=base.signal_to_noise * rng.uniform(2, 6))


def _elliptical(base: Morphology, rng: np.random.Generator) -> Morphology:
    return replace(
        base, axis_ratio=1 - 0.7 * rng.beta(1.2, 2.0), bulge_fraction=1.0, sersic_index=rng.uniform(2.0, 4.5)
    )


def _disc(base: Morphology, rng: np.random.Generator) -> Morphology:
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


def _irregular(base: Morphology, rng: np.random.Generator) -> Morphology:
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
