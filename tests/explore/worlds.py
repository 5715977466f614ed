"""Indices of galaxies that are made up: no database, no network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alservice.catalogue.galaxies import Galaxy
from alservice.explore.build import Part, build_index
from alservice.explore.index import Index, Piece
from alservice.progress import NoProgress
from alservice.science.prediction import Prediction, Recipe
from tests.support.worlds import NOON, TREE

N = 60
SHARD = 25
WIDTH = 12

RECIPE = Recipe(
    tree_hash=TREE.hash,
    model="m",
    model_key="k",
    trunk="t",
    draws=3,
    seed=1,
    votes=40.0,
    worth=(1.0,) * TREE.n_questions,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Made:
    """An index, and what it was made of."""

    folder: Path
    index: Index
    galaxies: list[Galaxy]
    ids: tuple[str, ...]
    mean: np.ndarray
    scores: np.ndarray
    embeddings: np.ndarray
    voted: tuple[int, ...]
    labelled: tuple[int, ...]


def parts(n: int = N, *, width: int = WIDTH, voted: Sequence[int] = ()) -> list[Part]:
    """Return shards of galaxies, the first ones the same for every number of them; the last galaxy has no position."""
    found = []
    for first in range(0, n, SHARD):
        rows = range(first, min(first + SHARD, n))
        rng = np.random.default_rng(first)
        noise = rng.gamma(1.0, size=(SHARD, TREE.n_answers))[: len(rows)]
        mean = np.concatenate([noise[:, part] / noise[:, part].sum(1, keepdims=True) for part in TREE.slices], axis=1)
        sd = rng.uniform(0, 0.3, (SHARD, TREE.n_answers))[: len(rows)]
        scores = rng.gamma(2.0, 0.1, SHARD)[: len(rows)]
        embeddings = rng.normal(size=(SHARD, width))[: len(rows)]
        counts = np.zeros((len(rows), TREE.n_answers), dtype=np.int64)
        counts[[row - first for row in voted if row in rows], 0] = 3
        found.append(
            Part(
                galaxies=[
                    Galaxy(
                        galaxy_id=f"g{row:04}",
                        row=row,
                        ra_deg=None if row == n - 1 else float(row),
                        dec_deg=None if row == n - 1 else 20.0 - row / 10,
                        image_key="images/none",
                        unbiased=True,
                        evaluation=False,
                    )
                    for row in rows
                ],
                prediction=Prediction(
                    galaxy_ids=tuple(f"g{row:04}" for row in rows),
                    mean=mean.astype(np.float16),
                    sd=sd.astype(np.float16),
                    scores=scores.astype(np.float32),
                    embeddings=embeddings.astype(np.float16),
                    recipe=RECIPE,
                ),
                counts=counts,
            )
        )
    return found


def index_of(made: Sequence[Part], *, model: str = "m") -> Index:
    """Return the record that an index of parts begins with."""
    return Index(
        campaign="test",
        catalogue_id=1,
        model_id=1,
        model_digest=model,
        tree="gz2",
        pieces=tuple(
            Piece(key=f"{place}-{len(part.galaxies)}", n=len(part.galaxies)) for place, part in enumerate(made)
        ),
        labelled=None,
        dimensions=0,
        explained=0.0,
        fitted=0,
        built_at=NOON,
    )


def build(
    folder: Path,
    made: Sequence[Part],
    *,
    labelled: Sequence[int] = (),
    before: tuple[Path, Index] | None = None,
    model: str = "m",
) -> Index:
    """Build an index of parts in a folder."""

    def read(places: Sequence[int]) -> Iterator[Part]:
        return (made[place] for place in places)

    return build_index(
        folder,
        index_of(made, model=model),
        read,
        tree=TREE,
        labelled=frozenset(f"g{row:04}" for row in labelled),
        before=before,
        threads=1,
        progress=NoProgress(),
    )


def make_index(folder: Path) -> Made:
    """Build an index of sixty galaxies, four of them labelled."""
    voted = labelled = (3, 11, 30, 52)
    made = parts(voted=voted)
    index = build(folder, made, labelled=labelled)
    together = [part.prediction for part in made]
    return Made(
        folder=folder,
        index=index,
        galaxies=[galaxy for part in made for galaxy in part.galaxies],
        ids=tuple(name for each in together for name in each.galaxy_ids),
        mean=np.concatenate([each.mean for each in together]),
        scores=np.concatenate([each.scores for each in together]),
        embeddings=np.concatenate([each.embeddings for each in together]).astype(np.float32),
        voted=voted,
        labelled=labelled,
    )
