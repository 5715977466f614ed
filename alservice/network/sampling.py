"""Images to posterior draws: the trunk once per image and view, then T cheap passes through the heads."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from alservice.errors import BadConfig, NumericalFault
from alservice.network.architectures import Network, check_images
from alservice.network.device import resolve_precision
from alservice.network.embed import Embedder
from alservice.shapes import FloatArray, UInt8Array

BATCH: Final = 64
"""Images on the device at a time: enough to keep it busy; more only takes memory."""

VIEWS: Final = (1, 2, 4, 8)
"""How many views an embedding may average: the image; and its half, quarter turns; and their mirror images."""


@torch.inference_mode()
def sample_posterior(
    network: Network,
    images: UInt8Array,
    *,
    draws: int,
    seed: int,
    device: str,
    views: int = 8,
    batch: int = BATCH,
    precision: str = "auto",
) -> tuple[FloatArray, FloatArray]:
    """Return posterior draws of the answer concentrations, and embeddings.

    The masks follow from the seed alone, so that draw t is one function for every galaxy of every shard. The same
    images in the same call give the same bytes; another batch or shard size agrees within 1e-4.

    Parameters
    ----------
    network
        On `device`, trained; it is left in prediction mode.
    images
        (N, C, H, W) uint8; N may be 0.
    draws
        T.
    views
        1, 2, 4 or 8 flips and quarter turns that embeddings are averaged over; 8 makes them exactly invariant.
    batch
        Images on the device at a time; memory does not grow with N otherwise.
    precision
        ``float32``, ``bfloat16``, or ``auto`` for the faster one on this device. Embeddings differ between the two by
        some 0.3 %; machines that share the shards of one catalogue must use one.

    Returns
    -------
    tuple
        Concentrations (N, T, A) float32, temperature included, and embeddings (N, E) float16.

    Raises
    ------
    BadImage
        The images are not uint8 (N, C, H, W) as the network was built for.
    BadConfig
        Draws, views or batch are out of range, or the precision is unknown.
    NumericalFault
        A value is not finite, or does not fit its dtype; the first row is named.
    """
    check_images(images, network.config)
    if draws < 1 or batch < 1 or views not in VIEWS:
        raise BadConfig(f"a posterior needs draws and batch >= 1 and views in {VIEWS}: {draws}, {batch}, {views}")
    embed = Embedder(network.eval(), views=views, dtype=resolve_precision(precision, device))
    masks = network.heads.posterior_masks(draws, seed=seed)
    concentrations = np.empty((len(images), draws, network.tree.n_answers), dtype=np.float32)
    embeddings = np.empty((len(images), network.heads.weights[0].shape[1]), dtype=np.float16)
    for start in range(0, len(images), batch):
        rows = slice(start, start + batch)
        embedded = embed(torch.from_numpy(images[rows]))
        concentrations[rows] = network.draw(embedded, masks).cpu().numpy()
        embeddings[rows] = embedded.half().cpu().numpy()
    _check_finite("concentrations", concentrations)
    _check_finite("embeddings", embeddings)
    return concentrations, embeddings


def _check_finite(what: str, values: FloatArray) -> None:
    bad = np.flatnonzero(~np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
    if len(bad):
        raise NumericalFault(f"posterior: the {what} of row {bad[0]} are not finite", row=int(bad[0]))
