"""Vectors of galaxies and the graph that finds near ones: both are mapped from disk, none is loaded by a process."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np

from alservice.errors import BadInput
from alservice.explore.table import missing
from alservice.progress import Progress
from alservice.shapes import FloatArray, IntArray

VECTORS: Final = "vectors.npy"
GRAPH: Final = "graph.usearch"

DIMENSIONS: Final = 64
"""Principal components that are kept."""

MAX_NEAR: Final = 1000
"""Neighbours that one question may ask for."""

_CONNECTIVITY: Final = 16
_EXPANSION_ADD: Final = 128
_EXPANSION_SEARCH: Final = 192
"""Candidates that a search looks at: more cost time and find more of the nearest (tests/benchmarks)."""

_CHUNK: Final = 50_000
_BLOCK_BYTES: Final = 1 << 26


class Neighbours:
    """Vectors (N, K) float16 and their graph, by places 0 to N - 1.

    Parameters
    ----------
    folder
        Where `build_graph` and `numpy.save` wrote them.

    Raises
    ------
    BadConfig
        usearch is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.vectors: FloatArray = np.load(folder / VECTORS, mmap_mode="r")
        self._graph = _opened(folder / GRAPH, view=True)
        self._graph.expansion_search = _EXPANSION_SEARCH
        self._lock = Lock()  # a graph has one set of working memory for searches of one thread

    def near(self, vector: FloatArray, n: int) -> tuple[IntArray, FloatArray]:
        """Return places and distances of the nearest, by the graph: nearly all of them are the nearest.

        Parameters
        ----------
        vector
            (K,).
        n
            At most so many; there may be fewer galaxies.
        """
        wanted = min(n, len(self.vectors))
        with self._lock:
            self._graph.expansion_search = max(_EXPANSION_SEARCH, 2 * wanted)
            found = self._graph.search(vector.astype(np.float16), wanted, threads=1)
        places: IntArray = found.keys.astype(np.int64)
        # The graph's own distances are sums of halves; these are those that `exact` gives.
        near = np.asarray(self.vectors[places], dtype=np.float32) - vector.astype(np.float32)
        return _sorted(places, np.linalg.norm(near, axis=1))

    def exact(self, vector: FloatArray, n: int) -> tuple[IntArray, FloatArray]:
        """Return what `near` should: every vector is looked at."""
        wanted = min(n, len(self.vectors))
        distances = nearest_distances(self.vectors, vector[None].astype(np.float32))
        places: IntArray = np.argpartition(distances, wanted - 1)[:wanted]
        return _sorted(places, distances[places])


def _sorted(places: IntArray, distances: FloatArray) -> tuple[IntArray, FloatArray]:
    order = np.lexsort((places, distances))
    return places[order], distances[order].astype(np.float32)


def check_near(n: int) -> None:
    """Raise `BadInput` unless so many neighbours may be asked for."""
    if not 1 <= n <= MAX_NEAR:
        raise BadInput(f"1 to {MAX_NEAR} neighbours may be asked for, not {n}", field="n")


def nearest_distances(vectors: FloatArray, others: FloatArray) -> FloatArray:
    """Return the distance (N,) float32 of each vector (N, K) to the nearest of others (M, K); NaN without any."""
    found = np.full(len(vectors), np.nan, dtype=np.float32)
    if not len(others):
        return found
    wanted = np.asarray(others, dtype=np.float32)
    squares = (wanted**2).sum(axis=1)
    rows = max(1, _BLOCK_BYTES // (4 * len(wanted)))
    for first in range(0, len(vectors), rows):
        block = np.asarray(vectors[first : first + rows], dtype=np.float32)
        cross = squares - 2 * block @ wanted.T
        place = cross.argmin(axis=1)
        # Differences, not the sum of large squares: a galaxy's distance to itself is 0.
        found[first : first + rows] = np.linalg.norm(block - wanted[place], axis=1)
    return found


def build_graph(
    path: Path, vectors: FloatArray, *, before: Path | None, kept: int, threads: int, progress: Progress
) -> None:
    """Write the graph of vectors (N, K) float16.

    Parameters
    ----------
    before
        An earlier graph whose first `kept` vectors are the same; None to build all of it.
    threads
        That add side by side. With more than one, two builds differ in how they join galaxies, and hardly in what they
        find.

    Raises
    ------
    BadConfig
        usearch is not installed.
    """
    if before is None or not kept:
        kept = 0
        graph = _new(vectors.shape[1])
    else:
        graph = _opened(before, view=False)
        if len(graph) > kept:
            graph.remove(np.arange(kept, len(graph), dtype=np.uint64))
    progress.start("join neighbours", len(vectors) - kept)
    for first in range(kept, len(vectors), _CHUNK):
        chunk = np.ascontiguousarray(vectors[first : first + _CHUNK])
        graph.add(np.arange(first, first + len(chunk), dtype=np.uint64), chunk, threads=threads)
        progress.advance(len(chunk))
    graph.save(str(path))
    progress.finish()


def _new(dimensions: int) -> Any:
    try:
        from usearch.index import Index as Graph
    except ImportError as error:
        raise missing(error) from None
    return Graph(
        ndim=dimensions,
        metric="l2sq",
        dtype="f16",
        connectivity=_CONNECTIVITY,
        expansion_add=_EXPANSION_ADD,
        expansion_search=_EXPANSION_SEARCH,
    )


def _opened(path: Path, *, view: bool) -> Any:
    try:
        from usearch.index import Index as Graph
    except ImportError as error:
        raise missing(error) from None
    return Graph.restore(str(path), view=view)
