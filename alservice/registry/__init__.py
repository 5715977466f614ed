"""Registry: models, snapshots, promotions and their lineage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.registry.records import GateDecision, Model, ModelEvaluation, TrainingSnapshot
    from alservice.registry.service import RegistryService
    from alservice.registry.store import ModelStore, SnapshotStore
else:
    __getattr__ = lazily(
        __name__,
        {
            "GateDecision": "alservice.registry.records",
            "Model": "alservice.registry.records",
            "ModelEvaluation": "alservice.registry.records",
            "ModelStore": "alservice.registry.store",
            "RegistryService": "alservice.registry.service",
            "SnapshotStore": "alservice.registry.store",
            "TrainingSnapshot": "alservice.registry.records",
        },
    )

__all__ = [
    "GateDecision",
    "Model",
    "ModelEvaluation",
    "ModelStore",
    "RegistryService",
    "SnapshotStore",
    "TrainingSnapshot",
]
