"""Architectures of `timm` as trunks, with fresh weights: an optional extra, imported when it is asked for."""

from __future__ import annotations

from typing import Final, cast

from torch import Tensor, nn

from alservice.errors import BadConfig

PREFIX: Final = "timm:"


class TimmTrunk(nn.Module):
    """A timm model without its classifier.

    Parameters
    ----------
    name
        As timm knows it, such as ``convnext_nano``.
    channels
        C of the images.

    Raises
    ------
    BadConfig
        timm is not installed or does not import, or knows no such model.
    """

    def __init__(self, name: str, *, channels: int) -> None:
        super().__init__()
        try:
            import timm
        except (ImportError, RuntimeError) as error:  # a torchvision of another build ends in a RuntimeError
            raise BadConfig(f"network {PREFIX}{name} needs the extra 'timm' with its torchvision: {error}") from error
        if not timm.is_model(name):
            raise BadConfig(f"network: timm knows no model {name!r}", name=name)
        self.model: nn.Module = timm.create_model(name, pretrained=False, in_chans=channels, num_classes=0)
        self.embedding = cast("int", self.model.num_features)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to embeddings (B, E)."""
        embedded: Tensor = self.model(x)
        return embedded
