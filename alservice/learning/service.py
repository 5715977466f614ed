"""Models by a campaign's name: trained on frozen votes, evaluated, compared, decided on and traced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alservice.acquisition.policies import SelectionOverlap
from alservice.acquisition.store import AcquisitionStore
from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.cycle_store import CycleStore
from alservice.campaigns.store import CampaignRow, CampaignStore, EventLog
from alservice.catalogue.service import CatalogueService
from alservice.catalogue.store import CatalogueStore
from alservice.errors import NotFound
from alservice.learning import bias
from alservice.learning.drift import DriftFigure, WatchDrift
from alservice.learning.evaluation import CompareShadow, EstimateSelected, EvaluateModel, JudgeModel
from alservice.learning.frozen import FrozenTallies
from alservice.learning.gate import DecideGate, DecideHeld, PersonVerdict, hold_deadline
from alservice.progress import Clock, Progress
from alservice.registry.records import GateDecision, Model
from alservice.registry.store import ModelStore, SnapshotStore
from alservice.science.evaluation import Evaluation
from alservice.storage import ObjectStore
from alservice.subjects.stops import StopStore
from alservice.subjects.subject import TallySource
from alservice.telemetry import code_revision
from alservice.votes.store import ClassificationStore

if TYPE_CHECKING:
    from alservice.learning.lineage import Lineage
    from alservice.learning.training import TrainCandidate
    from alservice.prediction.service import PredictionService


@dataclass(frozen=True, kw_only=True)
class LearningService:
    """From frozen votes to a candidate, its evaluation and the gate.

    Parameters
    ----------
    votes
        Returns the feed that a campaign's tallies come from.
    device
        torch device to train on.
    """

    campaigns: CampaignStore
    catalogues: CatalogueStore
    cycles: CycleStore
    models: ModelStore
    snapshots: SnapshotStore
    acquisitions: AcquisitionStore
    classifications: ClassificationStore
    events: EventLog
    stops: StopStore
    objects: ObjectStore
    catalogue: CatalogueService
    prediction: PredictionService
    votes: Callable[[Campaign], TallySource]
    device: str
    clock: Clock
    progress: Progress

    @cached_property
    def frozen(self) -> FrozenTallies:
        """Tallies as they were when collecting ended."""
        return FrozenTallies(votes=self.votes, snapshots=self.snapshots, objects=self.objects)

    @cached_property
    def judge(self) -> JudgeModel:
        """A model's posterior and the votes of the evaluation stream, side by side."""
        return JudgeModel(catalogues=self.catalogues, prediction=self.prediction, frozen=self.frozen)

    @cached_property
    def training(self) -> TrainCandidate:
        """Training on every voted galaxy outside the evaluation stream."""
        from alservice.learning.training import TrainCandidate

        return TrainCandidate(
            catalogue=self.catalogue,
            catalogues=self.catalogues,
            models=self.models,
            snapshots=self.snapshots,
            frozen=self.frozen,
            objects=self.objects,
            device=self.device,
            code_revision=code_revision(),
            progress=self.progress,
            clock=self.clock,
        )

    def train(self, campaign: CampaignRow, cycle: Cycle) -> Model:
        """Return the cycle's candidate, trained now unless it is registered already."""
        return self.training.run(campaign, cycle)

    @cached_property
    def evaluation(self) -> EvaluateModel:
        """Figures of candidate and champion on the evaluation stream, computed once a cycle."""
        return EvaluateModel(
            models=self.models,
            snapshots=self.snapshots,
            judge=self.judge,
            catalogue=self.catalogue,
            objects=self.objects,
        )

    def evaluate(self, campaign: CampaignRow, cycle: Cycle) -> tuple[Evaluation, ...]:
        """Record and return the evaluations: the candidate's first, then the champion's if there is one."""
        return self.evaluation.run(campaign, cycle)

    def estimate_selected(self, campaign: CampaignRow, cycle: Cycle) -> dict[str, Any] | None:
        """Return the champion's loss on the votes of the cycle's own choice, weighted to its pool."""
        return EstimateSelected(
            acquisitions=self.acquisitions,
            models=self.models,
            snapshots=self.snapshots,
            prediction=self.prediction,
            frozen=self.frozen,
            classifications=self.classifications,
        ).run(campaign, cycle)

    def watch_drift(self, campaign: CampaignRow, cycle: Cycle, *, actor: str) -> tuple[DriftFigure, ...]:
        """Return how far a cycle's data are from those of the first cycles."""
        return WatchDrift(
            cycles=self.cycles,
            models=self.models,
            snapshots=self.snapshots,
            events=self.events,
            stops=self.stops,
            judge=self.judge,
            prediction=self.prediction,
            catalogue=self.catalogue,
            frozen=self.frozen,
            clock=self.clock,
            actor=actor,
        ).run(campaign, cycle)

    def compare_shadow(self, campaign: CampaignRow, cycle: Cycle, shadow: Model, *, actor: str) -> SelectionOverlap:
        """Return the overlap of what a second model and the cycle's champion would ask about."""
        return CompareShadow(
            catalogues=self.catalogues,
            models=self.models,
            snapshots=self.snapshots,
            prediction=self.prediction,
            clock=self.clock,
            actor=actor,
        ).run(campaign, cycle, shadow)

    def shadow(self, name: str, model_id: int, *, actor: str) -> SelectionOverlap:
        """Compare what a model and the champion would ask about, on the newest cycle's catalogue."""
        campaign = self.campaigns.get(name)
        champion = self.models.champion(campaign.id)
        cycles = self.cycles.list(campaign.id)
        if champion is None or not cycles:
            raise NotFound(f"campaign {name} has no champion to shadow")
        newest = replace(cycles[-1], champion_id=champion.id)
        return self.compare_shadow(campaign, newest, self.models.get(model_id), actor=actor)

    def decide(self, campaign: CampaignRow, cycle: Cycle, *, actor: str) -> tuple[GateDecision, Cycle]:
        """Let the gate promote, keep or hold; return its decision and the cycle after it."""
        return DecideGate(models=self.models, evaluate=self.evaluation).run(campaign, cycle, actor=actor)

    def decide_held(
        self, name: str, word: PersonVerdict, *, actor: str, reason: str, number: int | None = None
    ) -> Cycle:
        """Approve or reject a held candidate; return the cycle after it."""
        service = DecideHeld(campaigns=self.campaigns, cycles=self.cycles, models=self.models, clock=self.clock)
        return service.run(self.campaigns.get(name), word, actor=actor, reason=reason, number=number)

    def newest_decision(self, name: str, number: int | None) -> tuple[Cycle, GateDecision]:
        """Return the newest cycle that the gate decided on, or the one named, with its decision; raises `NotFound`."""
        cycles = self.cycles.list(self.campaigns.get(name).id)
        for cycle in reversed(cycles):
            decision = self.models.decision(cycle.id) if number in {None, cycle.number} else None
            if decision is not None:
                return cycle, decision
        if number is None:
            raise NotFound(f"the gate has decided nothing yet in campaign {name}")
        there = any(cycle.number == number for cycle in cycles)
        raise NotFound(f"the gate has not judged cycle {number}" if there else f"campaign {name} has no cycle {number}")

    def seconds_to_decide(self, cycle_id: int) -> int:
        """Return how long a held cycle waits for a person from now on (s, at least 1)."""
        cycle = self.cycles.get(cycle_id)
        campaign = self.campaigns.get_version(cycle.campaign_id, cycle.campaign_version)
        left = hold_deadline(campaign, cycle) - self.clock()
        return max(1, round(left.total_seconds()))

    def is_hold_over(self, cycle: Cycle) -> bool:
        """Return whether a held cycle has waited for a person as long as it may."""
        campaign = self.campaigns.get_version(cycle.campaign_id, cycle.campaign_version)
        return self.clock() >= hold_deadline(campaign, cycle)

    def trace(self, name: str, *, model_id: int | None, galaxy_id: str | None) -> Lineage:
        """Return where a model, or its prediction of a galaxy, comes from."""
        from alservice.learning.lineage import TraceLineage

        service = TraceLineage(
            catalogues=self.catalogues,
            cycles=self.cycles,
            models=self.models,
            snapshots=self.snapshots,
            frozen=self.frozen,
            objects=self.objects,
            prediction=self.prediction,
        )
        return service.run(self.campaigns.get(name), model_id=model_id, galaxy_id=galaxy_id)

    def write_bias_report(self, name: str, path: Path) -> bias.BiasReport:
        """Write what explains the champion's surprise as HTML; return it."""
        service = bias.ReportBias(
            cycles=self.cycles,
            models=self.models,
            snapshots=self.snapshots,
            judge=self.judge,
            catalogue=self.catalogue,
            explain=bias.explain,
        )
        report = service.run(self.campaigns.get(name))
        part = path.with_suffix(".part")
        part.write_text(bias.render_bias(report), encoding="utf-8")
        part.replace(path)
        return report
