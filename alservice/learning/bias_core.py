"""What explains a model's surprise at volunteers' votes: one additive term per galaxy property.

As in Fig. 8 of Walmsley et al. 2020, which asked the same of what the model found informative.
"""

from __future__ import annotations

from dataclasses import dataclass

from alservice.science.slices import Slice


@dataclass(frozen=True, kw_only=True, slots=True)
class BiasTerm:
    """The part of the surprise that goes with one property.

    Parameters
    ----------
    name
        The property; its unit is in the name.
    importance
        Mean absolute contribution over the galaxies (nats per vote).
    edges
        K + 1 limits of its bins.
    contribution, low, high
        (K,) nats per vote that a galaxy in each bin adds to the mean, with the interval of the bagged fits.
    """

    name: str
    importance: float
    edges: tuple[float, ...]
    contribution: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """An additive model of the surprise.

    Parameters
    ----------
    explained
        R^2 on galaxies that the additive model was not fitted to; 0 or less means that the properties explain nothing.
    mean
        Mean surprise (nats per vote).
    terms
        The most important first.
    """

    explained: float
    mean: float
    n_galaxies: int
    terms: tuple[BiasTerm, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class BiasReport:
    """The explanation of one model's surprise, beside its metrics in slices."""

    campaign: str
    cycle: int
    model: str
    explanation: Explanation
    slices: tuple[Slice, ...]
