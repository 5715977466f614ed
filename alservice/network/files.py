"""Weights and their lineage as bytes: safetensors with the card in its header; never pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from alservice.checks import MAX_ID
from alservice.documents import BadDocument, document_of, record_of
from alservice.errors import BadConfig, BadInput, DigestMismatch
from alservice.ids import digest_of_document
from alservice.network.architectures import NetworkConfig
from alservice.network.config import FitConfig
from alservice.science.tree import Question, Tree, is_packaged, load_tree
from alservice.science.votes import TallySet

_NUMBERS: Final = ("n_galaxies", "n_votes", "seed", "n_inconsistent")


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
    reducer
        Version of code and rules that made the tallies; empty in models of releases that did not record it.
    n_inconsistent
        Galaxies of the snapshot whose votes no walks through the tree give.
    parent
        Digest of the model that training started from; None for a cold start.
    questions
        Of a tree that is not packaged, all of it: the file that it came from is not needed again.
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
    reducer: str = ""
    n_inconsistent: int = 0
    parent: str | None = None
    questions: tuple[Question, ...] | None = None

    @property
    def own_tree(self) -> Tree:
        """The tree that the model follows; `BadTree` if it is neither here nor packaged."""
        if self.questions is None:
            return load_tree(self.tree)
        return Tree(name=self.tree, questions=self.questions, source="a model's card")

    @classmethod
    def of(
        cls,
        tallies: TallySet,
        config: FitConfig,
        tree: Tree,
        *,
        network: NetworkConfig,
        code_revision: str,
        history: Sequence[Mapping[str, float]],
        reducer: str = "",
        n_inconsistent: int = 0,
        parent: str | None = None,
    ) -> ModelCard:
        """Return the card of a model that a configuration made of tallies; `network` is what it became."""
        return cls(
            network=network,
            training=document_of(config),
            tree=tree.name,
            tree_hash=tree.hash,
            data_digest=tallies.digest,
            n_galaxies=len(tallies.galaxy_ids),
            n_votes=tallies.n_votes,
            seed=config.seed,
            code_revision=code_revision,
            history=history,
            reducer=reducer,
            n_inconsistent=n_inconsistent,
            parent=parent,
            questions=None if is_packaged(tree) else tree.questions,
        )

    def document(self) -> dict[str, Any]:
        """Return the JSON document; that of a packaged tree is what it always was, letter by letter."""
        document = document_of(self)
        if self.questions is None:
            del document["questions"]
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ModelCard:
        """Return the card that `document` was made from; raises `BadInput` for a document of another kind."""
        try:
            card = record_of(cls, document)
        except (BadDocument, BadConfig) as error:
            raise BadInput(f"not a model card of this release: {error.message}") from error
        for name in _NUMBERS:
            if abs(getattr(card, name)) > MAX_ID:
                raise BadInput(f"not a model card of this release: {name} is no whole number of 63 bits")
        return card


def to_bytes(state: Mapping[str, Tensor], card: ModelCard) -> bytes:
    """Return weights and card as safetensors; equal weights and cards give equal bytes."""
    return tensors_to_bytes(state, card.document())


def from_bytes(data: bytes, *, tree: Tree) -> tuple[dict[str, Tensor], ModelCard]:
    """Return the weights and the card.

    Raises
    ------
    BadInput
        The bytes are no model of ours, or it was trained on another tree.
    DigestMismatch
        They were one, and have been damaged.
    """
    state, document = tensors_from_bytes(data, what="a model")
    card = ModelCard.from_document(document)
    if card.tree_hash != tree.hash:
        raise BadInput(
            f"the model was trained on tree {card.tree} ({card.tree_hash[:12]}), not on {tree.name} ({tree.hash[:12]})",
            model_tree=card.tree_hash,
            tree=tree.hash,
        )
    return state, card


_KEY = "alservice"
MAX_HEADER_BYTES = 16 << 20
"""Longest header: a card with its training curve has some kilobytes, and JSON takes twenty times its length."""

_LENGTH_BYTES = 8
"""safetensors: a little-endian length, that many bytes of JSON header, then the tensors."""


def is_own(data: bytes) -> bool:
    """Tell whether bytes are a safetensors file that this module wrote, whole or not."""
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    try:
        header = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + min(length, MAX_HEADER_BYTES)])
        return _KEY in header["__metadata__"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return False


def tensors_to_bytes(tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> bytes:
    """Return tensors and a JSON document as one safetensors file; equal inputs give equal bytes."""
    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    envelope = {"document": document, "digest": _digest(flat, document)}
    # One metadata key: the writer does not keep the order of several.
    return save(flat, {_KEY: json.dumps(envelope, sort_keys=True, separators=(",", ":"), allow_nan=False)})


def tensors_from_bytes(data: bytes, *, what: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the document.

    Raises
    ------
    BadInput
        The bytes are no such file; the message says they are not `what`.
    DigestMismatch
        They are, but not as they were written.
    """
    end_of_header = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    if end_of_header > min(len(data), MAX_HEADER_BYTES):
        raise BadInput(f"not {what}: its header ends after it does, or after {MAX_HEADER_BYTES:,} bytes")
    try:
        tensors = load(data)
        envelope = json.loads(json.loads(data[_LENGTH_BYTES:end_of_header])["__metadata__"][_KEY])
        document, digest = envelope["document"], envelope["digest"]
        found = _digest(tensors, document)
    except (SafetensorError, ValueError, LookupError, TypeError, RecursionError, RuntimeError) as error:
        raise BadInput(f"not {what}: {error}") from error
    if not isinstance(document, dict):
        raise BadInput(f"not {what}: its document is no object")
    if digest != found:
        raise DigestMismatch(f"{what} is damaged: its bytes are not those that were written", digest=str(digest)[:64])
    return tensors, document


def _digest(tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(digest_of_document(document).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
