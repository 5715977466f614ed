"""Galaxies with votes -> a model with its card, without a campaign; and what it gets right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from alservice.catalogue.kaggle import cumulative_from_conditional
from alservice.ids import digest_of_bytes, seed_of
from alservice.network.architectures import Network, restored_network
from alservice.network.config import FitConfig, FitResult
from alservice.network.files import ModelCard, from_bytes, to_bytes
from alservice.network.recalibration import recalibrated
from alservice.network.sampling import sample_posterior
from alservice.network.training import fit, origin_of
from alservice.offline.galaxies import VotedGalaxies
from alservice.process import Progress
from alservice.science.posterior import Posterior, answer_probabilities
from alservice.science.scorecard import Scorecard, scorecard
from alservice.science.survey_weights import survey_weights
from alservice.science.tree import Tree
from alservice.shapes import FloatArray

DRAWS_SEED = 0
"""Seed of the posterior draws: fixed, so that a model says the same of a galaxy whenever it is asked."""


@dataclass(frozen=True, kw_only=True)
class TrainAlone:
    """Train on galaxies in memory.

    Parameters
    ----------
    as_surveyed
        Whether galaxies count so that the training set has the composition of its unbiased part. If not, they count
        alike, and precision temperatures are those of the unbiased galaxies among the held-out.
    """

    tree: Tree
    device: str
    code_revision: str
    progress: Progress
    as_surveyed: bool = False

    def run(
        self,
        galaxies: VotedGalaxies,
        config: FitConfig,
        *,
        checkpoint: bytes | None = None,
        on_checkpoint: Callable[[bytes], None] | None = None,
        is_due: Callable[[int], bool] = lambda _step: False,
    ) -> tuple[ModelCard, bytes]:
        """Return the card and the model as bytes; a checkpoint of the same run is gone on from.

        Checkpoints come as `fit` gives them: at every look at the hold-out, and where `is_due` says so.

        Raises
        ------
        BadVotes, BadImage, Conflict, DigestMismatch, NumericalFault
            As `fit` does.
        """
        self.progress.start(f"train on {len(galaxies.galaxy_ids)} galaxies", config.steps)
        if checkpoint is not None:
            self.progress.advance(origin_of(checkpoint)[0])
        weights = survey_weights(self.tree, galaxies.counts, galaxies.unbiased) if self.as_surveyed else None
        result = fit(
            galaxies.images,
            galaxies.counts,
            self.tree,
            config,
            device=self.device,
            progress=self._say,
            weights=weights,
            checkpoint=checkpoint,
            on_checkpoint=on_checkpoint,
            is_due=is_due,
        )
        self.progress.finish()
        state = result.state if self.as_surveyed else self._recalibrated(result, galaxies, config)
        card = ModelCard.of(
            galaxies.tallies,
            config,
            self.tree,
            network=config.network,
            code_revision=self.code_revision,
            history=result.history,
        )
        return card, to_bytes(state, card)

    def _recalibrated(self, result: FitResult, galaxies: VotedGalaxies, config: FitConfig) -> Mapping[str, Tensor]:
        return recalibrated(
            result.state,
            galaxies.images,
            galaxies.counts,
            self.tree,
            config,
            fair=galaxies.unbiased,
            device=self.device,
        )

    def draws(self, network: Network, galaxies: VotedGalaxies, n: int) -> FloatArray:
        """Return n posterior draws per galaxy (N, n, A); raises what `sample_posterior` raises."""
        drawn, _ = sample_posterior(network, galaxies.images, draws=n, seed=DRAWS_SEED, device=self.device)
        return drawn

    def _say(self, loss: float) -> None:
        self.progress.advance()
        self.progress.note(f"NLL {loss:.2f} nats per galaxy")


def revive(data: bytes, tree: Tree, *, device: str) -> tuple[Network, ModelCard, str]:
    """Return the network on a device, its card and the digest of its bytes; raises what `from_bytes` raises."""
    state, card = from_bytes(data, tree=tree)
    network = restored_network(card.network, tree, state)
    return network.eval().to(device), card, digest_of_bytes(data)


def judge(
    network: Network,
    galaxies: VotedGalaxies,
    *,
    model: str,
    draws: int,
    device: str,
    seed: int = 0,
) -> tuple[Scorecard, Posterior]:
    """Return a network's figures on galaxies with votes, and the posterior that they are of."""
    tree = network.tree
    concentrations, embeddings = sample_posterior(network, galaxies.images, draws=draws, seed=DRAWS_SEED, device=device)
    posterior = Posterior(
        galaxy_ids=galaxies.galaxy_ids,
        concentrations=concentrations,
        embeddings=embeddings,
        tree_hash=tree.hash,
        model=model,
    )
    # The mean over draws of the products down the tree: a draw answers all questions alike sure or unsure.
    shares = answer_probabilities(tree, concentrations.astype(np.float64))
    card = scorecard(
        tree,
        posterior,
        galaxies.counts,
        rng=np.random.default_rng(seed_of(seed, "evaluation")),
        fractions=galaxies.fractions,
        cumulative=cumulative_pair(tree, shares, galaxies.cumulative),
    )
    return card, posterior


def cumulative_pair(
    tree: Tree, shares: FloatArray, recorded: FloatArray | None
) -> tuple[FloatArray, FloatArray] | None:
    """Return predicted and recorded fractions as the Kaggle file has them, (N, A) each; None for other files.

    Parameters
    ----------
    shares
        (N, T, A) predicted shares among those asked, averaged after their products down the tree.
    recorded
        (N, A) cumulative ones as recorded, NaN where not recorded.
    """
    if recorded is None:
        return None
    return cumulative_from_conditional(tree, shares).mean(axis=1), recorded
