"""Fluxes of a cutout to the grey levels of an image: asinh between two percentiles, colours kept.

As Lupton et al. (2004, PASP 116, 133; arXiv:astro-ph/0312483): the mean over the bands is stretched, and every band by
the same factor, so that a pixel's colour does not depend on its brightness. Black and white are percentiles of the
mean over the bands and not fluxes, so the units of a survey do not matter, and how bright a galaxy is shows nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np

from alservice.errors import BadConfig, BadImage
from alservice.shapes import FloatArray, UInt8Array

_ANY_FLUX: Final = 1e100
"""Beyond it lies no flux, but a mark for none, and products that are no longer finite."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """How fluxes become grey levels.

    Parameters
    ----------
    name
        The preset that it is, or was made from.
    low_pct, high_pct
        Percentiles (%) of the mean over the bands, of the pixels where all are known, that become black and white.
    softening
        Q of Lupton et al. (2004), above 0: the larger, the brighter is what is faint. Up to 1/Q of the way from black
        to white the stretch is linear, beyond it logarithmic.
    blue, green, red
        What the fluxes of three bands are multiplied with, in order of wavelength; of one band nothing is.
    red_first
        Whether three bands come in falling order of wavelength; surveys' cutouts are in rising order, as in ``grz``.

    Raises
    ------
    BadConfig
        A value is out of range; it is named.
    """

    name: str = "plain"
    low_pct: float = 1.0
    high_pct: float = 99.7
    softening: float = 8.0
    blue: float = 1.0
    green: float = 1.0
    red: float = 1.0
    red_first: bool = False

    def __post_init__(self) -> None:
        """Refuse what is out of range; NaN is."""
        if not 0 <= self.low_pct < self.high_pct <= 100:
            raise BadConfig(f"stretch: low_pct {self.low_pct:g} must be below high_pct {self.high_pct:g}, in [0, 100]")
        for each in ("softening", "blue", "green", "red"):
            if not 0 < getattr(self, each) <= 1e6:
                raise BadConfig(f"stretch: {each} must be above 0 and at most 1e6, not {getattr(self, each):g}")

    def text(self) -> str:
        """Return what `stretch_of` reads as this one: the preset's name, and what is not as in it."""
        preset = PRESETS[self.name]
        differs = [each.name for each in fields(self) if getattr(self, each.name) != getattr(preset, each.name)]
        return ",".join([self.name, *(f"{each}={float(getattr(self, each)):g}" for each in differs)])


PRESETS: Final = {
    stretch.name: stretch
    for stretch in (
        Stretch(),
        Stretch(name="sdss", softening=8.0, blue=7.8, green=5.7, red=4.9),
        Stretch(name="decals", softening=20.0, blue=6.0, green=3.4, red=2.2),
        Stretch(name="hsc", low_pct=1.0, high_pct=99.8, softening=20.0),
        Stretch(name="euclid", low_pct=1.0, high_pct=99.85, softening=30.0),
    )
}
"""By survey. Scales of ``sdss`` are for i, r, g in nanomaggies (Lupton et al. 2004 as in Wherry's IDL routines), scales
and softening of ``decals`` those of the Legacy Surveys' own pictures of g, r, z; percentiles, and the other two, are
ours: chosen so that sky is dark and a nucleus not burnt out."""

PLAIN: Final = PRESETS["plain"]


def stretch_of(text: str) -> Stretch:
    """Return the stretch that a text names: ``decals``, or ``decals,high_pct=99.9,softening=12``.

    Raises
    ------
    BadConfig
        The preset or a value is unknown, no number, or out of range.
    """
    name, *given = (part.strip() for part in text.split(","))
    if name not in PRESETS:
        raise BadConfig(f"stretch {name!r} is none of {', '.join(PRESETS)}", stretch=name)
    values: dict[str, float | bool] = {}
    for part in given:
        key, _, value = part.partition("=")
        if key not in {each.name for each in fields(Stretch)} - {"name"}:
            raise BadConfig(f"stretch: {part!r} is no value of it, such as high_pct=99.9", stretch=text)
        try:
            values[key] = float(value)
        except ValueError:
            raise BadConfig(f"stretch: {key} must be a number, not {value!r}", stretch=text) from None
    if "red_first" in values:
        values["red_first"] = bool(values["red_first"])
    return replace(PRESETS[name], **values)  # type: ignore[arg-type]  # each is of its field's type


def asked_stretch(stretch: Stretch) -> dict[str, str]:
    """Return what a stretch adds to the record of what was asked: nothing for the usual one."""
    return {} if stretch == PLAIN else {"stretch": stretch.text()}


def stretched(flux: FloatArray, stretch: Stretch) -> UInt8Array:
    """Return the image of a cutout.

    With I the mean over the bands, black m and white M its percentiles and x = (I - m) / (M - m), every band b becomes
    ``(b - m) / (M - m) * asinh(Q x) / (x asinh(Q))``; where one is above 1, all three are divided by the largest.
    What is below black, or not known in every band, is black.

    Parameters
    ----------
    flux
        (C, H, W) with C 1 or 3, of any unit, negative or NaN where it may be.
    stretch
        How; see `Stretch`.

    Returns
    -------
    UInt8Array
        (C, H, W); of three, red comes first.

    Raises
    ------
    BadImage
        Not of this shape, no pixel is known in every band, or black and white are one: there is nothing to see.
    """
    if flux.ndim != 3 or flux.shape[0] not in {1, 3} or flux.size == 0:
        raise BadImage(f"a cutout has 1 or 3 bands of at least one pixel (C, H, W), not {flux.shape}")
    bands = np.where(np.abs(flux) < _ANY_FLUX, flux, np.nan).astype(np.float64)  # infinite and NaN are not below it
    if len(bands) == 3:
        bands = bands if stretch.red_first else bands[::-1]
        bands = bands * np.array([stretch.red, stretch.green, stretch.blue])[:, None, None]
    mean = bands.mean(axis=0)
    known = mean[np.isfinite(mean)]
    if not known.size:
        raise BadImage("no pixel has a flux that is a number in every band")
    black, white = np.percentile(known, [stretch.low_pct, stretch.high_pct])
    if not white > black:
        raise BadImage(
            f"nothing to see: the {stretch.low_pct:g} and {stretch.high_pct:g} percentiles of its fluxes are both "
            f"{black:g}"
        )
    x = np.where(mean > black, (mean - black) / (white - black), np.nan)
    factor = np.arcsinh(stretch.softening * x) / (x * np.arcsinh(stretch.softening))
    levels = np.nan_to_num(np.maximum((bands - black) / (white - black) * factor, 0.0))
    levels /= np.maximum(levels.max(axis=0), 1.0)
    image: UInt8Array = np.floor(255 * levels + 0.5).astype(np.uint8)
    return image
