"""The explainable boosting machine of interpret-core, an optional package: additive, each term a curve to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final, Protocol

import numpy as np
from jinja2 import Environment, select_autoescape

from alservice.campaigns.cycle_store import CycleStore
from alservice.campaigns.store import CampaignRow
from alservice.catalogue.service import CatalogueService
from alservice.errors import BadConfig, BadInput, NotFound
from alservice.ids import seed_of
from alservice.learning.evaluation import JudgeModel
from alservice.plots import (
    LEFT,
    RIGHT,
    WIDTH,
    Axis,
    Picture,
    band,
    curve,
    frame,
    legend,
    line,
    steps,
    vertical,
    x_ticks,
)
from alservice.registry.store import ModelStore, SnapshotStore
from alservice.science.evaluation import Slice, assess, slice_metrics
from alservice.science.tree import load_tree
from alservice.shapes import FloatArray


def render_bias(report: BiasReport) -> str:
    """Return the report as HTML; every text from outside is escaped."""
    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True, lstrip_blocks=True)
    source = resources.files("alservice.learning").joinpath("templates", "bias.html").read_text(encoding="utf-8")
    curves = [(term, _curve(term)) for term in report.explanation.terms]
    return environment.from_string(source).render(report=report, curves=curves)


def _curve(term: BiasTerm) -> Picture:
    edges = list(map(float, term.edges))
    low, high = (steps(edges, list(map(float, values))) for values in (term.low, term.high))
    x = Axis(low=edges[0], high=edges[-1], start=LEFT, end=WIDTH - RIGHT)
    y = vertical([0.0, *(value for _, value in (*low, *high))])
    marks = [*frame(y, "added surprise [nats per vote]"), *x_ticks(x, term.name), band(x, y, low, high, "d")]
    marks.append(line(LEFT, y.at(0), WIDTH - RIGHT, y.at(0), "axis"))
    marks += curve(x, y, steps(edges, list(map(float, term.contribution))), "a", radius=0)
    marks += legend((("a", "contribution"), ("d", "interval of the fits")))
    said = f"Surprise that it adds, by value; mean absolute contribution {term.importance:.4f} nats per vote."
    return Picture(title=term.name, said=said, marks=tuple(marks))


MIN_GALAXIES: Final = 50
"""Galaxies below which curves would be noise."""

_HELD_OUT: Final = 5
"""One galaxy in so many judges the fit."""


def explain(properties: Mapping[str, FloatArray], surprise: FloatArray, *, seed: int) -> Explanation:
    """Fit the surprise as a sum of one curve per property (Lou et al. 2012; Nori et al. 2019), without interactions.

    Parameters
    ----------
    properties
        (N,) values by name; a galaxy with a NaN in any is left out.
    surprise
        (N,) nats per vote.
    seed
        Of the fit and of the galaxies held out.

    Raises
    ------
    BadConfig
        The extra ``bias`` is not installed.
    BadInput
        Fewer than 50 galaxies have all properties.
    """
    try:
        from interpret.glassbox import ExplainableBoostingRegressor
    except ImportError:
        raise BadConfig("the bias report needs interpret-core: pip install 'alservice[bias]'") from None
    table = np.stack(list(properties.values()), axis=1)
    known = np.isfinite(table).all(axis=1)
    table, surprise = table[known], surprise[known]
    if len(table) < MIN_GALAXIES:
        raise BadInput(f"{len(table)} evaluation galaxies with votes and properties; {MIN_GALAXIES} are needed")
    held = np.random.default_rng(seed).permutation(len(table)) % _HELD_OUT == 0

    def fit(rows: FloatArray, target: FloatArray) -> ExplainableBoostingRegressor:
        model = ExplainableBoostingRegressor(
            feature_names=list(properties), interactions=0, outer_bags=8, random_state=seed % 2**31, n_jobs=1
        )
        return model.fit(rows, target)

    judged = fit(table[~held], surprise[~held]).predict(table[held])
    scatter = ((surprise[held] - surprise[~held].mean()) ** 2).mean()
    whole = fit(table, surprise)
    importances, shown = whole.term_importances(), whole.explain_global()
    terms = [_term(name, float(importances[i]), shown.data(i)) for i, name in enumerate(properties)]
    return Explanation(
        explained=float(1 - ((surprise[held] - judged) ** 2).mean() / scatter),
        mean=float(surprise.mean()),
        n_galaxies=len(table),
        terms=tuple(sorted(terms, key=lambda term: -term.importance)),
    )


def _term(name: str, importance: float, curve: Mapping[str, FloatArray]) -> BiasTerm:
    edges, contribution, low, high = (
        tuple(float(value) for value in curve[key]) for key in ("names", "scores", "lower_bounds", "upper_bounds")
    )
    return BiasTerm(name=name, importance=importance, edges=edges, contribution=contribution, low=low, high=high)


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


class Explain(Protocol):
    """Fits the surprise (N,) nats per vote as a sum of curves, one per property (N,)."""

    def __call__(self, properties: Mapping[str, FloatArray], surprise: FloatArray, *, seed: int) -> Explanation:
        """Return the curves."""


@dataclass(frozen=True, kw_only=True)
class ReportBias:
    """Explain the champion on the votes of the newest snapshot."""

    cycles: CycleStore
    models: ModelStore
    snapshots: SnapshotStore
    judge: JudgeModel
    catalogue: CatalogueService
    explain: Explain

    def run(self, campaign: CampaignRow) -> BiasReport:
        """Return the explanation, and the metrics of the same galaxies in slices.

        Raises
        ------
        NotFound
            The campaign has no champion, or no snapshot of votes yet.
        """
        champion = self.models.champion(campaign.id)
        frozen = [c for c in self.cycles.list(campaign.id) if self.snapshots.of_cycle(c.id) is not None]
        if champion is None or not frozen:
            raise NotFound(f"campaign {campaign.settings.name} has no champion with votes to be judged on")
        cycle, tree = frozen[-1], load_tree(campaign.settings.tree)
        judged = self.judge.run(campaign, cycle, champion, tree)
        assessment = assess(tree, judged.posterior, judged.tallies.counts)
        properties = self.catalogue.measure(campaign.settings, cycle.catalogue_id, judged.tallies, tree)
        surprise = assessment.nll.sum(axis=1) / assessment.votes.sum(axis=1)
        seed = seed_of(campaign.settings.seed, "bias", cycle.number)
        return BiasReport(
            campaign=campaign.settings.name,
            cycle=cycle.number,
            model=champion.digest,
            explanation=self.explain(properties, surprise, seed=seed),
            slices=slice_metrics(
                assessment,
                properties,
                column=campaign.settings.evaluation.answer,
                rng=np.random.default_rng(seed),
            ),
        )
