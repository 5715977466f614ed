"""What one tick of the stopping rule takes: all galaxies with new votes, none, and one in a hundred.

python -m tests.benchmarks.stopping_tick [SHARDS ...]

Records are in memory; posteriors are objects on disk, 30 draws of the gz2 tree in shards of 512.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from alservice.acquisition.batch import Acquired, AcquisitionBatch
from alservice.acquisition.service import batch_policy
from alservice.acquisition.stopping import StoppingService, StopReport
from alservice.campaigns.campaign import Campaign, StoppingRule, ZooniverseTarget
from alservice.campaigns.policies import Arm
from alservice.catalogue.galaxies import Galaxy, Shard, catalogue_digest
from alservice.prediction.scope import Scope
from alservice.science.posterior import Posterior
from alservice.science.votes import walked_counts
from alservice.states import SubjectState
from alservice.storage import arrays
from alservice.storage.objects import LocalObjects
from alservice.subjects.subject import draft_subject
from alservice.testing import MemoryApp
from alservice.testing.memory import CHAMPION
from alservice.testing.stores import MemoryStops, MemoryTallies
from tests.support.stopping import World, model
from tests.support.worlds import TREE

SIZE, DRAWS, FULL = 512, 30, 40


class Survey(World):
    """A cycle with every galaxy of a catalogue of some shards live, posteriors on disk."""

    def __init__(self, folder: Path, n_shards: int) -> None:
        target = ZooniverseTarget(endpoint="http://127.0.0.1:9", retirement="posterior", stopping=StoppingRule())
        campaign = Campaign(name="test", tree="gz2", zooniverse=target)
        self.memory = MemoryApp(campaign=campaign)
        self.objects = LocalObjects(folder)
        self.names = [f"g{row:07}" for row in range(n_shards * SIZE)]
        galaxies = [
            Galaxy(
                galaxy_id=name,
                row=row,
                ra_deg=None,
                dec_deg=None,
                image_key="i",
                unbiased=True,
                evaluation=row < SIZE,
            )
            for row, name in enumerate(self.names)
        ]
        row = self.memory.row
        digest = catalogue_digest(galaxies)
        self.memory.catalogues.save(row.id, source="m", digest=digest, votes_key=None, galaxies=galaxies, faults=[])
        for index in range(n_shards):
            self._predict(index, Scope.CATALOGUE)
        self._predict(0, Scope.EVALUATION)
        drafts = [draft_subject("test", 0, galaxy) for galaxy in galaxies]
        ledger = self.memory.ledger
        ledger.intend(self.cycle, drafts, n_votes=FULL)
        ledger.rows = {i: replace(row, state=SubjectState.LIVE, zooniverse_id=i) for i, row in ledger.rows.items()}
        self.batches = self.memory.batches
        drawn = [
            Acquired(galaxy_id=name, arm=Arm.INFORMATIVE, score_nats=1.0, inclusion_probability=0.5, rank=rank)
            for rank, name in enumerate(self.names, 1)
        ]
        policy = batch_policy(campaign.acquisition, first=False)
        n = len(galaxies)
        batch = AcquisitionBatch(
            galaxies=tuple(drawn), policy=policy, seed=0, offered=n, eligible=n, eligible_members=0, excluded={}
        )
        self.batches.save(1, batch, n_votes=FULL)
        self.models = self.memory.models
        self.tallies, self.stops = MemoryTallies(), MemoryStops(ledger)
        self.snapshots = {}
        self.models.models[CHAMPION] = model(CHAMPION)
        self.give(self.names[:SIZE], 40)
        self._freeze(dict(self.tallies.counts))

    @property
    def service(self) -> StoppingService:
        """The service, as a new process opens it."""
        return replace(super().service, objects=self.objects)

    def give(self, names: list[str], volunteers: int) -> None:
        """Let volunteers vote on galaxies, answers being equally likely."""
        shares = np.concatenate([np.full(part.stop - part.start, 1 / (part.stop - part.start)) for part in TREE.slices])
        counts = walked_counts(TREE, np.tile(shares, (len(names), 1)), names, volunteers=volunteers, seed=1)
        self.tallies.counts |= dict(zip(names, counts, strict=True))

    def _predict(self, index: int, scope: Scope) -> None:
        rng = np.random.default_rng(index)
        mean = rng.dirichlet(np.ones(TREE.n_answers), size=(SIZE, 1)) * 60 + 0.2
        draws = mean * np.exp(0.3 * rng.normal(size=(SIZE, DRAWS, TREE.n_answers)))
        posterior = Posterior(
            galaxy_ids=tuple(self.names[index * SIZE : (index + 1) * SIZE]),
            concentrations=draws.astype(np.float32),
            embeddings=rng.normal(size=(SIZE, 128)).astype(np.float16),
            tree_hash=TREE.hash,
            model="memory",
        )
        stored = self.objects.put(arrays.encode_posterior(posterior), kind="posteriors", suffix=".parquet")
        shard = Shard(index=index, key=stored.key, n_galaxies=SIZE, n_failed=0)
        self.memory.models.save_posterior_shard(CHAMPION, 1, scope, shard)

    def _freeze(self, counts: dict[str, np.ndarray]) -> None:
        self.memory.objects = self.objects
        self.teach(counts)


def timed(survey: Survey, what: str) -> None:
    """Print what one tick takes."""
    begun = time.process_time()
    report: StopReport = survey.tick()
    seconds = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"| {len(survey.names):,} | {what} | {report.evaluated:,} | {report.stopped:,} | {seconds:.2f} | {peak:.0f} |"
    )


def main() -> None:
    """Print a table."""
    print("| live galaxies | tick | evaluated | stopped | CPU s | peak MiB |\n|---|---|---|---|---|---|")
    for n_shards in [int(word) for word in sys.argv[1:]] or [2, 8]:
        with tempfile.TemporaryDirectory() as folder:
            survey = Survey(Path(folder), n_shards)
            survey.give(survey.names[SIZE:], 5)
            timed(survey, "first, with the fit of the factors")
            timed(survey, "nothing new")
            survey.give(survey.names[SIZE::100], 8)
            timed(survey, "one in 100 has new votes")
            survey.give(survey.names[SIZE:], 11)
            timed(survey, "all have new votes")


if __name__ == "__main__":
    main()
