"""Offline use: train, predict and evaluate on files alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.offline.commands import (
        PredictedFile,
        TrainedModel,
        TrainingOptions,
        evaluate_file,
        predict_file,
        train_on_file,
    )
else:
    __getattr__ = lazily(
        __name__,
        {
            "PredictedFile": "alservice.offline.commands",
            "TrainedModel": "alservice.offline.commands",
            "TrainingOptions": "alservice.offline.commands",
            "evaluate_file": "alservice.offline.commands",
            "predict_file": "alservice.offline.commands",
            "train_on_file": "alservice.offline.commands",
        },
    )

__all__ = [
    "PredictedFile",
    "TrainedModel",
    "TrainingOptions",
    "evaluate_file",
    "predict_file",
    "train_on_file",
]
