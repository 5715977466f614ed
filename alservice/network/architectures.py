"""Networks by name: a trunk, its heads, and what turns their outputs into concentrations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn

from alservice.errors import BadConfig, BadImage, BadInput
from alservice.ids import seed_of
from alservice.network.fractions import concentrations_of, squared_errors
from alservice.network.heads import Heads, Masks
from alservice.network.likelihood import concentrations_from
from alservice.network.objective import training_nll
from alservice.network.timm_trunk import PREFIX, TimmTrunk
from alservice.network.trunks import Residual, Walmsley2020
from alservice.network.viewpoints import Dieleman2015, UntiedConvolution
from alservice.science.tree import Tree
from alservice.shapes import UInt8Array

MAX_CHANNELS: Final = 16
MAX_IMAGE_PX: Final = 4096
MAX_HEADS: Final = 1000
"""Bounds of what a model's card may ask for: a head for each draw is the most that can be told apart."""

Optimiser: TypeAlias = Literal["adamw", "muon"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkConfig:
    """What a network is, before it knows anything.

    Parameters
    ----------
    name
        Key of `NETWORKS`, or ``timm:`` and a model of timm, when that extra is installed.
    channels, image_px
        C and the side H = W (px) of the images it is given.
    field
        Fraction of the side that it looks at, centred: smaller sees less sky for less work.
    heads
        K, the heads that the posterior draws are spread over.
    dropout
        Probability that an input of a head's layer is dropped.
    """

    name: str = "compact"
    channels: int = 1
    image_px: int = 64
    field: float = 1.0
    heads: int = 5
    dropout: float = 0.3

    def __post_init__(self) -> None:
        """Refuse what no network can be built from; the message names the field."""
        if self.name not in NETWORKS and not self.name.startswith(PREFIX):
            known = ", ".join([*sorted(NETWORKS), f"{PREFIX}NAME"])
            raise BadConfig(f"network: no network is called {self.name!r}; known: {known}", name=self.name)
        whole = all(type(number) is int for number in (self.channels, self.image_px, self.heads))
        if not whole or not 1 <= self.channels <= MAX_CHANNELS or not 16 <= self.image_px <= MAX_IMAGE_PX:
            raise BadConfig(f"network: needs 1 to {MAX_CHANNELS} channels and image_px of 16 to {MAX_IMAGE_PX}")
        if not 0 < self.field <= 1 or not 1 <= self.heads <= MAX_HEADS or not 0 <= self.dropout < 1:
            raise BadConfig(f"network: needs 0 < field <= 1, 1 to {MAX_HEADS} heads and 0 <= dropout < 1")

    @classmethod
    def of(cls, name: str, *, channels: int, image_px: int, field: float) -> NetworkConfig:
        """Return the configuration of a network with the heads and dropout of its authors."""
        plain = cls(name=name, channels=channels, image_px=image_px, field=field)
        architecture = _architecture(name)
        return replace(plain, heads=architecture.heads, dropout=architecture.dropout)

    @property
    def input_px(self) -> int:
        """Side (px) that the trunk sees: `field` of the image, of the same parity so that the crop is centred."""
        return self.image_px - 2 * round(self.image_px * (1 - self.field) / 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Architecture:
    """A trunk, hidden layers of the heads, what their outputs are (concentrations, or rectified fractions), and what
    trains it best.
    """

    trunk: Callable[[NetworkConfig], nn.Module]
    hidden: tuple[int, ...] = ()
    pieces: int = 1
    is_point_estimate: bool = False
    heads: int = 5
    dropout: float = 0.3
    optimiser: Optimiser = "adamw"


NETWORKS: Final[Mapping[str, _Architecture]] = MappingProxyType(
    {
        "compact": _Architecture(
            trunk=lambda config: Residual(channels=config.channels, stem=16, widths=(64, 128, 192)),
            hidden=(128,),
            optimiser="muon",
        ),
        "small": _Architecture(
            trunk=lambda config: Residual(channels=config.channels, stem=8, widths=(8, 32, 64, 128)),
            hidden=(128,),
            optimiser="muon",
        ),
        "walmsley2020": _Architecture(
            trunk=lambda config: Walmsley2020(channels=config.channels, input_px=config.input_px), dropout=0.5
        ),
        "dieleman2015": _Architecture(
            trunk=lambda config: Dieleman2015(channels=config.channels),
            hidden=(2048, 2048),
            pieces=2,
            is_point_estimate=True,
            heads=1,
            dropout=0.5,
        ),
    }
)
"""Every network there is: a new one is one more entry.

`compact` is for long trainings, `small` for few labels and quick ones; by the clock they learn alike (decision 16).
"""

_TIMM: Final = _Architecture(
    trunk=lambda config: TimmTrunk(config.name.removeprefix(PREFIX), channels=config.channels), heads=5, dropout=0.5
)

_FIRST_PRECISION: Final = 10.0
"""Precision of an untrained network: votes neither unanimous nor as spread as those of a binomial."""

_FIRST_FRACTION: Final = 0.5
"""Output of an untrained network of fractions: well inside the rectifier, where there is a gradient."""


class Network(nn.Module):
    """A trunk and its heads for the questions of one tree; the answers come as Dirichlet concentrations.

    Attributes
    ----------
    temperature
        (Q,) factor on the precision of each question, fitted after training; 1 until then.
    """

    temperature: Tensor

    def __init__(self, config: NetworkConfig, tree: Tree) -> None:
        super().__init__()
        architecture = _architecture(config.name)
        self.config = config
        self.is_point_estimate = architecture.is_point_estimate
        self.tree = tree
        self.trunk = architecture.trunk(config)
        self.heads = Heads(
            widths=(cast("int", self.trunk.embedding), *architecture.hidden, self._n_outputs),
            members=config.heads,
            dropout=config.dropout,
            pieces=architecture.pieces,
        )
        self.register_buffer("temperature", torch.ones(tree.n_questions))

    def pixels(self, images: Tensor) -> Tensor:
        """Return the central field of uint8 images (B, C, H, W) as float32 in 0..1, (B, C, h, w) px."""
        margin = (self.config.image_px - self.config.input_px) // 2
        inside = slice(margin, margin + self.config.input_px)
        return images[:, :, inside, inside].float() / 255

    def forward(self, pixels: Tensor, masks: Masks) -> Tensor:
        """Return the concentrations (G, B, A) of G masked passes over one view of images, without temperature."""
        return self._concentrations(self.heads(self.trunk(pixels), masks), temperature=None)

    def losses(
        self, pixels: Tensor, masks: Masks, counts: Tensor, *, precision: torch.dtype, mean_precision: float
    ) -> Tensor:
        """Return what each of G masked passes makes of each galaxy's votes (B, A): (G, B), as `losses_of_heads`.

        The trunk multiplies in the precision asked for; heads and votes are float32.
        """
        is_low = precision != torch.float32
        with torch.autocast(pixels.device.type, dtype=precision if is_low else torch.bfloat16, enabled=is_low):
            embedded = self.trunk(pixels)
        return self.losses_of_heads(embedded.float(), masks, counts, mean_precision=mean_precision)

    def losses_of_heads(self, embeddings: Tensor, masks: Masks, counts: Tensor, *, mean_precision: float) -> Tensor:
        """Return what each of G masked passes over embeddings (B, E) makes of votes (B, A): (G, B).

        Nats, summed over questions, with the gradient of `training_nll`; of a network of point estimates the mean
        squared error of cumulative fractions.
        """
        outputs = self.heads(embeddings, masks)
        if self.is_point_estimate:
            return squared_errors(outputs, counts, self.tree)
        logits, log_precision = self._parted(outputs)
        nll = training_nll(logits, log_precision, counts, self.tree, mean_precision=mean_precision)
        return nll.sum(-1)

    def embed(self, pixels: Tensor, *, views: int) -> Tensor:
        """Return embeddings (B, E), averaged over the first 1, 2, 4 or 8 elements of the square's symmetry group.

        With 8 they do not change when the image is flipped or turned by quarters, whatever the trunk learned.
        """
        stacked = torch.cat([view_of(pixels, view) for view in range(views)])
        embedded: Tensor = self.trunk(stacked)
        return embedded.view(views, len(pixels), -1).mean(0)

    def draw(self, embeddings: Tensor, masks: Masks) -> Tensor:
        """Return the posterior draws (B, T, A) of concentrations, temperature included."""
        outputs = self.heads(embeddings, masks)
        return self._concentrations(outputs, temperature=self.temperature).transpose(0, 1)

    def _concentrations(self, outputs: Tensor, *, temperature: Tensor | None) -> Tensor:
        if self.is_point_estimate:
            return concentrations_of(outputs, self.tree, precision=_FIRST_PRECISION, temperature=temperature)
        logits, log_precision = self._parted(outputs)
        return concentrations_from(logits, log_precision, self.tree, temperature=temperature)

    def _parted(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (..., A) and the logarithm of the precisions (..., Q) that outputs stand for."""
        logits, spreads = outputs[..., : self.tree.n_answers], outputs[..., self.tree.n_answers :]
        return logits, log_precision_of(spreads)

    @property
    def _n_outputs(self) -> int:
        return self.tree.n_answers + (0 if self.is_point_estimate else self.tree.n_questions)


def build_network(config: NetworkConfig, tree: Tree, *, seed: int) -> Network:
    """Return a network with fresh weights on the CPU that depend on the configuration and the seed alone."""
    if config.name.startswith(PREFIX):
        return _build_timm(config, tree, seed=seed)
    with torch.device("meta"):  # Modules would draw first weights from the global generator.
        network = Network(config, tree)
    network = network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed_of(seed, "weights"))
    for module in network.trunk.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
            if module.weight.ndim == 4:  # On a CPU 1.7 times as fast as the default layout.
                module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, UntiedConvolution):
            nn.init.zeros_(module.untied_bias)
    _reset_heads(network, generator)
    return network


def restored_network(config: NetworkConfig, tree: Tree, state: Mapping[str, Tensor]) -> Network:
    """Return a network with the weights of a file; nothing is made that they do not fill.

    Raises
    ------
    BadInput
        They are not those of the network that the configuration asks for; the first that differs is named.
    """
    # Without memory, and so of any size; timm's own code computes with weights as it makes them, which needs real ones.
    is_timm = config.name.startswith(PREFIX)
    if is_timm:
        network = build_network(config, tree, seed=0)
    else:
        with torch.device("meta"):
            network = Network(config, tree)
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in state.items()}
    differing = next(
        (name for name in sorted(wanted.keys() | given.keys()) if wanted.get(name) != given.get(name)), None
    )
    if differing is not None:
        raise BadInput(
            f"not a model: weights {differing[:100]!r} are {given.get(differing)}, and its card asks for "
            f"{wanted.get(differing)}"
        )
    restored = network if is_timm else build_network(config, tree, seed=0)
    restored.load_state_dict(state)
    return restored


def optimiser_of(network: str) -> Optimiser:
    """Return what trains a network best that is trained once, on thousands of galaxies.

    Muon's steps have a size of their own, which batch norms forgive; networks without any keep to AdamW.
    """
    return _architecture(network).optimiser


def _architecture(name: str) -> _Architecture:
    return _TIMM if name.startswith(PREFIX) else NETWORKS[name]


def _build_timm(config: NetworkConfig, tree: Tree, *, seed: int) -> Network:
    """Return a network around a trunk of timm, which draws its first weights itself, from the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "trunk"))
        network = Network(config, tree)
    _reset_heads(network, torch.Generator().manual_seed(seed_of(seed, "weights")))
    return network


def _reset_heads(network: Network, generator: torch.Generator) -> None:
    """Draw the heads anew: answers about even, spread as votes are before anything is known."""
    network.heads.reset(generator)
    with torch.no_grad():
        if network.is_point_estimate:
            network.heads.biases[-1].fill_(_FIRST_FRACTION)
        else:
            spread = math.log(math.expm1(math.sqrt(_FIRST_PRECISION)))
            network.heads.biases[-1][..., network.tree.n_answers :] = spread
        network.temperature.fill_(1)


def log_precision_of(outputs: Tensor) -> Tensor:
    """Return ln softplus(x)^2, the logarithm of the precision that a head's output stands for.

    There is no cap, and growth by the square: on images unlike any in training, outputs of hundreds are common, and
    their exponential (as good on real galaxies) is a certainty of e100 or no number at all.
    """
    # Below -15 softplus(x) is exp(x) to seven digits, and its logarithm x: no underflow, and a gradient.
    log_softplus = torch.log(torch.nn.functional.softplus(outputs.clamp(min=-15)))
    return 2 * torch.where(outputs < -15, outputs, log_softplus)


def check_images(images: UInt8Array, config: NetworkConfig) -> None:
    """Raise `BadImage` unless images are uint8 (N, C, H, W) of the size and channels a network was made for."""
    expected = (config.channels, config.image_px, config.image_px)
    if images.dtype != np.uint8 or images.shape[1:] != expected:
        raise BadImage(
            f"images must be uint8 (N, {', '.join(map(str, expected))}), not {images.dtype} {images.shape}",
            shape=list(images.shape),
        )


def view_of(pixels: Tensor, view: int) -> Tensor:
    """Return view 0..7 of square images: quarter turns, of the mirror image from 4 on."""
    mirrored = pixels.flip(-1) if view >= 4 else pixels
    return torch.rot90(mirrored, view % 4, dims=(-2, -1))
