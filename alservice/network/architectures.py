"""Networks by name: a trunk, its heads, and what turns their outputs into concentrations."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType, ModuleType
from typing import Any, Final, Literal, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn

from alservice.errors import BadConfig, BadImage, BadInput
from alservice.ids import seed_of
from alservice.network.likelihood import concentrations_from, training_nll
from alservice.science.tree import Tree
from alservice.shapes import UInt8Array

_EPSILON: Final = 1e-12
"""Added to the sum of a question's outputs, as in the paper: where all are rectified away, nothing is divided by 0."""

_SLACK: Final = 0.01
"""Share of an answer's probability that is spread evenly before votes are scored: a rectifier says exactly 0, and one
vote against that would be impossible rather than unlikely."""


def conditional_fractions(outputs: Tensor, tree: Tree) -> Tensor:
    """Return the share of each answer among those asked: rectified outputs (..., A) over the sum of their question."""
    rectified = torch.relu(outputs)
    question = torch.tensor(tree.question_of_answer, device=outputs.device)
    member = torch.nn.functional.one_hot(question, tree.n_questions).to(outputs.dtype)
    return rectified / ((rectified @ member + _EPSILON) @ member.T)


def cumulative_fractions(conditional: Tensor, tree: Tree) -> Tensor:
    """Return shares of all volunteers (..., A): those among the asked, times the share that was asked."""
    known: list[Tensor] = []
    for answers, parents in zip(tree.slices, tree.parents_of, strict=True):
        asked = sum(known[parent] for parent in parents) if parents else torch.ones_like(conditional[..., 0])
        known += (conditional[..., answers] * torch.as_tensor(asked).unsqueeze(-1)).unbind(-1)
    return torch.stack(known, dim=-1)


def recorded_fractions(counts: Tensor, tree: Tree) -> tuple[Tensor, Tensor]:
    """Return the cumulative fractions of votes (..., A), and which are known.

    A question that nobody was asked is known to have none where its parents have none, else not known; so are the
    questions below it.
    """
    question = torch.tensor(tree.question_of_answer, device=counts.device)
    member = torch.nn.functional.one_hot(question, tree.n_questions).to(counts.dtype)
    asked = counts @ member
    conditional = counts / asked.clamp(min=_EPSILON)[..., question]
    fractions = cumulative_fractions(conditional, tree)
    known: list[Tensor] = []
    for i, (answers, parents) in enumerate(zip(tree.slices, tree.parents_of, strict=True)):
        is_known = asked[..., i] > 0
        if parents:
            reached = torch.stack([fractions[..., parent] for parent in parents]).sum(0)
            parents_known = torch.stack([known[parent] for parent in parents]).all(0)
            is_known = parents_known & (is_known | (reached == 0))
        known += [is_known] * (answers.stop - answers.start)
    return fractions, torch.stack(known, dim=-1)


def squared_errors(outputs: Tensor, counts: Tensor, tree: Tree) -> Tensor:
    """Return the mean squared error (...,) of a galaxy's known cumulative fractions; 0 where none is known."""
    predicted = cumulative_fractions(conditional_fractions(outputs, tree), tree)
    recorded, known = recorded_fractions(counts, tree)
    errors = (predicted - recorded).square() * known
    return errors.sum(-1) / known.sum(-1).clamp(min=1)


def concentrations_of(outputs: Tensor, tree: Tree, *, precision: float, temperature: Tensor | None) -> Tensor:
    """Return Dirichlet concentrations (..., A) whose means are the fractions: one precision for every galaxy.

    A network of point estimates has no opinion on how far votes scatter about them: the precision is a constant, and
    the temperature of each question, fitted on held-out galaxies, is all that is known of it.
    """
    sizes = torch.tensor([answers.stop - answers.start for answers in tree.slices], device=outputs.device)
    question = torch.tensor(tree.question_of_answer, device=outputs.device)
    even = 1 / sizes.to(outputs.dtype)[question]
    scale = precision if temperature is None else precision * temperature[question]
    return scale * ((1 - _SLACK) * conditional_fractions(outputs, tree) + _SLACK * even)


@dataclass(frozen=True, kw_only=True, slots=True)
class Masks:
    """Which head, and which units of it, each of G passes over a batch goes through.

    Parameters
    ----------
    head
        (G,) int64 index of a head.
    keep
        Per layer (G, R, inputs): 0 for a dropped input, else 1 / (1 - p). R is 1 where all galaxies share the masks
        of a pass, or B where each has its own.
    """

    head: Tensor
    keep: tuple[Tensor, ...]

    def of_rows(self, rows: slice) -> Masks:
        """Return the masks of a part of a batch whose galaxies have each their own."""
        return Masks(head=self.head, keep=tuple(keep[:, rows] for keep in self.keep))


class Heads(nn.Module):
    """K independent heads from an embedding to outputs: linear layers, a rectifier between, and dropout before each.

    Parameters
    ----------
    widths
        Width of the embedding, of hidden layers if any, and of the outputs.
    members
        K, the number of heads.
    dropout
        Probability that an input of a layer is dropped, 0 <= p < 1.
    pieces
        Linear pieces of a hidden unit: 1 is ReLU, more is maxout, the largest of so many linear maps.
    """

    def __init__(self, *, widths: tuple[int, ...], members: int, dropout: float, pieces: int = 1) -> None:
        super().__init__()
        if members < 1 or not 0 <= dropout < 1:
            raise BadConfig(f"heads need members >= 1 and 0 <= dropout < 1, not {members} and {dropout}")
        self.members = members
        self.dropout = dropout
        self.pieces = pieces
        layers = [(i, o * pieces) for i, o in pairwise(widths[:-1])] + [(widths[-2], widths[-1])]
        self.weights = nn.ParameterList(nn.Parameter(torch.empty(members, i, o)) for i, o in layers)
        self.biases = nn.ParameterList(nn.Parameter(torch.empty(members, 1, o)) for _, o in layers)

    def reset(self, generator: torch.Generator) -> None:
        """Draw the weights anew, each head its own; small last layers make the first predictions near even."""
        for weight, bias in zip(self.weights, self.biases, strict=True):
            is_last = weight is self.weights[-1]
            std = (0.01 if is_last else 2.0) ** 0.5 * weight.shape[1] ** -0.5
            nn.init.normal_(weight, std=std, generator=generator)
            nn.init.zeros_(bias)

    def forward(self, embeddings: Tensor, masks: Masks) -> Tensor:
        """Return the outputs (G, B, O) of G masked passes over embeddings (B, E)."""
        x = embeddings
        for layer, (weight, bias, keep) in enumerate(zip(self.weights, self.biases, masks.keep, strict=True)):
            inputs = self._hidden(x) if layer else x
            x = torch.baddbmm(bias[masks.head], inputs * keep, weight[masks.head])
        return x

    def _hidden(self, x: Tensor) -> Tensor:
        return torch.relu(x) if self.pieces == 1 else x.view(*x.shape[:-1], -1, self.pieces).amax(-1)

    def training_masks(self, batch: int, *, seed: int) -> Masks:
        """Return one pass per head, with independent masks for every galaxy of a batch."""
        return self._masks(torch.arange(self.members), batch, seed)

    def posterior_masks(self, draws: int, *, seed: int) -> Masks:
        """Return the consistent masks of T draws, spread evenly over the heads; the seed alone decides them."""
        return self._masks(torch.arange(draws) % self.members, 1, seed)

    def _masks(self, head: Tensor, rows: int, seed: int) -> Masks:
        device = self.weights[0].device
        keep = []
        for layer, weight in enumerate(self.weights):
            # Drawn on the CPU, so that every device sees the same draws.
            generator = torch.Generator().manual_seed(seed_of(seed, "mask", layer))
            kept = torch.rand(len(head), rows, weight.shape[1], generator=generator) >= self.dropout
            keep.append((kept / (1 - self.dropout)).to(device))
        return Masks(head=head.to(device), keep=tuple(keep))


PREFIX: Final = "timm:"

_ABSENT_OPERATOR: Final = re.compile(r"operator torchvision::(\w+) does not exist")
_inert_operators: Final[list[torch.library.Library]] = []
"""Operators of a torchvision whose compiled part is of another build than torch; they live as long as this list."""


def import_timm() -> ModuleType:
    """Return timm; its torchvision may be of another build than torch.

    timm needs torchvision for transforms of images, which are not used here. Python's part of it does not import where
    its compiled part does not load, as PyPI's beside a torch for CPUs: operators that it misses are declared, without
    anything that would compute them, so that calling one is an error.

    Raises
    ------
    BadConfig
        timm is not installed, or does not import.
    """
    reason: Exception | None = None
    for _ in range(_MOST_OPERATORS):
        try:
            import timm
        except ImportError as error:
            reason = error
            break
        except RuntimeError as error:
            reason, absent = error, _ABSENT_OPERATOR.search(str(error))
            if absent is None:
                break
            library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
            library.define(f"{absent[1]}() -> ()")
            _inert_operators.append(library)
        else:
            return timm
    raise BadConfig(f"networks {PREFIX}NAME need the extra 'timm' with its torchvision: {reason}") from reason


_MOST_OPERATORS: Final = 10


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
        timm = import_timm()
        if not timm.is_model(name):
            raise BadConfig(f"network: timm knows no model {name!r}", name=name)
        self.model: nn.Module = timm.create_model(name, pretrained=False, in_chans=channels, num_classes=0)
        self.embedding = cast("int", self.model.num_features)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to embeddings (B, E)."""
        embedded: Tensor = self.model(x)
        return embedded


class Convolution(nn.Conv2d):
    """A convolution that does not step over a map of one pixel: there every stride gives the same.

    oneDNN's gradient of the weights holds what lay in memory before when a bfloat16 convolution steps over such a map.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H', W')."""
        if x.shape[-2:] == (1, 1):
            return nn.functional.conv2d(x, self.weight, self.bias, padding=self.padding)
        return super().forward(x)


def _convolution(inputs: int, outputs: int, *, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(Convolution(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs))


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


MAX_CHANNELS: Final = 16
MAX_IMAGE_PX: Final = 4096
MAX_HEADS: Final = 1000
"""Bounds of what a model's card may ask for: a head for each draw is the most that can be told apart."""

Optimiser: TypeAlias = Literal["adamw", "muon"]
HeadName: TypeAlias = Literal["dropout", "laplace"]


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
    head
        ``dropout``: heads as the network's authors made them, whose draws drop inputs. ``laplace``: each head is
        linear and one draw of a posterior in closed form (`alservice.network.laplace`).
    """

    name: str = "compact"
    channels: int = 1
    image_px: int = 64
    field: float = 1.0
    heads: int = 5
    dropout: float = 0.3
    head: HeadName = "dropout"

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

        if self.head not in {"dropout", "laplace"} or (self.head == "laplace" and self.dropout != 0):
            raise BadConfig("network: head is dropout, or laplace without dropout", head=self.head)

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
        is_linear = config.head == "laplace"
        self.config = config
        self.is_point_estimate = architecture.is_point_estimate and not is_linear
        self.tree = tree
        self.trunk = architecture.trunk(config)
        self.heads = Heads(
            widths=(cast("int", self.trunk.embedding), *(() if is_linear else architecture.hidden), self._n_outputs),
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
    for module in network.trunk.modules():
        if isinstance(module, nn.Conv2d):  # on a CPU up to four times as fast as the default layout
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
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
