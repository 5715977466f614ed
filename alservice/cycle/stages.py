"""What one process opened, as the loop and its operators need it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # who is given one loads only what it asks for
    from sqlalchemy import Engine

    from alservice.acquisition.request_store import SqlRequestStore
    from alservice.acquisition.service import AcquisitionService
    from alservice.acquisition.stopping import StoppingService
    from alservice.acquisition.store import AcquisitionStore
    from alservice.campaigns.cycle_store import CycleStore
    from alservice.campaigns.store import CampaignStore, EventLog
    from alservice.catalogue.service import CatalogueService
    from alservice.catalogue.store import CatalogueStore
    from alservice.learning.service import LearningService
    from alservice.prediction.service import PredictionService
    from alservice.progress import Clock, Progress
    from alservice.registry.service import RegistryService
    from alservice.registry.store import ModelStore, SnapshotStore
    from alservice.settings import Settings
    from alservice.storage import ObjectStore
    from alservice.subjects.ledger import SqlSubjectLedger
    from alservice.subjects.service import SubjectService
    from alservice.subjects.site import Sites
    from alservice.subjects.stop_store import SqlStopStore
    from alservice.votes.service import VoteService
    from alservice.votes.store import ClassificationStore


class Stages(Protocol):
    """What one process opened, as steps and operators need it: stores, and services made when first asked for."""

    @property
    def settings(self) -> Settings:
        """Where the parts are."""

    @property
    def engine(self) -> Engine:
        """The database."""

    @property
    def objects(self) -> ObjectStore:
        """Big immutable bytes."""

    @property
    def progress(self) -> Progress:
        """Who is told how far long work is."""

    @property
    def clock(self) -> Clock:
        """The time."""

    @property
    def campaigns(self) -> CampaignStore:
        """Campaigns and their versions."""

    @property
    def catalogues(self) -> CatalogueStore:
        """Catalogues and galaxies."""

    @property
    def cycles(self) -> CycleStore:
        """Cycles and their transitions."""

    @property
    def models(self) -> ModelStore:
        """Models, posteriors and decisions."""

    @property
    def snapshots(self) -> SnapshotStore:
        """Tally snapshots and evaluations."""

    @property
    def acquisitions(self) -> AcquisitionStore:
        """Batches drawn."""

    @property
    def requests(self) -> SqlRequestStore:
        """Galaxies that people asked for."""

    @property
    def ledger(self) -> SqlSubjectLedger:
        """The upload ledger."""

    @property
    def stops(self) -> SqlStopStore:
        """What was decided about subjects that may stop early."""

    @property
    def classifications(self) -> ClassificationStore:
        """Classifications and tallies."""

    @property
    def sites(self) -> Sites:
        """Where campaigns' volunteers are."""

    @property
    def events(self) -> EventLog:
        """The audit."""

    @property
    def catalogue(self) -> CatalogueService:
        """Images packed and measured."""

    @property
    def registry(self) -> RegistryService:
        """Which model is live."""

    @property
    def prediction(self) -> PredictionService:
        """Posteriors."""

    @property
    def acquisition(self) -> AcquisitionService:
        """Batches by expected information."""

    @property
    def stopping(self) -> StoppingService:
        """Galaxies that need no more votes."""

    @property
    def subjects(self) -> SubjectService:
        """What volunteers are shown."""

    @property
    def votes(self) -> VoteService:
        """What volunteers said."""

    @property
    def learning(self) -> LearningService:
        """From frozen votes to the gate."""
