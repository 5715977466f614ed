"""Stored weights -> a network that can be asked; bytes are checked against their digest on the way."""

from __future__ import annotations

from dataclasses import dataclass

from alservice.campaigns.records import Model
from alservice.network.architectures import Network, restored_network
from alservice.network.files import ModelCard, from_bytes
from alservice.science.tree import Tree
from alservice.storage import ObjectStore


@dataclass(frozen=True, kw_only=True)
class LoadModel:
    """Bring a registered model back to life."""

    objects: ObjectStore

    def run(self, model: Model, tree: Tree) -> tuple[Network, ModelCard]:
        """Return the network and its card.

        Raises
        ------
        NotFound, DigestMismatch
            The weights are gone, or are not the ones that were registered.
        BadInput
            They were trained on another tree, or are not those of the card's network.
        """
        state, card = from_bytes(self.objects.get(model.key), tree=tree)
        return restored_network(card.network, tree, state).eval(), card
