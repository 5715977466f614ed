"""Weights and their lineage as bytes: safetensors with the card in its header; never pickle."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from alservice.core.tree import Tree
from alservice.errors import BadInput
from alservice.model.networks import NetworkConfig

_ENTRY = "card"
"""The one metadata entry: safetensors writes several in random order, and bytes must not depend on chance."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Where a model comes from; with the data behind `data_digest`, enough to train it again.

    Parameters
    ----------
    training
        The training configuration as a document, seed and threads included.
    tree, tree_hash
        Name of the question tree, and the label-schema version its A columns follow.
    data_digest
        Digest of the tallies it was trained on.
    n_galaxies, n_votes
        Size of that training set.
    code_revision
        Code that trained it.
    history
        Training curve: step, loss on the training batches and on the hold-out (nats per galaxy).
    """

    network: NetworkConfig
    training: Mapping[str, Any]
    tree: str
    tree_hash: str
    data_digest: str
    n_galaxies: int
    n_votes: int
    seed: int
    code_revision: str
    history: Sequence[Mapping[str, float]]

    def document(self) -> dict[str, Any]:
        """Return the card as a JSON document."""
        return dataclasses.asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ModelCard:
        """Return the card that `document` was made from."""
        return cls(**{**document, "network": NetworkConfig(**document["network"])})


def to_bytes(state: Mapping[str, Tensor], card: ModelCard) -> bytes:
    """Return weights and card as safetensors; equal weights and cards give equal bytes."""
    text = json.dumps(card.document(), sort_keys=True, allow_nan=False)
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, metadata={_ENTRY: text})


def from_bytes(data: bytes, *, tree: Tree) -> tuple[dict[str, Tensor], ModelCard]:
    """Return the weights and the card.

    Raises
    ------
    BadInput
        The bytes are no model of ours, or it was trained on another tree.
    """
    try:
        card = ModelCard.from_document(json.loads(_header(data)[_ENTRY]))
        state = load(data)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"not a model: {error}") from error
    if card.tree_hash != tree.hash:
        raise BadInput(
            f"the model was trained on tree {card.tree} ({card.tree_hash[:12]}), not on {tree.name} ({tree.hash[:12]})",
            model_tree=card.tree_hash,
            tree=tree.hash,
        )
    return state, card


def _header(data: bytes) -> dict[str, str]:
    """Return the metadata: eight bytes of length, then JSON (the safetensors format)."""
    length = int.from_bytes(data[:8], "little")
    metadata: dict[str, str] = json.loads(data[8 : 8 + length])["__metadata__"]
    return metadata
