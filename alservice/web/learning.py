"""What the pages of votes, models and cycles show of learning: forecast, curve, calibration, drift, gallery."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeAlias

from markupsafe import Markup

from alservice.app.serving import bars_of, predicted_in
from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.store import CampaignRow
from alservice.learning.drift import DriftFigure
from alservice.science.evaluation import Evaluation
from alservice.web import charts
from alservice.web.service import Service

CURVE = 60
"""Newest cycles of a learning curve."""

FORECAST = timedelta(days=365)
"""Longest time that a forecast looks ahead."""

GALLERY = 12
"""Galaxies of a gallery: at most as many shards are read."""


def forecast_of(service: Service, row: CampaignRow, day: int) -> dict[str, Any] | None:
    """Return how far collecting is, and when all that was asked is there at the rate of the last 24 hours."""
    cycle = service.factory.cycles.open(row.id)
    if cycle is None or cycle.state is not CycleState.COLLECTING:
        return None
    asked = service.figures.asked(cycle.id)
    counted = service.factory.classifications.counted(row.id, cycle.id)
    left = timedelta(days=max(0, asked - counted) / day) if day else None
    return {
        "cycle": cycle.number,
        "asked": asked,
        "counted": counted,
        "deadline": cycle.deadline,
        "ends": None if left is None or left > FORECAST else service.factory.clock() + left,
    }


def curve_of(service: Service, row: CampaignRow) -> Markup | None:
    """Return the learning curve of the newest cycles; None before the first candidate."""
    points = service.remembered.get(("curve", row.id), lambda: service.figures.candidates(row.id, limit=CURVE))
    return charts.learning_curve(points) if points else None


Evaluations: TypeAlias = Sequence[tuple[str, Evaluation]]
"""``candidate`` and ``champion``, as far as a cycle evaluated them."""


def evaluations_of(service: Service, cycle: Cycle) -> Evaluations:
    """Return the evaluations of candidate and champion in one cycle."""
    by_model = service.factory.snapshots.evaluations_in(cycle.id)
    both = ("candidate", cycle.candidate_id), ("champion", cycle.champion_id)
    return [(name, by_model[model].evaluation) for name, model in both if model is not None and model in by_model]


def calibration_of(row: CampaignRow, evaluations: Evaluations) -> Markup | None:
    """Return the coverage errors of both models for the campaign's chosen answer; None where none was measured."""
    answer = row.campaign.evaluation.answer
    series = [
        (name, [None if e is None else e.value for e in figures.fractions.coverage_error])
        for name, found in evaluations
        for figures in found.answers
        if figures.fractions.name == answer
    ]
    tolerances = evaluations[0][1].tolerances if evaluations else ()
    known = [(name, errors) for name, errors in series if len(errors) == len(tolerances)]
    return charts.calibration(tolerances, known) if tolerances and known else None


def drift_of(service: Service, cycle: Cycle) -> Sequence[DriftFigure] | None:
    """Return a cycle's drift, farthest first; None before it was measured, nothing in the cycles compared with."""
    found = service.figures.drift(cycle.campaign_id, number=cycle.number, limit=1)
    return sorted(found[0].figures, key=lambda figure: -figure.reach) if found else None


def drift_by_cycle(service: Service, row: CampaignRow) -> Markup | None:
    """Return how far each of the newest cycles drifted; None before one was compared with the first."""
    found = service.figures.drift(row.id, limit=CURVE)
    compared = [cycle for cycle in found if cycle.figures]
    return charts.drift(compared) if compared else None


def gallery_of(service: Service, row: CampaignRow, cycle: Cycle) -> list[dict[str, Any]]:
    """Return the galaxies of most expected information; of one arm that drew without scores where none has any."""
    found = service.figures.acquired(cycle.id, limit=GALLERY)
    chosen = [item for item in found if item["arm"] == found[0]["arm"]]
    galaxies = service.factory.catalogues.by_id(cycle.catalogue_id, [item["galaxy_id"] for item in chosen])
    model = predicted_in(service.factory, cycle)
    bars = {} if model is None else bars_of(service.factory, row, model, cycle.catalogue_id, galaxies)
    return [{**item, "questions": bars.get(item["galaxy_id"], {})} for item in chosen]
