"""The trunk of Dieleman 2015 (MNRAS 450, 1441): one small network looks at a galaxy from 16 sides.

The dense part is in the heads: two maxout layers of 2048, and 37 rectified outputs.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn

IMAGE_PX: Final = 69
"""Side (px) of the images of the paper: the central 207 px of 424 at a third of the scale."""

CROP_PX: Final = 45
"""Side (px) of a viewpoint: four of them overlap about the centre of the image."""

N_VIEWPOINTS: Final = 16


class UntiedConvolution(nn.Module):
    """A valid convolution with a bias for each pixel of its output, and a rectifier."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, output_px: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, bias=False)
        self.untied_bias = nn.Parameter(torch.zeros(outputs, output_px, output_px))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, H) to (B, outputs, H - kernel + 1, H - kernel + 1)."""
        maps: Tensor = self.convolution(x)
        return torch.relu(maps + self.untied_bias)


class Dieleman2015(nn.Module):
    """Four convolutions over 16 viewpoints, whose maps stand side by side: an embedding of 16 x 512.

    Images of another size are resampled to 69 px: give it a field of 0.49 of the 424 px cutouts.
    """

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.embedding = N_VIEWPOINTS * 512
        self.convolutions = nn.Sequential(
            UntiedConvolution(channels, 32, kernel=6, output_px=40),
            nn.MaxPool2d(2),
            UntiedConvolution(32, 64, kernel=5, output_px=16),
            nn.MaxPool2d(2),
            UntiedConvolution(64, 128, kernel=3, output_px=6),
            UntiedConvolution(128, 128, kernel=3, output_px=4),
            nn.MaxPool2d(2),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, H) to embeddings (B, 8192)."""
        if x.shape[-1] != IMAGE_PX:
            # In float32: CPUs do not resample bfloat16 with antialiasing.
            resampled = nn.functional.interpolate(
                x.float(), size=(IMAGE_PX, IMAGE_PX), mode="bilinear", align_corners=False, antialias=True
            )
            x = resampled.to(x.dtype)
        views = viewpoints(x)
        maps: Tensor = self.convolutions(views)
        return maps.reshape(N_VIEWPOINTS, len(x), -1).transpose(0, 1).flatten(1)


def viewpoints(images: Tensor) -> Tensor:
    """Return the 16 viewpoints of square images (B, C, H, H), one after the other: (16 B, C, h, h).

    Upright and turned by 45 degrees, plain and mirrored, the four corners of each, turned so that the centre of the
    image is in the lower right. Beyond the edge of a turned image its last pixels go on.
    """
    crop = round(images.shape[-1] * CROP_PX / IMAGE_PX)
    turned = [whole for image in (images, _turned_by_45(images)) for whole in (image, image.flip(-1))]
    # After a quarter turn, another corner is the upper left one, and its inner corner the lower right.
    return torch.cat([torch.rot90(whole, k, dims=(-2, -1))[..., :crop, :crop] for whole in turned for k in range(4)])


def _turned_by_45(images: Tensor) -> Tensor:
    c = math.sqrt(0.5)
    theta = torch.tensor([[c, -c, 0.0], [c, c, 0.0]], dtype=torch.float32, device=images.device)
    grid = nn.functional.affine_grid(theta.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    pixels = nn.functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return pixels.to(images.dtype)
