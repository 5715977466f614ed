"""Models as files: a training folder, a file of weights, or a folder of several that are one posterior."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from alservice.errors import BadConfig, BadInput, DigestMismatch, NotFound
from alservice.files import read_regular
from alservice.ids import digest_of_document
from alservice.network.architectures import Network
from alservice.network.device import resolve_device
from alservice.network.tensors import tensors_from_bytes
from alservice.offline.training import revive
from alservice.science.tree import load_tree

MODEL: Final = "model.safetensors"
"""Weights with their card, in a training folder."""

ENSEMBLE: Final = "ensemble.json"
"""Folders of the members of an ensemble and the digests of their weights."""

MAX_MODEL_BYTES: Final = 4 << 30
"""Largest file of weights that is read into memory: a billion parameters."""

MAX_LIST_BYTES: Final = 1 << 20


def load_model(model: Path, *, device: str) -> tuple[Network, str]:
    """Return the network of a training folder, or of a file of weights, and the digest of its bytes.

    Raises
    ------
    NotFound
        There is none.
    BadInput, BadTree, DigestMismatch
        It is no model, follows a tree of another release, or is damaged.
    """
    path = model / MODEL if model.is_dir() else model
    if not path.exists():
        raise NotFound(f"{model}: there is no model here ({MODEL} or {ENSEMBLE})", path=str(path))
    data = read_regular(path, max_bytes=MAX_MODEL_BYTES)
    document = tensors_from_bytes(data, what="a model")[1]
    network, _, digest = revive(data, load_tree(str(document.get("tree"))), device=resolve_device(device))
    return network, digest


def load_models(models: Sequence[Path], *, device: str) -> tuple[tuple[Network, ...], str]:
    """Return all networks of folders and files, and one digest for them: of a single network its own.

    Raises
    ------
    BadConfig
        They answer the questions of different trees, or see different images.
    NotFound, BadInput, BadTree, DigestMismatch
        As `load_model`; also where a member of an ensemble is not the one that was trained with the others.
    """
    loaded = [pair for path in models for pair in _members(path, device=device)]
    networks, digests = tuple(network for network, _ in loaded), [digest for _, digest in loaded]
    seen = {(network.tree.hash, network.config.image_px, network.config.channels) for network in networks}
    if len(seen) > 1:
        raise BadConfig("models that predict together must have one tree, one image size and the same channels")
    return networks, digests[0] if len(digests) == 1 else digest_of_document(digests)


def _members(path: Path, *, device: str) -> list[tuple[Network, str]]:
    listed = path / ENSEMBLE
    if not listed.exists():
        return [load_model(path, device=device)]
    members = []
    for name, expected in _listed(listed).items():
        network, digest = load_model(path / name, device=device)
        if digest != expected:
            raise DigestMismatch(f"{path / name} holds another model than {listed} says", path=str(path / name))
        members.append((network, digest))
    return members


def _listed(path: Path) -> dict[str, str]:
    """Return the folders of an ensemble's members, each beside its list, and the digests of their weights."""
    try:
        found: dict[str, str] = json.loads(read_regular(path, max_bytes=MAX_LIST_BYTES))
    except (ValueError, RecursionError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{path}: is not JSON: {error}", path=str(path)) from error
    fits = isinstance(found, dict) and all(
        isinstance(digest, str) and Path(name).name == name and name not in {"", ".."} for name, digest in found.items()
    )
    if not fits or not found:
        raise BadInput(f"{path}: does not name the folders of an ensemble beside it and their digests", path=str(path))
    return found
