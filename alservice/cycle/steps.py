"""The steps of a cycle: each does the work of one state through its service, and says where that leads.

``planned -> predicting -> acquiring -> publishing -> collecting -> training -> evaluating -> gated -> ... -> done``.
Every step may run again after a crash: what it finds done it does not do twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from alservice.acquisition.service import AcquireBatch
from alservice.acquisition.store import AcquisitionStore
from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle, CycleKind, CycleState
from alservice.campaigns.cycle_store import CycleStore
from alservice.campaigns.store import CampaignRow, CampaignStore
from alservice.catalogue.service import PackImages
from alservice.catalogue.store import CatalogueStore
from alservice.errors import AlserviceError, IllegalTransition, NotFound
from alservice.learning.drift import WatchDrift
from alservice.learning.evaluation import CompareShadow, EstimateSelected, EvaluateModel
from alservice.learning.gate import DecideGate, hold_deadline
from alservice.learning.training import SnapshotTallies, TrainCandidate
from alservice.prediction.service import PredictCatalogue, Scope
from alservice.progress import Clock
from alservice.registry.store import ModelStore, SnapshotStore
from alservice.science.tree import load_tree
from alservice.subjects.move import MoveReport, MoveSubjects
from alservice.subjects.publish import PublishReport, PublishSubjects, total
from alservice.subjects.retire import RetireSubjects
from alservice.subjects.subject import VotesAsked, draft_subject, votes_of
from alservice.subjects.validate import ValidateCampaign
from alservice.votes.service import CollectClassifications
from alservice.zooniverse.records import SubjectDraft


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """Where a finished step leads.

    Parameters
    ----------
    detail
        What the step did, for the audit: counts and digests.
    changes
        Columns of the cycle that change with the state.
    settled
        The cycle as already moved by the step itself, when state and result had to change in one transaction.
    """

    to: CycleState
    detail: Mapping[str, Any]
    changes: Mapping[str, object] = field(default_factory=dict)
    settled: Cycle | None = None


Step = Callable[[CampaignRow, Cycle], Move | None]
"""Does the work of one state; safe to run again. None means that the cycle waits."""


@dataclass(frozen=True, kw_only=True)
class AdvanceCycle:
    """Move a cycle one step: run it, record what it did, change state."""

    campaigns: CampaignStore
    cycles: CycleStore
    steps: Mapping[CycleState, Callable[[], Step]]  # made on demand: most steps need no login to Zooniverse
    actor: str  # who acts, for the audit

    def run(self, cycle_id: int, *, only: CycleState | None = None) -> Cycle:
        """Run the current step and return the cycle after it; unchanged while it waits.

        Parameters
        ----------
        only
            The step the caller means to run; a cycle that stands elsewhere is returned untouched, so that running
            a finished step again does nothing.

        Raises
        ------
        IllegalTransition
            The cycle is stopped, or stands in a state of a newer version.
        """
        cycle = self.cycles.get(cycle_id)
        if not cycle.is_open or (only is not None and cycle.state is not only):
            return cycle
        campaign = self._campaign(cycle)
        if cycle.state not in self.steps:
            text = f"cycle {cycle.number} is {cycle.state}, in which this version has no step"
            raise IllegalTransition(text, state=str(cycle.state))
        move = self.steps[cycle.state]()(campaign, cycle)
        if move is None:
            return cycle
        if move.settled is not None:
            return move.settled
        return self.cycles.move(cycle, move.to, actor=self.actor, detail=move.detail, **move.changes)

    def fail(self, cycle_id: int, error: BaseException) -> Cycle:
        """Record that the current step failed; the cycle keeps the step and resumes into it."""
        cycle = self.cycles.get(cycle_id)
        if cycle.state in {CycleState.FAILED, CycleState.CANCELLED, CycleState.DONE}:
            return cycle
        detail: dict[str, Any] = {"error": type(error).__name__, "message": str(error)}
        if isinstance(error, AlserviceError):
            detail["code"] = error.code
        return self.cycles.move(cycle, CycleState.FAILED, actor=self.actor, detail=detail, left_from=cycle.state)

    def cancel(self, cycle_id: int, *, reason: str) -> Cycle:
        """Stop a cycle on request, in a state from which it resumes."""
        cycle = self.cycles.get(cycle_id)
        return self.cycles.move(
            cycle, CycleState.CANCELLED, actor=self.actor, detail={"reason": reason}, left_from=cycle.step
        )

    def resume(self, cycle_id: int) -> Cycle:
        """Bring a failed or cancelled cycle back to the step it left from; any other is returned as it is."""
        cycle = self.cycles.get(cycle_id)
        if cycle.left_from is None:
            return cycle
        return self.cycles.move(cycle, cycle.left_from, actor=self.actor, detail={"resumed": True}, left_from=None)

    def _campaign(self, cycle: Cycle) -> CampaignRow:
        campaign = self.campaigns.get_version(cycle.campaign_id, cycle.campaign_version)
        return CampaignRow(id=cycle.campaign_id, version=cycle.campaign_version, campaign=campaign)


@dataclass(frozen=True, kw_only=True)
class StartCycle:
    """Start a cycle on the newest catalogue, with the champion of the moment."""

    catalogues: CatalogueStore
    cycles: CycleStore
    models: ModelStore

    def run(self, campaign: CampaignRow, *, actor: str, kind: CycleKind = CycleKind.FULL) -> Cycle:
        """Open the next cycle.

        Raises
        ------
        NotFound
            The campaign has no catalogue yet.
        Conflict
            A cycle is open; it must be advanced or resumed, never doubled.
        """
        catalogue = self.catalogues.newest(campaign.id)
        if catalogue is None:
            raise NotFound(
                f"campaign {campaign.campaign.name} has no catalogue: run "
                f"`alservice catalogue import FILE --campaign {campaign.campaign.name}`"
            )
        champion = self.models.champion(campaign.id)
        return self.cycles.start(campaign, catalogue.id, champion.id if champion else None, actor, kind=kind)


def plan(catalogues: CatalogueStore, pack: PackImages, snapshot: SnapshotTallies) -> Step:
    """Pack the images; with a champion predict next, without one draw at random.

    A cycle that only trains freezes the votes there are and trains next, however few of them are new: somebody asked.
    """

    def run(campaign: CampaignRow, cycle: Cycle) -> Move:
        shards = pack.run(catalogues.get(cycle.catalogue_id), campaign.campaign.images)
        if cycle.kind is CycleKind.RETRAIN:
            frozen = snapshot.run(campaign, cycle)
            return Move(to=CycleState.TRAINING, detail={"image_shards": len(shards), "snapshot": frozen.digest})
        to = CycleState.ACQUIRING if cycle.champion_id is None else CycleState.PREDICTING
        return Move(to=to, detail={"image_shards": len(shards)})

    return run


def predict(models: ModelStore, service: PredictCatalogue) -> Step:
    """Sample the champion's posterior for every galaxy."""

    def run(campaign: CampaignRow, cycle: Cycle) -> Move:
        if cycle.champion_id is None:
            raise NotFound(f"cycle {cycle.number} has no champion to predict with", cycle=cycle.number)
        champion = models.get(cycle.champion_id)
        shards = service.run(campaign.campaign, cycle.catalogue_id, champion, Scope.CATALOGUE)
        done, failed = sum(s.n_galaxies for s in shards), sum(s.n_failed for s in shards)
        return Move(to=CycleState.ACQUIRING, detail={"requested": done + failed, "done": done, "failed": failed})

    return run


def acquire(service: AcquireBatch, predict: Step) -> Step:
    """Score by expected information and draw the batch.

    Predicts what is missing first: nothing, unless another model became the champion after the step before.
    """

    def run(campaign: CampaignRow, cycle: Cycle) -> Move:
        if cycle.champion_id is not None:
            predict(campaign, cycle)
        acquired = service.run(campaign, cycle)
        votes = service.acquisitions.votes(cycle.id)
        detail: dict[str, int] = {**Counter(str(a.arm) for a in acquired), "votes": sum(votes.values())}
        return Move(to=CycleState.PUBLISHING, detail=detail)

    return run


def publish(
    catalogues: CatalogueStore,
    acquisitions: AcquisitionStore,
    validate: Callable[[Campaign], ValidateCampaign],
    service: Callable[[Campaign], PublishSubjects | MoveSubjects],
    clock: Clock,
) -> Step:
    """Check the live workflow, then bring the batch in front of volunteers; collecting starts now."""

    def run(campaign: CampaignRow, cycle: Cycle) -> Move:
        decisions = campaign.campaign
        for tier in decisions.by_tier().values():
            validate(tier).run(tier, load_tree(tier.tree))
        acquired = acquisitions.get(cycle.id) or ()
        galaxies = catalogues.by_id(cycle.catalogue_id, sorted(a.galaxy_id for a in acquired))
        drafts = [draft_subject(decisions.name, cycle.number, galaxy) for galaxy in galaxies]
        asked = acquisitions.votes(cycle.id)
        report = _publish(cycle, decisions, drafts, asked, service)
        deadline = clock() + timedelta(hours=decisions.collecting.deadline_hours)
        return Move(to=CycleState.COLLECTING, detail=asdict(report), changes={"deadline": deadline})

    return run


def _publish(
    cycle: Cycle,
    campaign: Campaign,
    drafts: Sequence[SubjectDraft],
    asked: VotesAsked,
    service: Callable[[Campaign], PublishSubjects | MoveSubjects],
) -> PublishReport | MoveReport:
    """Bring each galaxy to the set of its tier; without tiers all go to one."""
    if not campaign.zooniverse.tiers:
        return service(campaign).publish(cycle, campaign, drafts, asked)
    reports = []
    for votes, tier in campaign.by_tier().items():
        own = [draft for draft in drafts if votes_of(asked, draft.galaxy_id) == votes]
        reports.append(service(tier).publish(cycle, tier, own, votes))
    return total([report for report in reports if isinstance(report, PublishReport)])


def collect(
    service: Callable[[Campaign], CollectClassifications],
    retire: Callable[[Campaign], RetireSubjects],
    snapshot: SnapshotTallies,
    cycles: CycleStore,
    snapshots: SnapshotStore,
) -> Step:
    """Ingest, and retire what has its votes where that is ours to do.

    When collecting is over, freeze the tallies and train, unless too few votes are new.
    """

    def run(campaign: CampaignRow, cycle: Cycle) -> Move | None:
        report = service(campaign.campaign).run(campaign, cycle, load_tree(campaign.campaign.tree))
        if campaign.campaign.zooniverse.retirement == "own":
            retire(campaign.campaign).run(campaign.id)
        if not report.is_over:
            return None
        frozen = snapshot.run(campaign, cycle)
        trained = [snapshots.of_cycle(c.id) for c in cycles.list(campaign.id) if c.candidate_id is not None]
        new_votes = frozen.n_votes - max((s.n_votes for s in trained if s is not None), default=0)
        needed = campaign.campaign.training.min_new_votes
        enough = new_votes >= needed
        return Move(
            to=CycleState.TRAINING if enough else CycleState.KEPT,
            detail={**asdict(report), "new_votes": new_votes, "needed_votes": needed, "snapshot": frozen.digest},
        )

    return run


def train(service: TrainCandidate) -> Step:
    """Train the candidate."""

    def run(campaign: CampaignRow, cycle: Cycle) -> Move:
        model = service.run(campaign, cycle)
        return Move(to=CycleState.EVALUATING, detail={"model": model.digest}, changes={"candidate_id": model.id})

    return run


def evaluate(
    service: EvaluateModel,
    selected: EstimateSelected,
    drift: WatchDrift,
    shadow: CompareShadow,
    models: ModelStore,
) -> Step:
    """Measure candidate and champion on the evaluation stream, and the cycle's data; a shadow candidate if asked."""

    def run(campaign: CampaignRow, cycle: Cycle) -> Move:
        selected.run(campaign, cycle)
        drift.run(campaign, cycle)
        if campaign.campaign.shadow and cycle.champion_id is not None and cycle.candidate_id is not None:
            shadow.run(campaign, cycle, models.get(cycle.candidate_id))
        candidate, *champion = service.run(campaign, cycle)
        detail = {"nll_per_vote": candidate.nll_per_vote.value, "galaxies": candidate.n_galaxies}
        if champion:
            detail["champion_nll_per_vote"] = champion[0].nll_per_vote.value
        return Move(to=CycleState.GATED, detail=detail)

    return run


def gate(service: DecideGate, actor: str) -> Step:
    """Let the gate decide; promotion and decision are one transaction."""

    def run(campaign: CampaignRow, cycle: Cycle) -> Move:
        decision, settled = service.run(campaign, cycle, actor=actor)
        return Move(to=settled.state, detail={"verdict": decision.verdict}, settled=settled)

    return run


def held(models: ModelStore, clock: Clock, actor: str) -> Step:
    """Wait for a person's decision; without one by the deadline the champion is kept."""

    def run(campaign: CampaignRow, cycle: Cycle) -> Move | None:
        if clock() < hold_deadline(campaign.campaign, cycle):
            return None
        settled = models.keep(cycle, actor=actor, reason="nobody decided by the deadline")
        return Move(to=settled.state, detail={}, settled=settled)

    return run


def finish(_campaign: CampaignRow, _cycle: Cycle) -> Move:
    """Close the cycle: its outcome is recorded already."""
    return Move(to=CycleState.DONE, detail={})


def keep(drift: WatchDrift) -> Step:
    """Close a cycle that keeps the champion; one that ended for want of votes has its data described here."""

    def run(campaign: CampaignRow, cycle: Cycle) -> Move:
        if cycle.candidate_id is None and cycle.champion_id is not None:
            drift.run(campaign, cycle)
        return finish(campaign, cycle)

    return run
