"""A cycle's catalogue, shard by shard, with what its champion says about every galaxy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from alservice.acquisition.policies import easy_galaxies, policy_scores
from alservice.acquisition.survey import SurveySample
from alservice.campaigns.acquisition_policy import AcquisitionPolicy
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.cycle_store import CatalogueStore, ModelStore
from alservice.campaigns.records import CampaignRow
from alservice.catalogue.galaxies import Galaxy
from alservice.errors import NotFound
from alservice.ids import seed_of
from alservice.prediction.service import Scope
from alservice.science.posterior import Posterior
from alservice.science.tree import Tree, load_tree
from alservice.science.tree_information import tree_information
from alservice.shapes import BoolArray, FloatArray
from alservice.storage import ArrayCodec, ObjectStore

PAGE = 5_000
"""Galaxies read from SQL at a time."""

FAILED_IMAGE = "failed image"
"""Why a galaxy without a posterior is excluded."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PoolShard:
    """Some galaxies of the pool, n of them.

    Parameters
    ----------
    scores
        (n,) by the campaign's policy, NaN without a posterior or with policy ``random``; None before there is a
        champion.
    easy
        (n,) whether volunteers should find each easy.
    embeddings
        (n, E) float16, zero without a posterior; None as scores.
    failed
        Galaxies without a posterior.
    """

    galaxies: Sequence[Galaxy]
    scores: FloatArray | None
    easy: BoolArray
    embeddings: FloatArray | None
    failed: frozenset[str]


def question_weights(policy: AcquisitionPolicy, tree: Tree) -> FloatArray:
    """Return the science weight (Q,) of every question; nobody is asked a superseded one, so it weighs nothing."""
    weights = policy.question_weights
    return np.array([0.0 if q.superseded else weights.get(q.name, 1.0) for q in tree.questions])


@dataclass(frozen=True, kw_only=True)
class ScorePool:
    """Read the champion's posterior of the whole catalogue, one shard in memory at a time."""

    catalogues: CatalogueStore
    models: ModelStore
    objects: ObjectStore
    arrays: ArrayCodec

    def pool(self, campaign: CampaignRow, cycle: Cycle, survey: Posterior | None) -> Iterator[PoolShard]:
        """Yield every galaxy of the catalogue once, scored where there is a champion and the policy looks."""
        if cycle.champion_id is None:
            n_galaxies = self.catalogues.get(cycle.catalogue_id).n_galaxies
            for first_row in range(0, n_galaxies, PAGE):
                galaxies = self.catalogues.galaxies(cycle.catalogue_id, first_row=first_row, limit=PAGE)
                none = np.zeros(len(galaxies), dtype=bool)
                yield PoolShard(galaxies=galaxies, scores=None, easy=none, embeddings=None, failed=frozenset())
            return
        tree = load_tree(campaign.campaign.tree)
        for galaxies, posterior in self._shards(campaign, cycle):
            row_of = {galaxy.galaxy_id: row for row, galaxy in enumerate(galaxies)}
            rows = [row_of[galaxy_id] for galaxy_id in posterior.galaxy_ids]
            easy = np.zeros(len(galaxies), dtype=bool)
            easy[rows] = easy_galaxies(tree, posterior.concentrations)
            embeddings = np.zeros((len(galaxies), posterior.embeddings.shape[1]), dtype=np.float16)
            embeddings[rows] = posterior.embeddings
            scores = np.full(len(galaxies), np.nan)
            scores[rows] = self._scores(campaign.campaign.acquisition, tree, posterior, survey)
            failed = frozenset(row_of) - set(posterior.galaxy_ids)
            yield PoolShard(galaxies=galaxies, scores=scores, easy=easy, embeddings=embeddings, failed=failed)

    def survey(self, campaign: CampaignRow, cycle: Cycle) -> Posterior:
        """Return the posterior of a uniform sample of the survey."""
        sample = SurveySample(
            campaign.campaign.acquisition.survey_galaxies, seed=seed_of(campaign.campaign.seed, "survey")
        )
        for galaxies, posterior in self._shards(campaign, cycle):
            unbiased = {g.galaxy_id for g in galaxies if g.unbiased}
            sample.offer(posterior, np.array([name in unbiased for name in posterior.galaxy_ids], dtype=bool))
        return sample.draw()

    def information(
        self, campaign: CampaignRow, cycle: Cycle, galaxy_ids: Sequence[str], tiers: Sequence[int]
    ) -> FloatArray:
        """Return what each tier of votes would teach about named galaxies: (n, K) nats."""
        tree = load_tree(campaign.campaign.tree)
        weights = question_weights(campaign.campaign.acquisition, tree)
        place = {galaxy_id: i for i, galaxy_id in enumerate(galaxy_ids)}
        information = np.full((len(galaxy_ids), len(tiers)), np.nan)
        for _, posterior in self._shards(campaign, cycle):
            rows = [row for row, name in enumerate(posterior.galaxy_ids) if name in place]
            if rows:
                places = [place[posterior.galaxy_ids[row]] for row in rows]
                for tier, n_votes in enumerate(tiers):
                    information[places, tier] = tree_information(tree, posterior.concentrations[rows], n_votes, weights)
        return information

    @staticmethod
    def _scores(
        policy: AcquisitionPolicy, tree: Tree, posterior: Posterior, survey: Posterior | None
    ) -> FloatArray | float:
        if policy.policy == "random":
            return np.nan
        return policy_scores(
            policy.policy,
            tree,
            posterior.concentrations,
            votes=policy.votes_per_galaxy,
            weights=question_weights(policy, tree),
            answer=policy.threshold_answer,
            target=None if survey is None else survey.concentrations,
        )

    def _shards(self, campaign: CampaignRow, cycle: Cycle) -> Iterator[tuple[Sequence[Galaxy], Posterior]]:
        """Yield the galaxies of each shard, and the posterior of those that have one."""
        if cycle.champion_id is None:
            raise NotFound(f"cycle {cycle.number} has no champion to score with", cycle=cycle.number)
        size = campaign.campaign.images.shard_galaxies
        shards = self.models.posterior_shards(cycle.champion_id, cycle.catalogue_id, Scope.CATALOGUE)
        n_galaxies = self.catalogues.get(cycle.catalogue_id).n_galaxies
        if sum(s.n_galaxies + s.n_failed for s in shards) != n_galaxies:
            raise NotFound(f"cycle {cycle.number} has not predicted its whole catalogue", cycle=cycle.number)
        for shard in shards:
            galaxies = self.catalogues.galaxies(cycle.catalogue_id, first_row=shard.index * size, limit=size)
            yield galaxies, self.arrays.decode_posterior(self.objects.get(shard.key))
