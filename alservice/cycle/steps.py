"""The steps of a cycle: each does the work of one state through its service, and says where that leads.

``planned -> predicting -> acquiring -> publishing -> collecting -> training -> evaluating -> gated -> ... -> done``.
Every step may run again after a crash: what it finds done it does not do twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import timedelta

from alservice.acquisition.acquire_batch import AcquireBatch
from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle, CycleKind, CycleState
from alservice.campaigns.cycle_store import AcquisitionStore, CatalogueStore, CycleStore, ModelStore, SnapshotStore
from alservice.campaigns.records import CampaignRow
from alservice.catalogue.pack_images import PackImages
from alservice.cycle.advance_cycle import Move, Step
from alservice.errors import NotFound
from alservice.learning.compare_shadow import CompareShadow
from alservice.learning.decide_gate import DecideGate
from alservice.learning.decide_held import hold_deadline
from alservice.learning.estimate_selected import EstimateSelected
from alservice.learning.evaluation import EvaluateModel
from alservice.learning.training import SnapshotTallies, TrainCandidate
from alservice.learning.watch_drift import WatchDrift
from alservice.prediction.service import PredictCatalogue, Scope
from alservice.process import Clock
from alservice.science.tree import load_tree
from alservice.subjects.move import MoveReport, MoveSubjects
from alservice.subjects.publish_subjects import PublishSubjects
from alservice.subjects.publishing import PublishReport, total
from alservice.subjects.retire import RetireSubjects
from alservice.subjects.subject import SubjectDraft, VotesAsked, draft_subject, votes_of
from alservice.subjects.validate import ValidateCampaign
from alservice.votes.collect_classifications import CollectClassifications


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
