"""Synthetic sky: galaxies with known truth, and their images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.sky.galaxies import SyntheticGalaxy, synthetic_rows, synthetic_sky
    from alservice.sky.rendering import Morphology, render
else:
    __getattr__ = lazily(
        __name__,
        {
            "Morphology": "alservice.sky.rendering",
            "SyntheticGalaxy": "alservice.sky.galaxies",
            "render": "alservice.sky.rendering",
            "synthetic_rows": "alservice.sky.galaxies",
            "synthetic_sky": "alservice.sky.galaxies",
        },
    )

__all__ = [
    "Morphology",
    "SyntheticGalaxy",
    "render",
    "synthetic_rows",
    "synthetic_sky",
]
