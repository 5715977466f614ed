"""A campaign in memory, built step by step, with the services that work on its stores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any, Self

import numpy as np

from alservice.acquisition.batch import AcquisitionBatch
from alservice.acquisition.requests import Wanted, Why
from alservice.acquisition.service import AcquisitionService
from alservice.campaigns.campaign import AcquisitionPolicy, Campaign, ImagePolicy, ZooniverseTarget
from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.store import CampaignRow
from alservice.catalogue.galaxies import Galaxy, Shard, catalogue_digest
from alservice.errors import BadInput
from alservice.prediction.scope import Scope
from alservice.prediction.stored import Predictions
from alservice.progress import NoProgress
from alservice.science.posterior import Posterior, take
from alservice.science.tree import Tree, load_tree
from alservice.states import SubjectState
from alservice.storage import arrays
from alservice.subjects.subject import draft_subject
from alservice.testing.stores import (
    MemoryBatches,
    MemoryCampaigns,
    MemoryCatalogues,
    MemoryDailyVotes,
    MemoryLedger,
    MemoryObjects,
    MemoryPosteriors,
)

SHARD_GALAXIES = 8
"""Galaxies of a shard: a few, so that small catalogues have several."""

CHAMPION = 1
"""Id of the model that posteriors are of."""


def memory_campaign(**policy: Any) -> Campaign:
    """Return decisions for a catalogue of dozens: batches of twelve, with an easy arm, and no allocation.

    Parameters
    ----------
    policy
        Fields of `AcquisitionPolicy` that are different.
    """
    fields: dict[str, Any] = {"batch_galaxies": 12, "votes_per_galaxy": 20, "survey_galaxies": 10, "easy_share": 0.1}
    return Campaign(
        name="test",
        tree="gz2",
        images=ImagePolicy(size_px=16, shard_galaxies=SHARD_GALAXIES),
        acquisition=AcquisitionPolicy(**{**fields, **policy}),
        zooniverse=ZooniverseTarget(endpoint="http://127.0.0.1:9", retirement="own"),
    )


@dataclass
class MemoryApp:
    """Stores of one campaign in memory; every builder returns the application, so that calls can be chained.

    Parameters
    ----------
    campaign
        Decisions; of the synthetic default where left out.
    now
        What the clock says (UTC).

    Examples
    --------
    >>> from alservice.testing import MemoryApp
    >>> memory = MemoryApp().catalogue(48).posterior(seed=7).subject("g07", state="withdrawn")
    >>> batch, votes = memory.acquire()
    >>> batch.excluded, "g07" in {galaxy.galaxy_id for galaxy in batch.galaxies}
    ({'withdrawn': 1}, False)
    """

    campaign: Campaign = field(default_factory=memory_campaign)
    now: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC)
    campaigns: MemoryCampaigns = field(default_factory=MemoryCampaigns)
    catalogues: MemoryCatalogues = field(default_factory=MemoryCatalogues)
    models: MemoryPosteriors = field(default_factory=MemoryPosteriors)
    batches: MemoryBatches = field(default_factory=MemoryBatches)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    daily_votes: MemoryDailyVotes = field(default_factory=MemoryDailyVotes)
    objects: MemoryObjects = field(default_factory=MemoryObjects)

    @property
    def tree(self) -> Tree:
        """The campaign's question tree."""
        return load_tree(self.campaign.tree)

    @property
    def row(self) -> CampaignRow:
        """The campaign as it is stored."""
        return self.campaigns.save(self.campaign)

    @property
    def galaxies(self) -> tuple[Galaxy, ...]:
        """All galaxies of the newest catalogue."""
        return tuple(self.catalogues.galaxies(self._catalogue_id))

    @property
    def cycle(self) -> Cycle:
        """Cycle 0, acquiring; with a champion once there is a posterior."""
        return Cycle(
            id=1,
            campaign_id=self.row.id,
            campaign_version=self.row.version,
            catalogue_id=self._catalogue_id,
            number=0,
            state=CycleState.ACQUIRING,
            left_from=None,
            champion_id=CHAMPION if self.models.shards else None,
            candidate_id=None,
            deadline=None,
            created_at=self.now,
            updated_at=self.now,
        )

    @cached_property
    def acquisition(self) -> AcquisitionService:
        """The service that scores and draws."""
        return AcquisitionService(
            campaigns=self.campaigns,
            catalogues=self.catalogues,
            models=self.models,
            acquisitions=self.batches,
            requests=self.batches.requests,
            ledger=self.ledger,
            classifications=self.daily_votes,
            stored=Predictions(objects=self.objects),
            clock=lambda: self.now,
            progress=NoProgress(),
        )

    def catalogue(self, n: int) -> Self:
        """Add a catalogue of galaxies ``g00``, ``g01``, ...: half unbiased, a sixth evaluation members."""
        galaxies = [
            Galaxy(
                row=row,
                galaxy_id=f"g{row:02}",
                ra_deg=None,
                dec_deg=None,
                image_key=f"images/{row}",
                unbiased=row % 2 == 0,
                evaluation=row % 6 == 0,
            )
            for row in range(n)
        ]
        digest = catalogue_digest(galaxies)
        self.catalogues.save(self.row.id, source="memory", digest=digest, votes_key=None, galaxies=galaxies, faults=[])
        return self

    def posterior(self, *, seed: int, draws: int = 6, failed: Collection[str] = (), shards: int | None = None) -> Self:
        """Add the champion's posterior of the catalogue, drawn from a seed.

        Volunteers would agree on every fourth galaxy; embeddings come in threes that are copies.

        Parameters
        ----------
        draws
            T draws per galaxy.
        failed
            Ids without a posterior, as of images that could not be read.
        shards
            Keep only so many shards, the last ones; all where None.
        """
        posterior = self.drawn_posterior(seed=seed, draws=draws)
        galaxies = self.galaxies
        starts = range(0, len(galaxies), SHARD_GALAXIES)
        for index, start in list(enumerate(starts))[-(shards or len(starts)) :]:
            rows = range(start, min(start + SHARD_GALAXIES, len(galaxies)))
            kept = np.array([row for row in rows if galaxies[row].galaxy_id not in failed])
            stored = self.objects.put(arrays.encode_posterior(take(posterior, kept)), kind="posteriors", suffix=".npz")
            shard = Shard(index=index, key=stored.key, n_galaxies=len(kept), n_failed=len(rows) - len(kept))
            self.models.save_posterior_shard(CHAMPION, self._catalogue_id, Scope.CATALOGUE, shard)
        return self

    def drawn_posterior(self, *, seed: int, draws: int = 6) -> Posterior:
        """Return what `posterior` stores, whole: (N, T, A) concentrations and (N, 4) embeddings."""
        rng = np.random.default_rng(seed)
        galaxies, tree = self.galaxies, self.tree
        n, a = len(galaxies), tree.n_answers
        spread = rng.uniform(0.1, 1.5, (n, 1, 1))
        concentrations = np.exp(1 + rng.normal(size=(n, 1, a)) + spread * rng.normal(size=(n, draws, a)))
        concentrations[::4, :, 0] *= 200
        return Posterior(
            galaxy_ids=tuple(galaxy.galaxy_id for galaxy in galaxies),
            concentrations=concentrations.astype(np.float32),
            embeddings=np.repeat(rng.normal(size=(n, 4)), 3, axis=0)[:n].astype(np.float16),
            tree_hash=tree.hash,
            model="memory",
        )

    def subject(self, galaxy_id: str, *, state: str, reason: str | None = None) -> Self:
        """Add a galaxy to the ledger in a state, such as ``live`` or ``withdrawn``, with the reason why it is there."""
        known = {galaxy.galaxy_id: galaxy for galaxy in self.galaxies}
        if galaxy_id not in known:
            raise BadInput(f"the catalogue has no galaxy {galaxy_id!r}", galaxy=galaxy_id)
        draft = draft_subject(self.campaign.name, 0, known[galaxy_id])
        (row,) = self.ledger.plan(self.cycle, [draft], n_votes=self.campaign.acquisition.votes_per_galaxy)
        self.ledger.rows[row.id] = replace(row, state=SubjectState(state), error=reason)
        return self

    def request(self, *galaxy_ids: str, votes: int | None = None) -> Self:
        """Let a person ask for galaxies, as many as the campaign's budget for requests has votes for."""
        policy = self.campaign.acquisition
        asked = policy.votes_per_galaxy if votes is None else votes
        wanted = [Wanted(galaxy_id=galaxy_id, votes=asked, cost=asked) for galaxy_id in galaxy_ids]
        why = Why(selection="memory", reason="they are odd", actor="memory")
        budget = policy.requested_votes
        self.batches.requests.send(self.row.id, wanted, why, budget=budget, refused=Counter())
        return self

    def votes_per_day(self, per_day: Mapping[date, int]) -> Self:
        """Set how many classifications were counted on each day (UTC)."""
        self.daily_votes.per_day = dict(per_day)
        return self

    def acquire(self) -> tuple[AcquisitionBatch, Mapping[str, int]]:
        """Draw the batch of the cycle; return it, and the votes asked of each galaxy."""
        cycle = self.cycle
        self.acquisition.acquire(self.row, cycle)
        return self.batches.rows[cycle.id]

    @property
    def _catalogue_id(self) -> int:
        newest = self.catalogues.newest(self.row.id)
        if newest is None:
            raise BadInput("there is no catalogue yet: call catalogue(n) first")
        return newest.id
