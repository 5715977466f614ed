"""A cycle in memory whose galaxies may stop before their full number of votes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from alservice.acquisition.batch import Acquired, AcquisitionBatch
from alservice.acquisition.service import batch_policy
from alservice.acquisition.stopping import Asking, StoppingService, StopReport
from alservice.campaigns.campaign import StoppingRule, ZooniverseTarget
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.policies import Arm
from alservice.campaigns.store import Event
from alservice.catalogue.galaxies import Shard
from alservice.errors import ObjectStoreUnavailable
from alservice.prediction.scope import Scope
from alservice.registry.records import Model, TrainingSnapshot
from alservice.science.posterior import Posterior, fraction_draws, take
from alservice.science.votes import walked_counts
from alservice.states import ModelState, SubjectState
from alservice.storage import arrays
from alservice.testing import MemoryApp, memory_campaign
from alservice.testing.memory import CHAMPION, SHARD_GALAXIES
from alservice.testing.stores import MemoryBatches, MemoryObjects, MemoryPosteriors, MemoryStops, MemoryTallies
from tests.support.worlds import NOON, TREE

N, FULL = 48, 20
SMOOTH, FEATURED = TREE.columns[0], TREE.columns[1]
FIRST = TREE.questions[0].name
RULE = StoppingRule(confidence=0.9, min_votes=2, questions=(FIRST,))


def votes(smooth: int, featured: int = 0) -> np.ndarray:
    """Return votes on the first question, and on roundness of all who said smooth."""
    counts = np.zeros(TREE.n_answers, dtype=np.int64)
    counts[[0, 1]] = smooth, featured
    counts[TREE.columns.index("how-rounded_round")] = smooth
    return counts


@dataclass
class Reads:
    """Objects that count how often each is read, and may be out of reach."""

    inner: MemoryObjects
    read: list[str]
    down: bool = False

    def get(self, key: str) -> bytes:
        """Return bytes."""
        if self.down:
            raise ObjectStoreUnavailable("the object store does not answer")
        self.read.append(key)
        return self.inner.get(key)


class World:
    """A cycle that collects: every galaxy is live, and drawn for information where it is no member."""

    def __init__(self, rule: StoppingRule | None = RULE, *, arm: Arm = Arm.INFORMATIVE, champion: bool = True) -> None:
        target = ZooniverseTarget(endpoint="http://127.0.0.1:9", retirement="posterior", stopping=rule)
        campaign = replace(memory_campaign(votes_per_galaxy=FULL), zooniverse=target)
        self.memory = MemoryApp(campaign=campaign).catalogue(N)
        self.posterior = self.memory.drawn_posterior(seed=7)
        # Certain of every fourth galaxy; of the others the model knows nothing that ten votes would not outweigh.
        self.posterior.concentrations[:, :, :3] = np.where(
            np.arange(N)[:, None, None] % 4 == 0, [14, 2, 0.5], [2, 2, 0.2]
        )
        if champion:
            self.keep(self.posterior, Scope.CATALOGUE)
            self.keep(self.posterior, Scope.EVALUATION)
        for galaxy in self.memory.galaxies:
            self.memory.subject(galaxy.galaxy_id, state="live")
        drawn = tuple(
            Acquired(
                galaxy_id=galaxy.galaxy_id,
                arm=Arm.RANDOM if galaxy.evaluation else arm,
                score_nats=None if galaxy.evaluation or arm is not Arm.INFORMATIVE else 1.0,
                inclusion_probability=0.5,
                rank=rank,
            )
            for rank, galaxy in enumerate(self.memory.galaxies, 1)
        )
        batch = AcquisitionBatch(
            galaxies=drawn,
            policy=batch_policy(campaign.acquisition, first=False),
            seed=0,
            offered=N,
            eligible=N,
            eligible_members=0,
            excluded={},
        )
        self.batches = MemoryBatches()
        self.batches.save(1, batch, n_votes=FULL)
        self.models: MemoryPosteriors = self.memory.models
        self.objects = Reads(self.memory.objects, [])
        self.tallies, self.stops = MemoryTallies(), MemoryStops(self.memory.ledger)
        self.snapshots: dict[int, TrainingSnapshot] = {}
        self.teach(self.member_votes())
        self.models.models[CHAMPION] = model(CHAMPION)

    @property
    def cycle(self) -> Cycle:
        """The open cycle."""
        return self.memory.cycle

    @property
    def service(self) -> StoppingService:
        """The service on these stores, as a new process opens it."""
        return StoppingService(
            campaigns=self.memory.campaigns,
            catalogues=self.memory.catalogues,
            cycles=self,
            models=self.models,
            snapshots=self,
            acquisitions=self.batches,
            ledger=self.memory.ledger,
            stops=self.stops,
            objects=self.objects,
            votes=lambda _campaign: self.tallies,
            clock=lambda: NOON,
        )

    def get(self, cycle_id: int) -> Cycle:
        """Return the open cycle, or the one that trained the champion."""
        return replace(self.cycle, id=cycle_id)

    def of_cycle(self, cycle_id: int) -> TrainingSnapshot | None:
        """Return the snapshot of a cycle."""
        return self.snapshots.get(cycle_id)

    def keep(self, posterior: Posterior, scope: Scope, *, model_id: int = CHAMPION) -> None:
        """Store a posterior shard by shard, members alone where that is the scope."""
        for index, start in enumerate(range(0, N, SHARD_GALAXIES)):
            galaxies = self.memory.galaxies[start : start + SHARD_GALAXIES]
            rows = np.array([g.row for g in galaxies if g.evaluation or scope is Scope.CATALOGUE], dtype=np.int64)
            data = arrays.encode_posterior(take(posterior, rows))
            stored = self.memory.objects.put(data, kind="posteriors", suffix=".parquet")
            shard = Shard(index=index, key=stored.key, n_galaxies=len(rows), n_failed=0)
            self.memory.models.save_posterior_shard(model_id, 1, scope, shard)

    def member_votes(self) -> dict[str, np.ndarray]:
        """Return votes of evaluation members as the champion expects them: forty each."""
        members = [g for g in self.memory.galaxies if g.evaluation]
        shares = fraction_draws(TREE, self.posterior, seed=1)[:, 0]
        names = [g.galaxy_id for g in members]
        counts = walked_counts(TREE, shares[[g.row for g in members]], names, volunteers=40, seed=1)
        return dict(zip(names, counts, strict=True))

    def teach(self, counts: Mapping[str, np.ndarray]) -> None:
        """Freeze votes as those that the champion was trained with and judged on."""
        names = tuple(sorted(counts))
        stacked = np.array([counts[name] for name in names]).reshape(len(names), TREE.n_answers)
        data = arrays.encode_counts(names, stacked, TREE.columns)
        key = self.memory.objects.put(data, kind="tallies", suffix=".parquet").key
        self.snapshots[0] = TrainingSnapshot(
            id=1,
            cycle_id=0,
            key=key,
            digest="d",
            n_galaxies=len(names),
            n_votes=int(stacked.sum()),
            reducer="r",
            n_inconsistent=0,
        )

    def vote(self, **counts: np.ndarray) -> None:
        """Set the votes of galaxies."""
        self.tallies.counts |= counts

    def tick(self) -> StopReport:
        """Decide, as each ingest does."""
        return self.service.decide(self.memory.row, self.cycle, actor="test")

    def asking(self, galaxy_id: str) -> Asking:
        """Return what a page shows of a galaxy."""
        found = self.service.galaxy("test", galaxy_id)
        assert found is not None
        return found

    def told(self, kind: str) -> list[dict[str, Any]]:
        """Return the details of events of a kind."""
        return [dict(event.detail) for event in self.stops.events if event.kind == kind]

    def move(self, galaxy_id: str, to: SubjectState) -> None:
        """Move a galaxy's row."""
        row = self.memory.ledger.of_galaxy(1, galaxy_id)
        assert row is not None
        self.memory.ledger.mark([row], to, zooniverse_ids={row.id: 100 + row.id})

    def identify(self, galaxy_id: str) -> None:
        """Let a galaxy have the Zooniverse id that `move` gives it."""
        row = self.memory.ledger.of_galaxy(1, galaxy_id)
        assert row is not None
        self.memory.ledger.rows[row.id] = replace(row, zooniverse_id=100 + row.id)

    def record(self, event: Event) -> None:
        """Keep an event."""
        self.stops.events.append(event)


def model(model_id: int, *, digest: str = "memory") -> Model:
    """Return a model that an earlier cycle trained."""
    return Model(
        id=model_id,
        campaign_id=1,
        cycle_id=0,
        cycle_number=0,
        snapshot_id=1,
        key="k",
        digest=digest,
        state=ModelState.CHAMPION,
        card={},
        created_at=NOON,
    )
