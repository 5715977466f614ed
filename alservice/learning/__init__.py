"""Learning: snapshot, training, evaluation, drift, bias and the gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.learning.bias import BiasReport
    from alservice.learning.drift import CycleDrift
    from alservice.learning.gate import decide
    from alservice.learning.lineage import Lineage
    from alservice.learning.service import LearningService
else:
    __getattr__ = lazily(
        __name__,
        {
            "BiasReport": "alservice.learning.bias",
            "CycleDrift": "alservice.learning.drift",
            "LearningService": "alservice.learning.service",
            "Lineage": "alservice.learning.lineage",
            "decide": "alservice.learning.gate",
        },
    )

__all__ = [
    "BiasReport",
    "CycleDrift",
    "LearningService",
    "Lineage",
    "decide",
]
