"""Principal components of embeddings, from moments that are added up batch by batch in flat memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from alservice.errors import BadInput, NumericalFault
from alservice.shapes import FloatArray

MAX_WIDTH: Final = 2048
"""Widest embedding whose moments are added up: 34 MB of float64."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Components:
    """A projection on K principal components.

    Parameters
    ----------
    mean
        float32 (E,) that is taken away first.
    axes
        float32 (K, E), orthonormal, the one of most variance first; the largest entry of each is positive, so that the
        same moments give the same axes.
    explained
        Share of the variance that the K components hold; 1 where there is none.
    """

    mean: FloatArray
    axes: FloatArray
    explained: float

    def project(self, embeddings: FloatArray) -> FloatArray:
        """Return vectors (N, K) float32 of embeddings (N, E); distances between them are at most those before."""
        vectors: FloatArray = (np.asarray(embeddings, dtype=np.float32) - self.mean) @ self.axes.T
        return vectors


class Moments:
    """Number, sums and products of embeddings (N, E): what principal components follow from, whatever the batches.

    Products are about the mean of the first batch, so that nothing is lost where means are large beside variances.

    Parameters
    ----------
    width
        E.

    Raises
    ------
    BadInput
        E is 0, or above `MAX_WIDTH`.
    """

    def __init__(self, width: int) -> None:
        if not 1 <= width <= MAX_WIDTH:
            raise BadInput(f"embeddings of {width} values have no components here: 1 to {MAX_WIDTH} do", width=width)
        self.n = 0
        self._origin = np.zeros(width)
        self._sum = np.zeros(width)
        self._products = np.zeros((width, width))

    def add(self, embeddings: FloatArray) -> None:
        """Add a batch (B, E); `NumericalFault` where a value is not finite."""
        values = np.asarray(embeddings, dtype=np.float64)
        if not np.isfinite(values).all():
            raise NumericalFault("an embedding is not finite")
        if not len(values):
            return
        if not self.n:
            self._origin = values.mean(axis=0)
        values = values - self._origin
        self.n += len(values)
        self._sum += values.sum(axis=0)
        self._products += values.T @ values

    def components(self, at_most: int) -> Components:
        """Return the first components, as many as are asked for or as embeddings are wide.

        Raises
        ------
        BadInput
            No embedding was added.
        """
        if not self.n:
            raise BadInput("there is no embedding to find components of")
        mean = self._sum / self.n
        values, vectors = np.linalg.eigh(self._products / self.n - np.outer(mean, mean))
        axes = vectors[:, ::-1].T[:at_most]
        signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
        variances = np.maximum(values[::-1], 0.0)
        whole = variances.sum()
        return Components(
            mean=(self._origin + mean).astype(np.float32),
            axes=(axes * signs[:, None]).astype(np.float32),
            explained=float(variances[: len(axes)].sum() / whole) if whole > 0 else 1.0,
        )
