"""Images to embeddings as fast as the machine allows: batch norms folded away, low precision where it is native.

Blocks have one shape, whatever the batch: the same kernels run for every image, so that neither its neighbours nor the
size of its shard change a bit of its embedding.
"""

from __future__ import annotations

import copy
from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from alservice.network.architectures import Network, view_of

_BLOCK: Final = {"cpu": 64}
_LARGE_BLOCK: Final = 2048
"""Images times views per pass through the trunk: what stays in a cache on a CPU, and what fills a GPU."""


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

    def _embed(self, images: Tensor) -> Tensor:
        absent = self._block - len(images)
        padded = torch.cat([images, images.new_zeros(absent, *images.shape[1:])]) if absent else images
        pixels = self._network.pixels(padded.to(self._device)).to(self._dtype)
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
