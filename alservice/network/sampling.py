"""Images to posterior draws: the trunk once per image and view, then T cheap passes through the heads."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from typing import Final, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from alservice.errors import BadConfig
from alservice.ids import digest_of_document, seed_of
from alservice.network.architectures import Network, check_images, view_of
from alservice.network.config import resolve_precision
from alservice.network.draws import HeadSampler, check_finite
from alservice.network.memory import on_device
from alservice.shapes import FloatArray, UInt8Array

_BLOCK: Final = {"cpu": 64}
_LARGE_BLOCK: Final = 2048
"""Images times views per pass through the trunk: what stays in a cache on a CPU, and what fills a GPU."""


VIEWS: Final = (1, 2, 4, 8)
"""How many views an embedding may average: the image; and its half, quarter turns; and their mirror images."""


class Embedder:
    """A network's trunk, made ready to see many images.

    Parameters
    ----------
    network
        On its device; it is left as it is.
    views
        1, 2, 4 or 8 elements of the square's symmetry group that an embedding is averaged over.
    dtype
        Of the arithmetic in the trunk, float32 or bfloat16; views are averaged in float32.
    """

    def __init__(self, network: Network, *, views: int, dtype: torch.dtype) -> None:
        if views not in VIEWS:
            raise BadConfig(f"an embedding averages over {', '.join(map(str, VIEWS))} views, not {views}")
        self._network = network
        self._views = views
        self._dtype = dtype
        self._device = network.temperature.device
        self._block = max(1, _BLOCK.get(self._device.type, _LARGE_BLOCK) // views)
        trunk = _folded(copy.deepcopy(network.trunk).eval())
        for weight in trunk.parameters():
            if weight.ndim == 4:
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        self._trunk = trunk.to(dtype)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Return embeddings (B, E) float32 of uint8 images (B, C, H, W), on the device of the network."""
        blocks = [self._embed(block) for block in torch.split(images, self._block)]
        return torch.cat(blocks)

    @on_device()
    def embed(self, images: UInt8Array) -> FloatArray:
        """Return embeddings (N, E) float16 of uint8 images (N, C, H, W) in memory.

        Raises
        ------
        BadImage
            The images are not those that the network was built for.
        NumericalFault
            An embedding does not fit float16; its row is named.
        """
        check_images(images, self._network.config)
        if not len(images):
            return np.empty((0, self._network.heads.weights[0].shape[1]), dtype=np.float16)
        pixels = torch.from_numpy(images)
        if self._device.type == "cuda":  # copies then go on while the device computes
            pixels = pixels.pin_memory()
        embeddings: FloatArray = self(pixels).half().cpu().numpy()
        check_finite("embeddings", embeddings)
        return embeddings

    def _embed(self, images: Tensor) -> Tensor:
        absent = self._block - len(images)
        padded = torch.cat([images, images.new_zeros(absent, *images.shape[1:])]) if absent else images
        pixels = self._network.pixels(padded.to(self._device, non_blocking=True)).to(self._dtype)
        stacked = torch.cat([view_of(pixels, view) for view in range(self._views)])
        embedded: Tensor = self._trunk(stacked.contiguous(memory_format=torch.channels_last))
        return embedded.float().view(self._views, self._block, -1).mean(0)[: len(images)]


def _folded(module: nn.Module) -> nn.Module:
    """Return a module in prediction mode whose convolutions have taken in the batch norms that follow them."""
    for name, child in module.named_children():
        setattr(module, name, _folded(child))
    if not isinstance(module, nn.Sequential):
        return module
    layers: list[nn.Module] = []
    for layer in module:
        if layers and isinstance(layer, nn.BatchNorm2d) and isinstance(layers[-1], nn.Conv2d):
            layers[-1] = cast("nn.Module", fuse_conv_bn_eval(layers[-1], layer))
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


def sample_ensemble(
    members: Sequence[Network],
    images: UInt8Array,
    *,
    draws: int,
    seed: int,
    device: str,
    views: int = 8,
    precision: str = "auto",
) -> tuple[FloatArray, FloatArray]:
    """Return posterior draws of an ensemble, and the embeddings of its first member.

    Draw t is one function of one member, the (t mod M)-th: the ensemble costs M trunks, and no more heads than one
    network. Of one member the result is that of `sample_posterior`.

    Parameters
    ----------
    members
        M networks for one tree and one kind of images, on `device`; trained from different seeds, or they are one.
    draws
        T, at least M.

    Returns
    -------
    tuple
        Concentrations (N, T, A) float32 and embeddings (N, E) float16; those of other members stand on other axes.

    Raises
    ------
    BadConfig
        There are no members or more than draws, or they are of different trees.
    BadImage, NumericalFault
        As `sample_posterior`.
    """
    if not 1 <= len(members) <= draws:
        raise BadConfig(f"an ensemble needs at least one member and a draw for each: {len(members)} for {draws} draws")
    if len({member.tree.hash for member in members}) > 1:
        raise BadConfig("the members of an ensemble must answer the questions of one tree")
    concentrations = np.empty((len(images), draws, members[0].tree.n_answers), dtype=np.float32)
    embeddings = []
    for number, member in enumerate(members):
        turns = range(number, draws, len(members))
        concentrations[:, turns], embedded = sample_posterior(
            member,
            images,
            draws=len(turns),
            seed=seed_of(seed, "member", number) if number else seed,
            device=device,
            views=views,
            precision=precision,
        )
        embeddings.append(embedded)
    return concentrations, embeddings[0]


@torch.inference_mode()
def sample_posterior(
    network: Network,
    images: UInt8Array,
    *,
    draws: int,
    seed: int,
    device: str,
    views: int = 8,
    precision: str = "auto",
) -> tuple[FloatArray, FloatArray]:
    """Return posterior draws of the answer concentrations, and embeddings.

    The draws are those that `HeadSampler` makes of the embeddings: who keeps these can make them again, to the bit.
    The masks follow from the seed alone, so that draw t is one function for every galaxy of every shard. The same
    images in the same call give the same bytes; another shard size agrees within 1e-4.

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
        Draws or views are out of range, or the precision is unknown.
    NumericalFault
        A value is not finite, or does not fit its dtype; the first row is named.
    """
    sampler = HeadSampler(network, draws=draws, seed=seed)
    embeddings = Embedder(network.eval(), views=views, dtype=resolve_precision(precision, device)).embed(images)
    return sampler.draws(embeddings), embeddings


def trunk_digest(network: Network, *, views: int, precision: str) -> str:
    """Return the digest of all that embeddings follow from, besides images: two networks that share it share them.

    Parameters
    ----------
    views
        As of `Embedder`.
    precision
        ``float32`` or ``bfloat16``: what the trunk multiplies in.
    """
    config = network.config
    kind = {"name": config.name, "channels": config.channels, "image_px": config.image_px, "field": config.field}
    digest = hashlib.sha256(digest_of_document({**kind, "views": views, "precision": precision}).encode())
    for name, tensor in sorted(network.trunk.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
