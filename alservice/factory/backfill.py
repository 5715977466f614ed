"""A backfill in its folder: galaxies read once, runs in any process, then curves, savings and a report."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from alservice.adapters import images
from alservice.adapters.backfill_rounds import RoundFolder
from alservice.adapters.catalogue_files import open_catalogue
from alservice.adapters.progress import NoProgress
from alservice.adapters.revision import code_revision
from alservice.adapters.run_folder import RunFolder, claim_folder
from alservice.adapters.telemetry import configure_logging
from alservice.core.backfill import BackfillPlan, Round, Target, eligible, policy_named, target_of
from alservice.core.campaign import EvaluationPolicy
from alservice.core.catalogues import CatalogueFault, CatalogueRow, evaluation_fraction
from alservice.core.gate import GatePolicy
from alservice.core.ids import stable_fraction
from alservice.core.tree import Tree, load_tree
from alservice.errors import BadConfig, BadVotes
from alservice.factory.alone import EVALUATION_SEED, file_digest
from alservice.factory.rehearsal import synthetic_rows
from alservice.model.device import resolve_device, use_threads
from alservice.model.networks import NetworkConfig
from alservice.model.training import FitConfig
from alservice.ports import Progress
from alservice.services.backfill import INITIAL, Replay
from alservice.services.read_galaxies import ReadGalaxies, VotedGalaxies
from alservice.services.train_alone import TrainAlone
from alservice.shapes import BoolArray

SIZES: Final = {"smooth": (256, 128), "bar": (128, 64)}
"""Initial galaxies, and galaxies per round: of smooth the paper's; of bar fewer, as few galaxies are asked it."""

_IMAGES: Final = "images.npy"
_GALAXIES: Final = "galaxies.npz"
_ROUNDS: Final = "rounds"


@dataclass(frozen=True, kw_only=True, slots=True)
class Backfill:
    """What a backfill is asked to do.

    Parameters
    ----------
    data
        Catalogue with recorded votes; None for the synthetic sky.
    policies
        Names of `alservice.core.policies`; ``random`` is what the others are compared with.
    seeds
        Runs per policy, seeds 0, 1, ...
    galaxies
        Rows of the file to use, or galaxies of the synthetic sky; None takes all.
    unbiased_pool
        Choose from the unbiased part of the catalogue only.
    """

    data: Path | None
    tree: str
    policies: tuple[str, ...]
    seeds: int
    plan: BackfillPlan
    training: FitConfig
    galaxies: int | None = None
    unbiased_pool: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in self.policies:
            policy_named(name)
        if "random" not in self.policies or len(set(self.policies)) != len(self.policies):
            raise BadConfig(f"policies must name 'random', to compare with, and none twice: {', '.join(self.policies)}")
        if self.seeds < 1:
            raise BadConfig(f"a backfill needs at least one seed, not {self.seeds}")

    @property
    def n_rounds(self) -> int:
        """Trainings in all: the first of a seed is shared by its policies."""
        return self.seeds * (1 + len(self.policies) * self.plan.rounds)

    def document(self) -> dict[str, Any]:
        """Return what decides the result; more policies or seeds may be asked of a folder later."""
        return {
            "command": "backfill",
            "data": "synthetic sky" if self.data is None else file_digest(self.data),
            "tree": load_tree(self.tree).hash,
            "galaxies": self.galaxies,
            "unbiased_pool": self.unbiased_pool,
            "plan": self.plan.document(),
            "training": self.training.document(),
        }


def make_backfill(
    *,
    data: Path | None,
    tree: str,
    question: str,
    policies: tuple[str, ...],
    seeds: int,
    rounds: int,
    initial: int | None,
    batch: int | None,
    pool: int | None,
    galaxies: int | None,
    unbiased_pool: bool,
    network: str,
    px: int,
    field: float,
    steps: int,
    device: str,
) -> Backfill:
    """Return what was asked for by a form or a command, with the question's sizes where none are given."""
    usual = SIZES.get(question, SIZES["smooth"])
    return Backfill(
        data=data,
        tree=tree,
        policies=policies,
        seeds=seeds,
        plan=BackfillPlan(
            question=question, initial=initial or usual[0], batch=batch or usual[1], rounds=rounds, pool=pool
        ),
        training=FitConfig(
            network=NetworkConfig(name=network, image_px=px, field=field), steps=steps, threads=1, looks=4
        ),
        galaxies=galaxies,
        unbiased_pool=unbiased_pool,
        device=device,
    )


@contextmanager
def open_backfill(asked: Backfill, out: Path, progress: Progress) -> Iterator[RoundFolder]:
    """Claim the folder and have the galaxies in it; the same backfill, also with other policies or seeds, goes on.

    Raises
    ------
    BadInput, BadVotes
        The data cannot be read, or too few galaxies can be asked about.
    Conflict
        The folder holds another backfill, or another process is at work in it.
    """
    with claim_folder(out, asked.document()) as folder:
        if folder.read(_GALAXIES) is None:
            _write_galaxies(folder, *_read(asked, progress))
        (out / _ROUNDS).mkdir(exist_ok=True)
        yield RoundFolder(out / _ROUNDS)


def begin_worker() -> None:
    """Prepare a process that runs backfills: logs as everywhere else."""
    configure_logging()


def run_backfill(asked: Backfill, out: Path, policy: str, seed: int) -> int:
    """Do all rounds of a policy and a seed, or of ``initial`` the first of a seed; return how many there are."""
    use_threads(asked.training.threads)
    replay = open_replay(asked, out)
    if policy == INITIAL:
        replay.initial(seed)
        return 1
    return len(replay.run(policy, seed))


def open_replay(asked: Backfill, out: Path) -> Replay:
    """Return the runs of a backfill whose folder has its galaxies; processes share the images in memory."""
    target = target_of(load_tree(asked.tree), asked.plan.question)
    galaxies, tests = read_galaxies(out, target)
    return Replay(
        target=target,
        plan=asked.plan,
        pool=galaxies.only(~tests),
        test=galaxies.only(tests),
        training=asked.training,
        gate=GatePolicy(),
        train=TrainAlone(
            tree=target.tree,
            device=resolve_device(asked.device),
            code_revision=code_revision(),
            progress=NoProgress(),
        ),
        rounds=RoundFolder(out / _ROUNDS),
    )


def read_galaxies(out: Path, target: Target) -> tuple[VotedGalaxies, BoolArray]:
    """Return the galaxies of a backfill's folder with the votes on its target, and which of them judge."""
    with np.load(out / _GALAXIES, allow_pickle=False) as file:
        ids, counts, tests, unbiased = (file[name] for name in ("galaxy_ids", "counts", "tests", "unbiased"))
    galaxies = VotedGalaxies(
        galaxy_ids=tuple(ids.tolist()),
        images=np.load(out / _IMAGES, mmap_mode="r"),
        counts=counts[:, target.columns],
        fractions=np.full((len(ids), target.tree.n_answers), np.nan),
        cumulative=None,
        unbiased=unbiased,
        evaluation=tests,
    )
    return galaxies, tests


def rounds_of(asked: Backfill, folder: RoundFolder) -> Sequence[tuple[str, Sequence[Sequence[Round]]]]:
    """Return the rounds of every policy, seed by seed; each begins with its seed's first round."""
    initial = [_done(folder, INITIAL, seed, 0) for seed in range(asked.seeds)]
    return [
        (
            policy,
            [
                [initial[seed], *(_done(folder, policy, seed, n) for n in range(1, asked.plan.rounds + 1))]
                for seed in range(asked.seeds)
            ],
        )
        for policy in asked.policies
    ]


def _done(folder: RoundFolder, policy: str, seed: int, number: int) -> Round:
    found = folder.get(policy, seed, number)
    if found is None:
        raise BadConfig(f"round {number} of {policy}, seed {seed}, is not done yet: run the backfill again")
    return found


def _read(asked: Backfill, progress: Progress) -> tuple[VotedGalaxies, Sequence[bool]]:
    """Return pool and test galaxies together, and which are which.

    The test galaxies are the evaluation stream. Replayed singly, a question that not everyone is asked is judged on all
    eligible galaxies of the unbiased part, which the pool then leaves out.
    """
    tree = load_tree(asked.tree)
    target = target_of(tree, asked.plan.question)
    rows, total, unbiased = _rows(asked, tree)
    network = asked.training.network
    reader = ReadGalaxies(
        tree=tree,
        codec=images,
        progress=progress,
        size_px=network.image_px,
        channels=1 if network.channels == 1 else 3,
        evaluation_fraction=evaluation_fraction(
            sorted(unbiased), seed=EVALUATION_SEED, otherwise=EvaluationPolicy().fraction
        ),
        evaluation_seed=EVALUATION_SEED,
    )
    galaxies, _ = reader.run(rows, total=total)
    may_judge = eligible(target, galaxies.counts[:, target.columns], min_votes=asked.plan.min_votes)
    is_unbiased = np.array([not unbiased or galaxy_id in unbiased for galaxy_id in galaxies.galaxy_ids])
    everyone = target.answer is None or not tree.parents_of[tree.question_of_answer[target.columns[0]]]
    tests = may_judge & (galaxies.evaluation if everyone or not unbiased or asked.unbiased_pool else is_unbiased)
    pool = may_judge & ~tests & ~galaxies.evaluation & (is_unbiased if asked.unbiased_pool else True)
    pool = _subset(galaxies.galaxy_ids, pool, asked.plan.pool)
    if pool.sum() < asked.plan.needed or not tests.any():
        raise BadVotes(
            f"{pool.sum()} galaxies can be asked about and {tests.sum()} can judge: this backfill labels "
            f"{asked.plan.needed}",
            pool=int(pool.sum()),
            test=int(tests.sum()),
        )
    kept = pool | tests
    return galaxies.only(kept), tests[kept].tolist()


def _rows(asked: Backfill, tree: Tree) -> tuple[Iterator[CatalogueRow | CatalogueFault], int, frozenset[str]]:
    if asked.data is None:
        if asked.galaxies is None:
            raise BadConfig("the synthetic sky needs a number of galaxies")
        return synthetic_rows(tree, asked.galaxies, EVALUATION_SEED), asked.galaxies, frozenset()
    source = open_catalogue(asked.data, tree)
    if source.votes is None:
        raise BadVotes(f"{asked.data.name}: no column of votes to replay")
    total = source.n_rows if asked.galaxies is None else asked.galaxies
    return source.rows(asked.galaxies, EVALUATION_SEED), total, frozenset(source.unbiased_ids())


def _subset(galaxy_ids: Sequence[str], pool: BoolArray, size: int | None) -> BoolArray:
    """Return a pool of so many galaxies, those whose ids hash smallest."""
    places = np.flatnonzero(pool)
    if size is None or size >= len(places):
        return pool
    order = np.argsort([stable_fraction("pool", galaxy_ids[place]) for place in places.tolist()], kind="stable")
    kept = np.zeros_like(pool)
    kept[places[order[:size]]] = True
    return kept


def _write_galaxies(folder: RunFolder, galaxies: VotedGalaxies, tests: Sequence[bool]) -> None:
    pixels, table = io.BytesIO(), io.BytesIO()
    np.save(pixels, galaxies.images)
    np.savez_compressed(
        table,
        galaxy_ids=np.array(galaxies.galaxy_ids),
        counts=galaxies.counts,
        tests=np.array(tests, dtype=bool),
        unbiased=galaxies.unbiased,
    )
    folder.write(_IMAGES, pixels.getvalue())
    folder.write(_GALAXIES, table.getvalue())  # last: with it the galaxies are whole
