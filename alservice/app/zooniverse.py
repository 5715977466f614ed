"""Services that talk to Zooniverse, and the jobs that the command line and flows ask of them by a campaign's name."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from alservice.app.ingest import IngestFactory
from alservice.app.standin import STANDIN_USER, open_zooniverse, standin_endpoint
from alservice.campaigns.campaign import Campaign, ZooniverseTarget
from alservice.campaigns.store import CampaignRow
from alservice.errors import BadConfig, Terminal
from alservice.retry import RetryPolicy
from alservice.science.tree import load_tree
from alservice.storage import images
from alservice.subjects.move import MoveSubjects
from alservice.subjects.publish import PublishPolicy, PublishSubjects
from alservice.subjects.reconcile import ReconcileCampaign, Reconciled, ReconcileSubjects
from alservice.subjects.retire import AskVotes, RetireSubjects
from alservice.subjects.validate import ValidateCampaign
from alservice.votes.service import CollectClassifications, IngestReport
from alservice.zooniverse import Zooniverse
from alservice.zooniverse.client import PanoptesZooniverse
from alservice.zooniverse.http import Credentials, Timeouts
from alservice.zooniverse.workflow import AnswerMap

STANDIN_POLICY = PublishPolicy(connections=8, settle_s=0.2, allowance=None)
"""On this machine a request is over when its answer is, and nobody counts uploads."""


class EndpointNotAllowed(Terminal):
    """A campaign names a server that is neither Zooniverse's nor on this machine, and no setting allows it."""

    code = "endpoint-not-allowed"
    remedy = "Correct zooniverse.endpoint of the campaign, or set ALSERVICE_ZOONIVERSE_ENDPOINT to it."


def publish_policy(campaign: Campaign) -> PublishPolicy:
    """Return how hard a campaign's uploads are tried, and how many it may send."""
    return STANDIN_POLICY if campaign.zooniverse.is_standin else PublishPolicy()


@dataclass(frozen=True, kw_only=True)
class ZooniverseFactory(IngestFactory):
    """What needs the network but no model."""

    def reconcile_campaign(self, name: str, *, repair: bool, actor: str) -> Sequence[Reconciled]:
        """Compare a campaign's ledger with Zooniverse, tier by tier; repair what a machine may when asked to."""
        row = self.campaigns.get(name)
        is_tiered = bool(row.campaign.zooniverse.tiers)
        return [
            self.reconcile(tier, votes if is_tiered else None, actor).run(replace(row, campaign=tier), repair=repair)
            for votes, tier in row.campaign.by_tier().items()
        ]

    def validate_campaign(self, name: str) -> Sequence[AnswerMap]:
        """Compare a campaign's live workflows, one per tier, with its tree and its votes."""
        tiers = self.campaigns.get(name).campaign.by_tier().values()
        return [self.validate(tier).run(tier, load_tree(tier.tree)) for tier in tiers]

    def ingest_api(self, name: str) -> IngestReport:
        """Read the classifications of a campaign's project, from the cursor on."""
        row = self.campaigns.get(name)
        with open_zooniverse(self, name):
            return self.collect(row.campaign).read(row, load_tree(row.campaign.tree))

    def save_campaign(self, campaign: Campaign) -> CampaignRow:
        """Save a campaign whose endpoint is allowed here; raises `EndpointNotAllowed`."""
        self._check_allowed(campaign.zooniverse)
        return self.campaigns.save(campaign)

    def zooniverse(self, campaign: Campaign) -> Zooniverse:
        """Return Zooniverse as a campaign names it.

        Raises
        ------
        BadConfig
            No credentials are set.
        EndpointNotAllowed
            The campaign names a server that nobody here has allowed.
        ZooniverseUnavailable
            The stand-in of a rehearsal is not running.
        """
        target = campaign.zooniverse
        self._check_allowed(target)
        return PanoptesZooniverse(
            endpoint=standin_endpoint(self) if target.is_standin else target.endpoint,
            credentials=self._credentials(campaign),
            project_id=target.project_id,
            workflow_id=target.workflow_id,
            user_hash_key=self.user_hash_key(),
            timeouts=Timeouts(),
            retry=RetryPolicy(first_s=0.1) if target.is_standin else RetryPolicy(),
            sleep=time.sleep,
            chance=random.random,
        )

    def publish(self, campaign: Campaign) -> PublishSubjects:
        """Batch -> subjects."""
        return PublishSubjects(
            ledger=self.ledger,
            objects=self.objects,
            zooniverse=self.zooniverse(campaign),
            policy=publish_policy(campaign),
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

    def _check_allowed(self, target: ZooniverseTarget) -> None:
        if target.needs_permission and target.endpoint != self.settings.zooniverse_endpoint:
            raise EndpointNotAllowed(f"no setting allows the endpoint {target.endpoint}", endpoint=target.endpoint)

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
