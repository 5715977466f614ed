"""Which galaxies volunteers are asked about: the pool scored shard by shard, a batch drawn, its votes allocated."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from operator import itemgetter
from typing import Protocol

import numpy as np

from alservice.acquisition.batch import (
    Acquired,
    AcquisitionBatch,
    BatchDrawer,
    BatchPolicy,
    SurveySample,
    survey_distance,
    survey_keys,
)
from alservice.acquisition.policies import BALD, RULES, SURVEYED, easy_galaxies, policy_scores
from alservice.acquisition.requests import ABSENT, ASKED, DRAWN, Request
from alservice.acquisition.votes import (
    HISTORY_DAYS,
    MIN_DAYS,
    BudgetProposal,
    VoteForecast,
    allocate_votes,
    days_until,
    forecast_votes,
)
from alservice.campaigns.campaign import AcquisitionPolicy, Campaign
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.policies import Arm
from alservice.campaigns.store import CampaignRow
from alservice.catalogue.galaxies import Catalogue, Roll, Shard
from alservice.errors import NotFound
from alservice.ids import seed_of
from alservice.prediction.scope import Scope, question_weights
from alservice.prediction.stored import Predictions
from alservice.progress import Clock, Progress
from alservice.science.batches import survey_covariance, vote_deviations
from alservice.science.information import joint_information
from alservice.science.posterior import Posterior
from alservice.science.prediction import Prediction
from alservice.science.tree import Tree, load_tree
from alservice.shapes import BoolArray, FloatArray, IntArray
from alservice.states import SubjectState
from alservice.subjects.retire import SHOWN
from alservice.subjects.subject import Subject, SubjectLedger, VotesAsked


class Campaigns(Protocol):
    """Campaigns by name."""

    def get(self, name: str, /) -> CampaignRow:
        """Return the newest version; raises `NotFound`."""


class Catalogues(Protocol):
    """Catalogues and their galaxies."""

    def get(self, catalogue_id: int, /) -> Catalogue:
        """Return one; raises `NotFound`."""

    def roll(self, catalogue_id: int, /, *, first_row: int, limit: int) -> Roll:
        """Return some galaxies in catalogue order, from a row on."""


class PosteriorShards(Protocol):
    """Finished posterior shards of models."""

    def posterior_shards(self, model_id: int, catalogue_id: int, scope: str, /) -> Sequence[Shard]:
        """Return them in order."""


class Batches(Protocol):
    """Batches of cycles, each recorded once."""

    def get(self, cycle_id: int, /) -> Sequence[Acquired] | None:
        """Return what was drawn, None before the draw."""

    def save(
        self, cycle_id: int, batch: AcquisitionBatch, /, *, n_votes: VotesAsked, settled: Mapping[int, str]
    ) -> None:
        """Record a batch whole, and what became of requests; a cycle that has one keeps it."""


class WaitingRequests(Protocol):
    """Galaxies that people ask for."""

    def waiting(self, campaign_id: int, /) -> Sequence[Request]:
        """Return what no cycle has settled yet, first come first."""


class DailyVotes(Protocol):
    """Counted classifications per day."""

    def counted_per_day(self, campaign_id: int, /, *, since: datetime, until: datetime) -> Mapping[date, int]:
        """Return them by day (UTC), from a moment up to another."""


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
        from_requests=policy.requested_galaxies,
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


class AskedGalaxies:
    """Why galaxies of the ledger may not be drawn, in 17 bytes each: volunteers see millions in some years.

    An id is known by two independent hashes of 64 bits, which two ids do not share.

    Parameters
    ----------
    rows
        The ledger's, each once.
    """

    def __init__(self, rows: Iterable[Subject]) -> None:
        self._reasons: list[str] = []
        hashes, codes = array("q"), array("B")
        for row in rows:
            if (reason := exclusion_reason(row)) is not None:
                if reason not in self._reasons:
                    self._reasons.append(reason)
                hashes.extend(_hashes(row.galaxy_id))
                codes.append(self._reasons.index(reason))
        pairs = np.frombuffer(hashes, dtype=np.int64).reshape(-1, 2)
        order = np.argsort(pairs[:, 0], kind="stable")
        self._first, self._second = pairs[order].T
        self._codes = np.frombuffer(codes, dtype=np.uint8)[order]

    def reasons(self, galaxy_ids: Sequence[str]) -> dict[str, str]:
        """Return why some of these galaxies may not be drawn, by id."""
        if not len(self._codes):
            return {}
        hashes = np.fromiter(map(hash, galaxy_ids), dtype=np.int64, count=len(galaxy_ids))
        places = np.minimum(np.searchsorted(self._first, hashes), len(self._codes) - 1)
        found = {}
        for row in np.flatnonzero(self._first[places] == hashes).tolist():
            galaxy_id, place = galaxy_ids[row], places[row]
            if self._second[place] == _hashes(galaxy_id)[1]:
                found[galaxy_id] = self._reasons[self._codes[place]]
        return found


def _hashes(galaxy_id: str) -> tuple[int, int]:
    return hash(galaxy_id), hash(f":{galaxy_id}")


def _distance(policy: AcquisitionPolicy, survey: Posterior | None) -> float | None:
    if survey is None or policy.diversity_share == 0:
        return None
    return survey_distance(survey.embeddings, policy.diversity_share)


def _target(campaign: CampaignRow, survey: Posterior | None) -> FloatArray | None:
    """Return what a batch that is chosen together is to take away: how far draws differ on the survey."""
    policy = campaign.settings.acquisition
    if survey is None or policy.policy not in SURVEYED:
        return None
    tree = load_tree(campaign.settings.tree)
    return survey_covariance(tree, survey.concentrations, question_weights(policy, tree))


@dataclass(frozen=True, kw_only=True)
class AcquireBatch:
    """Draw a cycle's batch from the whole catalogue, one shard in memory at a time."""

    catalogues: Catalogues
    acquisitions: Batches
    requests: WaitingRequests
    ledger: SubjectLedger
    scores: ScorePool
    forecast: ForecastVotes
    progress: Progress

    def run(self, campaign: CampaignRow, cycle: Cycle) -> Sequence[Acquired]:
        """Return what the cycle drew, drawn and recorded now unless it was before."""
        drawn = self.acquisitions.get(cycle.id)
        if drawn is not None:
            return drawn
        # A first cycle draws at random alone, so that nothing else decides what it learns from.
        waiting = self.requests.waiting(campaign.id) if cycle.champion_id is not None else ()
        batch, refused = self._draw(campaign, cycle, waiting)
        votes = self._votes(campaign, cycle, batch, {each.galaxy_id: each.votes for each in waiting})
        self.acquisitions.save(cycle.id, batch, n_votes=votes, settled=self._settled(campaign, waiting, batch, refused))
        return batch.galaxies

    def _draw(
        self, campaign: CampaignRow, cycle: Cycle, waiting: Sequence[Request]
    ) -> tuple[AcquisitionBatch, Mapping[str, str]]:
        """Return the batch, and why galaxies that people asked for are not in it."""
        policy, first = campaign.settings.acquisition, cycle.champion_id is None
        survey = None if first else self._survey(campaign, cycle)
        drawer = BatchDrawer(
            batch_policy(policy, first=first, min_distance=_distance(policy, survey)),
            seed=seed_of(campaign.settings.seed, "acquisition", cycle.number),
            target=_target(campaign, survey),
            requested=[each.galaxy_id for each in waiting],
        )
        self.progress.start("score the pool", self.catalogues.get(cycle.catalogue_id).n_galaxies)
        asked = AskedGalaxies(self.ledger.of_campaign(campaign.id))
        for shard in self.scores.pool(campaign, cycle, survey):
            ids = shard.roll.galaxy_ids
            drawer.offer(
                ids,
                shard.scores,
                members=shard.roll.members,
                easy=shard.easy,
                vectors=shard.vectors,
                excluded=dict.fromkeys(shard.failed, FAILED_IMAGE) | asked.reasons(ids),
            )
            self.progress.advance(len(ids))
        self.progress.finish()
        return drawer.draw(), {**dict.fromkeys(drawer.unseen, ABSENT), **drawer.refused}

    def _settled(
        self, campaign: CampaignRow, waiting: Sequence[Request], batch: AcquisitionBatch, refused: Mapping[str, str]
    ) -> Mapping[int, str]:
        """Return what became of requests, by id; those that the batch had no place for wait on."""
        drawn = {galaxy.galaxy_id for galaxy in batch.galaxies}
        known: set[str] = set()
        if campaign.settings.zooniverse.retires and refused:
            rows = self.ledger.of_galaxies(campaign.id, list(refused))
            known = {row.galaxy_id for row in rows if row.state in SHOWN}
        found = {}
        for each in waiting:
            if each.galaxy_id in drawn:
                found[each.id] = DRAWN
            elif each.galaxy_id in refused:
                found[each.id] = ASKED if each.galaxy_id in known else refused[each.galaxy_id]
        return found

    def _survey(self, campaign: CampaignRow, cycle: Cycle) -> Posterior | None:
        """Return a sample of the survey where the policy needs one."""
        policy = campaign.settings.acquisition
        needed = policy.policy in SURVEYED or (policy.diversity_share > 0 and policy.informative_galaxies > 0)
        return self.scores.survey(campaign, cycle) if needed else None

    def _votes(
        self, campaign: CampaignRow, cycle: Cycle, batch: AcquisitionBatch, requested: Mapping[str, int]
    ) -> VotesAsked:
        """Return the votes to ask: a fixed number, or what the budget buys for each galaxy drawn for information.

        Who is drawn because people asked gets what they asked for.
        """
        policy = campaign.settings.acquisition
        fixed = {
            g.galaxy_id: requested[g.galaxy_id] if g.arm == Arm.REQUESTED else policy.votes_of(g.arm)
            for g in batch.galaxies
        }
        chosen = [galaxy.galaxy_id for galaxy in batch.galaxies if galaxy.arm == Arm.INFORMATIVE]
        if policy.allocated is None or not chosen:
            return fixed
        others = {galaxy_id: votes for galaxy_id, votes in fixed.items() if galaxy_id not in {*chosen}}
        budget = policy.allocated.budget or self._forecast(campaign, cycle)
        tiers = policy.allocated.tiers
        information = self.scores.information(campaign, cycle, chosen, tiers)
        votes = allocate_votes(information, tiers, budget - sum(others.values()))
        return others | dict(zip(chosen, votes.tolist(), strict=True))

    def _forecast(self, campaign: CampaignRow, cycle: Cycle) -> int:
        """Return the classifications that volunteers will very likely give until the deadline.

        Seen from the start of the cycle, so that a cycle that is resumed another day asks for the same.
        """
        horizon = timedelta(hours=campaign.settings.collecting.deadline_hours) / timedelta(days=1)
        forecast = self.forecast.run(campaign.id, at=cycle.created_at, horizon_days=horizon)
        policy = campaign.settings.acquisition
        return policy.fixed_votes if forecast is None else int(forecast.low)


@dataclass(frozen=True, kw_only=True)
class ForecastVotes:
    """Measure what a campaign's volunteers gave per day, and say what they will give."""

    classifications: DailyVotes

    def run(self, campaign_id: int, *, at: datetime, horizon_days: float) -> VoteForecast | None:
        """Return the forecast from a moment (UTC) on; None with less than a week of history."""
        daily = self.history(campaign_id, at=at)
        return None if len(daily) < MIN_DAYS else forecast_votes(daily, horizon_days)

    def history(self, campaign_id: int, *, at: datetime) -> IntArray:
        """Return counted classifications of up to 28 whole days (UTC) before a moment, oldest first.

        It begins with the first day that has any. Later days without any count as 0: whether volunteers stayed away
        or had nothing to classify cannot be told from the ledger.
        """
        today = datetime.combine(at.astimezone(UTC).date(), time(), UTC)
        since = today - timedelta(days=HISTORY_DAYS)
        counted = self.classifications.counted_per_day(campaign_id, since=since, until=today)
        days = [(since + timedelta(days=day)).date() for day in range(HISTORY_DAYS)]
        return np.array([counted.get(day, 0) for day in days if counted and day >= min(counted)], dtype=np.int64)


PAGE = 5_000
"""Galaxies read from SQL at a time."""

FAILED_IMAGE = "failed image"
"""Why a galaxy without a posterior is excluded."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PoolShard:
    """Some galaxies of the pool, n of them.

    Parameters
    ----------
    roll
        Their ids and streams.
    scores
        (n,) by the campaign's policy, NaN without a posterior or with policy ``random``; None before there is a
        champion.
    easy
        (n,) whether volunteers should find each easy.
    vectors
        (n, E) float16 embeddings, zero without a posterior; of a policy whose batches are chosen together the
        `vote_deviations` (n, T, A) float32. None as scores.
    failed
        Galaxies without a posterior.
    """

    roll: Roll
    scores: FloatArray | None
    easy: BoolArray
    vectors: FloatArray | None
    failed: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class ScorePool:
    """Read the champion's posterior of the whole catalogue, one shard in memory at a time."""

    catalogues: Catalogues
    models: PosteriorShards
    stored: Predictions

    def pool(self, campaign: CampaignRow, cycle: Cycle, survey: Posterior | None) -> Iterator[PoolShard]:
        """Yield every galaxy of the catalogue once, scored where there is a champion and the policy looks."""
        if cycle.champion_id is None:
            n_galaxies = self.catalogues.get(cycle.catalogue_id).n_galaxies
            for first_row in range(0, n_galaxies, PAGE):
                roll = self.catalogues.roll(cycle.catalogue_id, first_row=first_row, limit=PAGE)
                none = np.zeros(len(roll.galaxy_ids), dtype=bool)
                yield PoolShard(roll=roll, scores=None, easy=none, vectors=None, failed=frozenset())
            return
        tree = load_tree(campaign.settings.tree)
        for roll, shard in self._shards(campaign, cycle):
            n = len(roll.galaxy_ids)
            row_of = {galaxy_id: row for row, galaxy_id in enumerate(roll.galaxy_ids)}
            easy = np.zeros(n, dtype=bool)
            scores = np.full(n, np.nan)
            vectors = np.zeros((n, 0), dtype=np.float16)
            failed = frozenset(row_of)
            for found in self.stored.predictions(campaign.settings, [shard]):
                rows = [row_of[galaxy_id] for galaxy_id in found.galaxy_ids]
                easy[rows] = easy_galaxies(tree, found.mean)
                scores[rows], of_found = self._scored(campaign.settings, tree, shard, found, survey)
                vectors = np.zeros((n, *of_found.shape[1:]), dtype=of_found.dtype)
                vectors[rows] = of_found
                failed -= set(found.galaxy_ids)
            yield PoolShard(roll=roll, scores=scores, easy=easy, vectors=vectors, failed=failed)

    def survey(self, campaign: CampaignRow, cycle: Cycle) -> Posterior:
        """Return the posterior of a uniform sample of the survey; of the other galaxies no draws are made."""
        size = campaign.settings.acquisition.survey_galaxies
        seed = seed_of(campaign.settings.seed, "survey")
        # Some have no posterior: more names than are wanted, and more still where that was not enough.
        n_names = 2 * size
        while True:
            sample = SurveySample(size, seed=seed)
            shards = self._smallest(campaign, cycle, n_names, seed=seed)
            n_found = 0
            for shard, names in shards:
                for posterior in self.stored.draws(campaign.settings, [shard], names):
                    sample.offer(posterior, np.ones(len(posterior.galaxy_ids), dtype=bool))
                    n_found += len(posterior.galaxy_ids)
            if n_found >= size or sum(len(names) for _, names in shards) < n_names:
                return sample.draw()
            n_names *= 4

    def _smallest(
        self, campaign: CampaignRow, cycle: Cycle, n: int, *, seed: int
    ) -> Sequence[tuple[Shard, frozenset[str]]]:
        """Return the n unbiased galaxies that come first in a sample of the survey, shard by shard."""
        best: list[tuple[float, str, Shard]] = []
        for roll, shard in self._shards(campaign, cycle):
            keys = np.where(roll.unbiased, survey_keys(roll.galaxy_ids, seed=seed), np.inf)
            rows = np.flatnonzero(keys < (best[-1][0] if len(best) == n else np.inf)).tolist()
            if rows:
                best += [(float(keys[row]), roll.galaxy_ids[row], shard) for row in rows]
                best = sorted(best, key=itemgetter(0))[:n]
        by_shard: dict[int, tuple[Shard, list[str]]] = {}
        for _, galaxy_id, shard in best:
            by_shard.setdefault(shard.index, (shard, []))[1].append(galaxy_id)
        return [(shard, frozenset(names)) for _, (shard, names) in sorted(by_shard.items())]

    def information(
        self, campaign: CampaignRow, cycle: Cycle, galaxy_ids: Sequence[str], tiers: Sequence[int]
    ) -> FloatArray:
        """Return what each tier of votes would teach about named galaxies: (n, K) nats."""
        tree = load_tree(campaign.settings.tree)
        weights = question_weights(campaign.settings.acquisition, tree)
        place = {galaxy_id: i for i, galaxy_id in enumerate(galaxy_ids)}
        information = np.full((len(galaxy_ids), len(tiers)), np.nan)
        shards = [shard for _, shard in self._shards(campaign, cycle)]
        for posterior in self.stored.draws(campaign.settings, shards, place.keys()):
            places = [place[galaxy_id] for galaxy_id in posterior.galaxy_ids]
            for tier, n_votes in enumerate(tiers):
                information[places, tier] = joint_information(
                    tree, posterior.concentrations, n_votes, question_weights=weights
                )
        return information

    def _scored(
        self, campaign: Campaign, tree: Tree, shard: Shard, found: Prediction, survey: Posterior | None
    ) -> tuple[FloatArray | float, FloatArray]:
        """Return the scores of a shard, stored ones where they are of this policy, and what its galaxies differ by."""
        policy, weights = campaign.acquisition, question_weights(campaign.acquisition, tree)
        if policy.policy == "random":
            return np.nan, found.embeddings
        if policy.policy in BALD and found.is_scored_for(policy.votes_per_galaxy, weights):
            return found.scores, found.embeddings
        (posterior,) = self.stored.draws(campaign, [shard])
        scores = policy_scores(
            policy.policy,
            tree,
            posterior.concentrations,
            votes=policy.votes_per_galaxy,
            weights=weights,
            answer=policy.threshold_answer,
            target=None if survey is None else survey.concentrations,
        )
        if RULES[policy.policy] != "joint":
            return scores, found.embeddings
        return scores, vote_deviations(tree, posterior.concentrations, policy.votes_per_galaxy, weights)

    def _shards(self, campaign: CampaignRow, cycle: Cycle) -> Iterator[tuple[Roll, Shard]]:
        """Yield the galaxies of each shard, and what was recorded of its prediction."""
        if cycle.champion_id is None:
            raise NotFound(f"cycle {cycle.number} has no champion to score with", cycle=cycle.number)
        size = campaign.settings.images.shard_galaxies
        shards = self.models.posterior_shards(cycle.champion_id, cycle.catalogue_id, Scope.CATALOGUE)
        n_galaxies = self.catalogues.get(cycle.catalogue_id).n_galaxies
        if sum(s.n_galaxies + s.n_failed for s in shards) != n_galaxies:
            raise NotFound(f"cycle {cycle.number} has not predicted its whole catalogue", cycle=cycle.number)
        for shard in shards:
            yield self.catalogues.roll(cycle.catalogue_id, first_row=shard.index * size, limit=size), shard


@dataclass(frozen=True, kw_only=True)
class AcquisitionService:
    """Batches by expected information, and what a campaign may ask of its volunteers."""

    campaigns: Campaigns
    catalogues: Catalogues
    models: PosteriorShards
    acquisitions: Batches
    requests: WaitingRequests
    ledger: SubjectLedger
    classifications: DailyVotes
    stored: Predictions
    clock: Clock
    progress: Progress

    def acquire(self, campaign: CampaignRow, cycle: Cycle) -> Sequence[Acquired]:
        """Return what a cycle drew, drawn and recorded now unless it was before."""
        return AcquireBatch(
            catalogues=self.catalogues,
            acquisitions=self.acquisitions,
            requests=self.requests,
            ledger=self.ledger,
            scores=ScorePool(catalogues=self.catalogues, models=self.models, stored=self.stored),
            forecast=self._forecast,
            progress=self.progress,
        ).run(campaign, cycle)

    def propose_budget(self, name: str, days: float | None) -> BudgetProposal:
        """Return a budget and a deadline for a campaign's cycles, seen from now.

        Parameters
        ----------
        days
            Days to forecast; the campaign's own deadline when left out.

        Raises
        ------
        NotFound
            If the campaign is unknown, or its votes go back less than a week.
        """
        row = self.campaigns.get(name)
        policy = row.settings.acquisition
        daily = self._forecast.history(row.id, at=self.clock())
        if len(daily) < MIN_DAYS:
            raise NotFound(f"campaign {name} has {len(daily)} whole days of votes, a forecast needs {MIN_DAYS}")
        horizon = timedelta(hours=row.settings.collecting.deadline_hours) / timedelta(days=1) if days is None else days
        forecast = forecast_votes(daily, horizon)
        asked = policy.fixed_votes
        if policy.allocated is not None and policy.allocated.budget is not None:
            asked = policy.allocated.budget
        return BudgetProposal(
            forecast=forecast,
            galaxies=int(forecast.low // policy.votes_per_galaxy),
            asked=asked,
            days_needed=days_until(daily, asked),
        )

    @property
    def _forecast(self) -> ForecastVotes:
        return ForecastVotes(classifications=self.classifications)
