"""Random views of galaxies for training: one affine resampling per image, and a change of contrast."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from alservice.errors import BadConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """How far random views stray; flips and rotations by any angle are always on, as the sky has no up.

    Parameters
    ----------
    zoom
        Largest factor by which a galaxy grows or shrinks, log-uniform; at least 1.
    shift
        Largest offset of the centre along each axis, as a fraction of the side of the view.
    contrast
        Largest relative change of the distances of pixels from their mean.
    """

    zoom: float = 1.2
    shift: float = 0.02
    contrast: float = 0.05

    def __post_init__(self) -> None:
        """Refuse ranges that turn an image inside out."""
        if self.zoom < 1 or not 0 <= self.shift < 0.5 or not 0 <= self.contrast < 1:
            raise BadConfig("augmentation: needs zoom >= 1, 0 <= shift < 0.5 and 0 <= contrast < 1")


def augment(
    images: Tensor,
    config: Augmentation,
    *,
    output_px: int,
    generator: torch.Generator,
    batch: int | None = None,
    first: int = 0,
) -> Tensor:
    """Return one random view of each image.

    Parameters
    ----------
    images
        (B, C, H, H) uint8.
    output_px
        Side of the view, at the pixel scale of the images when the zoom is 1.
    generator
        On the CPU, so that every device sees the same views.
    batch, first
        Where the images are part of a batch: its size, and the place of the first of them; they get the views that they
        have in the whole.

    Returns
    -------
    Tensor
        (B, C, output_px, output_px) float32, 0..1 before the change of contrast. Beyond the edge its last pixels go on:
        a mirrored sky would show the galaxy again in the corners.
    """
    uniform = torch.rand(6, batch or len(images), generator=generator)[:, first : first + len(images)]
    angle = 2 * math.pi * uniform[0]
    flip = torch.where(uniform[1] < 0.5, -1.0, 1.0)
    extent = output_px / images.shape[-1] * config.zoom ** (2 * uniform[2] - 1)
    shift = 2 * config.shift * (2 * uniform[3:5] - 1) * extent
    cos, sin = extent * torch.cos(angle), extent * torch.sin(angle)
    theta = torch.stack([cos * flip, -sin, shift[0], sin * flip, cos, shift[1]], dim=-1).view(-1, 2, 3)
    grid = torch.nn.functional.affine_grid(
        theta.to(images.device), [len(images), images.shape[1], output_px, output_px], align_corners=False
    )
    pixels = torch.nn.functional.grid_sample(images.float() / 255, grid, padding_mode="border", align_corners=False)
    gain = 1 + config.contrast * (2 * uniform[5] - 1)
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (pixels - mean) * gain.to(images.device)[:, None, None, None]
