"""Stored predictions: summaries as they are, and posterior draws, read where they were stored and else made again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Final

import numpy as np

from alservice.campaigns.campaign import Campaign
from alservice.catalogue.galaxies import Shard
from alservice.errors import BadInput
from alservice.prediction.scope import question_weights
from alservice.science.posterior import Posterior, take
from alservice.science.prediction import Prediction, Recipe, prediction_of
from alservice.science.tree import Tree, load_tree
from alservice.storage import ObjectStore, arrays

if TYPE_CHECKING:
    from alservice.network.draws import HeadSampler

_KEPT: Final = 4
"""Samplers kept: champion and candidate, and those of another campaign. Each is some megabytes."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Read what was predicted, one shard in memory at a time; shards without galaxies are passed over."""

    objects: ObjectStore
    _samplers: dict[tuple[str, int, int], HeadSampler] = field(default_factory=dict, repr=False, compare=False)
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def predictions(self, campaign: Campaign, shards: Sequence[Shard]) -> Iterator[Prediction]:
        """Yield the summaries, scores and embeddings of each shard; no network is loaded.

        Of a shard of an older release, which stored draws, they are computed from these.

        Raises
        ------
        NotFound, DigestMismatch, BadInput
            An object is gone, damaged or something else.
        """
        tree = load_tree(campaign.tree)
        worth = question_weights(campaign.acquisition, tree)
        for shard in shards:
            if shard.n_galaxies:
                found = self.read(shard)
                if isinstance(found, Posterior):
                    found = prediction_of(tree, found, votes=float(campaign.acquisition.votes_per_galaxy), worth=worth)
                yield found

    def draws(
        self, campaign: Campaign, shards: Sequence[Shard], galaxy_ids: Collection[str] | None = None
    ) -> Iterator[Posterior]:
        """Yield the posterior draws of each shard: of some galaxies, or of all; shards that have none are passed over.

        Draws that were not stored are made again from embeddings, heads and seed. They have the bits of those that
        were scored, whichever galaxies are asked for.

        Parameters
        ----------
        galaxy_ids
            Best a set; None for all galaxies.

        Raises
        ------
        NotFound, DigestMismatch, BadInput
            A prediction or its model is gone, damaged, or of another tree.
        """
        tree = load_tree(campaign.tree)
        for shard in shards:
            if shard.n_galaxies:
                posterior = self.drawn(tree, self.read(shard), galaxy_ids)
                if posterior.galaxy_ids:
                    yield posterior

    def read(self, shard: Shard) -> Prediction | Posterior:
        """Return what is stored of a shard: a prediction, or the draws of an older release."""
        return arrays.decode_prediction(self.objects.get(shard.key))

    def drawn(self, tree: Tree, found: Prediction | Posterior, galaxy_ids: Collection[str] | None = None) -> Posterior:
        """Return the posterior draws of what was read, of some galaxies or all; as `draws`, and empty without any."""
        rows = np.array([galaxy_ids is None or name in galaxy_ids for name in found.galaxy_ids], dtype=bool)
        if isinstance(found, Posterior):
            return found if rows.all() else take(found, np.flatnonzero(rows))
        return Posterior(
            galaxy_ids=tuple(name for name, wanted in zip(found.galaxy_ids, rows, strict=True) if wanted),
            concentrations=self._sampler(tree, found.recipe).draws(found.embeddings, rows),
            embeddings=found.embeddings[rows],
            tree_hash=found.tree_hash,
            model=found.model,
        )

    def _sampler(self, tree: Tree, recipe: Recipe) -> HeadSampler:
        """Return the heads that a recipe names, loaded once."""
        # Summaries are read without a network: who reads no draws loads none.
        from alservice.network.architectures import restored_network
        from alservice.network.draws import HeadSampler
        from alservice.network.files import from_bytes

        key = (recipe.model_key, recipe.draws, recipe.seed)
        with self._lock:
            if key not in self._samplers:
                if recipe.tree_hash != tree.hash:
                    raise BadInput(f"the prediction does not follow tree {tree.name!r}", tree=tree.hash)
                state, card = from_bytes(self.objects.get(recipe.model_key), tree=tree)
                network = restored_network(card.network, tree, state).eval()
                while len(self._samplers) >= _KEPT:
                    self._samplers.pop(next(iter(self._samplers)))
                self._samplers[key] = HeadSampler(network, draws=recipe.draws, seed=recipe.seed)
            return self._samplers[key]
