"""Prediction: summaries, scores and embeddings of every galaxy of a catalogue, and draws made again from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.prediction.service import PredictionService, Scope
    from alservice.prediction.shard import ShardPredictor, ShardTask
    from alservice.prediction.stored import Predictions
    from alservice.science.prediction import Prediction
else:
    __getattr__ = lazily(
        __name__,
        {
            "Prediction": "alservice.science.prediction",
            "PredictionService": "alservice.prediction.service",
            "Predictions": "alservice.prediction.stored",
            "Scope": "alservice.prediction.service",
            "ShardPredictor": "alservice.prediction.shard",
            "ShardTask": "alservice.prediction.shard",
        },
    )

__all__ = [
    "Prediction",
    "PredictionService",
    "Predictions",
    "Scope",
    "ShardPredictor",
    "ShardTask",
]
