"""What one process opens, and the stores on it: no model, no Zooniverse, and none of the memory that those need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Engine

from alservice.acquisition.store import AcquisitionStore
from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle_store import CycleStore
from alservice.campaigns.store import CampaignStore, EventLog
from alservice.catalogue.store import CatalogueStore
from alservice.cycle.runs import SqlRunLog
from alservice.progress import Clock, Progress
from alservice.registry.store import ModelStore, SnapshotStore
from alservice.settings import Settings
from alservice.storage import ObjectStore
from alservice.subjects.ledger import SqlSubjectLedger
from alservice.subjects.subject import TallySource
from alservice.votes.caesar import ReducedFeed, ReductionStore, WebhookStore
from alservice.votes.export_store import ExportStore
from alservice.votes.store import ClassificationStore, WorkflowStore


@dataclass(frozen=True, kw_only=True)
class Stores:
    """What one process opened, and the stores on it.

    Parameters
    ----------
    secret
        Returns a named secret of the work folder, made at first use.
    """

    settings: Settings
    engine: Engine
    objects: ObjectStore
    clock: Clock
    progress: Progress
    secret: Callable[[str], str]

    @cached_property
    def campaigns(self) -> CampaignStore:
        """Campaigns and their versions."""
        return CampaignStore(self.engine, self.clock)

    @cached_property
    def catalogues(self) -> CatalogueStore:
        """Catalogues, galaxies and image shards."""
        return CatalogueStore(self.engine, self.clock)

    @cached_property
    def cycles(self) -> CycleStore:
        """Cycles and their transitions."""
        return CycleStore(self.engine, self.clock)

    @cached_property
    def models(self) -> ModelStore:
        """The model registry."""
        return ModelStore(self.engine, self.clock)

    @cached_property
    def acquisitions(self) -> AcquisitionStore:
        """Batches drawn."""
        return AcquisitionStore(self.engine, self.clock)

    @cached_property
    def ledger(self) -> SqlSubjectLedger:
        """The upload ledger."""
        return SqlSubjectLedger(self.engine, self.clock)

    @cached_property
    def classifications(self) -> ClassificationStore:
        """Classifications and tallies."""
        return ClassificationStore(self.engine, self.clock)

    @cached_property
    def workflows(self) -> WorkflowStore:
        """Known workflow versions."""
        return WorkflowStore(self.engine, self.clock)

    @cached_property
    def webhooks(self) -> WebhookStore:
        """Doors of Caesar's effects."""
        return WebhookStore(self.engine, self.clock)

    @cached_property
    def reductions(self) -> ReductionStore:
        """What Caesar sent."""
        return ReductionStore(self.engine)

    @cached_property
    def exports(self) -> ExportStore:
        """Export files that were read."""
        return ExportStore(self.engine, self.clock)

    @cached_property
    def snapshots(self) -> SnapshotStore:
        """Tally snapshots and evaluations."""
        return SnapshotStore(self.engine, self.clock)

    @cached_property
    def runs(self) -> SqlRunLog:
        """Runs that worked on a cycle."""
        return SqlRunLog(self.engine)

    @cached_property
    def events(self) -> EventLog:
        """The audit."""
        return EventLog(self.engine)

    def reduced(self, campaign: Campaign) -> ReducedFeed:
        """Reductions -> tallies."""
        return ReducedFeed(campaign=campaign, reductions=self.reductions, workflows=self.workflows, ledger=self.ledger)

    def votes(self, campaign: Campaign) -> TallySource:
        """Return the feed that a campaign's tallies come from; the other one is never added."""
        return self.classifications if campaign.ingest.tallies_from == "classifications" else self.reduced(campaign)

    def user_hash_key(self) -> bytes:
        """Return the secret that turns user ids into pseudonyms."""
        key = self.settings.user_hash_key
        return (key.get_secret_value() if key else self.secret("user-hash-key")).encode()
