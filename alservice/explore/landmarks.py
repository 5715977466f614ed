"""The map's coordinates: landmarks laid out by t-SNE, everything else placed among them; what is placed stays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alservice.explore.columns import MAP_X, MAP_Y
from alservice.explore.index import TABLE
from alservice.explore.table import missing
from alservice.progress import Progress
from alservice.release.columns import ID
from alservice.science.plane import Frame
from alservice.shapes import BoolArray, FloatArray, IntArray

LANDMARKS: Final = "landmarks.npz"

MAX_LANDMARKS: Final = 20_000
"""Galaxies that are laid out; the others are placed among them."""

FEW: Final = 100
"""Galaxies below which the first two components are the map: so few have no neighbourhoods to preserve."""

_PERPLEXITY: Final = 30
_ROUNDS: Final = 750
"""Steps of the layout; the first third draws groups together."""

_EVERY: Final = 50
_SPREAD: Final = 1e-4
"""Standard deviation that a layout begins with: near enough for groups to pass each other."""

_CHUNK: Final = 20_000


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Landmarks:
    """Galaxies that others are placed among.

    Parameters
    ----------
    vectors
        float32 (M, K) on the principal components.
    laid
        float64 (M, 2) where they were laid out, in the layout's own unit, its middle at 0.
    """

    vectors: FloatArray
    laid: FloatArray

    @property
    def frame(self) -> Frame:
        """The square that they fill; it is the map."""
        return Frame.around(self.laid)

    @classmethod
    def load(cls, folder: Path) -> Landmarks | None:
        """Return those of an index; None where it has no map."""
        try:
            with np.load(folder / LANDMARKS) as found:
                return cls(vectors=found["vectors"].astype(np.float32), laid=found["laid"])
        except FileNotFoundError:
            return None

    def save(self, folder: Path) -> None:
        """Write them; vectors are halves in the index already."""
        np.savez(folder / LANDMARKS, vectors=self.vectors.astype(np.float16), laid=self.laid)


def sample(n: int, *, seed: int) -> IntArray:
    """Return the places of landmarks among n galaxies, in order."""
    chosen = np.random.default_rng(seed).choice(n, min(n, MAX_LANDMARKS), replace=False)
    return np.sort(chosen)


def lay_out(vectors: FloatArray, begin: FloatArray | None, *, seed: int, threads: int, progress: Progress) -> Landmarks:
    """Return landmarks (M, K) where t-SNE lays them out.

    Parameters
    ----------
    begin
        (M, 2) where they were on the map before, NaN where they were not, so that the new map has the old one's
        arrangement; None to begin with the first two components.

    Raises
    ------
    BadConfig
        openTSNE is not installed.
    """
    vectors = np.asarray(vectors, dtype=np.float32)
    first = _first_two(vectors)
    if len(vectors) < FEW:
        return Landmarks(vectors=vectors, laid=_centred(first))
    try:
        from openTSNE import TSNE
    except ImportError as error:
        raise missing(error) from None
    start = _beginning(first if begin is None or np.isnan(begin).all() else begin)
    progress.start("lay out landmarks", _ROUNDS)

    def told(_round: int, _error: float, _laid: FloatArray) -> None:
        progress.advance(_EVERY)

    fit = TSNE(
        perplexity=_PERPLEXITY,
        early_exaggeration_iter=_ROUNDS // 3,
        n_iter=_ROUNDS - _ROUNDS // 3,
        initialization=start,
        callbacks=told,
        callbacks_every_iters=_EVERY,
        n_jobs=threads,
        random_state=seed,
    ).fit(vectors)
    progress.finish()
    return Landmarks(vectors=vectors, laid=_centred(np.asarray(fit, dtype=np.float64)))


def place(landmarks: Landmarks, vectors: FloatArray, *, seed: int, threads: int, progress: Progress) -> FloatArray:
    """Return where vectors (N, K) belong among landmarks, float32 (N, 2) in the unit square.

    Each begins at the median of its nearest landmarks and moves as their neighbour, whatever else is placed with it:
    a mean of landmarks would lie between their groups.
    """
    frame, found = landmarks.frame, np.empty((len(vectors), 2), dtype=np.float32)
    layout = _layout(landmarks, seed=seed, threads=threads) if len(landmarks.laid) >= FEW and len(vectors) else None
    progress.start("place galaxies", len(vectors))
    for first in range(0, len(vectors), _CHUNK):
        chunk = np.asarray(vectors[first : first + _CHUNK], dtype=np.float32)
        at = _first_two(chunk) - _middle(_first_two(landmarks.vectors)) if layout is None else layout.transform(chunk)
        found[first : first + len(chunk)] = frame.unit(np.asarray(at))
        progress.advance(len(chunk))
    progress.finish()
    return found


def earlier(folder: Path, galaxy_ids: list[str] | None = None) -> FloatArray | None:
    """Return where galaxies are on the map of an index, float32 (N, 2); None where it has none.

    Parameters
    ----------
    galaxy_ids
        In this order, NaN for those that it does not hold; None for all by place.
    """
    path = folder / TABLE
    if not {MAP_X, MAP_Y} <= set(pq.read_schema(path).names):
        return None
    table = pq.read_table(path, columns=[ID, MAP_X, MAP_Y] if galaxy_ids is not None else [MAP_X, MAP_Y])
    if galaxy_ids is not None:
        table = table.take(pc.index_in(pa.array(galaxy_ids, pa.string()), value_set=table[ID]))
    columns = [table[name].to_numpy().astype(np.float32) for name in (MAP_X, MAP_Y)]
    return np.stack(columns, axis=1)


def _layout(landmarks: Landmarks, *, seed: int, threads: int) -> Any:
    try:
        from openTSNE import TSNEEmbedding
        from openTSNE.affinity import PerplexityBasedNN
    except ImportError as error:
        raise missing(error) from None
    near = PerplexityBasedNN(landmarks.vectors, perplexity=_PERPLEXITY, n_jobs=threads, random_state=seed)
    return TSNEEmbedding(landmarks.laid, near, n_jobs=threads, random_state=seed)


def _first_two(vectors: FloatArray) -> FloatArray:
    two = np.zeros((len(vectors), 2))
    two[:, : vectors.shape[1]] = vectors[:, :2]
    return two


def _middle(points: FloatArray) -> FloatArray:
    middle: FloatArray = (points.max(axis=0) + points.min(axis=0)) / 2
    return middle


def _centred(points: FloatArray) -> FloatArray:
    return points - _middle(points)


def _beginning(points: FloatArray) -> FloatArray:
    """Return points as a layout begins with them: small, those that are not known in the middle."""
    known: BoolArray = np.isfinite(points.sum(axis=1))
    start = np.where(known[:, None], points - points[known].mean(axis=0), 0.0).astype(np.float64)
    return start * (_SPREAD / (float(start[:, 0].std()) or 1.0))
