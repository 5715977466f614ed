"""What services need of the world: small protocols, each with its contract.

A port exists where a second implementation does (a local folder and S3, the real Zooniverse and its stand-in's
adapter, a fake for tests). Repeating any write with the same arguments must leave the same state.
"""

from __future__ import annotations

from alservice.ports.ingest import ClassificationStore, ExportBatch, ExportStore, Inserted, Landing, WorkflowStore
from alservice.ports.leases import LeaseStore
from alservice.ports.process import Clock, Progress
from alservice.ports.reductions import ReductionStore, TallySource, Webhook, WebhookStore
from alservice.ports.registry import (
    AcquisitionStore,
    CampaignStore,
    CatalogueStore,
    CycleStore,
    EventLog,
    ModelStore,
    SnapshotStore,
    SubjectLedger,
)
from alservice.ports.rounds import RoundStore
from alservice.ports.sent_steps import Runs, SentStepStore
from alservice.ports.storage import ArrayCodec, ImageCodec, ObjectStore
from alservice.ports.tables import PredictionSink
from alservice.ports.zooniverse import Zooniverse

__all__ = [
    "AcquisitionStore",
    "ArrayCodec",
    "CampaignStore",
    "CatalogueStore",
    "ClassificationStore",
    "Clock",
    "CycleStore",
    "EventLog",
    "ExportBatch",
    "ExportStore",
    "ImageCodec",
    "Inserted",
    "Landing",
    "LeaseStore",
    "ModelStore",
    "ObjectStore",
    "PredictionSink",
    "Progress",
    "ReductionStore",
    "RoundStore",
    "Runs",
    "SentStepStore",
    "SnapshotStore",
    "SubjectLedger",
    "TallySource",
    "Webhook",
    "WebhookStore",
    "WorkflowStore",
    "Zooniverse",
]
