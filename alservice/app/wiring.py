"""Services made of real parts; each property or method is one line of wiring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

from alservice.acquisition.service import AcquireBatch, ForecastVotes, ScorePool
from alservice.app.zooniverse import ZooniverseFactory
from alservice.campaigns.cycle import CycleState
from alservice.catalogue.service import ImportCatalogue, MeasureGalaxies, PackImages
from alservice.cycle import steps
from alservice.cycle.steps import AdvanceCycle, StartCycle, Step
from alservice.cycle.table import SummariseCampaign
from alservice.learning.drift import WatchDrift
from alservice.learning.evaluation import CompareShadow, EstimateSelected, EvaluateModel, JudgeModel
from alservice.learning.gate import DecideGate
from alservice.learning.training import ReadSnapshot, SnapshotTallies, TrainCandidate
from alservice.network.config import resolve_device
from alservice.prediction.service import PredictCatalogue
from alservice.storage import arrays as packs
from alservice.storage import images
from alservice.telemetry import code_revision


@dataclass(frozen=True, kw_only=True)
class Wiring(ZooniverseFactory):
    """Every service made of what one process opened."""

    @cached_property
    def device(self) -> str:
        """The torch device that the settings ask for."""
        return resolve_device(self.settings.device)

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
        return EvaluateModel(
            models=self.models,
            snapshots=self.snapshots,
            judge=self.judge(),
            measure=self.measure(),
            objects=self.objects,
            arrays=packs,
        )

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
        return DecideGate(models=self.models, evaluate=self.evaluate())

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
