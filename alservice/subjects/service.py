"""Subjects by a campaign's name: brought to volunteers, retired, compared with Zooniverse and put right."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.store import CampaignRow, CampaignStore, EventLog
from alservice.progress import Clock, Progress
from alservice.science.tree import load_tree
from alservice.storage import ObjectStore, images
from alservice.subjects.move import MoveReport, MoveSubjects
from alservice.subjects.publish import PublishReport, PublishSubjects, total
from alservice.subjects.reconcile import ReconcileCampaign, Reconciled, ReconcileSubjects
from alservice.subjects.retire import AskVotes, RetireReport, RetireSubjects
from alservice.subjects.site import Sites
from alservice.subjects.stops import StopStore
from alservice.subjects.subject import Subject, SubjectLedger, TallySource, VotesAsked, votes_of
from alservice.subjects.validate import ValidateCampaign
from alservice.zooniverse.records import SubjectDraft
from alservice.zooniverse.workflow import AnswerMap, Workflow


class Delivery(Protocol):
    """Brings a batch in front of volunteers: by uploads, or by links of subjects that are there already."""

    def publish(
        self, cycle: Cycle, campaign: Campaign, drafts: Sequence[SubjectDraft], n_votes: VotesAsked
    ) -> PublishReport | MoveReport:
        """Bring every draft there, or record why not; the same call again finishes what is unfinished."""


@dataclass(frozen=True, kw_only=True)
class SubjectService:
    """What volunteers are shown; it needs the network but no model.

    Parameters
    ----------
    votes
        Returns the feed that a campaign's tallies come from.
    """

    campaigns: CampaignStore
    ledger: SubjectLedger
    stops: StopStore
    objects: ObjectStore
    events: EventLog
    sites: Sites
    votes: Callable[[Campaign], TallySource]
    clock: Clock
    progress: Progress

    def validate(self, campaign: Campaign) -> Sequence[AnswerMap]:
        """Compare a campaign's live workflows, one per tier, with its tree and its votes; empty ones are filled."""
        tree = load_tree(campaign.tree)
        return [
            ValidateCampaign(zooniverse=self.sites.zooniverse(tier)).run(tier, tree)
            for tier in campaign.by_tier().values()
        ]

    def workflow(self, campaign: Campaign, workflow_id: int | None = None) -> Workflow:
        """Return a workflow as it is now on a campaign's Zooniverse: the campaign's own, or another by its id."""
        own = next(iter(campaign.by_tier().values()))
        target = replace(own.zooniverse, workflow_id=workflow_id or own.zooniverse.workflow_id)
        return self.sites.zooniverse(replace(own, zooniverse=target)).workflow()

    def deliver(
        self, cycle: Cycle, campaign: Campaign, drafts: Sequence[SubjectDraft], asked: VotesAsked, *, actor: str
    ) -> PublishReport | MoveReport:
        """Bring each galaxy to the set of its tier, the way the campaign says; without tiers all go to one set."""
        if not campaign.zooniverse.tiers:
            return self._delivery(campaign, actor).publish(cycle, campaign, drafts, asked)
        reports = []
        for votes, tier in campaign.by_tier().items():
            own = [draft for draft in drafts if votes_of(asked, draft.galaxy_id) == votes]
            reports.append(self._uploads(tier).publish(cycle, tier, own, votes))
        return total(reports)

    def retire(self, campaign: CampaignRow, *, actor: str) -> RetireReport:
        """Retire what has its votes or is known well enough, and bring back what is neither."""
        decisions = campaign.settings
        stopped = {} if decisions.zooniverse.rule is None else self.stops.stopped(campaign.id)
        return RetireSubjects(
            self.ledger,
            self.sites.zooniverse(decisions),
            self.votes(decisions),
            self.events,
            self.clock,
            settle_s=self.sites.connection(decisions).settle_s,
            sleep=time.sleep,
            actor=actor,
            stopped=stopped,
        ).run(campaign.id)

    def reconcile(self, name: str, *, repair: bool, actor: str) -> Sequence[Reconciled]:
        """Compare a campaign's ledger with Zooniverse, tier by tier; repair what a machine may when asked to."""
        row = self.campaigns.get(name)
        is_tiered = bool(row.settings.zooniverse.tiers)
        return [
            self._reconcile(tier, votes if is_tiered else None, actor).run(replace(row, settings=tier), repair=repair)
            for votes, tier in row.settings.by_tier().items()
        ]

    def ask_votes(
        self, name: str, galaxy_ids: Sequence[str], votes: int, *, reason: str, actor: str
    ) -> Sequence[Subject]:
        """Ask for more or fewer votes of galaxies that volunteers know; return the rows that changed."""
        ask = AskVotes(self.ledger, self.stops, self.events, self.clock, actor=actor)
        return ask.run(self.campaigns.get(name), galaxy_ids, votes, reason=reason)

    def _delivery(self, campaign: Campaign, actor: str) -> Delivery:
        if campaign.zooniverse.mode == "upload":
            return self._uploads(campaign)
        zooniverse, votes = self.sites.zooniverse(campaign), self.votes(campaign)
        return MoveSubjects(self.ledger, zooniverse, votes, self.events, self.clock, actor=actor)

    def _uploads(self, campaign: Campaign) -> PublishSubjects:
        return PublishSubjects(
            ledger=self.ledger,
            objects=self.objects,
            zooniverse=self.sites.zooniverse(campaign),
            policy=self.sites.connection(campaign).publish,
            media_type=images.sniff,
            sleep=time.sleep,
            progress=self.progress,
        )

    def _reconcile(self, campaign: Campaign, votes: int | None, actor: str) -> ReconcileCampaign:
        zooniverse = self.sites.zooniverse(campaign)
        subjects = ReconcileSubjects(
            self.ledger,
            zooniverse,
            uploads=campaign.zooniverse.mode == "upload",
            retires=campaign.zooniverse.retires,
            votes=votes,
        )
        return ReconcileCampaign(zooniverse, subjects, self.events, self.clock, actor=actor)
