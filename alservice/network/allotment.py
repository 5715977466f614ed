"""Who teaches what: held-out galaxies, and which heads each of the others trains.

Both follow from the pixels of a galaxy, not from its place in the training set: the same galaxies are held out in
every cycle (but for a few at the margin), so a warm start does not train on what chose the weights it starts from.
"""

from __future__ import annotations

import hashlib

import numpy as np

from alservice.ids import digest_of_bytes, stable_fraction
from alservice.shapes import BoolArray, FloatArray, UInt8Array


def image_keys(images: UInt8Array) -> tuple[str, ...]:
    """Return the sha256 of each image (N, C, H, W): what a galaxy is called in training."""
    return tuple(digest_of_bytes(image.tobytes()) for image in images)


def held_out(keys: tuple[str, ...], fraction: float) -> BoolArray:
    """Return (N,) which galaxies are held out: the fraction with the smallest hashes, and at least one."""
    order = np.argsort([stable_fraction("hold-out", key) for key in keys], kind="stable")
    held = np.zeros(len(keys), dtype=bool)
    held[order[: max(1, round(fraction * len(keys)))]] = True
    return held


def head_weights(keys: tuple[str, ...], *, heads: int, seed: int) -> FloatArray:
    """Return the weight of each galaxy in the loss of each head: float32 (N, K), the mean of each row 1.

    A balanced bootstrap: every galaxy is left out of two heads in five, so that heads differ as bootstrap replicates
    do (a Poisson bootstrap leaves out 37 %), while all galaxies weigh the same on the shared trunk. With Poisson
    weights the trunk learned from noisier gradients and made unseen votes less likely.
    """
    left_out = 2 * heads // 5
    weights = np.full((len(keys), heads), heads / (heads - left_out), dtype=np.float32)
    for row, key in zip(weights, keys, strict=True):
        draws = np.frombuffer(hashlib.shake_128(f"{seed}:{key}".encode()).digest(8 * heads), dtype="<u8")
        row[np.argsort(draws, kind="stable")[:left_out]] = 0
    return weights
