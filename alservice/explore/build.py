"""An index from stored predictions: a table, vectors and their graph, in flat memory; what is the same is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from alservice.catalogue.galaxies import Galaxy
from alservice.explore.columns import LATER, PLACE, explore_columns, table_rows
from alservice.explore.index import COMPONENTS, TABLE, Index
from alservice.explore.landmarks import Landmarks, earlier, lay_out, place, sample
from alservice.explore.neighbours import DIMENSIONS, GRAPH, VECTORS, build_graph, nearest_distances
from alservice.progress import Progress
from alservice.release.columns import ID
from alservice.release.rows import Rows
from alservice.science.components import Components, Moments
from alservice.science.prediction import Prediction
from alservice.science.tree import Tree
from alservice.shapes import FloatArray, IntArray

GROUP_ROWS: Final = 122_880
"""Rows of a group in the table, what one thread of DuckDB takes at a time."""

FIT_PIECES: Final = 64
"""Pieces that components are found on, spread over the catalogue."""

_GROWTH: Final = 1.5
"""From how many times the galaxies that components were found on they are found anew."""

_TYPES: Final = {"text": pa.string(), "integer": pa.int32(), "float": pa.float32(), "double": pa.float64()}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Part:
    """One prediction shard with what else is known of its galaxies.

    Parameters
    ----------
    galaxies
        N, in the order of the prediction.
    counts
        int64 (N, A) votes.
    """

    galaxies: Sequence[Galaxy]
    prediction: Prediction
    counts: IntArray


Read = Callable[[Sequence[int]], Iterator[Part]]
"""Reads the pieces of some places, one at a time."""


def build_index(
    work: Path,
    index: Index,
    read: Read,
    *,
    tree: Tree,
    labelled: frozenset[str],
    before: tuple[Path, Index] | None,
    threads: int,
    progress: Progress,
    seed: int = 0,
) -> Index:
    """Write an index to an empty folder; return its record with what was found.

    Where the model is that of the index before, components and map stay, and its graph is grown: only vectors from the
    first piece on that changed are joined and placed anew.

    Parameters
    ----------
    index
        What it is to be made of; `dimensions`, `explained` and `fitted` are filled in.
    labelled
        Ids of the galaxies whose votes trained the model.
    seed
        Of the map's sample and layout.
    """
    kept = _kept(index, before)
    components, index = _components(index, read, before[0] if before and kept else None, before)
    vectors = _vectors(work, index)
    labels = _write_table(work, index, read, tree, labelled, components, vectors, progress)
    later = np.full((index.n, len(LATER)), np.nan, dtype=np.float32)
    if components is not None:
        np.savez(work / COMPONENTS, mean=components.mean, axes=components.axes, explained=components.explained)
        later[:, 0] = nearest_distances(vectors, vectors[labels])
        earlier = before[0] / GRAPH if before and kept else None
        build_graph(work / GRAPH, vectors, before=earlier, kept=kept, threads=threads, progress=progress)
        later[:, 1:] = _map(work, vectors, before[0] if before else None, kept, seed, threads, progress)
    _add_later(work, later)
    return index


def _map(
    work: Path, vectors: FloatArray, before: Path | None, kept: int, seed: int, threads: int, progress: Progress
) -> FloatArray:
    """Return the map, float32 (N, 2), and write its landmarks: those of the index before where its vectors stay."""
    there = earlier(before) if before is not None and kept else None
    landmarks = Landmarks.load(before) if before is not None and there is not None else None
    if landmarks is None or there is None:
        places = sample(len(vectors), seed=seed)
        ids = pq.read_table(work / _UNFINISHED, columns=[ID])[ID].take(places).to_pylist()
        begin = earlier(before, ids) if before is not None else None
        landmarks = lay_out(vectors[places], begin, seed=seed, threads=threads, progress=progress)
        found = place(landmarks, vectors, seed=seed, threads=threads, progress=progress)
        found[places] = landmarks.frame.unit(landmarks.laid)
    else:
        placed = place(landmarks, vectors[kept:], seed=seed, threads=threads, progress=progress)
        found = np.concatenate([there[:kept], placed])
    landmarks.save(work)
    return found


def _kept(index: Index, before: tuple[Path, Index] | None) -> int:
    """Return how many vectors of the index before are the first ones of this."""
    if before is None or not before[1].dimensions or before[1].model_digest != index.model_digest:
        return 0
    if index.n > _GROWTH * before[1].fitted:
        return 0
    kept = 0
    for old, new in zip(before[1].pieces, index.pieces, strict=False):
        if old != new:
            break
        kept += new.n
    return kept


def load_components(folder: Path) -> Components:
    """Return the components of an index."""
    with np.load(folder / COMPONENTS) as found:
        return Components(mean=found["mean"], axes=found["axes"], explained=float(found["explained"]))


def _components(
    index: Index, read: Read, kept: Path | None, before: tuple[Path, Index] | None
) -> tuple[Components | None, Index]:
    if kept is not None and before is not None:
        components = load_components(kept)
        fitted = before[1].fitted
    else:
        step = max(1, len(index.pieces) // FIT_PIECES)
        moments: Moments | None = None
        for part in read(range(0, len(index.pieces), step)):
            embeddings = part.prediction.embeddings
            if not embeddings.shape[1]:
                return None, replace(index, dimensions=0, explained=0.0, fitted=index.n)
            moments = moments or Moments(embeddings.shape[1])
            moments.add(embeddings)
        if moments is None:
            return None, replace(index, dimensions=0, explained=0.0, fitted=index.n)
        components, fitted = moments.components(DIMENSIONS), index.n
    return components, replace(index, dimensions=len(components.axes), explained=components.explained, fitted=fitted)


def _vectors(work: Path, index: Index) -> FloatArray:
    if not index.dimensions:
        return np.empty((index.n, 0), dtype=np.float16)
    shape = index.n, index.dimensions
    return np.lib.format.open_memmap(work / VECTORS, mode="w+", dtype=np.float16, shape=shape)


_UNFINISHED: Final = "table.part"


def _write_table(
    work: Path,
    index: Index,
    read: Read,
    tree: Tree,
    labelled: frozenset[str],
    components: Components | None,
    vectors: FloatArray,
    progress: Progress,
) -> list[int]:
    """Write all columns but the later ones, and the vectors; return the places of labelled galaxies."""
    labels: list[int] = []
    schema = pa.schema(
        [
            pa.field(PLACE, pa.int32()),
            *(pa.field(c.name, _TYPES[c.kind]) for c in explore_columns(tree) if c.name not in LATER),
        ]
    )
    progress.start("read predictions", len(index.pieces))
    first = 0
    waiting: list[pa.Table] = []
    with pq.ParquetWriter(work / _UNFINISHED, schema, compression="zstd") as file:
        for part in read(range(len(index.pieces))):
            n = len(part.prediction.galaxy_ids)
            if components is not None:
                vectors[first : first + n] = components.project(part.prediction.embeddings).astype(np.float16)
            labels += [
                first + place
                for place, galaxy in enumerate(part.galaxies)
                if galaxy.galaxy_id in labelled and not galaxy.evaluation  # members are voted on, and never trained on
            ]
            rows = table_rows(tree, part.galaxies, part.prediction, part.counts)
            waiting.append(_arrow(schema, {PLACE: np.arange(first, first + n, dtype=np.int32), **rows}))
            first += n
            if sum(map(len, waiting)) >= GROUP_ROWS:
                file.write_table(pa.concat_tables(waiting).combine_chunks(), row_group_size=2 * GROUP_ROWS)
                waiting = []
            progress.advance()
        if waiting or not first:
            file.write_table(pa.concat_tables(waiting) if waiting else schema.empty_table())
    progress.finish()
    return labels


def _arrow(schema: pa.Schema, rows: Rows) -> pa.Table:
    """Return rows as a table; what is NaN becomes null, which no range holds."""
    arrays = [pa.array(rows[field.name], field.type, from_pandas=True) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _add_later(work: Path, later: FloatArray) -> None:
    """Write the table with its last columns, float32 (N, 3), group by group; NaN becomes null."""
    source = pq.ParquetFile(work / _UNFINISHED)
    schema: Any = source.schema_arrow
    for name in LATER:
        schema = schema.append(pa.field(name, pa.float32()))
    # Ids alone repeat enough of themselves for a dictionary to be worth its time, and those are unique.
    with pq.ParquetWriter(work / TABLE, schema, compression="zstd", use_dictionary=False) as file:
        first = 0
        for group in range(source.num_row_groups):
            table = source.read_row_group(group)
            for name, values in zip(LATER, later[first : first + len(table)].T, strict=True):
                table = table.append_column(schema.field(name), pa.array(values, pa.float32(), from_pandas=True))
            file.write_table(table, row_group_size=2 * GROUP_ROWS)
            first += len(table)
    source.close()
    (work / _UNFINISHED).unlink()
