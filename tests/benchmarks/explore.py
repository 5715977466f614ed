"""Explorer and similar galaxies at a million: how long questions take, what the graph finds, what building costs.

``python -m tests.benchmarks.explore`` makes predictions of `--galaxies` galaxies, builds their index as the service
does, and asks it: choices of five conditions, and the nearest 50 of galaxies drawn at random, by the graph and by a
look at every galaxy. It prints a table; ``--folder`` keeps the index, and a second run asks only. ``--map`` builds the
map alone, without a graph, and asks it: tiles of each level, places and lassos.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from alservice.catalogue.galaxies import Galaxy
from alservice.documents import document_of, record_of
from alservice.explore.build import GROUP_ROWS, Part, build_index
from alservice.explore.choice import Choice, Condition
from alservice.explore.columns import MAP_X, MAP_Y, NOVELTY, PLACE, table_rows
from alservice.explore.index import ABOUT, TABLE, Index, Piece
from alservice.explore.landmarks import lay_out, sample
from alservice.explore.landmarks import place as placed_among
from alservice.explore.latent_map import LatentMap
from alservice.explore.neighbours import DIMENSIONS, GRAPH, VECTORS, Neighbours
from alservice.explore.table import Table
from alservice.progress import NoProgress
from alservice.science.components import Moments
from alservice.science.plane import Tile
from alservice.science.prediction import Prediction, Recipe
from alservice.science.tree import load_tree
from alservice.shapes import FloatArray

TREE = load_tree("gz2")
SHARD = 5_000
WIDTH = 192
"""Width of the default network's embeddings."""

LATENT = 20
"""Directions in which made-up embeddings differ; noise in all others is a tenth."""

RECIPE = Recipe(
    tree_hash=TREE.hash,
    model="m",
    model_key="k",
    trunk="t",
    draws=30,
    seed=1,
    votes=40.0,
    worth=(1.0,) * TREE.n_questions,
)


def parts(n: int, places: Sequence[int]) -> Iterator[Part]:
    """Yield made-up shards."""
    shape = np.random.default_rng(0)
    first, second = shape.normal(size=(LATENT, 64)) / 4, shape.normal(size=(64, WIDTH)) / 8
    for place in places:
        rng = np.random.default_rng((1, place))
        size = min(SHARD, n - place * SHARD)
        latent = rng.normal(size=(size, LATENT)) / np.sqrt(1 + np.arange(LATENT) / 4)
        embeddings = np.tanh(latent @ first) @ second + 0.02 * rng.normal(size=(size, WIDTH))
        shares = rng.gamma(0.5, size=(size, TREE.n_answers)) + 1e-6
        mean = np.concatenate([shares[:, q] / shares[:, q].sum(1, keepdims=True) for q in TREE.slices], axis=1)
        ids = tuple(f"J{place * SHARD + row:09}" for row in range(size))
        ra, dec = rng.uniform(0, 360, size), np.degrees(np.arcsin(rng.uniform(-1, 1, size)))
        yield Part(
            galaxies=[
                Galaxy(
                    galaxy_id=name,
                    row=place * SHARD + row,
                    ra_deg=float(ra[row]),
                    dec_deg=float(dec[row]),
                    image_key="none",
                    unbiased=True,
                    evaluation=False,
                )
                for row, name in enumerate(ids)
            ],
            prediction=Prediction(
                galaxy_ids=ids,
                mean=mean.astype(np.float16),
                sd=rng.uniform(0, 0.3, mean.shape).astype(np.float16),
                scores=rng.gamma(2.0, 0.1, size).astype(np.float32),
                embeddings=embeddings.astype(np.float16),
                recipe=RECIPE,
            ),
            counts=np.zeros((size, TREE.n_answers), dtype=np.int64),
        )


def index_of(n: int) -> Index:
    """Return the record that an index of made-up shards begins with."""
    sizes = [min(SHARD, n - first) for first in range(0, n, SHARD)]
    return Index(
        campaign="benchmark",
        catalogue_id=1,
        model_id=1,
        model_digest="m",
        tree="gz2",
        pieces=tuple(Piece(key=str(place), n=size) for place, size in enumerate(sizes)),
        labelled=None,
        dimensions=0,
        explained=0.0,
        fitted=0,
        built_at=datetime.now(UTC),
    )


class Stages(NoProgress):
    """Notes when each stage of a build begins."""

    def __init__(self) -> None:
        self.began: list[tuple[str, float]] = []

    def start(self, name: str, total: int | None = None) -> None:
        """Note it."""
        self.began.append((name, time.perf_counter()))


def built(folder: Path, n: int, threads: int) -> list[tuple[str, str]]:
    """Build an index; return what it cost."""
    stages = Stages()
    start = time.perf_counter()
    labelled = frozenset(f"J{row:09}" for row in range(0, n, max(1, n // 5_000)))
    index = build_index(
        folder,
        index_of(n),
        lambda places: parts(n, places),
        tree=TREE,
        labelled=labelled,
        before=None,
        threads=threads,
        progress=stages,
    )
    took = time.perf_counter() - start
    joined = next(at for name, at in stages.began if name == "join neighbours")
    (folder / ABOUT).write_text(json.dumps(document_of(index)))
    sizes = {name: (folder / name).stat().st_size / 1e6 for name in (TABLE, VECTORS, GRAPH)}
    return [
        (f"build of {n:,}, {threads} threads, with making them up", f"{took:.0f} s"),
        ("of this, from the first join to the end", f"{start + took - joined:.0f} s"),
        ("variance in 64 components", f"{index.explained:.3f}"),
        ("table / vectors / graph", " / ".join(f"{size:.0f} MB" for size in sizes.values())),
        ("peak memory of the build", f"{_peak_mb():.0f} MB"),
    ]


def mapped(folder: Path, n: int, threads: int) -> list[tuple[str, str]]:
    """Lay a map out, place all galaxies, write the table; return what each cost."""
    moments = Moments(WIDTH)
    for part in parts(n, range(0, n // SHARD, max(1, n // SHARD // 16))):
        moments.add(part.prediction.embeddings)
    components = moments.components(DIMENSIONS)
    shards = parts(n, range((n - 1) // SHARD + 1))
    vectors = np.concatenate([components.project(p.prediction.embeddings).astype(np.float16) for p in shards])
    start = time.perf_counter()
    landmarks = lay_out(vectors[sample(n, seed=0)], None, seed=0, threads=threads, progress=NoProgress())
    laid = time.perf_counter() - start
    begin, start = time.process_time(), time.perf_counter()
    at = placed_among(landmarks, vectors, seed=0, threads=threads, progress=NoProgress())
    placed, cpu = time.perf_counter() - start, time.process_time() - begin
    write_table(folder / TABLE, n, at)
    return [
        (f"{len(landmarks.laid):,} landmarks laid out, {threads} threads", f"{laid:.0f} s"),
        (f"{n:,} galaxies placed (CPU time)", f"{placed:.0f} s ({cpu:.0f} s)"),
        ("peak memory", f"{_peak_mb():.0f} MB"),
    ]


def write_table(path: Path, n: int, at: FloatArray) -> None:
    """Write the table of an index of made-up galaxies with their places (n, 2) on the map."""
    first, writer = 0, None
    for part in parts(n, range((n - 1) // SHARD + 1)):
        rows = {**table_rows(TREE, part.galaxies, part.prediction, part.counts), NOVELTY: part.prediction.scores}
        size = len(part.galaxies)
        rows |= {PLACE: np.arange(first, first + size, dtype=np.int32), MAP_X: at[first : first + size, 0]}
        table = pa.table({**rows, MAP_Y: at[first : first + size, 1]})
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd", use_dictionary=False)
        writer.write_table(table, row_group_size=2 * GROUP_ROWS)
        first += size
    if writer is not None:
        writer.close()


def map_asked(folder: Path) -> list[tuple[str, str]]:
    """Ask a map of its table; return how long it took."""
    start = time.perf_counter()
    found = LatentMap(Table(folder / TABLE, TREE, timeout_s=60), has_embeddings=True)
    whole = len(found.tile(Tile(z=0, x=0, y=0), TREE.columns[0], Choice()))
    rows = [
        ("table opened and the first tile, which is the whole map", f"{(time.perf_counter() - start) * 1e3:.0f} ms")
    ]
    rows.append(("its picture", f"{whole / 1e3:.0f} kB"))
    rng = np.random.default_rng(4)
    for z in (1, 3, 6):
        tiles = [Tile(z=z, x=int(x), y=int(y)) for x, y in rng.integers(0, 1 << z, (10, 2))]
        times = [_timed(lambda at=at: found.tile(at, TREE.columns[5], Choice())) for at in dict.fromkeys(tiles)]
        rows.append((f"tile of level {z}: median / longest", f"{np.median(times):.0f} / {max(times):.0f} ms"))
    some = next(choices(rng, 1))
    held = _timed(lambda: found.tile(Tile(z=0, x=0, y=0), TREE.columns[5], some))
    rows.append(("whole map of a choice of five conditions", f"{held:.0f} ms"))
    rows.append(("nearest 24 of a place", f"{_timed(lambda: found.near(0.4, 0.6, Choice(), n=24)):.0f} ms"))
    turn = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    lasso = 0.5 + 0.4 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    rows.append(
        ("lasso of 200 corners around most galaxies", f"{_timed(lambda: found.inside(lasso, Choice())):.0f} ms")
    )
    return rows


def _timed(do: Callable[[], object]) -> float:
    """Return how long something took (ms)."""
    start = time.perf_counter()
    do()
    return (time.perf_counter() - start) * 1e3


def choices(rng: np.random.Generator, questions: int) -> Iterator[Choice]:
    """Yield choices of five conditions, sorted by something."""
    sorts = ("novelty", "score_nats", "confidence", "n_votes")
    for number in range(questions):
        names = [str(name) for name in rng.choice(TREE.columns, 5, replace=False)]
        lows = rng.uniform(0, 0.2, 5)
        yield Choice(
            conditions=tuple(
                Condition(name=name, low=float(low), high=float(low) + 0.7)
                for name, low in zip(names, lows, strict=True)
            ),
            sort=sorts[number % len(sorts)],
        )


def asked(folder: Path, questions: int) -> list[tuple[str, str]]:
    """Ask an index; return how long it took and how right it was."""
    index = record_of(Index, json.loads((folder / ABOUT).read_bytes()))
    before = _rss_mb()
    table, found = Table(folder / TABLE, TREE, timeout_s=60), Neighbours(folder)
    opened = _rss_mb()
    rng = np.random.default_rng(2)
    times, held = [], []
    for choice in choices(rng, questions):
        start = time.perf_counter()
        held.append(table.page(choice).n)
        times.append(time.perf_counter() - start)
    start = time.perf_counter()
    table.place_of([f"J{int(rng.integers(index.n)):09}"])
    by_id = time.perf_counter() - start
    start = time.perf_counter()
    table.near(120.0, 10.0, radius_deg=0.1, n=20)
    cone = time.perf_counter() - start
    places = rng.choice(index.n, questions, replace=False)
    vectors = [np.asarray(found.vectors[place], dtype=np.float32) for place in places]
    found.near(vectors[0], 50)
    start = time.process_time()
    near = [found.near(vector, 50)[0] for vector in vectors]
    seconds = time.process_time() - start
    wall = time.perf_counter()
    exact = [found.exact(vector, 50)[0] for vector in vectors]
    wall = (time.perf_counter() - wall) / questions
    shares = [len(set(a.tolist()) & set(b.tolist())) / 50 for a, b in zip(near, exact, strict=True)]
    return [
        (f"choice of five conditions, {questions} of them: median / p95", _median_p95(times)),
        ("galaxies that they hold, median", f"{int(np.median(held)):,}"),
        ("galaxy by id / cone search", f"{by_id * 1e3:.0f} / {cone * 1e3:.0f} ms"),
        ("recall of the nearest 50, mean / worst", f"{np.mean(shares):.4f} / {min(shares):.2f}"),
        ("queries per second of one core (CPU time)", f"{questions / seconds:,.0f}"),
        ("look at every galaxy", f"{wall * 1e3:.0f} ms"),
        ("memory before / opened / after all questions", f"{before:.0f} / {opened:.0f} / {_rss_mb():.0f} MB"),
    ]


def _median_p95(times: Sequence[float]) -> str:
    return f"{np.median(times) * 1e3:.0f} / {np.quantile(times, 0.95) * 1e3:.0f} ms"


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _rss_mb() -> float:
    """Return memory that is this process's own, mapped files left out."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return float(status.split("RssAnon:")[1].split()[0]) / 1e3


def main() -> None:
    """Build, unless it is there, and ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--galaxies", type=int, default=1_000_000)
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--map", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if given.map:
            rows = [] if (folder / TABLE).exists() else mapped(folder, given.galaxies, given.threads)
            rows += map_asked(folder)
        else:
            rows = [] if (folder / ABOUT).exists() else built(folder, given.galaxies, given.threads)
            rows += asked(folder, given.questions)
    print("| what | found |\n|---|---|")
    for what, found in rows:
        print(f"| {what} | {found} |")


if __name__ == "__main__":
    main()
