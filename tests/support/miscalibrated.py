"""Galaxies whose votes follow a model's own posterior, and models made wrong on purpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from alservice.science.fusion import dirichlet_draws
from alservice.science.posterior import answer_probabilities, question_totals
from alservice.science.tree import Tree
from alservice.shapes import FloatArray, IntArray


def calibrated_world(
    tree: Tree, n_galaxies: int, *, volunteers: int = 40, seed: int = 0
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return a model's draws (N, 5, A), true fractions (N, A) that they describe, and votes (N, A) by the fractions."""
    rng = np.random.default_rng(seed)
    # One answer leads in most galaxies, as in a survey, so that a model's label means something.
    leading = np.exp(rng.normal(0, 1.3, (n_galaxies, 1, tree.n_answers)))
    means = answer_probabilities(tree, leading * np.exp(rng.normal(0, 0.25, (n_galaxies, 5, tree.n_answers))))
    precision = np.exp(rng.normal(2.5, 0.3, (n_galaxies, 5, tree.n_questions)))
    alpha = means * precision[..., tree.question_of_answer] + 0.05
    true = alpha[np.arange(n_galaxies), rng.integers(5, size=n_galaxies)]
    fractions, counts = np.empty_like(true), np.zeros(true.shape, dtype=np.int64)
    for part, parents in zip(tree.slices, tree.parents_of, strict=True):
        fractions[:, part] = dirichlet_draws(true[:, part], rng)
        asked = counts[:, parents].sum(axis=1) if parents else np.full(n_galaxies, volunteers)
        counts[:, part] = rng.multinomial(asked, fractions[:, part])
    return alpha, fractions, counts


def sharpened(tree: Tree, concentrations: FloatArray, temperature: float) -> FloatArray:
    """Return draws whose mean fractions are p^(1/temperature), normalised, with the same precision."""
    shares = answer_probabilities(tree, concentrations)
    powered = answer_probabilities(tree, np.maximum(shares, 1e-6) ** (1 / temperature))
    powered = answer_probabilities(tree, np.maximum(powered, 1e-6))
    wrong: FloatArray = powered * question_totals(tree, concentrations)[..., tree.question_of_answer]
    return wrong


def other_answers(tree: Tree, concentrations: FloatArray) -> FloatArray:
    """Return draws in which each answer has what is said of the next one of its question."""
    order = np.concatenate([np.roll(np.arange(part.start, part.stop), -1) for part in tree.slices])
    return concentrations[..., order]


def other_galaxies(_tree: Tree, concentrations: FloatArray) -> FloatArray:
    """Return draws in which each galaxy has what is said of another."""
    return np.roll(concentrations, 1, axis=0)


WRONG: Final[Mapping[str, Callable[[Tree, FloatArray], FloatArray]]] = {
    "as it is": lambda _, draws: draws,
    "temperature 0.3": lambda tree, draws: sharpened(tree, draws, 0.3),
    "temperature 3": lambda tree, draws: sharpened(tree, draws, 3.0),
    "precision / 0.3": lambda _, draws: draws / 0.3,
    "precision / 3": lambda _, draws: draws / 3,
    "answers permuted": other_answers,
    "galaxies permuted": other_galaxies,
}
"""Name to what it makes of a tree and draws (N, T, A)."""
