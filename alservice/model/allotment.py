"""Who teaches what: held-out galaxies, and which heads each of the others trains.

Both follow from the pixels of a galaxy alone, not from its place among others: a galaxy that is held out stays held
out as the training set grows, and a warm start never trains on what judged the weights it starts from.
"""

from __future__ import annotations

import hashlib

import numpy as np

from alservice.core.ids import stable_fraction
from alservice.shapes import BoolArray, FloatArray, UInt8Array


def image_keys(images: UInt8Array) -> tuple[str, ...]:
    """Return the sha256 of each image (N, C, H, W): what a galaxy is called in training."""
    return tuple(hashlib.sha256(np.ascontiguousarray(image)).hexdigest() for image in images)


def held_out(keys: tuple[str, ...], fraction: float) -> BoolArray:
    """Return (N,) which galaxies are held out: each with the same probability, whoever else is there."""
    return np.array([stable_fraction("hold-out", key) < fraction for key in keys], dtype=bool)


def head_weights(keys: tuple[str, ...], *, heads: int, seed: int) -> FloatArray:
    """Return the weight of each galaxy in the loss of each head: float32 (N, K), each row with mean 1.

    A balanced bootstrap: every galaxy is left out of two in five heads, so that heads differ as bootstrap replicates
    do (a Poisson bootstrap leaves out 37 %), but all galaxies weigh the same on the shared trunk. With Poisson weights
    the trunk's gradient was noisier and the votes of unseen galaxies less likely.
    """
    left_out = 2 * heads // 5
    rank = np.array([_permutation(f"{seed}:{key}", heads) for key in keys]).reshape(len(keys), heads)
    return np.where(rank >= left_out, heads / (heads - left_out), 0).astype(np.float32)


def _permutation(key: str, n: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    digest = hashlib.shake_128(key.encode()).digest(8 * n)
    return np.argsort(np.frombuffer(digest, dtype="<u8"), kind="stable")
