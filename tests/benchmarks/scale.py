"""A week of a survey of any size, without images: galaxies scored, a batch drawn and recorded, in flat memory.

Scoring, drawing and bookkeeping are what the loop calls: `policy_scores`, `AcquireBatch`, and stores in Postgres. Galaxies
are synthetic: ids, membership of the evaluation stream, and posteriors of 30 draws on the tree of GZ2, which
repeat after 32,000 (each is scored anew; a repeated posterior takes as long as a new one). Scores are kept in a folder as
the predictions of the loop keep theirs: a run that was killed goes on from there (``--folder``). ``--scored N`` scores so
many galaxies and lets the others have their scores, for a survey whose scoring takes hours; the table says so.

Run: ``python -m tests.benchmarks.scale --galaxies 100000000``
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sqlalchemy import Engine, text

from alservice.acquisition.batch import Acquired
from alservice.acquisition.policies import easy_galaxies, policy_scores
from alservice.acquisition.request_store import SqlRequestStore
from alservice.acquisition.service import AcquireBatch, ForecastVotes, PoolShard
from alservice.acquisition.store import AcquisitionStore
from alservice.campaigns.campaign import AcquisitionPolicy, Campaign
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.cycle_store import CycleStore
from alservice.campaigns.policies import Arm
from alservice.campaigns.store import CampaignRow, CampaignStore
from alservice.catalogue.galaxies import Catalogue, Galaxy, Roll
from alservice.catalogue.store import CatalogueStore
from alservice.prediction.scope import question_weights
from alservice.progress import Progress, process_progress, utc_now
from alservice.science.posterior import Posterior, answer_probabilities
from alservice.science.tree import load_tree
from alservice.shapes import BoolArray, FloatArray, IntArray
from alservice.storage.postgres import make_engine, transaction
from alservice.storage.run_folder import RunFolder, claim_folder
from alservice.subjects.ledger import SqlSubjectLedger
from alservice.subjects.subject import draft_subject
from alservice.votes.store import ClassificationStore
from tests.support.posteriors import network_posterior
from tests.support.postgres import migrated_database

TREE = load_tree("gz2")
SHARD = 2_000
BANK = 16
"""Shards of different posteriors; later shards repeat them."""

DIMENSIONS = 64
MEMBERS = 0.001
"""Share of the evaluation stream."""

KEEP_EVERY = 50
"""Shards after which scores are safe."""

SCORES, DONE = "scores.f32", "done"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What one stage took: galaxies, seconds of the clock and of this process, and its peak memory so far (MiB)."""

    name: str
    galaxies: int
    elapsed_s: float
    cpu_s: float
    peak_mib: float

    def row(self) -> str:
        """Return the stage as a line of a table."""
        rate = self.galaxies / max(self.cpu_s, 1e-9)
        return (
            f"| {self.name} | {self.galaxies:,} | {self.elapsed_s:.1f} | {self.cpu_s:.1f} | {rate:,.0f} "
            f"| {self.peak_mib:,.0f} |"
        )


@dataclass(frozen=True, kw_only=True)
class Week:
    """One run.

    Parameters
    ----------
    population
        Galaxies that the informative arm's inclusion probabilities say there are: the sum of their inverses.
    expected
        Galaxies that it could draw.
    postgres_bytes
        Size of the database at the end.
    """

    stages: tuple[Stage, ...]
    drawn: int
    excluded: int
    population: float
    expected: int
    postgres_bytes: int


class Sky:
    """Synthetic galaxies by number; shards as prediction makes them."""

    def __init__(self, n_galaxies: int, seed: int) -> None:
        self.n_galaxies, self.seed = n_galaxies, seed
        n_rows = min(SHARD, n_galaxies)
        rng = np.random.default_rng(seed)
        self._bank = [network_posterior(TREE, n_rows, seed=seed + i) for i in range(min(BANK, self.n_shards))]
        self._easy = [easy_galaxies(TREE, answer_probabilities(TREE, draws).mean(axis=1)) for draws in self._bank]
        self._embeddings = [rng.normal(size=(n_rows, DIMENSIONS)).astype(np.float16) for _ in self._bank]

    @property
    def n_shards(self) -> int:
        """Shards in all, the last may be shorter."""
        return -(-self.n_galaxies // SHARD)

    def rows(self, shard: int) -> int:
        """Return the galaxies of a shard."""
        return min(SHARD, self.n_galaxies - shard * SHARD)

    def draws(self, shard: int) -> FloatArray:
        """Return posteriors (n, T, A)."""
        return self._bank[shard % len(self._bank)][: self.rows(shard)]

    def pool(self, shard: int, scores: FloatArray) -> PoolShard:
        """Return a shard as drawing takes it."""
        n, place = self.rows(shard), shard % len(self._bank)
        return PoolShard(
            roll=self.roll(shard * SHARD, n),
            scores=scores,
            easy=self._easy[place][:n],
            vectors=self._embeddings[place][:n],
            failed=frozenset(),
        )

    def galaxy(self, number: int) -> Galaxy:
        """Return one galaxy."""
        name = f"s{number:010}"
        return Galaxy(
            galaxy_id=name,
            row=number,
            ra_deg=None,
            dec_deg=None,
            image_key="",
            unbiased=True,
            evaluation=bool(self.members(np.array([number]))[0]),
        )

    def members(self, numbers: IntArray) -> BoolArray:
        """Return which galaxies (n,) are members of the evaluation stream: a fixed share, as read from a table."""
        mixed = (numbers + self.seed).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(32)
        chosen: BoolArray = mixed * np.uint64(0xD6E8FEB86659FD93) < np.uint64(MEMBERS * 2**64)
        return chosen

    def roll(self, first: int, n: int) -> Roll:
        """Return galaxies from one on, by id."""
        names = [f"s{number:010}" for number in range(first, first + n)]
        members = self.members(np.arange(first, first + n))
        return Roll(galaxy_ids=names, unbiased=np.ones(n, dtype=bool), members=members)

    def survey(self) -> Posterior:
        """Return a sample of the sky."""
        names = tuple(self.galaxy(row).galaxy_id for row in range(self.rows(0)))
        return Posterior(
            galaxy_ids=names,
            concentrations=self.draws(0),
            embeddings=self._embeddings[0][: len(names)],
            tree_hash=TREE.hash,
            model="sky",
        )


class KeptScores:
    """Scores in a file, shard by shard; of a sky that is larger than what was scored they repeat."""

    def __init__(self, folder: RunFolder, sky: Sky, n_scored: int) -> None:
        self._folder, self._sky, self._n_shards = folder, sky, -(-n_scored // SHARD)
        self._path = folder.path / SCORES

    def fill(self, policy: AcquisitionPolicy, progress: Progress) -> int:
        """Score what is not scored yet; return the galaxies that were."""
        done = int(self._folder.read(DONE) or b"0")
        progress.start("score", self._n_shards)
        progress.advance(done)
        scored = 0
        weights = question_weights(policy, TREE)
        with self._path.open("r+b" if done else "wb") as file:
            file.seek(done * SHARD * 4)
            for shard in range(done, self._n_shards):
                draws = self._sky.draws(shard)
                scores = policy_scores(
                    policy.policy, TREE, draws, votes=policy.votes_per_galaxy, weights=weights, answer="", target=None
                )
                file.write(np.resize(scores.astype(np.float32), SHARD).tobytes())
                scored += len(draws)
                progress.advance()
                if (shard + 1) % KEEP_EVERY == 0 or shard + 1 == self._n_shards:
                    file.flush()
                    os.fsync(file.fileno())
                    self._folder.write(DONE, str(shard + 1).encode())
        progress.finish()
        return scored

    def pool(self, campaign: CampaignRow, cycle: Cycle, survey: Posterior | None) -> Iterator[PoolShard]:
        """Yield all galaxies of the sky once."""
        with self._path.open("rb") as file:
            for shard in range(self._sky.n_shards):
                file.seek(shard % self._n_shards * SHARD * 4)
                scores = np.frombuffer(file.read(SHARD * 4), dtype=np.float32)[: self._sky.rows(shard)]
                yield self._sky.pool(shard, scores)

    def survey(self, campaign: CampaignRow, cycle: Cycle) -> Posterior:
        """Return a sample of the sky."""
        return self._sky.survey()


class Books:
    """Stores of a campaign whose galaxies are in no table: a survey's catalogue is tens of GB of rows."""

    def __init__(self, engine: Engine, sky: Sky, batch: int) -> None:
        self.engine, self.sky = engine, sky
        self.ledger = SqlSubjectLedger(engine, utc_now)
        self.acquisitions = AcquisitionStore(engine, utc_now)
        policy = AcquisitionPolicy(batch_galaxies=batch, policy="power_bald")
        self.campaign = CampaignStore(engine, utc_now).save(Campaign(name="scale", tree="gz2", acquisition=policy))
        self._catalogue = CatalogueStore(engine, utc_now).save(
            self.campaign.id, source="sky", digest="0" * 64, votes_key=None, galaxies=[sky.galaxy(0)], faults=[]
        )
        cycle = CycleStore(engine, utc_now).start(self.campaign, self._catalogue.id, None, "benchmark")
        self.cycle = replace(cycle, champion_id=1)

    def get(self, catalogue_id: int) -> Catalogue:
        """Return the catalogue that the sky would be."""
        return replace(self._catalogue, n_galaxies=self.sky.n_galaxies)

    def roll(self, catalogue_id: int, *, first_row: int, limit: int) -> Roll:
        """Return some galaxies by id."""
        return self.sky.roll(first_row, min(limit, self.sky.n_galaxies - first_row))

    def ask_before(self, n_subjects: int, progress: Progress) -> None:
        """Record subjects of earlier weeks, evenly over the sky: those are not drawn again."""
        progress.start("subjects of earlier weeks", n_subjects)
        step = max(1, self.sky.n_galaxies // max(n_subjects, 1))
        for first in range(0, n_subjects, 10_000):
            numbers = [place * step for place in range(first, min(first + 10_000, n_subjects))]
            drafts = [draft_subject("scale", 0, self.sky.galaxy(number)) for number in numbers]
            self.ledger.intend(self.cycle, drafts, n_votes=40)
            progress.advance(len(numbers))
        progress.finish()

    def record(self, drawn: Sequence[Acquired]) -> None:
        """Record what publishing records of a batch: its intent, and that each is live."""
        self.ledger.intend(
            self.cycle,
            [draft_subject("scale", 1, self.sky.galaxy(int(galaxy.galaxy_id[1:]))) for galaxy in drawn],
            n_votes=self.acquisitions.votes(self.cycle.id),
        )

    def size(self) -> int:
        """Return the bytes of the database."""
        with transaction(self.engine) as connection:
            return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())


def run(n_galaxies: int, *, scored: int | None, subjects: int, batch: int, seed: int, folder: Path, url: str) -> Week:
    """Run one week and return what it took."""
    progress = process_progress()
    sky = Sky(n_galaxies, seed)
    engine = make_engine(url)
    books = Books(engine, sky, batch)
    policy = books.campaign.settings.acquisition
    stages: list[Stage] = []

    def measured(name: str, galaxies: int, began: tuple[float, float]) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        took = time.monotonic() - began[0], time.process_time() - began[1]
        stages.append(Stage(name=name, galaxies=galaxies, elapsed_s=took[0], cpu_s=took[1], peak_mib=peak))

    def now() -> tuple[float, float]:
        return time.monotonic(), time.process_time()

    asked = {"galaxies": n_galaxies, "seed": seed, "scored": scored or n_galaxies, "policy": policy.policy}
    with claim_folder(folder, asked) as claimed:
        scores = KeptScores(claimed, sky, min(scored or n_galaxies, n_galaxies))
        began = now()
        measured("scored", scores.fill(policy, progress), began)
        began = now()
        books.ask_before(subjects, progress)
        measured("subjects of earlier weeks", subjects, began)
        began = now()
        acquire = AcquireBatch(
            catalogues=books,
            acquisitions=books.acquisitions,
            requests=SqlRequestStore(engine, utc_now),
            ledger=books.ledger,
            scores=scores,  # type: ignore[arg-type]
            forecast=ForecastVotes(classifications=ClassificationStore(engine, utc_now)),
            progress=progress,
        )
        drawn = acquire.run(books.campaign, books.cycle)
        measured("drawn, and the batch recorded", n_galaxies, began)
        began = now()
        books.record(drawn)
        measured("intents of the batch", len(drawn), began)
    share = float(sky.roll(0, min(n_galaxies, 1_000_000)).members.mean())
    informative = [g.inclusion_probability for g in drawn if g.arm is Arm.INFORMATIVE]
    week = Week(
        stages=tuple(stages),
        drawn=len(drawn),
        excluded=subjects,
        population=float(sum(1 / p for p in informative)),
        expected=round((n_galaxies - subjects) * (1 - share)),
        postgres_bytes=books.size(),
    )
    engine.dispose()
    return week


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--galaxies", type=int, default=1_000_000)
    parser.add_argument("--scored", type=int, help="galaxies that are scored; the others repeat their scores")
    parser.add_argument("--subjects", type=int, help="galaxies that volunteers know already; a hundredth by default")
    parser.add_argument("--batch", type=int, default=10_000, help="galaxies of the week's batch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where scores are kept; a temporary one by default")
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="scale-"))
    subjects = min(asked.galaxies // 100, 1_000_000) if asked.subjects is None else asked.subjects
    with migrated_database() as url:
        week = run(
            asked.galaxies,
            scored=asked.scored,
            subjects=subjects,
            batch=asked.batch,
            seed=asked.seed,
            folder=folder,
            url=url,
        )
    if asked.folder is None:
        shutil.rmtree(folder)
    print("| stage | galaxies | elapsed s | CPU s | galaxies/s of CPU | peak MiB |\n|---|---|---|---|---|---|")
    for stage in week.stages:
        print(stage.row())
    print(f"drawn {week.drawn:,}; {week.excluded:,} excluded; Postgres {week.postgres_bytes / 2**20:,.0f} MiB")
    print(f"inclusion probabilities say {week.population:,.0f} galaxies could be drawn, there were {week.expected:,}")


if __name__ == "__main__":
    main()
