"""Galaxies with votes -> a model on a trunk that is there already; and what it says of galaxies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from alservice.errors import NotFound
from alservice.network.architectures import Network
from alservice.network.config import FitConfig
from alservice.network.files import ModelCard, to_bytes
from alservice.network.refit import on_trunk_of, refit_heads
from alservice.offline.galaxies import VotedGalaxies
from alservice.offline.training import DRAWS_SEED
from alservice.science.tree import Tree
from alservice.shapes import FloatArray

_CHUNK = 1024
"""Galaxies whose draws are made at a time."""


@dataclass(frozen=True, kw_only=True)
class RefitHeads:
    """Trains and asks networks that share one trunk, whose embeddings of all galaxies are known.

    Parameters
    ----------
    tree
        Questions of the new heads; the encoder may be of other ones.
    encoder, digest
        A model, and the digest of its bytes.
    embeddings
        Per galaxy id (E,) float32.
    """

    tree: Tree
    device: str
    code_revision: str
    encoder: Network
    digest: str
    embeddings: Mapping[str, FloatArray]

    def run(self, galaxies: VotedGalaxies, config: FitConfig) -> tuple[ModelCard, bytes]:
        """Return the card and the model as bytes.

        Raises
        ------
        NotFound
            A galaxy has no embedding.
        NumericalFault
            As `refit_heads` does.
        """
        network = on_trunk_of(self.encoder, self.tree, seed=config.seed).to(self.device)
        votes = torch.from_numpy(galaxies.counts.astype(np.float32)).to(self.device)
        loss, held_out = refit_heads(network, self._embedded(galaxies), votes, galaxies.galaxy_ids, config)
        card = ModelCard.of(
            galaxies.tallies,
            config,
            self.tree,
            network=network.config,
            code_revision=self.code_revision,
            history=({"step": float(config.steps), "train": loss, "hold_out": held_out},),
            parent=self.digest,
        )
        state = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
        return card, to_bytes(state, card)

    @torch.inference_mode()
    def draws(self, network: Network, galaxies: VotedGalaxies, n: int) -> FloatArray:
        """Return n posterior draws per galaxy (N, n, A) of a network on this trunk."""
        masks = network.heads.posterior_masks(n, seed=DRAWS_SEED)
        drawn = [network.draw(chunk, masks).cpu() for chunk in torch.split(self._embedded(galaxies), _CHUNK)]
        concentrations: FloatArray = torch.cat(drawn).numpy()
        return concentrations

    def _embedded(self, galaxies: VotedGalaxies) -> torch.Tensor:
        try:
            rows = np.stack([self.embeddings[galaxy_id] for galaxy_id in galaxies.galaxy_ids])
        except KeyError as error:
            raise NotFound(f"galaxy {error.args[0]} has no embedding") from error
        return torch.from_numpy(rows).to(self.device)
