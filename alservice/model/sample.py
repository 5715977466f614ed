"""Images to posterior draws: the trunk once per image and view, then T cheap passes through the heads."""

from __future__ import annotations

import numpy as np
import torch

from alservice.errors import BadInput
from alservice.model.networks import Network
from alservice.shapes import FloatArray, UInt8Array

BATCH = 128
"""Images per pass through the trunk: large enough to keep two cores busy, small enough for their cache."""


def sample_posterior(
    network: Network,
    images: UInt8Array,
    *,
    draws: int,
    seed: int,
    device: str,
    views: int = 8,
    batch: int = BATCH,
) -> tuple[FloatArray, FloatArray]:
    """Return posterior draws of the answer concentrations, and embeddings.

    The masks follow from the seed alone, so that draw t is one function for every galaxy of every shard. The same
    images in the same call give the same bytes; another batch or shard size agrees within 1e-4.

    Parameters
    ----------
    network
        On `device`, trained.
    images
        (N, C, H, W) uint8.
    draws
        T.
    views
        1, 2, 4 or 8 flips and quarter turns that embeddings are averaged over; 8 makes them exactly invariant.
    batch
        Images per pass through the trunk.

    Returns
    -------
    tuple
        Concentrations (N, T, A) float32, temperature included, and embeddings (N, E) float16.

    Raises
    ------
    BadInput
        The images are not uint8 (N, C, H, W) as the network was built for.
    """
    config = network.config
    expected = (config.channels, config.image_px, config.image_px)
    if images.dtype != np.uint8 or images.shape[1:] != expected:
        raise BadInput(f"images must be uint8 (N, {', '.join(map(str, expected))}), not {images.dtype} {images.shape}")
    masks = network.heads.posterior_masks(draws, seed=seed)
    n_embedding = network.heads.weights[0].shape[1]
    concentrations = np.empty((len(images), draws, network.tree.n_answers), dtype=np.float32)
    embeddings = np.empty((len(images), n_embedding), dtype=np.float16)
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            rows = slice(start, start + batch)
            pixels = network.pixels(torch.from_numpy(images[rows]).to(device))
            embedded = network.embed(pixels.contiguous(memory_format=torch.channels_last), views=views)
            concentrations[rows] = network.draw(embedded, masks).float().cpu().numpy()
            embeddings[rows] = embedded.half().cpu().numpy()
    network.train(was_training)
    return concentrations, embeddings
