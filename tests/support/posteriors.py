"""Posteriors as networks give them, made from a seed."""

import numpy as np

from alservice.science.tree import Tree
from alservice.shapes import FloatArray


def network_posterior(tree: Tree, n_galaxies: int, *, n_draws: int = 30, seed: int = 0) -> FloatArray:
    """Return float32 (N, T, A) concentrations: six causes move all questions, galaxies from sure to unsure.

    Precisions lie between 3 and 150 and differ between draws by a fifth.
    """
    rng = np.random.default_rng(seed)
    causes = rng.normal(size=(6, tree.n_answers)) / np.sqrt(6)
    spread = np.exp(rng.uniform(-2, 0.3, (n_galaxies, 1, 1)))
    logits = 1.5 * rng.normal(size=(n_galaxies, 1, tree.n_answers))
    logits = logits + spread * (rng.normal(size=(n_galaxies, n_draws, 6)) @ causes)
    logits += 0.15 * spread * rng.normal(size=logits.shape)
    alpha = np.exp(logits)
    for answers in tree.slices:
        precision = np.exp(rng.uniform(1, 5, (n_galaxies, 1, 1)) + 0.2 * rng.normal(size=(n_galaxies, n_draws, 1)))
        alpha[..., answers] *= precision / alpha[..., answers].sum(axis=-1, keepdims=True)
    return (alpha + 1e-3).astype(np.float32)
