"""Model files that try something: typed errors, and no more memory than the file's own."""

import os
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from alservice.documents import document_of
from alservice.errors import AlserviceError, BadInput, NotFound
from alservice.network.architectures import NetworkConfig, build_network
from alservice.network.files import MAX_HEADER_BYTES, ModelCard, tensors_from_bytes, tensors_to_bytes, to_bytes
from alservice.offline.training import load_model, load_models
from alservice.science.tree import load_tree

TREE = load_tree("gz-rings")
CONFIG = NetworkConfig(name="small", image_px=16)
CARD = ModelCard(
    network=CONFIG,
    training={},
    tree=TREE.name,
    tree_hash=TREE.hash,
    data_digest="0" * 64,
    n_galaxies=4,
    n_votes=40,
    seed=1,
    code_revision="r",
    history=(),
)
STATE = build_network(CONFIG, TREE, seed=1).state_dict()


def written(folder: Path, document: dict[str, object]) -> Path:
    """Write a model whose card is a document; its digest is right."""
    path = folder / "model.safetensors"
    path.write_bytes(tensors_to_bytes(STATE, document))
    return path


def changed(**changes: object) -> dict[str, object]:
    """Return the card's document with fields of its network, or its own, replaced."""
    document = document_of(CARD)
    network = {name: value for name, value in changes.items() if name in document["network"]}
    return (
        document | {"network": document["network"] | network} | {k: v for k, v in changes.items() if k not in network}
    )


def test_a_sound_model_is_loaded(tmp_path: Path) -> None:
    """With the weights that it was written with."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(to_bytes(STATE, CARD))
    network, _ = load_model(path, device="cpu")
    assert all(torch.equal(tensor, STATE[name]) for name, tensor in network.state_dict().items())
    assert network.config == CONFIG


@pytest.mark.parametrize(
    "changes",
    [
        {"heads": 10**9},
        {"heads": 10**30},
        {"heads": 900},
        {"heads": "5"},
        {"heads": 5.5},
        {"heads": None},
        {"heads": True},
        {"heads": 0},
        {"channels": 10**9},
        {"image_px": 10**9},
        {"dropout": 1e308},
        {"field": -1},
        {"name": "nothing"},
        {"name": "dieleman2015"},
        {"seed": "x"},
        {"seed": 10**40},
        {"n_votes": "many"},
        {"tree": 5},
        {"tree": "../../secrets"},
        {"tree_hash": None},
        {"more": 1},
        {"network": []},
    ],
    ids=str,
)
def test_a_card_that_asks_for_what_its_weights_are_not(tmp_path: Path, changes: dict[str, object]) -> None:
    """Kind: a file of a few kilobytes that asks for a machine of terabytes, or holds another kind of value."""
    with pytest.raises(AlserviceError):
        load_model(written(tmp_path, changed(**changes)), device="cpu")


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"alservice": "[" * 5000},
        {"alservice": "[]"},
        {"alservice": '{"document": [], "digest": ""}'},
        {"alservice": '{"document": {"a": NaN}, "digest": ""}'},
        {"alservice": '{"document": {"a": "\\ud800"}, "digest": ""}'},
        {"alservice": '{"document": {"a": %s}, "digest": ""}' % ("1" * 5000)},
        {"alservice": '{"document": {}, "digest": ["x"]}'},
    ],
)
def test_headers_that_are_none(metadata: dict[str, str] | None) -> None:
    """Depth, numbers without end, and values that have no digest."""
    with pytest.raises(AlserviceError):
        tensors_from_bytes(save({"a": torch.zeros(2)}, metadata), what="a model")


def test_lengths_of_headers_are_looked_at_first() -> None:
    """Before anything is read for them."""
    for length in (MAX_HEADER_BYTES + 1, 2**63, 2**64 - 1):
        with pytest.raises(BadInput, match="its header ends after"):
            tensors_from_bytes(struct.pack("<Q", length) + b"{}" * 100, what="a model")
    for data in (b"", b"x", b"\0" * 8, b"\x80\x04K\x01."):
        with pytest.raises(BadInput):
            tensors_from_bytes(data, what="a model")


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"[1]",
        b'"x"',
        b"5",
        b"{}",
        b"",
        b"\xff",
        b"[" * 100_000,
        b'{"../other": "0"}',
        b'{"/etc": "0"}',
        b'{"..": "0"}',
        b'{"": "0"}',
        b'{"member-0": 5}',
        b'{"member-0": ["x"]}',
        b" " * (2 << 20),
    ],
    ids=lambda content: repr(content[:12]),
)
def test_a_list_of_members_that_is_none(tmp_path: Path, content: bytes) -> None:
    """Kind: JSON of another shape. A list, numbers, depth, and names that lead elsewhere."""
    (tmp_path / "ensemble.json").write_bytes(content)
    with pytest.raises(BadInput, match=r"ensemble\.json"):
        load_models([tmp_path], device="cpu")


def test_models_that_are_no_files(tmp_path: Path) -> None:
    """A pipe, a file longer than memory, and none."""
    with pytest.raises(NotFound):
        load_model(tmp_path / "none", device="cpu")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="is a pipe"):
        load_model(tmp_path / "pipe", device="cpu")
    with (tmp_path / "long").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BadInput, match="longer than"):
        load_model(tmp_path / "long", device="cpu")
