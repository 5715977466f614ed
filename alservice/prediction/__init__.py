"""Prediction: posteriors of every galaxy of a catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.prediction.service import PredictionService, Scope
    from alservice.science.posterior import Posterior
else:
    __getattr__ = lazily(
        __name__,
        {
            "Posterior": "alservice.science.posterior",
            "PredictionService": "alservice.prediction.service",
            "Scope": "alservice.prediction.service",
        },
    )

__all__ = [
    "Posterior",
    "PredictionService",
    "Scope",
]
