"""Encoders from files of weights: our own models, Zoobot's checkpoints, and models of timm. Nothing is downloaded."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from alservice.errors import BadConfig, BadInput
from alservice.files import open_regular, read_regular
from alservice.network.architectures import PREFIX, Network, NetworkConfig, build_network
from alservice.network.files import ModelCard, is_own, tensors_from_bytes
from alservice.science.tree import Tree

MAX_WEIGHTS_BYTES: Final = 4 << 30
"""Largest file of weights, and most that one unfolds to: a billion parameters."""

_MAX_PICKLE_BYTES: Final = 64 << 20
"""Longest pickle inside a checkpoint: names and shapes; the numbers lie beside it."""

_MOST_CLASSES: Final = 1000

_PICKLED: Final = frozenset({".ckpt", ".pth", ".pt", ".bin"})
"""Endings of files of torch's own format."""

_PREFIXES: Final = ("encoder.", "model.encoder.", "zoobot.encoder.", "trunk.", "")
"""Where checkpoints keep their encoder: Zoobot's and Lightning's, ours, and bare timm."""

_HEADS: Final = ("head.", "fc.", "classifier.", "head_drop.")
"""What timm calls the layers after the pooled embedding, which a trunk has none of."""

_COMPILED: Final = "_orig_mod."
"""What `torch.compile` puts into names."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EncoderWeights:
    """Weights of a file that others made.

    Parameters
    ----------
    weights
        By name; of other layers and metrics too.
    architecture
        What timm calls the network, where the file says so, as Zoobot's Lightning checkpoints do.
    """

    weights: Mapping[str, Tensor]
    architecture: str | None = None


def open_encoder(path: Path, tree: Tree, config: NetworkConfig) -> Network:
    """Return a network whose trunk is that of a file, with fresh heads for a tree, on the CPU.

    Parameters
    ----------
    path
        ``model.safetensors`` of ours, of any tree; else ``.safetensors``, or ``.ckpt``, ``.pth``, ``.pt`` or ``.bin``
        of torch, with the weights of a timm model, alone or as the encoder of a Zoobot checkpoint.
    config
        Of a network for such a timm model: ``timm:NAME``, which a Lightning checkpoint that says its architecture need
        not be given; size and field of the images. One of ours has its own.

    Raises
    ------
    BadInput
        The file is no such file, too long, or its weights do not fit; the first that does not is named.
    BadConfig
        The architecture is not known, or timm is not installed.
    """
    data = b"" if path.suffix in _PICKLED else read_regular(path, max_bytes=MAX_WEIGHTS_BYTES)
    if is_own(data):
        return _of_own_model(data, tree)
    found = _unpickled(path) if path.suffix in _PICKLED else EncoderWeights(weights=_safetensors(path, data))
    name = config.name
    if not name.startswith(PREFIX):
        if found.architecture is None:
            raise BadConfig(f"{path.name} does not say what network it is of: give network {PREFIX}NAME", network=name)
        name = f"{PREFIX}{found.architecture}"
    fresh = NetworkConfig.of(name, channels=config.channels, image_px=config.image_px, field=config.field)
    network = build_network(fresh, tree, seed=0)
    network.load_state_dict(load_encoder(network, found.weights, what=path.name))
    return network.eval()


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
        A weight of the trunk is absent, has another shape, is not finite, or the encoder has one that the trunk lacks;
        it is named.
    """
    inside = "model." if network.config.name.startswith(PREFIX) else ""
    wanted = {name.removeprefix(inside): weight for name, weight in network.trunk.state_dict().items()}
    given = {name.replace(_COMPILED, ""): tensor for name, tensor in state.items()}
    prefix = max(_PREFIXES, key=lambda prefix: sum(f"{prefix}{name}" in given for name in wanted))
    found = {name.removeprefix(prefix): tensor for name, tensor in given.items() if name.startswith(prefix)}
    absent = sorted(wanted.keys() - found.keys())
    if absent:
        raise BadInput(
            f"{what}: {len(absent)} of {len(wanted)} weights of {network.config.name} absent, such as {absent[0]!r}",
            absent=absent[:20],
        )
    extra = sorted(name for name in found.keys() - wanted.keys() if not name.startswith(_HEADS))
    if extra:
        raise BadInput(
            f"{what}: {network.config.name} has no {extra[0][:100]!r}: is it of another size?", unexpected=extra[:20]
        )
    trunk = {f"trunk.{inside}{name}": _fitted(found[name], weight, name, what) for name, weight in wanted.items()}
    return network.state_dict() | trunk


def _fitted(tensor: Tensor, weight: Tensor, name: str, what: str) -> Tensor:
    """Return a weight in the shape wanted; a first layer for colour becomes one for grey by adding up its channels."""
    if tensor.ndim == 4 and weight.ndim == 4 and tensor.shape[1] == 3 and weight.shape[1] == 1:
        tensor = tensor.sum(1, keepdim=True)
    if tensor.shape != weight.shape or tensor.layout != torch.strided:
        raise BadInput(f"{what}: {name!r} is {tuple(tensor.shape)}, not {tuple(weight.shape)}", weight=name)
    fitted = tensor.to(weight.dtype)
    if not bool(torch.isfinite(fitted).all()):
        raise BadInput(f"{what}: {name!r} has numbers that are not finite", weight=name)
    return fitted


def _of_own_model(data: bytes, tree: Tree) -> Network:
    """Return a network with the trunk of a model of ours; whatever tree that one follows, its heads are left behind."""
    state, document = tensors_from_bytes(data, what="a model")
    made = ModelCard.from_document(document).network
    config = NetworkConfig.of(made.name, channels=made.channels, image_px=made.image_px, field=made.field)
    network = build_network(config, tree, seed=0)
    trunk = {name: tensor for name, tensor in state.items() if name.startswith("trunk.")}
    network.load_state_dict(load_encoder(network, trunk, what=f"model {made.name}"))
    return network.eval()


def _safetensors(path: Path, data: bytes) -> dict[str, Tensor]:
    try:
        return load(data)
    except (SafetensorError, ValueError, LookupError, TypeError, RecursionError, RuntimeError) as error:
        kinds = ", ".join(sorted(_PICKLED))
        raise BadInput(f"{path}: is no file of weights (.safetensors, {kinds}): {error}", path=str(path)) from error


def _unpickled(path: Path) -> EncoderWeights:
    """Return the weights of a file of torch's, by torch's reader of weights alone: nothing of the file is run.

    A Lightning checkpoint may name classes of other packages among its settings; they become records without content.
    """
    _check_zip(path)
    try:
        with open_regular(path) as file, _inert(get_unsafe_globals_in_checkpoint(str(path))):
            document = torch.load(file, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        EOFError,
    ) as error:
        reason = str(error).partition("\n")[0]
        raise BadInput(f"{path}: is no file of weights: {reason}", path=str(path)) from error
    settings = document.get("hyper_parameters") if isinstance(document, dict) else None
    weights = document.get("state_dict", document) if isinstance(document, dict) else None
    if not isinstance(weights, dict):
        raise BadInput(f"{path}: holds no weights by name", path=str(path))
    return EncoderWeights(
        weights={name: weight for name, weight in weights.items() if isinstance(name, str) and torch.is_tensor(weight)},
        architecture=_architecture_in(settings if isinstance(settings, dict) else {}),
    )


def _check_zip(path: Path) -> None:
    """Refuse a file that torch would not read in memory that its own size bounds."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(
            f"{path}: is no zip of torch: save weights of releases before 1.6 anew, as .safetensors", path=str(path)
        ) from error
    unfolded = sum(entry.file_size for entry in entries)
    packed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    long = [e.filename for e in entries if e.filename.endswith(".pkl") and e.file_size > _MAX_PICKLE_BYTES]
    if unfolded > MAX_WEIGHTS_BYTES or packed or long:
        raise BadInput(f"{path}: is packed, or longer than {MAX_WEIGHTS_BYTES:,} bytes", path=str(path))


class _Inert(dict[Any, Any]):
    """In place of an object of a class that the file names: takes whatever it is given, and keeps nothing."""

    def __new__(cls, *_args: Any, **_options: Any) -> Self:
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_options: Any) -> None:
        super().__init__()

    def __setstate__(self, _state: Any) -> None:
        """Keep nothing."""

    def __setitem__(self, _key: Any, _value: Any) -> None:
        """Keep nothing."""


@contextmanager
def _inert(names: list[str]) -> Iterator[None]:
    if len(names) > _MOST_CLASSES:
        raise BadInput(f"a checkpoint that names {len(names):,} classes is none")
    with safe_globals([(_Inert, name) for name in names]):
        yield


def _architecture_in(settings: Mapping[Any, Any]) -> str | None:
    """Return timm's name of an encoder by the settings of a Lightning checkpoint of Zoobot's, if they have one."""
    name = settings.get("architecture_name") or settings.get("name")
    if not isinstance(name, str) or not name:
        return None
    # Names on the hub end in it: zoobot-encoder-convnext_nano, zoobot-encoder-greyscale-convnext_nano.
    last = name.rpartition("/")[2].rpartition("-")[2]
    return {"efficientnet": "efficientnet_b0"}.get(last, last)[:100]
