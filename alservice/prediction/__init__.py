"""Prediction: summaries, scores and embeddings of every galaxy of a catalogue, and draws made again from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.prediction.scope import Scope
    from alservice.prediction.service import PredictionService
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
            "Scope": "alservice.prediction.scope",
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
