"""What is kept of a galaxy's prediction: summaries, a score and its embedding, from which draws are made again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from alservice.errors import BadInput, NumericalFault
from alservice.science.fusion import fraction_moments
from alservice.science.information import joint_information
from alservice.science.posterior import Mixture, Posterior, check_tree
from alservice.science.tree import Tree
from alservice.shapes import FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What a prediction was made with: all that its draws follow from, besides the embeddings.

    Parameters
    ----------
    tree_hash
        Version of the label schema that the A columns follow.
    model, model_key
        Digest of the network's weights, and their object.
    trunk
        Digest of all that embeddings follow from, besides images: models that share it share embeddings.
    draws, seed
        T, and what the masks of the draws follow from.
    votes, worth
        Expected classifications and the Q weights of the questions, which scores are for.
    """

    tree_hash: str
    model: str
    model_key: str
    trunk: str
    draws: int
    seed: int
    votes: float
    worth: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prediction:
    """N galaxies as one model sees them; making an invalid one raises.

    Parameters
    ----------
    galaxy_ids
        N unique ids.
    mean, sd
        float16 (N, A), finite and not negative: mean and standard deviation of each answer's fraction among those
        asked, over the whole posterior: the width of each draw and the variance between draws.
    scores
        float32 (N,) nats: the information on the network that the votes of the recipe would give (`joint_information`).
    embeddings
        float16 (N, E), finite; E may be 0.
    recipe
        What they were made with.

    Raises
    ------
    BadInput
        If ids repeat, or a shape or dtype is wrong.
    NumericalFault
        If a value is not finite, or a mean, sd or score is negative; the galaxy is named.
    """

    galaxy_ids: tuple[str, ...]
    mean: FloatArray
    sd: FloatArray
    scores: FloatArray
    embeddings: FloatArray
    recipe: Recipe

    def __post_init__(self) -> None:
        """Refuse ids, shapes or values that cannot be a prediction."""
        n = len(self.galaxy_ids)
        repeated = [galaxy_id for galaxy_id, count in Counter(self.galaxy_ids).items() if count > 1]
        if repeated:
            raise BadInput(f"galaxy {repeated[0]!r} occurs twice in one prediction", galaxies=repeated[:20])
        wanted = {
            "mean": (np.float16, 2),
            "sd": (np.float16, 2),
            "scores": (np.float32, 1),
            "embeddings": (np.float16, 2),
        }
        for name, (dtype, axes) in wanted.items():
            values: FloatArray = getattr(self, name)
            if values.dtype != dtype or values.ndim != axes or len(values) != n:
                raise BadInput(f"{name} of {n} galaxies must be {np.dtype(dtype)}, not {values.dtype} {values.shape}")
        if self.mean.shape != self.sd.shape:
            raise BadInput(f"means {self.mean.shape} and standard deviations {self.sd.shape} do not fit each other")
        whole = np.concatenate([self.mean, self.sd, self.scores[:, None], self.embeddings], axis=1, dtype=np.float32)
        possible = np.isfinite(whole).all(axis=1)
        for values in (self.mean, self.sd, self.scores[:, None]):
            possible &= (values >= 0).all(axis=1)
        if not possible.all():
            galaxies = [self.galaxy_ids[row] for row in np.flatnonzero(~possible)[:20]]
            raise NumericalFault(
                f"galaxy {galaxies[0]!r} has a prediction that is not finite, or negative",
                galaxies=galaxies,
                model=self.recipe.model,
            )

    @property
    def model(self) -> str:
        """Digest of the network's weights."""
        return self.recipe.model

    @property
    def tree_hash(self) -> str:
        """Version of the label schema."""
        return self.recipe.tree_hash

    def is_scored_for(self, votes: float, worth: FloatArray) -> bool:
        """Return whether the scores are for so many votes and such weights (Q,) of the questions."""
        return self.recipe.votes == votes and np.array_equal(np.asarray(self.recipe.worth), worth)


def moments(tree: Tree, concentrations: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of every answer's fraction: float32 (N, A) each.

    Of the mixture of a galaxy's T draws, each as likely as the others (`fraction_moments`).

    Parameters
    ----------
    concentrations
        (N, T, A) posterior draws.
    """
    alpha = np.asarray(concentrations, dtype=np.float64)
    n_galaxies, n_draws, _ = alpha.shape
    mean, sd = fraction_moments(tree, Mixture(np.full((n_galaxies, n_draws), 1 / n_draws), alpha))
    return mean.astype(np.float32), sd.astype(np.float32)


def prediction_of(tree: Tree, posterior: Posterior, *, votes: float, worth: FloatArray) -> Prediction:
    """Return what would have been kept of a posterior whose draws were: of releases that stored them.

    Raises
    ------
    BadInput
        If the posterior follows another tree.
    """
    check_tree(tree, posterior)
    mean, sd = moments(tree, posterior.concentrations)
    scores = joint_information(tree, posterior.concentrations, votes, question_weights=worth)
    return Prediction(
        galaxy_ids=posterior.galaxy_ids,
        mean=mean.astype(np.float16),
        sd=sd.astype(np.float16),
        scores=scores.astype(np.float32),
        embeddings=posterior.embeddings,
        recipe=Recipe(
            tree_hash=posterior.tree_hash,
            model=posterior.model,
            model_key="",
            trunk="",
            draws=posterior.n_draws,
            seed=0,
            votes=votes,
            worth=tuple(worth.tolist()),
        ),
    )
