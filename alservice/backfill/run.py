"""The galaxies of a backfill: who can be asked about and who judges, read once and kept in its folder."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from alservice.app.rehearsal import synthetic_rows
from alservice.backfill.backfill_asked import Backfill
from alservice.backfill.plan import Target, eligible, target_of
from alservice.campaigns.campaign import EvaluationPolicy
from alservice.catalogue.catalogue_files import open_catalogue
from alservice.catalogue.galaxies import CatalogueFault, CatalogueRow, evaluation_fraction
from alservice.errors import BadConfig, BadVotes
from alservice.ids import stable_fraction
from alservice.network.architectures import check_images
from alservice.network.device import resolve_device, resolve_precision
from alservice.network.embed import Embedder
from alservice.offline.commands import EVALUATION_SEED
from alservice.offline.galaxies import ReadGalaxies, VotedGalaxies
from alservice.offline.model_files import load_model
from alservice.process import Progress
from alservice.science.tree import Tree, load_tree
from alservice.settings import load_settings
from alservice.shapes import BoolArray, FloatArray
from alservice.storage import images
from alservice.storage.run_folder import RunFolder

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


def _rows(asked: Backfill, tree: Tree) -> tuple[Iterator[CatalogueRow | CatalogueFault], int, frozenset[str]]:
    if asked.data is None:
        if asked.galaxies is None:
            raise BadConfig("the synthetic sky needs a number of galaxies")
        return synthetic_rows(tree, asked.galaxies, EVALUATION_SEED), asked.galaxies, frozenset()
    source = open_catalogue(asked.data, tree, roots=load_settings().image_folders)
    if source.votes is None:
        raise BadVotes(f"{asked.data.name}: no column of votes to replay")
    total = source.n_rows if asked.galaxies is None else asked.galaxies
    return source.rows(asked.galaxies, EVALUATION_SEED), total, frozenset(source.unbiased_ids())


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
