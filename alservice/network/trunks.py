"""Trunks: from an image to an embedding.

`Residual` is the default's. `Walmsley2020` is the network of Walmsley 2020 (MNRAS 491, 1554) as its figure 3 draws it.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


def _convolution(inputs: int, outputs: int, *, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, He 2015; the shortcut pools before its 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, kernel=3, stride=stride)
        self.second = _convolution(outputs, outputs, kernel=3)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(nn.AvgPool2d(stride, ceil_mode=True), *_convolution(inputs, outputs, kernel=1))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
        # In place: nothing here needs its input again, and memory traffic is what this costs.
        maps: Tensor = self.second(self.first(x).relu_())
        return maps.add_(self.shortcut(x)).relu_()


class Residual(nn.Module):
    """A stem of stride 2, residual blocks, and a global mean.

    Parameters
    ----------
    stem
        Width after the stem.
    widths
        Width of each block; the last is that of the embedding, whatever the size of the image. A block that widens
        halves the image.
    """

    def __init__(self, *, channels: int, stem: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.embedding = widths[-1]
        blocks = [_convolution(channels, stem, kernel=5, stride=2), nn.ReLU(inplace=True)]
        for inputs, outputs in pairwise((stem, *widths)):
            blocks.append(ResidualBlock(inputs, outputs, stride=1 if inputs == outputs else 2))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to embeddings (B, E)."""
        maps: Tensor = self.blocks(x)
        # Not maps.mean(): its gradient has another layout, which everything below would have to turn around.
        return nn.functional.avg_pool2d(maps, maps.shape[-2:]).flatten(1)


class Walmsley2020(nn.Module):
    """Three pairs of 3x3 convolutions (32, 32 and 16 wide) with max-pooling after each pair, and a dense layer of 128.

    As in figure 3 of the paper; the released code differs (wider, four stages). The dense layer fixes the size of the
    images: 128 px in the paper.
    """

    def __init__(self, *, channels: int, input_px: int) -> None:
        super().__init__()
        self.embedding = 128
        layers: list[nn.Module] = []
        for inputs, outputs in ((channels, 32), (32, 32), (32, 16)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.convolutions = nn.Sequential(*layers)
        self.dense = nn.Linear(16 * (input_px // 8) ** 2, self.embedding)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to embeddings (B, 128)."""
        return torch.relu(self.dense(self.convolutions(x).flatten(1)))
