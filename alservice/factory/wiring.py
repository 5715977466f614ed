"""Services made of real parts; each property or method is one line of wiring."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

from sqlalchemy import Engine

from alservice.adapters import images, packs
from alservice.adapters.panoptes import Credentials
from alservice.adapters.panoptes_http import Timeouts
from alservice.adapters.panoptes_zooniverse import PanoptesZooniverse
from alservice.adapters.revision import code_revision
from alservice.adapters.sql.acquisitions import SqlAcquisitionStore
from alservice.adapters.sql.campaigns import SqlCampaignStore
from alservice.adapters.sql.catalogues import SqlCatalogueStore
from alservice.adapters.sql.classifications import SqlClassificationStore
from alservice.adapters.sql.cycles import SqlCycleStore
from alservice.adapters.sql.events import SqlEventLog
from alservice.adapters.sql.exports import SqlExportStore
from alservice.adapters.sql.models import SqlModelStore
from alservice.adapters.sql.reductions import SqlReductionStore, SqlWebhookStore
from alservice.adapters.sql.snapshots import SqlSnapshotStore
from alservice.adapters.sql.subjects import SqlSubjectLedger
from alservice.adapters.sql.workflows import SqlWorkflowStore
from alservice.core.campaign import Campaign
from alservice.core.cycles import CycleState
from alservice.core.retry import RetryPolicy
from alservice.errors import BadConfig
from alservice.model.device import resolve_device
from alservice.ports import Clock, ObjectStore, Progress, TallySource, Zooniverse
from alservice.services import steps
from alservice.services.acquire_batch import AcquireBatch
from alservice.services.advance_cycle import AdvanceCycle, Step
from alservice.services.ask_votes import AskVotes
from alservice.services.collect_classifications import CollectClassifications
from alservice.services.compare_shadow import CompareShadow
from alservice.services.decide_gate import DecideGate
from alservice.services.estimate_selected import EstimateSelected
from alservice.services.evaluate_model import EvaluateModel, JudgeModel
from alservice.services.forecast_votes import ForecastVotes
from alservice.services.import_catalogue import ImportCatalogue
from alservice.services.ingest import Ingest
from alservice.services.measure_galaxies import MeasureGalaxies
from alservice.services.move_subjects import MoveSubjects
from alservice.services.pack_images import PackImages
from alservice.services.predict_catalogue import PredictCatalogue
from alservice.services.publish_subjects import PublishSubjects
from alservice.services.publishing import PublishPolicy
from alservice.services.reconcile_campaign import ReconcileCampaign
from alservice.services.reconcile_subjects import ReconcileSubjects
from alservice.services.reduced_tallies import ReducedFeed
from alservice.services.retire_subjects import RetireSubjects
from alservice.services.score_pool import ScorePool
from alservice.services.start_cycle import StartCycle
from alservice.services.summarise_campaign import SummariseCampaign
from alservice.services.train_candidate import ReadSnapshot, SnapshotTallies, TrainCandidate
from alservice.services.validate_campaign import ValidateCampaign
from alservice.services.watch_drift import WatchDrift
from alservice.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What one process opened, and every service made from it.

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
    def events(self) -> SqlEventLog:
        """The audit."""
        return SqlEventLog(self.engine)

    @cached_property
    def device(self) -> str:
        """The torch device that the settings ask for."""
        return resolve_device(self.settings.device)

    def zooniverse(self, campaign: Campaign) -> Zooniverse:
        """Return Zooniverse as a campaign names it; the endpoint is fixed in this process's environment first.

        Raises
        ------
        BadConfig
            No credentials are set, or the stand-in of a rehearsal is not running.
        """
        target = campaign.zooniverse
        endpoint = os.environ["PANOPTES_ENDPOINT"] if target.is_standin else target.endpoint
        os.environ["PANOPTES_ENDPOINT"] = endpoint
        return PanoptesZooniverse(
            endpoint=endpoint,
            credentials=self._credentials(campaign),
            project_id=target.project_id,
            workflow_id=target.workflow_id,
            user_hash_key=self.user_hash_key(),
            timeouts=Timeouts(),
            retry=RetryPolicy(first_s=0.1) if target.is_standin else RetryPolicy(),
            sleep=time.sleep,
            chance=random.random,
        )

    def import_catalogue(self) -> ImportCatalogue:
        """Rows -> catalogue."""
        return ImportCatalogue(
            catalogues=self.catalogues, objects=self.objects, images=images, arrays=packs, progress=self.progress
        )

    def pack_images(self) -> PackImages:
        """Catalogue -> image shards."""
        return PackImages(
            catalogues=self.catalogues, objects=self.objects, images=images, arrays=packs, progress=self.progress
        )

    def predict(self) -> PredictCatalogue:
        """Image shards -> posterior shards."""
        return PredictCatalogue(
            catalogues=self.catalogues,
            models=self.models,
            objects=self.objects,
            arrays=packs,
            device=self.device,
            progress=self.progress,
        )

    def acquire(self) -> AcquireBatch:
        """Posterior shards -> batch."""
        return AcquireBatch(
            catalogues=self.catalogues,
            acquisitions=self.acquisitions,
            ledger=self.ledger,
            scores=ScorePool(catalogues=self.catalogues, models=self.models, objects=self.objects, arrays=packs),
            forecast=self.forecast(),
            progress=self.progress,
        )

    def forecast(self) -> ForecastVotes:
        """Counted classifications -> throughput of volunteers."""
        return ForecastVotes(classifications=self.classifications)

    def publish(self, campaign: Campaign) -> PublishSubjects:
        """Batch -> subjects."""
        return PublishSubjects(
            ledger=self.ledger,
            objects=self.objects,
            zooniverse=self.zooniverse(campaign),
            policy=STANDIN_POLICY if campaign.zooniverse.is_standin else PublishPolicy(),
            media_type=images.sniff,
            sleep=time.sleep,
            progress=self.progress,
        )

    def move(self, campaign: Campaign, actor: str) -> MoveSubjects:
        """Batch -> links of subjects that are there already."""
        return MoveSubjects(
            self.ledger,
            self.zooniverse(campaign),
            self.votes(campaign),
            self.events,
            self.clock,
            actor=actor,
        )

    def bring(self, campaign: Campaign, actor: str) -> PublishSubjects | MoveSubjects:
        """Batch -> volunteers, the way the campaign says."""
        return self.publish(campaign) if campaign.zooniverse.mode == "upload" else self.move(campaign, actor)

    def validate(self, campaign: Campaign) -> ValidateCampaign:
        """Live workflow against tree."""
        return ValidateCampaign(zooniverse=self.zooniverse(campaign))

    def collect(self, campaign: Campaign) -> CollectClassifications:
        """Zooniverse -> tallies."""
        first, *others = (self.zooniverse(tier) for tier in campaign.by_tier().values())
        return CollectClassifications(
            classifications=self.classifications,
            votes=self.votes,
            workflows=self.workflows,
            ledger=self.ledger,
            zooniverse=first,
            others=others,
            clock=self.clock,
            progress=self.progress,
        )

    def reduced(self, campaign: Campaign) -> ReducedFeed:
        """Reductions -> tallies."""
        return ReducedFeed(campaign=campaign, reductions=self.reductions, workflows=self.workflows, ledger=self.ledger)

    def votes(self, campaign: Campaign) -> TallySource:
        """Return the feed that a campaign's tallies come from; the other one is never added."""
        return self.classifications if campaign.ingest.tallies_from == "classifications" else self.reduced(campaign)

    def ingest(self) -> Ingest:
        """Files -> tallies."""
        return Ingest(
            classifications=self.classifications,
            workflows=self.workflows,
            ledger=self.ledger,
            clock=self.clock,
            progress=self.progress,
        )

    def retire(self, campaign: Campaign, actor: str) -> RetireSubjects:
        """Tallies -> retired subjects."""
        return RetireSubjects(
            self.ledger,
            self.zooniverse(campaign),
            self.votes(campaign),
            self.events,
            self.clock,
            settle_s=0.2 if campaign.zooniverse.is_standin else 10.0,
            sleep=time.sleep,
            actor=actor,
        )

    def reconcile(self, campaign: Campaign, votes: int | None, actor: str) -> ReconcileCampaign:
        """Ledger against Zooniverse, of one tier or of all rows."""
        zooniverse = self.zooniverse(campaign)
        subjects = ReconcileSubjects(
            self.ledger,
            zooniverse,
            uploads=campaign.zooniverse.mode == "upload",
            retires=campaign.zooniverse.retirement == "own",
            votes=votes,
        )
        return ReconcileCampaign(zooniverse, subjects, self.events, self.clock, actor=actor)

    def ask_votes(self, actor: str) -> AskVotes:
        """More or fewer votes of galaxies that volunteers know."""
        return AskVotes(self.ledger, self.events, self.clock, actor=actor)

    def snapshot(self) -> SnapshotTallies:
        """Tallies -> frozen snapshot."""
        return SnapshotTallies(votes=self.votes, snapshots=self.snapshots, objects=self.objects, arrays=packs)

    def train(self) -> TrainCandidate:
        """Snapshot -> candidate."""
        return TrainCandidate(
            catalogues=self.catalogues,
            models=self.models,
            snapshots=self.snapshots,
            objects=self.objects,
            arrays=packs,
            device=self.device,
            code_revision=code_revision(),
            progress=self.progress,
            clock=self.clock,
        )

    def judge(self) -> JudgeModel:
        """Model and votes of the evaluation stream, side by side."""
        read = ReadSnapshot(snapshots=self.snapshots, objects=self.objects, arrays=packs)
        return JudgeModel(catalogues=self.catalogues, predict=self.predict(), read_snapshot=read)

    def measure(self) -> MeasureGalaxies:
        """Galaxies -> properties measured on their images."""
        return MeasureGalaxies(catalogues=self.catalogues, objects=self.objects, arrays=packs)

    def evaluate(self) -> EvaluateModel:
        """Candidate and champion -> metrics."""
        return EvaluateModel(models=self.models, snapshots=self.snapshots, judge=self.judge(), measure=self.measure())

    def estimate_selected(self) -> EstimateSelected:
        """Votes of a cycle's own choice -> the champion's loss on the pool."""
        return EstimateSelected(
            acquisitions=self.acquisitions,
            models=self.models,
            snapshots=self.snapshots,
            predict=self.predict(),
            read_snapshot=self.judge().read_snapshot,
        )

    def watch_drift(self, actor: str) -> WatchDrift:
        """A cycle's data -> drift against the first cycles."""
        return WatchDrift(
            catalogues=self.catalogues,
            cycles=self.cycles,
            models=self.models,
            snapshots=self.snapshots,
            events=self.events,
            predict=self.predict(),
            measure=self.measure(),
            read_snapshot=self.judge().read_snapshot,
            clock=self.clock,
            actor=actor,
        )

    def shadow(self, actor: str) -> CompareShadow:
        """Candidate beside champion -> overlap of what they would ask about."""
        return CompareShadow(
            catalogues=self.catalogues,
            models=self.models,
            snapshots=self.snapshots,
            predict=self.predict(),
            clock=self.clock,
            actor=actor,
        )

    def decide(self) -> DecideGate:
        """Metrics -> gate decision."""
        return DecideGate(models=self.models, judge=self.judge())

    def start_cycle(self) -> StartCycle:
        """Open a cycle."""
        return StartCycle(catalogues=self.catalogues, cycles=self.cycles, models=self.models)

    def advance_cycle(self, actor: str) -> AdvanceCycle:
        """Run the step a cycle stands in."""
        return AdvanceCycle(campaigns=self.campaigns, cycles=self.cycles, steps=self._steps(actor), actor=actor)

    def summarise(self) -> SummariseCampaign:
        """Recorded cycles -> table."""
        return SummariseCampaign(
            cycles=self.cycles,
            models=self.models,
            snapshots=self.snapshots,
            catalogues=self.catalogues,
            judge=self.judge(),
        )

    def _steps(self, actor: str) -> Mapping[CycleState, Callable[[], Step]]:
        return {
            CycleState.PLANNED: lambda: steps.plan(self.catalogues, self.pack_images(), self.snapshot()),
            CycleState.PREDICTING: lambda: steps.predict(self.models, self.predict()),
            CycleState.ACQUIRING: lambda: steps.acquire(self.acquire(), steps.predict(self.models, self.predict())),
            CycleState.PUBLISHING: lambda: steps.publish(
                self.catalogues, self.acquisitions, self.validate, partial(self.bring, actor=actor), self.clock
            ),
            CycleState.COLLECTING: lambda: steps.collect(
                self.collect, partial(self.retire, actor=actor), self.snapshot(), self.cycles, self.snapshots
            ),
            CycleState.TRAINING: lambda: steps.train(self.train()),
            CycleState.EVALUATING: lambda: steps.evaluate(
                self.evaluate(), self.estimate_selected(), self.watch_drift(actor), self.shadow(actor), self.models
            ),
            CycleState.GATED: lambda: steps.gate(self.decide(), actor),
            CycleState.HELD: lambda: steps.held(self.models, self.clock, actor),
            CycleState.PROMOTED: lambda: steps.finish,
            CycleState.KEPT: lambda: steps.keep(self.watch_drift(actor)),
        }

    def _credentials(self, campaign: Campaign) -> Credentials:
        if campaign.zooniverse.is_standin:
            return Credentials(username=STANDIN_USER, password=self.secret("standin-password"))
        s = self.settings
        if not (s.zooniverse_username or s.zooniverse_client_id):
            raise BadConfig(
                "no Zooniverse credentials: set ALSERVICE_ZOONIVERSE_USERNAME and _PASSWORD, or _CLIENT_ID and _SECRET"
            )
        return Credentials(
            username=s.zooniverse_username,
            password=s.zooniverse_password.get_secret_value() if s.zooniverse_password else None,
            client_id=s.zooniverse_client_id,
            client_secret=s.zooniverse_client_secret.get_secret_value() if s.zooniverse_client_secret else None,
        )

    def user_hash_key(self) -> bytes:
        """Return the secret that turns user ids into pseudonyms."""
        key = self.settings.user_hash_key
        return (key.get_secret_value() if key else self.secret("user-hash-key")).encode()


STANDIN_POLICY = PublishPolicy(connections=8, settle_s=0.2, allowance=None)
"""On this machine a request is over when its answer is, and nobody counts uploads."""

STANDIN_USER = "surveyor"
"""Login of the rehearsal project's owner."""
