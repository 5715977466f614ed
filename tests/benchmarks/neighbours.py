"""Do the 50 nearest share the query's majority answer: per answer, by embeddings, by raw pixels and by chance.

``python -m tests.benchmarks.neighbours --embeddings NAME=FILE.npy`` (again for more) takes arrays (N, E) in the order of
``gz2_kaggle.parquet``, keeps 64 principal components as an index does, and looks at every galaxy. An answer's queries
are galaxies of which at least half of the volunteers were asked the question, and most of these gave the answer; a
neighbour shares it if the same holds of it. Chance is the share of such galaxies. Raw pixels are the central 112 of 160
pixels in grey, at 28 x 28, on 64 components. It also says how many of the nearest the product's graph finds.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq
import simplejpeg

from alservice.catalogue.vote_columns import KAGGLE_COLUMNS
from alservice.explore.neighbours import DIMENSIONS, GRAPH, VECTORS, Neighbours, build_graph
from alservice.network.config import use_threads
from alservice.progress import NoProgress
from alservice.science.components import Moments
from alservice.shapes import FloatArray, IntArray
from tests.benchmarks.policies import TREE, conditional
from tests.support.shared import shared_data

NEAR: Final = 50
FIELD_PX, SMALL_PX = 112, 28
UNKNOWN, NOT_ASKED = -2, -1


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--embeddings", action="append", required=True, metavar="NAME=FILE")
    parser.add_argument("--queries", type=int, default=500, help="Most queries of an answer.")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    use_threads(1)
    labels = majorities()
    queries = queries_of(labels, given.queries, given.seed)
    spaces = {name: np.load(file) for name, _, file in (text.partition("=") for text in given.embeddings)}
    shares = {}
    for name, embeddings in {**spaces, "raw pixels": raw_pixels()}.items():
        vectors = projected(embeddings)
        shares[name] = shared(vectors, labels, queries)
        if name != "raw pixels":
            print(f"recall of the nearest {NEAR} by the graph, {name}: {recall(vectors, given.seed):.4f}")
    names = list(shares)
    print(
        f"\n| question: answer | galaxies | queries | {' | '.join(names)} | chance |\n|---|---:|---:|{'---:|' * len(names)}---:|"
    )
    for answer, rows in enumerate(queries):
        if len(rows):
            known = labels[:, TREE.question_of_answer[answer]]
            n = int((known == answer).sum())
            found = " | ".join(f"{shares[name][answer]:.2f}" for name in names)
            print(f"| {TREE.columns[answer]} | {n:,} | {len(rows)} | {found} | {n / (known != UNKNOWN).sum():.3f} |")


def majorities() -> IntArray:
    """Return each galaxy's majority answer (column of the tree) by question (N, Q), else `NOT_ASKED` or `UNKNOWN`."""
    table = pq.read_table(shared_data() / "gz2_kaggle.parquet", columns=list(KAGGLE_COLUMNS))
    shares, asked = conditional(np.stack([table[name].to_numpy() for name in KAGGLE_COLUMNS], axis=1))
    found = np.full(asked.shape, NOT_ASKED)
    for question, answers in enumerate(TREE.slices):
        of_question = shares[:, answers]
        known = ~np.isnan(of_question).any(axis=1)
        most = np.where(known[:, None], of_question, -1).argmax(axis=1)
        clear = known & (asked[:, question] >= 0.5) & (np.take_along_axis(of_question, most[:, None], 1)[:, 0] > 0.5)
        found[clear, question] = answers.start + most[clear]
        found[np.isnan(asked[:, question]), question] = UNKNOWN
    return found


def queries_of(labels: IntArray, most: int, seed: int) -> Sequence[IntArray]:
    """Return rows of galaxies to ask about, by answer."""
    rng = np.random.default_rng(seed)
    found = []
    for answer, question in enumerate(TREE.question_of_answer):
        rows = np.flatnonzero(labels[:, question] == answer)
        found.append(np.sort(rng.permutation(rows)[:most]))
    return found


def projected(embeddings: FloatArray) -> FloatArray:
    """Return the vectors (N, K) float16 that an index would keep."""
    moments = Moments(embeddings.shape[1])
    for first in range(0, len(embeddings), 2_000):
        moments.add(embeddings[first : first + 2_000])
    return moments.components(DIMENSIONS).project(embeddings.astype(np.float32)).astype(np.float16)


def raw_pixels() -> FloatArray:
    """Return the grey pixels (N, 784) of the middle of each image."""
    images = pq.read_table(shared_data() / "gz2_kaggle.parquet", columns=["image"])["image"]
    found = np.empty((len(images), SMALL_PX**2), dtype=np.float32)
    step = FIELD_PX // SMALL_PX
    for row, image in enumerate(images):
        grey = simplejpeg.decode_jpeg(image.as_py(), colorspace="GRAY")[:, :, 0]
        edge = (len(grey) - FIELD_PX) // 2
        middle = grey[edge : edge + FIELD_PX, edge : edge + FIELD_PX].astype(np.float32)
        found[row] = middle.reshape(SMALL_PX, step, SMALL_PX, step).mean(axis=(1, 3)).ravel()
    return found


def shared(vectors: FloatArray, labels: IntArray, queries: Sequence[IntArray]) -> FloatArray:
    """Return by answer the mean share of the nearest galaxies that have it, those not known left out."""
    asked = np.unique(np.concatenate(queries))
    near = nearest(vectors.astype(np.float32), asked)
    place = {row: i for i, row in enumerate(asked.tolist())}
    found = np.full(len(queries), np.nan)
    for answer, rows in enumerate(queries):
        if len(rows):
            theirs = labels[near[[place[row] for row in rows.tolist()]], TREE.question_of_answer[answer]]
            found[answer] = (theirs == answer).sum() / (theirs != UNKNOWN).sum()
    return found


def nearest(vectors: FloatArray, rows: IntArray) -> IntArray:
    """Return the nearest other galaxies (M, 50) of some, every galaxy looked at."""
    squares = (vectors**2).sum(axis=1)
    found = []
    for first in range(0, len(rows), 256):
        block = rows[first : first + 256]
        distances = squares - 2 * vectors[block] @ vectors.T
        distances[np.arange(len(block)), block] = np.inf
        found.append(np.argpartition(distances, NEAR, axis=1)[:, :NEAR])
    return np.concatenate(found)


def recall(vectors: FloatArray, seed: int, n: int = 500) -> float:
    """Return the mean share of the 50 nearest that the graph finds."""
    rows = np.random.default_rng(seed).choice(len(vectors), n, replace=False)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        np.save(folder / VECTORS, vectors)
        build_graph(folder / GRAPH, vectors, before=None, kept=0, threads=1, progress=NoProgress())
        index = Neighbours(folder)
        shares = []
        for row in rows.tolist():
            vector = vectors[row].astype(np.float32)
            by_graph, exact = index.near(vector, NEAR)[0], index.exact(vector, NEAR)[0]
            shares.append(len(set(by_graph.tolist()) & set(exact.tolist())) / NEAR)
    return float(np.mean(shares))


if __name__ == "__main__":
    main()
