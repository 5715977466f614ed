"""What volunteers would answer about a synthetic galaxy: its true conditional answer probabilities.

Two things decide. What the galaxy *is* gives a sharp answer; what its image *shows* (signal-to-noise,
size over the point-spread function, inclination) decides how many see that, and the rest answer as people
do in front of a blur. A small share clicks anywhere, so that no probability is 0 or 1. Questions are
answered as if asked: a bar is answerable for an elliptical too, by the few who would have got that far.

A question that galaxies of this sky have no truth for is answered by something that the image shows, so that any tree
can be rehearsed and its answers learned; what it is called has nothing to do with it (`stand_in_answers`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType

import numpy as np

from alservice.catalogue.galaxies import CatalogueFault, CatalogueRow
from alservice.errors import BadInput
from alservice.science.tree import Question, Tree
from alservice.shapes import FloatArray
from alservice.sky.rendering import REFERENCE_PX, Kind, Morphology, draw_morphology, render_jpeg


def synthetic_rows(tree: Tree, n: int, seed: int) -> Iterator[CatalogueRow | CatalogueFault]:
    """Yield galaxies of the synthetic sky with the votes' true probabilities."""
    for number, galaxy in enumerate(synthetic_sky(tree, n=n, seed=seed), start=1):
        yield CatalogueRow(
            row=number,
            galaxy_id=galaxy.galaxy_id,
            ra_deg=galaxy.ra_deg,
            dec_deg=galaxy.dec_deg,
            image=galaxy.image,
            unbiased=True,
            fractions=galaxy.probabilities,
            n_votes=None,
        )


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
        Whose questions the truth answers; those of ``gz2`` as a galaxy is, any other by `stand_in_answers`.
    n
        Number of galaxies.
    seed
        Of the sky, at least 0.
    size_px
        Image width and height (px); the sky stays the same, sampled more or less finely.

    Raises
    ------
    BadInput
        If `n` or `seed` is negative, or the image is narrower than `SMALLEST_PX`.
    """
    for name, value, least in (("n", n, 0), ("seed", seed, 0), ("size_px", size_px, SMALLEST_PX)):
        if value < least:
            raise BadInput(f"synthetic sky: {name} must be at least {least}, not {value}")
    return (synthetic_galaxy(tree, index, seed=seed, size_px=size_px) for index in range(n))


def synthetic_galaxy(tree: Tree, index: int, *, seed: int, size_px: int = 96) -> SyntheticGalaxy:
    """Return galaxy number `index` of the sky that `synthetic_sky` yields for this tree, seed and size."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    ra_deg = rng.uniform(0, 360)
    dec_deg = math.degrees(math.asin(rng.uniform(-1, 1)))
    galaxy = draw_morphology(rng, size_px)
    truth = true_probabilities(galaxy)
    of_question = [
        truth[q.name] if ANSWERS.get(q.name) == frozenset(q.answers) else stand_in_answers(q, galaxy, size_px)
        for q in tree.questions
    ]
    probabilities = np.array(
        [of_question[place][answer] for place, q in enumerate(tree.questions) for answer in q.answers]
    )
    probabilities.flags.writeable = False
    return SyntheticGalaxy(
        galaxy_id=f"sky{seed}-{index:07d}",
        ra_deg=ra_deg,
        dec_deg=dec_deg,
        image=render_jpeg(galaxy, rng, size_px),
        probabilities=probabilities,
        properties=MappingProxyType({k: float(v) for k, v in (asdict(galaxy) | asdict(visibility(galaxy))).items()}),
    )


LAPSE = 0.03
"""Share of volunteers who pick an answer at random."""

_BLURRED: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "smooth-or-featured": {"smooth": 0.80, "featured-or-disk": 0.12, "artifact": 0.08},
        "disk-edge-on": {"yes": 0.15, "no": 0.85},
        "bar": {"yes": 0.10, "no": 0.90},
        "has-spiral-arms": {"yes": 0.25, "no": 0.75},
        "bulge-size": {"no": 0.15, "just-noticeable": 0.45, "obvious": 0.32, "dominant": 0.08},
        "something-odd": {"yes": 0.12, "no": 0.88},
        "how-rounded": {"round": 0.35, "in-between": 0.55, "cigar-shaped": 0.10},
        "odd-feature": {
            "ring": 0.08,
            "lens-or-arc": 0.05,
            "disturbed": 0.17,
            "irregular": 0.22,
            "other": 0.33,
            "merger": 0.13,
            "dust-lane": 0.02,
        },
        "edge-on-bulge": {"rounded": 0.50, "boxy": 0.10, "none": 0.40},
        "spiral-winding": {"tight": 0.35, "medium": 0.40, "loose": 0.25},
        "spiral-arm-count": {
            "1": 0.08,
            "2": 0.30,
            "3": 0.06,
            "4": 0.03,
            "more-than-4": 0.03,
            "cant-tell": 0.50,
        },
    }
)
"""Answers given to a blur; its keys are all that the sky answers."""

_BULGE_SIZES = ("no", "just-noticeable", "obvious", "dominant")

ANSWERS: Mapping[str, frozenset[str]] = MappingProxyType(
    {question: frozenset(answers) for question, answers in _BLURRED.items()}
)
"""Answers of every question that a synthetic galaxy has a truth for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visibility:
    """What the image lets a volunteer see, each from 0 (nothing) to 1 (plain to everyone).

    Parameters
    ----------
    outline
        Shape and size.
    detail
        Structure inside the outline; needs more light and a sharper image.
    face_on
        Structure in the plane of a disc; gone when the disc is seen from its side.
    """

    outline: float
    detail: float
    face_on: float


def visibility(galaxy: Morphology) -> Visibility:
    """Return what the image of a galaxy lets a volunteer see."""
    resolution = galaxy.half_light_px / galaxy.psf_sigma_px
    outline = _rise(math.log(galaxy.signal_to_noise / 33), 0.5) * _rise(math.log(resolution / 1.5), 0.3)
    detail = _rise(math.log(galaxy.signal_to_noise / 100), 0.4) * _rise(math.log(resolution / 4), 0.25)
    return Visibility(outline=outline, detail=detail, face_on=detail * _rise(galaxy.axis_ratio - 0.32, 0.05))


def true_probabilities(galaxy: Morphology) -> dict[str, dict[str, float]]:
    """Return the probability of every answer among volunteers who are asked its question.

    Returns
    -------
    dict
        By question and answer name, strictly between 0 and 1, summing to 1 within a question.
    """
    seen = visibility(galaxy)
    bar, arms, side_on = _bar(galaxy), _arms(galaxy), _side_on(galaxy)
    odd = _odd_strengths(galaxy, seen)
    odd_seen = _any(odd.values())
    sharp = {
        "smooth-or-featured": (1.0, _smooth_or_featured(galaxy, seen)),
        "disk-edge-on": (seen.outline, _yes_no(side_on)),
        "bar": (seen.face_on, _yes_no(bar)),
        "has-spiral-arms": (seen.face_on, _yes_no(arms)),
        "bulge-size": (
            seen.detail,
            _ordered(galaxy.bulge_fraction, (0.06, 0.25, 0.6), 0.05, _BULGE_SIZES),
        ),
        "something-odd": (1.0, _yes_no(0.05 + 0.9 * _rise(odd_seen - 0.4, 0.09))),
        "how-rounded": (
            seen.outline,
            _ordered(galaxy.axis_ratio, (0.38, 0.84), 0.035, ("cigar-shaped", "in-between", "round")),
        ),
        "odd-feature": (odd_seen, _shares(odd) if any(odd.values()) else _BLURRED["odd-feature"]),
        "edge-on-bulge": (seen.detail, _edge_on_bulge(galaxy)),
        "spiral-winding": (
            seen.face_on * arms,
            _ordered(math.degrees(abs(galaxy.pitch_rad)), (14, 23), 2.0, ("tight", "medium", "loose")),
        ),
        "spiral-arm-count": (seen.face_on * arms, _arm_count(galaxy)),
    }
    return {question: _answered(question, *sharp[question]) for question in _BLURRED}


_EIGHTHS = np.linspace(0, 1, 9)
_SIGNS: Sequence[tuple[str, FloatArray]] = (
    ("axis_ratio", np.array([0.08, 0.297, 0.477, 0.59, 0.682, 0.768, 0.846, 0.928, 1.0])),
    ("half_light_px", np.array([5.7, 9.93, 11.24, 12.26, 13.32, 14.4, 15.74, 17.7, 32.0])),
    ("signal_to_noise", np.array([14.0, 95.0, 129.0, 163.0, 202.0, 250.0, 318.0, 446.0, 3560.0])),
)
"""What anybody sees in an image, and its eighths among galaxies of the sky (4,000 of seed 5; lengths at 96 px)."""


def stand_in_answers(question: Question, galaxy: Morphology, size_px: int) -> dict[str, float]:
    """Return the probability of each answer to a question that this sky knows nothing of.

    The digest of the question's name chooses what decides, roundness, size or brightness, and from which end its
    answers count. They share the sky evenly between them.
    """
    drawn = hashlib.sha256(question.name.encode()).digest()
    name, eighths = _SIGNS[drawn[0] % len(_SIGNS)]
    value = getattr(galaxy, name) * (REFERENCE_PX / size_px if name == "half_light_px" else 1.0)
    rank = float(np.interp(value, eighths, _EIGHTHS))
    n = len(question.answers)
    shares = _ordered(1 - rank if drawn[1] % 2 else rank, [k / n for k in range(1, n)], 0.2 / n, question.answers)
    return {answer: (1 - LAPSE) * share + LAPSE / n for answer, share in shares.items()}


def _smooth_or_featured(galaxy: Morphology, seen: Visibility) -> dict[str, float]:
    if galaxy.kind in {Kind.STAR, Kind.TRAIL}:
        artifact = 0.93
    else:
        artifact = 0.01 + 0.08 * (1 - seen.outline) + 0.04 * galaxy.star_strength
    signs = (
        seen.outline * _side_on(galaxy),
        0.95 * seen.face_on * _arms(galaxy),
        0.85 * seen.face_on * _bar(galaxy),
        0.8 * seen.face_on * galaxy.ring_strength,
        0.9 * seen.detail * galaxy.clump_strength,
        0.6 * seen.detail * galaxy.dust_strength,
        0.5 * seen.outline * max(galaxy.tail_strength, galaxy.companion_fraction),
        0.4 * seen.detail * (1 - galaxy.bulge_fraction) if _has_disc(galaxy) else 0.0,
    )
    featured = _rise(_any(signs) - 0.5, 0.17)
    return {
        "smooth": (1 - artifact) * (1 - featured),
        "featured-or-disk": (1 - artifact) * featured,
        "artifact": artifact,
    }


def _has_disc(galaxy: Morphology) -> bool:
    return galaxy.kind in {Kind.DISC, Kind.MERGER} and galaxy.bulge_fraction < 1


def _side_on(galaxy: Morphology) -> float:
    """Return how plainly a galaxy is a disc seen from its side; a long elliptical half passes for one."""
    return _rise(0.24 - galaxy.axis_ratio, 0.025) * (1.0 if _has_disc(galaxy) else 0.5)


def _bar(galaxy: Morphology) -> float:
    """Return how plain a bar is face-on."""
    return _rise(galaxy.bar_strength - 0.27, 0.08) if galaxy.bar_strength else 0.0


def _arms(galaxy: Morphology) -> float:
    """Return how plain spiral arms are face-on: they need contrast, and gaps wider than the blur."""
    if galaxy.arm_strength == 0:
        return 0.0
    gap_px = 2 * math.pi * galaxy.half_light_px * math.tan(abs(galaxy.pitch_rad)) / galaxy.n_arms
    return _rise(galaxy.arm_strength - 0.3, 0.08) * _rise(math.log(gap_px / (3.5 * galaxy.psf_sigma_px)), 0.2)


def _odd_strengths(galaxy: Morphology, seen: Visibility) -> dict[str, float]:
    """Return how plain each odd feature is; most galaxies have none."""
    return {
        "ring": seen.face_on * galaxy.ring_strength,
        "lens-or-arc": seen.detail * galaxy.arc_strength,
        "disturbed": 0.8 * seen.outline * galaxy.tail_strength,
        "irregular": seen.outline * galaxy.clump_strength if galaxy.kind is Kind.IRREGULAR else 0.0,
        "other": 0.6 * galaxy.star_strength,
        "merger": seen.outline * min(1.0, 1.6 * galaxy.companion_fraction),
        "dust-lane": 0.9 * seen.detail * galaxy.dust_strength,
    }


def _edge_on_bulge(galaxy: Morphology) -> dict[str, float]:
    bulge = _rise(galaxy.bulge_fraction - 0.12, 0.03)
    boxy = 0.1 + 0.7 * galaxy.bulge_boxiness
    return {"rounded": bulge * (1 - boxy), "boxy": bulge * boxy, "none": 1 - bulge}


def _arm_count(galaxy: Morphology) -> dict[str, float]:
    """Most count right; neighbours get some, and many tight arms are hard to tell."""
    counts = {"1": 1, "2": 2, "3": 3, "4": 4, "more-than-4": 6}
    cant_tell = 0.08 + 0.3 * _rise(galaxy.n_arms - 3.5, 0.5) + 0.25 * _rise(0.2 - abs(galaxy.pitch_rad), 0.03)
    near = {answer: math.exp(-1.2 * abs(count - galaxy.n_arms)) for answer, count in counts.items()}
    told = {answer: (1 - cant_tell) * share for answer, share in _shares(near).items()}
    return {**told, "cant-tell": cant_tell}


def _answered(question: str, clarity: float, sharp: Mapping[str, float]) -> dict[str, float]:
    """Blend those who see, those who see a blur, and those who click anywhere."""
    blurred = _BLURRED[question]
    return {
        answer: (1 - LAPSE) * (clarity * sharp[answer] + (1 - clarity) * blurred[answer]) + LAPSE / len(blurred)
        for answer in blurred
    }


def _ordered(value: float, edges: Sequence[float], width: float, answers: Sequence[str]) -> dict[str, float]:
    """Return the share of each ordered answer when people place `value` with logistic error."""
    above = [1.0, *(_rise(value - edge, width) for edge in edges), 0.0]
    return {answer: low - high for answer, low, high in zip(answers, above[:-1], above[1:], strict=True)}


def _yes_no(yes: float) -> dict[str, float]:
    return {"yes": yes, "no": 1 - yes}


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _any(strengths: Iterable[float]) -> float:
    """Chance that at least one of independent signs is noticed."""
    return 1 - math.prod(1 - strength for strength in strengths)


def _rise(value: float, width: float) -> float:
    """Logistic step from 0 to 1 around zero."""
    return 0.5 * (1 + math.tanh(0.5 * value / width))
