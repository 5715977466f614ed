"""Checkpoints of encoders, such as Zoobot's, as first weights of a trunk.

Weights come as tensors by name that a person has at hand: nothing is downloaded, and nothing is unpickled here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from alservice.errors import BadInput
from alservice.network.architectures import Network
from alservice.network.timm_trunk import PREFIX

_PREFIXES: Final = ("encoder.", "model.encoder.", "zoobot.encoder.", "trunk.", "")
"""Where checkpoints keep their encoder: Zoobot's and Lightning's, ours, and bare timm."""

_HEADS: Final = ("head.", "fc.", "classifier.", "head_drop.")
"""What timm calls the layers after the pooled embedding, which a trunk has none of."""


def load_encoder(network: Network, state: Mapping[str, Tensor], *, what: str) -> dict[str, Tensor]:
    """Return all weights of a network whose trunk is an encoder's: to be the `initial` of `fit`.

    Parameters
    ----------
    network
        Of the encoder's architecture, such as ``timm:convnext_nano``; it is left as it is.
    state
        Weights by name. The encoder's stand under ``encoder.`` or the like; of layers outside it nothing is used.
    what
        Names the checkpoint in errors.

    Raises
    ------
    BadInput
        A weight of the trunk is absent, has another shape, or the encoder has one that the trunk lacks; it is named.
    """
    inside = "model." if network.config.name.startswith(PREFIX) else ""
    wanted = {name.removeprefix(inside): weight for name, weight in network.trunk.state_dict().items()}
    prefix = max(_PREFIXES, key=lambda prefix: sum(f"{prefix}{name}" in state for name in wanted))
    found = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    absent = sorted(wanted.keys() - found.keys())
    if absent:
        raise BadInput(
            f"{what}: {len(absent)} of {len(wanted)} weights of {network.config.name} absent, such as {absent[0]!r}",
            absent=absent[:20],
        )
    extra = sorted(name for name in found.keys() - wanted.keys() if not name.startswith(_HEADS))
    if extra:
        raise BadInput(
            f"{what}: {network.config.name} has no {extra[0]!r}: is it of another size?", unexpected=extra[:20]
        )
    trunk = {f"trunk.{inside}{name}": _fitted(found[name], weight, name, what) for name, weight in wanted.items()}
    return network.state_dict() | trunk


def _fitted(tensor: Tensor, weight: Tensor, name: str, what: str) -> Tensor:
    """Return a weight in the shape wanted; a first layer for colour becomes one for grey by adding up its channels."""
    if tensor.ndim == 4 and weight.ndim == 4 and tensor.shape[1] == 3 and weight.shape[1] == 1:
        tensor = tensor.sum(1, keepdim=True)
    if tensor.shape != weight.shape:
        raise BadInput(f"{what}: {name!r} is {tuple(tensor.shape)}, not {tuple(weight.shape)}", weight=name)
    return tensor.to(weight.dtype)
