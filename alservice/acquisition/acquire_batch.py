"""Posterior shards -> the cycle's batch: scored by policy, drawn with recorded inclusion probabilities and votes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from alservice.acquisition.batch import BatchDrawer
from alservice.acquisition.batch_records import Acquired, AcquisitionBatch, Arm, BatchPolicy
from alservice.acquisition.diversity import survey_distance
from alservice.acquisition.forecast_votes import ForecastVotes
from alservice.acquisition.policies import RULES
from alservice.acquisition.service import FAILED_IMAGE, ScorePool
from alservice.acquisition.vote_allocation import allocate_votes
from alservice.campaigns.acquisition_policy import AcquisitionPolicy
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.cycle_store import AcquisitionStore, CatalogueStore, SubjectLedger
from alservice.campaigns.records import CampaignRow
from alservice.ids import seed_of
from alservice.process import Progress
from alservice.science.posterior import Posterior
from alservice.states import SubjectState
from alservice.subjects.subject import Subject, VotesAsked


def batch_policy(policy: AcquisitionPolicy, *, first: bool, min_distance: float | None = None) -> BatchPolicy:
    """Return the arms of a cycle: a first one draws at random, to train on and to judge with."""
    if first:
        return BatchPolicy(
            rule="top",
            informative=0,
            random=policy.initial_galaxies,
            evaluation=policy.initial_evaluation_galaxies,
            members_in_random=policy.initial_evaluation_galaxies == 0,
        )
    return BatchPolicy(
        rule=RULES[policy.policy],
        beta=policy.beta,
        informative=policy.informative_galaxies,
        random=policy.random_galaxies,
        easy=policy.easy_galaxies,
        min_distance=min_distance,
    )


def exclusion_reason(row: Subject) -> str | None:
    """Return why a galaxy of the ledger may not be drawn, None if it may."""
    if row.may_return:
        return None
    match row.state:
        case SubjectState.WITHDRAWN:
            return (row.error or "withdrawn").split(":")[0]
        case SubjectState.RETIRED | SubjectState.FAILED:
            return str(row.state)
        case _:
            return "in flight"


def _distance(policy: AcquisitionPolicy, survey: Posterior | None) -> float | None:
    if survey is None or policy.diversity_share == 0:
        return None
    return survey_distance(survey.embeddings, policy.diversity_share)


@dataclass(frozen=True, kw_only=True)
class AcquireBatch:
    """Draw a cycle's batch from the whole catalogue, one shard in memory at a time."""

    catalogues: CatalogueStore
    acquisitions: AcquisitionStore
    ledger: SubjectLedger
    scores: ScorePool
    forecast: ForecastVotes
    progress: Progress

    def run(self, campaign: CampaignRow, cycle: Cycle) -> Sequence[Acquired]:
        """Return what the cycle drew, drawn and recorded now unless it was before."""
        drawn = self.acquisitions.get(cycle.id)
        if drawn is not None:
            return drawn
        batch = self._draw(campaign, cycle)
        self.acquisitions.save(cycle.id, batch, n_votes=self._votes(campaign, cycle, batch))
        return batch.galaxies

    def _draw(self, campaign: CampaignRow, cycle: Cycle) -> AcquisitionBatch:
        policy, first = campaign.campaign.acquisition, cycle.champion_id is None
        survey = None if first else self._survey(campaign, cycle)
        drawer = BatchDrawer(
            batch_policy(policy, first=first, min_distance=_distance(policy, survey)),
            seed=seed_of(campaign.campaign.seed, "acquisition", cycle.number),
        )
        rows = self.ledger.of_campaign(campaign.id)
        excluded = {row.galaxy_id: why for row in rows if (why := exclusion_reason(row)) is not None}
        self.progress.start("score the pool", self.catalogues.get(cycle.catalogue_id).n_galaxies)
        for shard in self.scores.pool(campaign, cycle, survey):
            reasons = {g.galaxy_id: excluded[g.galaxy_id] for g in shard.galaxies if g.galaxy_id in excluded}
            drawer.offer(
                [g.galaxy_id for g in shard.galaxies],
                shard.scores,
                members=np.array([g.evaluation for g in shard.galaxies]),
                easy=shard.easy,
                embeddings=shard.embeddings,
                excluded=dict.fromkeys(shard.failed, FAILED_IMAGE) | reasons,
            )
            self.progress.advance(len(shard.galaxies))
        self.progress.finish()
        return drawer.draw()

    def _survey(self, campaign: CampaignRow, cycle: Cycle) -> Posterior | None:
        """Return a sample of the survey where the policy needs one."""
        policy = campaign.campaign.acquisition
        needed = policy.policy == "epig" or (policy.diversity_share > 0 and policy.informative_galaxies > 0)
        return self.scores.survey(campaign, cycle) if needed else None

    def _votes(self, campaign: CampaignRow, cycle: Cycle, batch: AcquisitionBatch) -> VotesAsked:
        """Return the votes to ask: a fixed number, or what the budget buys for each galaxy drawn for information."""
        policy = campaign.campaign.acquisition
        chosen = [galaxy.galaxy_id for galaxy in batch.galaxies if galaxy.arm == Arm.INFORMATIVE]
        if policy.allocated is None or not chosen:
            return policy.votes_per_galaxy
        others = {g.galaxy_id: policy.votes_per_galaxy for g in batch.galaxies if g.arm != Arm.INFORMATIVE}
        budget = policy.allocated.budget or self._forecast(campaign, cycle)
        tiers = policy.allocated.tiers
        information = self.scores.information(campaign, cycle, chosen, tiers)
        votes = allocate_votes(information, tiers, budget - sum(others.values()))
        return others | dict(zip(chosen, votes.tolist(), strict=True))

    def _forecast(self, campaign: CampaignRow, cycle: Cycle) -> int:
        """Return the classifications that volunteers will very likely give until the deadline.

        Seen from the start of the cycle, so that a cycle that is resumed another day asks for the same.
        """
        horizon = timedelta(hours=campaign.campaign.collecting.deadline_hours) / timedelta(days=1)
        forecast = self.forecast.run(campaign.id, at=cycle.created_at, horizon_days=horizon)
        policy = campaign.campaign.acquisition
        return policy.batch_galaxies * policy.votes_per_galaxy if forecast is None else int(forecast.low)
