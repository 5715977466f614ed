"""Two small networks and what they say about the 4,000 galaxies of the unbiased block, made once and kept.

The networks differ in their seed alone: trained on the same 3,000 galaxies outside the block, each galaxy with one
fixed walk of 44 volunteers. The block is the population that other benchmarks draw samples of.

Run: ``python -m tests.benchmarks.real_predictions --out FILE.npz`` (two to four minutes on two cores).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alservice.catalogue.files import open_catalogue
from alservice.catalogue.galaxies import CatalogueRow
from alservice.ids import seed_of, stable_fraction
from alservice.network.architectures import NetworkConfig, build_network
from alservice.network.config import FitConfig
from alservice.network.sampling import sample_posterior
from alservice.network.training import fit
from alservice.science.posterior import Posterior
from alservice.science.tree import load_tree
from alservice.science.votes import count_walks, walk
from alservice.shapes import IntArray, UInt8Array
from alservice.storage.images import decode
from tests.support.shared import shared_data

TREE = load_tree("gz2")
VOLUNTEERS, SIDE_PX, DRAWS = 44, 64, 15
SMOOTH = TREE.columns.index("smooth-or-featured_smooth")


@dataclass(frozen=True, kw_only=True)
class Population:
    """Real galaxies of the unbiased block, their images and votes, and two models' posteriors."""

    galaxy_ids: tuple[str, ...]
    images: UInt8Array
    counts: IntArray
    first: Posterior
    second: Posterior


def make(*, train: int, steps: int, limit: int | None = None) -> Population:
    """Read the galaxies, train both networks and predict the block."""
    block, others = _galaxies(train, limit)
    images, counts = _arrays(others)
    block_images, block_counts = _arrays(block)
    ids = tuple(row.galaxy_id for row in block)
    posteriors = [_posterior(images, counts, ids, block_images, steps, seed) for seed in (1, 2)]
    return Population(
        galaxy_ids=ids, images=block_images, counts=block_counts, first=posteriors[0], second=posteriors[1]
    )


def _galaxies(train: int, limit: int | None) -> tuple[list[CatalogueRow], list[CatalogueRow]]:
    file = open_catalogue(shared_data() / "gz2_kaggle.parquet", TREE)
    rows = [row for row in file.rows() if isinstance(row, CatalogueRow) and row.fractions is not None]
    rows.sort(key=lambda row: stable_fraction("real-predictions", row.galaxy_id))
    return [r for r in rows if r.unbiased][:limit], [r for r in rows if not r.unbiased][:train]


def _arrays(rows: list[CatalogueRow]) -> tuple[UInt8Array, IntArray]:
    images = np.stack([decode(row.image, size_px=SIDE_PX, channels=1) for row in rows])
    counts = np.zeros((len(rows), TREE.n_answers), dtype=np.int64)
    for index, row in enumerate(rows):
        rng = np.random.default_rng(seed_of("volunteers", row.galaxy_id))
        assert row.fractions is not None
        known = np.nan_to_num(row.fractions)
        for question in TREE.slices:  # a question without record is answered by nobody: counts are set to 0 below
            if known[question].sum() == 0:
                known[question.start] = 1.0
        counts[index] = count_walks(TREE, walk(TREE, known, VOLUNTEERS, rng))
        counts[index, np.isnan(row.fractions)] = 0
    return images, counts


def _posterior(
    images: UInt8Array, counts: IntArray, ids: tuple[str, ...], block: UInt8Array, steps: int, seed: int
) -> Posterior:
    config = FitConfig(
        network=NetworkConfig(image_px=SIDE_PX), steps=steps, batch=min(32, len(images)), seed=seed, threads=1
    )
    result = fit(images, counts, TREE, config, device="cpu", progress=lambda _loss: None)
    network = build_network(config.network, TREE, seed=seed)
    network.load_state_dict(result.state)
    concentrations, embeddings = sample_posterior(network.eval(), block, draws=DRAWS, seed=7, device="cpu", views=1)
    return Posterior(
        galaxy_ids=ids,
        concentrations=concentrations,
        embeddings=embeddings,
        tree_hash=TREE.hash,
        model=f"seed {seed}",
    )


def save(population: Population, path: Path) -> None:
    """Keep a population for the next run."""
    np.savez(
        path,
        ids=np.array(population.galaxy_ids),
        images=population.images,
        counts=population.counts,
        first=population.first.concentrations,
        second=population.second.concentrations,
        first_embeddings=population.first.embeddings,
        second_embeddings=population.second.embeddings,
    )


def load(path: Path) -> Population:
    """Bring a kept population back."""
    with np.load(path) as kept:
        arrays = {name: kept[name] for name in kept.files}
    ids = tuple(str(i) for i in arrays["ids"])

    def posterior(name: str, seed: int) -> Posterior:
        return Posterior(
            galaxy_ids=ids,
            concentrations=arrays[name],
            embeddings=arrays[f"{name}_embeddings"],
            tree_hash=TREE.hash,
            model=f"seed {seed}",
        )

    return Population(
        galaxy_ids=ids,
        images=arrays["images"],
        counts=arrays["counts"],
        first=posterior("first", 1),
        second=posterior("second", 2),
    )


def population(path: Path | None) -> Population:
    """Return the population kept in a file, or make a fresh one."""
    return load(path) if path is not None and path.exists() else make(train=3000, steps=500)


def main() -> None:
    """Make the population and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--train", type=int, default=3000)
    parser.add_argument("--steps", type=int, default=500)
    options = parser.parse_args()
    save(make(train=options.train, steps=options.steps), options.out)


if __name__ == "__main__":
    main()
