"""The steps of a cycle: each does the work of one state through its service, and says where that leads.

``planned -> predicting -> acquiring -> publishing -> collecting -> training -> evaluating -> gated -> ... -> done``.
Every step may run again after a crash: what it finds done it does not do twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta

from alservice.core.campaign import Campaign
from alservice.core.cycles import Cycle, CycleKind, CycleState
from alservice.core.records import CampaignRow
from alservice.core.subjects import draft_subject
from alservice.core.tree import load_tree
from alservice.errors import NotFound
from alservice.ports import AcquisitionStore, CatalogueStore, Clock, CycleStore, ModelStore, SnapshotStore
from alservice.services.acquire_batch import AcquireBatch
from alservice.services.advance_cycle import Move, Step
from alservice.services.collect_classifications import CollectClassifications
from alservice.services.decide_gate import DecideGate
from alservice.services.evaluate_model import EvaluateModel
from alservice.services.move_subjects import MoveSubjects
from alservice.services.pack_images import PackImages
from alservice.services.predict_catalogue import PredictCatalogue, Scope
from alservice.services.publish_subjects import PublishSubjects
from alservice.services.retire_subjects import RetireSubjects
from alservice.services.train_candidate import SnapshotTallies, TrainCandidate
from alservice.services.validate_campaign import ValidateCampaign


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


def acquire(service: AcquireBatch) -> Step:
    """Score by expected information and draw the batch."""

    def run(campaign: CampaignRow, cycle: Cycle) -> Move:
        acquired = service.run(campaign, cycle)
        return Move(to=CycleState.PUBLISHING, detail=dict(Counter(a.arm for a in acquired)))

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
        tiers = decisions.by_tier()
        for tier in tiers.values():
            validate(tier).run(tier, load_tree(tier.tree))
        acquired = acquisitions.get(cycle.id) or ()
        galaxies = catalogues.by_id(cycle.catalogue_id, sorted(a.galaxy_id for a in acquired))
        drafts = [draft_subject(decisions.name, cycle.number, galaxy) for galaxy in galaxies]
        tier = tiers[decisions.acquisition.votes_per_galaxy]
        report = service(tier).publish(cycle, tier, drafts, n_votes=tier.acquisition.votes_per_galaxy)
        deadline = clock() + timedelta(hours=decisions.collecting.deadline_hours)
        return Move(to=CycleState.COLLECTING, detail=asdict(report), changes={"deadline": deadline})

    return run


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
        enough = new_votes >= campaign.campaign.training.min_new_votes
        return Move(
            to=CycleState.TRAINING if enough else CycleState.KEPT,
            detail={**asdict(report), "new_votes": new_votes, "snapshot": frozen.digest},
        )

    return run


def train(service: TrainCandidate) -> Step:
    """Train the candidate."""

    def run(campaign: CampaignRow, cycle: Cycle) -> Move:
        model = service.run(campaign, cycle)
        return Move(to=CycleState.EVALUATING, detail={"model": model.digest}, changes={"candidate_id": model.id})

    return run


def evaluate(service: EvaluateModel) -> Step:
    """Measure candidate and champion on the evaluation stream."""

    def run(campaign: CampaignRow, cycle: Cycle) -> Move:
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
        if clock() < cycle.updated_at + timedelta(hours=campaign.campaign.hold_hours):
            return None
        settled = models.keep(cycle, actor=actor, reason="nobody decided by the deadline")
        return Move(to=settled.state, detail={}, settled=settled)

    return run


def finish(_campaign: CampaignRow, _cycle: Cycle) -> Move:
    """Close the cycle: its outcome is recorded already."""
    return Move(to=CycleState.DONE, detail={})
