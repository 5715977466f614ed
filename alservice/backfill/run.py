"""The galaxies of a backfill: who can be asked about and who judges, read once and kept in its folder."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import torch

from alservice.backfill.plan import Backfill, Round, Target, eligible, target_of
from alservice.backfill.replay import INITIAL, Learner, Replay
from alservice.campaigns.campaign import EvaluationPolicy
from alservice.campaigns.policies import GatePolicy
from alservice.catalogue.files import AS_TOLD, CatalogueFile, ReadAs
from alservice.catalogue.galaxies import CatalogueFault, CatalogueRow, evaluation_fraction
from alservice.errors import BadConfig, BadInput, BadVotes, NotFound
from alservice.ids import stable_fraction
from alservice.network.architectures import check_images
from alservice.network.config import resolve_device, resolve_precision, use_threads
from alservice.network.sampling import Embedder
from alservice.offline.commands import EVALUATION_SEED, open_with_images, with_votes
from alservice.offline.galaxies import ReadGalaxies, VotedGalaxies
from alservice.offline.training import RefitHeads, TrainNetwork, load_model
from alservice.progress import NoProgress, Progress
from alservice.science.stretch import PLAIN, Stretch, stretch_of
from alservice.science.tree import Tree
from alservice.shapes import BoolArray, FloatArray
from alservice.sky.galaxies import synthetic_rows
from alservice.storage import images
from alservice.storage.run_folder import RunFolder, claim_folder, write_whole
from alservice.telemetry import code_revision, configure_logging


class RoundFolder:
    """Keeps rounds as ``POLICY-SEED-ROUND.npz`` and the models that still choose beside them.

    Parameters
    ----------
    path
        A folder that is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, policy: str, seed: int, number: int) -> Round | None:
        """Return a finished round; `BadInput` names a damaged file."""
        path = self._path / f"{_name(policy, seed, number)}.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                return Round.from_document(json.loads(file["document"].tobytes()), file["terms"])
        except FileNotFoundError:
            return None
        except (KeyError, ValueError, TypeError, OSError) as error:
            raise BadInput(
                f"{path}: no round of a backfill; remove it to do the round again", path=str(path)
            ) from error

    def save(self, done: Round, model: bytes) -> None:
        """Keep a round; of models only the one that chooses next is kept."""
        write_whole(self._model(done.policy, done.seed, done.number), model)
        buffer = io.BytesIO()
        document = np.frombuffer(json.dumps(done.document(), allow_nan=False).encode(), dtype=np.uint8)
        np.savez_compressed(buffer, document=document, terms=done.terms)
        write_whole(self._path / f"{_name(done.policy, done.seed, done.number)}.npz", buffer.getvalue())
        for number in range(done.number + 1):
            if number != done.champion_round:
                self._model(done.policy, done.seed, number).unlink(missing_ok=True)

    def model(self, policy: str, seed: int, number: int) -> bytes:
        """Return the model of a round that may still choose; raises `NotFound`."""
        path = self._model(policy, seed, number)
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"{path}: the model of round {number} is not there", path=str(path)) from error

    def count(self) -> int:
        """Return how many rounds are finished."""
        return sum(1 for _ in self._path.glob("*.npz"))

    def _model(self, policy: str, seed: int, number: int) -> Path:
        return self._path / f"{_name(policy, seed, number)}.safetensors"


def _name(policy: str, seed: int, number: int) -> str:
    return f"{policy}-{seed:03}-{number:03}"


_ROUNDS: Final = "rounds"


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
        keep_galaxies(asked, folder, progress)
        if asked.encoder is not None:
            keep_embeddings(out, folder, asked.encoder, asked.device)
        (out / _ROUNDS).mkdir(exist_ok=True)
        yield RoundFolder(out / _ROUNDS)


def begin_worker() -> None:
    """Prepare a process that runs backfills: logs as everywhere else."""
    configure_logging()


def backfill_worker(asked: Backfill, out: Path) -> Callable[[tuple[str, int]], int]:
    """Return what does the rounds of a policy and a seed, for a worker elsewhere that sees the same folder."""
    begin_worker()
    return lambda run: run_backfill(asked, out, *run)


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
    target = target_of(asked.tree, asked.plan.question)
    galaxies, tests = read_galaxies(out, target)
    return Replay(
        target=target,
        plan=asked.plan,
        pool=galaxies.only(~tests),
        test=galaxies.only(tests),
        training=asked.training,
        gate=GatePolicy(),
        learner=_learner(asked, out, target, galaxies.galaxy_ids),
        rounds=RoundFolder(out / _ROUNDS),
    )


def _learner(asked: Backfill, out: Path, target: Target, galaxy_ids: Sequence[str]) -> Learner:
    device, revision = resolve_device(asked.device), code_revision()
    if asked.encoder is None:
        return TrainNetwork(tree=target.tree, device=device, code_revision=revision, progress=NoProgress())
    encoder, digest = load_model(asked.encoder, device="cpu")
    return RefitHeads(
        tree=target.tree,
        device=device,
        code_revision=revision,
        encoder=encoder,
        digest=digest,
        embeddings=dict(zip(galaxy_ids, read_embeddings(out), strict=True)),
    )


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


_IMAGES: Final = "images.npy"
_GALAXIES: Final = "galaxies.npz"
_EMBEDDINGS: Final = "embeddings.npy"
_CHUNK: Final = 1024


def keep_galaxies(asked: Backfill, folder: RunFolder, progress: Progress) -> None:
    """Read the galaxies of a backfill into its folder, unless they are there.

    Raises
    ------
    BadInput, BadVotes
        The data cannot be read, or too few galaxies can be asked about.
    """
    if folder.read(_GALAXIES) is None:
        _write_galaxies(folder, *_read(asked, progress))


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


def keep_embeddings(out: Path, folder: RunFolder, encoder: Path, device: str) -> None:
    """Embed all galaxies of a backfill's folder with a model's trunk, unless that is done."""
    if folder.read(_EMBEDDINGS) is not None:
        return
    resolved = resolve_device(device)
    network, _ = load_model(encoder, device=resolved)
    embed = Embedder(network, views=8, dtype=resolve_precision("auto", resolved))
    images = np.load(out / _IMAGES, mmap_mode="r")
    check_images(images, network.config)
    starts = range(0, len(images), _CHUNK)
    rows = [embed(torch.from_numpy(np.array(images[start : start + _CHUNK]))).cpu().numpy() for start in starts]
    buffer = io.BytesIO()
    np.save(buffer, np.concatenate(rows))
    folder.write(_EMBEDDINGS, buffer.getvalue())


def read_embeddings(out: Path) -> FloatArray:
    """Return the embeddings (N, E) float32 of a backfill's galaxies, in their order."""
    embeddings: FloatArray = np.load(out / _EMBEDDINGS, mmap_mode="r")
    return embeddings


def _read(asked: Backfill, progress: Progress) -> tuple[VotedGalaxies, Sequence[bool]]:
    """Return pool and test galaxies together, and which are which.

    The test galaxies are the evaluation stream. Replayed singly, a question that not everyone is asked is judged on all
    eligible galaxies of the unbiased part, which the pool then leaves out.
    """
    tree = asked.tree
    target = target_of(tree, asked.plan.question)
    rows, total, unbiased = recorded_rows(
        asked.data,
        asked.galaxies,
        tree,
        stretch_of(asked.stretch),
        images=asked.images,
        read_as=asked.read_as,
    )
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
    pool = _subset("pool", galaxies.galaxy_ids, pool, asked.plan.pool)
    tests = _subset("test", galaxies.galaxy_ids, tests, asked.plan.test)
    if pool.sum() < asked.plan.needed or not tests.any():
        raise BadVotes(
            f"{pool.sum()} galaxies can be asked about and {tests.sum()} can judge: this backfill labels "
            f"{asked.plan.needed}",
            pool=int(pool.sum()),
            test=int(tests.sum()),
        )
    kept = pool | tests
    return galaxies.only(kept), tests[kept].tolist()


def recorded_rows(
    data: Path | None,
    galaxies: int | None,
    tree: Tree,
    stretch: Stretch = PLAIN,
    *,
    images: Path | None = None,
    read_as: ReadAs = AS_TOLD,
) -> tuple[Iterator[CatalogueRow | CatalogueFault], int, frozenset[str]]:
    """Return rows with votes of a catalogue or of the synthetic sky, how many, and ids of the part marked unbiased.

    Raises
    ------
    BadConfig
        Neither a file nor a number of galaxies is given.
    BadInput, BadVotes
        The file cannot be read, or has no votes.
    """
    if data is None:
        if galaxies is None:
            raise BadConfig("the synthetic sky needs a number of galaxies")
        return synthetic_rows(tree, galaxies, EVALUATION_SEED), galaxies, frozenset()
    source = open_recorded(data, tree, stretch, images=images, read_as=read_as)
    total = source.n_rows if galaxies is None else galaxies
    return source.rows(galaxies, EVALUATION_SEED), total, frozenset(source.unbiased_ids())


def open_recorded(
    data: Path, tree: Tree, stretch: Stretch = PLAIN, *, images: Path | None = None, read_as: ReadAs = AS_TOLD
) -> CatalogueFile:
    """Return a file with votes to replay.

    Raises
    ------
    BadInput, BadVotes
        The file cannot be read, or has no votes.
    """
    source = open_with_images(data, tree, images, read_as, stretch)
    return with_votes(source, tree)


def _subset(what: str, galaxy_ids: Sequence[str], those: BoolArray, size: int | None) -> BoolArray:
    """Return so many of those galaxies, the ones whose ids hash smallest."""
    places = np.flatnonzero(those)
    if size is None or size >= len(places):
        return those
    order = np.argsort([stable_fraction(what, galaxy_ids[place]) for place in places.tolist()], kind="stable")
    kept = np.zeros_like(those)
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
