"""The built-in synthetic sky: galaxies with images and known answers, so that a rehearsal runs anywhere.

Each galaxy has a generator of its own, seeded by the sky's seed and the galaxy's index: any part of a sky
equals the same part of the whole, and a longer sky begins with the shorter one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

import numpy as np

from alservice.errors import BadInput, BadTree
from alservice.science.tree import Tree
from alservice.shapes import FloatArray
from alservice.sky.galaxies import ANSWERS, true_probabilities, visibility
from alservice.sky.morphology import draw_morphology
from alservice.sky.rendering import render_jpeg

SMALLEST_PX = 32
"""Narrowest image (px): below it no volunteer could see an arm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SyntheticGalaxy:
    """One galaxy of a synthetic sky, with what is true of it.

    Parameters
    ----------
    galaxy_id
        Unique within and between skies of different seeds.
    ra_deg, dec_deg
        Position (deg, ICRS), uniform on the sphere.
    image
        JPEG bytes, RGB, square.
    probabilities
        float64 (A,), read-only: true probability of each answer among volunteers who are asked its question.
    properties
        Truth by name: the fields of `Morphology` (its kind as a number) and of `Visibility`.
    """

    galaxy_id: str
    ra_deg: float
    dec_deg: float
    image: bytes
    probabilities: FloatArray
    properties: Mapping[str, float]


def synthetic_sky(tree: Tree, *, n: int, seed: int, size_px: int = 96) -> Iterator[SyntheticGalaxy]:
    """Return an iterator over the first `n` galaxies of a sky; each is made when it is asked for.

    Parameters
    ----------
    tree
        Whose questions the truth answers: ``gz2``, or a tree with some of the same questions.
    n
        Number of galaxies.
    seed
        Of the sky, at least 0.
    size_px
        Image width and height (px); the sky stays the same, sampled more or less finely.

    Raises
    ------
    BadTree
        If the tree asks what a synthetic galaxy has no answer to.
    BadInput
        If `n` or `seed` is negative, or the image is narrower than `SMALLEST_PX`.
    """
    for name, value, least in (("n", n, 0), ("seed", seed, 0), ("size_px", size_px, SMALLEST_PX)):
        if value < least:
            raise BadInput(f"synthetic sky: {name} must be at least {least}, not {value}")
    for question in tree.questions:
        if ANSWERS.get(question.name) != frozenset(question.answers):
            raise BadTree(
                f"the synthetic sky cannot answer question {question.name!r} of tree {tree.name!r}",
                tree=tree.name,
            )
    return (synthetic_galaxy(tree, index, seed=seed, size_px=size_px) for index in range(n))


def synthetic_galaxy(tree: Tree, index: int, *, seed: int, size_px: int = 96) -> SyntheticGalaxy:
    """Return galaxy number `index` of the sky that `synthetic_sky` yields for this tree, seed and size."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    ra_deg = rng.uniform(0, 360)
    dec_deg = math.degrees(math.asin(rng.uniform(-1, 1)))
    galaxy = draw_morphology(rng, size_px)
    truth = true_probabilities(galaxy)
    probabilities = np.array([truth[q.name][answer] for q in tree.questions for answer in q.answers])
    probabilities.flags.writeable = False
    return SyntheticGalaxy(
        galaxy_id=f"sky{seed}-{index:07d}",
        ra_deg=ra_deg,
        dec_deg=dec_deg,
        image=render_jpeg(galaxy, rng, size_px),
        probabilities=probabilities,
        properties=MappingProxyType({k: float(v) for k, v in (asdict(galaxy) | asdict(visibility(galaxy))).items()}),
    )
