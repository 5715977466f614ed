"""The explainable boosting machine of interpret-core, an optional package: additive, each term a curve to look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from alservice.errors import BadConfig, BadInput
from alservice.learning.bias_core import BiasTerm, Explanation
from alservice.shapes import FloatArray

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
