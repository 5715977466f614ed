"""Galaxies with votes as files: a few, small, each with a picture of its own."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from alservice.science.tree import load_tree
from alservice.science.votes import walked_counts
from alservice.storage.images import encode_png

TREE = load_tree("gz2")


def ids_of(n: int) -> tuple[str, ...]:
    """Return the ids of n galaxies."""
    return tuple(f"J{i:04}" for i in range(n))


def counts_of(n: int, *, volunteers: int = 30) -> np.ndarray:
    """Return counts (n, A): the rounder the picture, the smoother the votes."""
    shares = np.concatenate([np.full(len(q.answers), 1 / len(q.answers)) for q in TREE.questions])
    per_galaxy = np.tile(shares, (n, 1))
    smooth = 0.05 + 0.85 * (np.arange(n) % 7) / 6
    per_galaxy[:, :3] = np.stack([smooth, 0.95 - smooth, np.full(n, 0.05)], axis=1)
    return walked_counts(TREE, per_galaxy, ids_of(n), volunteers=volunteers, seed=0)


def write_galaxies(
    path: Path,
    n: int,
    *,
    px: int = 16,
    broken: Sequence[int] = (),
    votes: bool = True,
    ids: Sequence[str] | None = None,
) -> Path:
    """Write a Parquet file of images and counted votes; the images at some places are broken."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:px, :px] - (px - 1) / 2
    images = []
    for i in range(n):
        blob = np.exp(-(x**2 + (y * (1 + i % 7)) ** 2) / px)
        noisy = 20 + 200 * blob + rng.normal(0, 4, (px, px))
        images.append(encode_png(noisy.clip(0, 255).astype(np.uint8)[None]))
    for place in broken:
        images[place] = images[place][:40]
    columns = {"galaxy_id": pa.array(ids or ids_of(n)), "image": pa.array(images, pa.binary())}
    if votes:
        columns |= {name: pa.array(counts_of(n)[:, i]) for i, name in enumerate(TREE.columns)}
    pq.write_table(pa.table(columns), path)
    return path
