"""Acquisition: score the pool, draw a batch with recorded inclusion probabilities, allot votes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.acquisition.batch import AcquisitionBatch, BatchPolicy
    from alservice.acquisition.policies import policy_scores
    from alservice.acquisition.service import AcquisitionService
    from alservice.acquisition.store import AcquisitionStore
    from alservice.acquisition.votes import VoteForecast
else:
    __getattr__ = lazily(
        __name__,
        {
            "AcquisitionBatch": "alservice.acquisition.batch",
            "AcquisitionService": "alservice.acquisition.service",
            "AcquisitionStore": "alservice.acquisition.store",
            "BatchPolicy": "alservice.acquisition.batch",
            "VoteForecast": "alservice.acquisition.votes",
            "policy_scores": "alservice.acquisition.policies",
        },
    )

__all__ = [
    "AcquisitionBatch",
    "AcquisitionService",
    "AcquisitionStore",
    "BatchPolicy",
    "VoteForecast",
    "policy_scores",
]
