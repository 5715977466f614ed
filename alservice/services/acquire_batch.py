"""Posterior shards -> the cycle's batch: scored by information, drawn with recorded inclusion probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from alservice.core.acquisition import tree_information
from alservice.core.batches import Acquired, BatchDrawer, BatchPolicy
from alservice.core.campaign import AcquisitionPolicy
from alservice.core.catalogues import Galaxy
from alservice.core.cycles import Cycle
from alservice.core.ids import seed_of
from alservice.core.records import CampaignRow
from alservice.core.tree import Tree, load_tree
from alservice.errors import NotFound
from alservice.ports import AcquisitionStore, CatalogueStore, ModelStore, Progress, SubjectLedger
from alservice.services.predict_catalogue import PredictCatalogue, Scope
from alservice.shapes import FloatArray

PAGE = 5_000
"""Galaxies read from SQL at a time."""


def batch_policy(policy: AcquisitionPolicy, *, first: bool) -> BatchPolicy:
    """Return the arms of a cycle: a first one draws at random, to train on and to judge with."""
    if first:
        return BatchPolicy(
            rule="top",
            informative=0,
            random=policy.initial_galaxies,
            evaluation=policy.initial_evaluation_galaxies,
            members_in_random=policy.initial_evaluation_galaxies == 0,
        )
    random = policy.batch_galaxies if policy.policy == "random" else round(policy.random_share * policy.batch_galaxies)
    return BatchPolicy(
        rule="top" if policy.policy == "random" else policy.policy,
        beta=policy.beta,
        informative=policy.batch_galaxies - random,
        random=random,
    )


def question_weights(policy: AcquisitionPolicy, tree: Tree) -> FloatArray:
    """Return the science weight (Q,) of every question; nobody is asked a superseded one, so it weighs nothing."""
    weights = policy.question_weights
    return np.array([0.0 if q.superseded else weights.get(q.name, 1.0) for q in tree.questions])


@dataclass(frozen=True, kw_only=True)
class AcquireBatch:
    """Draw a cycle's batch from the whole catalogue, one shard in memory at a time."""

    catalogues: CatalogueStore
    models: ModelStore
    acquisitions: AcquisitionStore
    ledger: SubjectLedger
    predict: PredictCatalogue
    progress: Progress

    def run(self, campaign: CampaignRow, cycle: Cycle) -> Sequence[Acquired]:
        """Return what the cycle drew, drawn and recorded now unless it was before."""
        drawn = self.acquisitions.get(cycle.id)
        if drawn is not None:
            return drawn
        policy = campaign.campaign.acquisition
        drawer = BatchDrawer(
            batch_policy(policy, first=cycle.champion_id is None),
            seed=seed_of(campaign.campaign.seed, "acquisition", cycle.number),
        )
        rows = self.ledger.of_campaign(campaign.id)
        excluded = {row.galaxy_id: str(row.state) for row in rows if not row.may_return}
        for galaxies, scores in self._pool(campaign, cycle):
            drawer.offer(
                [g.galaxy_id for g in galaxies],
                scores,
                members=np.array([g.evaluation for g in galaxies]),
                excluded={g.galaxy_id: excluded[g.galaxy_id] for g in galaxies if g.galaxy_id in excluded},
            )
            self.progress.advance(len(galaxies))
        self.progress.finish()
        batch = drawer.draw()
        self.acquisitions.save(cycle.id, batch, n_votes=policy.votes_per_galaxy)
        return batch.galaxies

    def _pool(self, campaign: CampaignRow, cycle: Cycle) -> Iterator[tuple[Sequence[Galaxy], FloatArray | None]]:
        """Yield galaxies with their scores (nats), or without scores before there is a champion."""
        catalogue = self.catalogues.get(cycle.catalogue_id)
        self.progress.start("score by information", catalogue.n_galaxies)
        if cycle.champion_id is None:
            for first_row in range(0, catalogue.n_galaxies, PAGE):
                yield self.catalogues.galaxies(catalogue.id, first_row=first_row, limit=PAGE), None
            return
        tree = load_tree(campaign.campaign.tree)
        policy = campaign.campaign.acquisition
        weights = question_weights(policy, tree)
        shards = self.models.posterior_shards(cycle.champion_id, catalogue.id, Scope.CATALOGUE)
        if sum(s.n_galaxies + s.n_failed for s in shards) != catalogue.n_galaxies:
            raise NotFound(f"cycle {cycle.number} has not predicted its whole catalogue", cycle=cycle.number)
        for posterior in self.predict.posteriors(shards):
            scores = tree_information(tree, posterior.concentrations, policy.votes_per_galaxy, weights)
            yield self.catalogues.by_id(catalogue.id, posterior.galaxy_ids), scores
