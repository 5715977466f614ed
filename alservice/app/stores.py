"""What one process opens, and the stores on it: no model, no Zooniverse, and none of the memory that those need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Engine

from alservice.acquisition.store import SqlAcquisitionStore
from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycles import SqlCycleStore
from alservice.campaigns.events import SqlEventLog
from alservice.campaigns.store import SqlCampaignStore
from alservice.catalogue.store import SqlCatalogueStore
from alservice.cycle.runs import SqlRunLog
from alservice.process import Clock, Progress
from alservice.registry.snapshots import SqlSnapshotStore
from alservice.registry.store import SqlModelStore
from alservice.settings import Settings
from alservice.storage import ObjectStore
from alservice.subjects.ledger import SqlSubjectLedger
from alservice.votes.classifications import SqlClassificationStore
from alservice.votes.export_store import SqlExportStore
from alservice.votes.reduced_tallies import ReducedFeed
from alservice.votes.reductions import SqlReductionStore, SqlWebhookStore
from alservice.votes.reductions_ports import TallySource
from alservice.votes.workflows import SqlWorkflowStore


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
    def campaigns(self) -> SqlCampaignStore:
        """Campaigns and their versions."""
        return SqlCampaignStore(self.engine, self.clock)

    @cached_property
    def catalogues(self) -> SqlCatalogueStore:
        """Catalogues, galaxies and image shards."""
        return SqlCatalogueStore(self.engine, self.clock)

    @cached_property
    def cycles(self) -> SqlCycleStore:
        """Cycles and their transitions."""
        return SqlCycleStore(self.engine, self.clock)

    @cached_property
    def models(self) -> SqlModelStore:
        """The model registry."""
        return SqlModelStore(self.engine, self.clock)

    @cached_property
    def acquisitions(self) -> SqlAcquisitionStore:
        """Batches drawn."""
        return SqlAcquisitionStore(self.engine, self.clock)

    @cached_property
    def ledger(self) -> SqlSubjectLedger:
        """The upload ledger."""
        return SqlSubjectLedger(self.engine, self.clock)

    @cached_property
    def classifications(self) -> SqlClassificationStore:
        """Classifications and tallies."""
        return SqlClassificationStore(self.engine, self.clock)

    @cached_property
    def workflows(self) -> SqlWorkflowStore:
        """Known workflow versions."""
        return SqlWorkflowStore(self.engine, self.clock)

    @cached_property
    def webhooks(self) -> SqlWebhookStore:
        """Doors of Caesar's effects."""
        return SqlWebhookStore(self.engine, self.clock)

    @cached_property
    def reductions(self) -> SqlReductionStore:
        """What Caesar sent."""
        return SqlReductionStore(self.engine)

    @cached_property
    def exports(self) -> SqlExportStore:
        """Export files that were read."""
        return SqlExportStore(self.engine, self.clock)

    @cached_property
    def snapshots(self) -> SqlSnapshotStore:
        """Tally snapshots and evaluations."""
        return SqlSnapshotStore(self.engine, self.clock)

    @cached_property
    def runs(self) -> SqlRunLog:
        """Runs that worked on a cycle."""
        return SqlRunLog(self.engine)

    @cached_property
    def events(self) -> SqlEventLog:
        """The audit."""
        return SqlEventLog(self.engine)

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
