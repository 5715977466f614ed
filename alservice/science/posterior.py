"""The posterior of a set of galaxies: T draws of answer concentrations, and the fractions they imply."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alservice.errors import BadInput, NumericalFault
from alservice.science.beta_mixture import mixture_quantiles
from alservice.science.tree import Tree
from alservice.shapes import BoolArray, FloatArray, IntArray

INTERVAL = (0.05, 0.95)
"""Levels of the reported interval: 90 % of the posterior lies inside."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Posterior:
    """T posterior draws per galaxy from one model; making an invalid one raises.

    Each draw is a Dirichlet over the answers of every question: its concentrations. Draw t is the same
    network for every galaxy, so that joint quantities are valid.

    Parameters
    ----------
    galaxy_ids
        N unique ids.
    concentrations
        float32 (N, T, A), finite and positive, answers in tree order.
    embeddings
        float16 (N, E), finite; E may be 0.
    tree_hash
        Version of the label schema that the A columns follow.
    model
        Name or digest of the model.

    Raises
    ------
    BadInput
        If ids repeat, or a shape or dtype is wrong.
    NumericalFault
        If a value is not finite, or a concentration not positive; the galaxy is named.
    """

    galaxy_ids: tuple[str, ...]
    concentrations: FloatArray
    embeddings: FloatArray
    tree_hash: str
    model: str

    def __post_init__(self) -> None:
        """Refuse ids, shapes or values that cannot be a posterior."""
        n_galaxies = len(self.galaxy_ids)
        repeated = [galaxy_id for galaxy_id, count in Counter(self.galaxy_ids).items() if count > 1]
        if repeated:
            raise BadInput(f"galaxy {repeated[0]!r} occurs twice in one posterior", galaxies=repeated[:20])
        shape, dtype = self.concentrations.shape, self.concentrations.dtype
        if len(shape) != 3 or 0 in shape[1:] or shape[0] != n_galaxies or dtype != np.float32:
            raise BadInput(f"concentrations must be float32 ({n_galaxies}, draws, answers), not {dtype} {shape}")
        shape, dtype = self.embeddings.shape, self.embeddings.dtype
        if len(shape) != 2 or shape[0] != n_galaxies or dtype != np.float16:
            raise BadInput(f"embeddings must be float16 ({n_galaxies}, dimensions), not {dtype} {shape}")
        valid = (self.concentrations > 0) & (self.concentrations < np.inf)
        self._refuse(valid, "a concentration that is not finite and positive")
        self._refuse(np.isfinite(self.embeddings), "an embedding that is not finite")

    @property
    def n_draws(self) -> int:
        """T, the number of draws."""
        return int(self.concentrations.shape[1])

    def probabilities(self, tree: Tree) -> FloatArray:
        """Return the probability of each answer among those asked its question: float32 (N, T, A).

        Raises
        ------
        BadInput
            If the posterior follows another tree.
        """
        check_tree(tree, self)
        return answer_probabilities(tree, self.concentrations)

    def _refuse(self, valid: BoolArray, what: str) -> None:
        if not valid.all():
            galaxies = [self.galaxy_ids[row] for row in np.unique(np.nonzero(~valid)[0])[:20]]
            raise NumericalFault(f"galaxy {galaxies[0]!r} has {what}", galaxies=galaxies, model=self.model)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Summaries:
    """Mean and 90 % interval of every answer fraction among those asked: float32 (N, A), in tree order."""

    galaxy_ids: tuple[str, ...]
    mean: FloatArray
    low: FloatArray
    high: FloatArray


def check_tree(tree: Tree, posterior: Posterior) -> None:
    """Raise `BadInput` unless the posterior's columns are this tree's answers."""
    if posterior.tree_hash != tree.hash or posterior.concentrations.shape[2] != tree.n_answers:
        raise BadInput(
            f"the posterior of model {posterior.model!r} does not follow tree {tree.name!r}",
            tree_hash=tree.hash,
            posterior_tree_hash=posterior.tree_hash,
        )


def question_totals(tree: Tree, values: FloatArray | IntArray) -> FloatArray:
    """Return (..., Q) sums over each question's answers of (..., A) values, in their dtype."""
    return np.add.reduceat(values, [answers.start for answers in tree.slices], axis=-1)


def answer_probabilities(tree: Tree, concentrations: FloatArray) -> FloatArray:
    """Return (..., A) mean probability of each answer: its concentration over its question's total."""
    return concentrations / question_totals(tree, concentrations)[..., tree.question_of_answer]


def answer_and_rest(tree: Tree, concentrations: FloatArray, answer: int) -> tuple[FloatArray, FloatArray]:
    """Return the concentrations of one answer, and of all others of its question: float64 (...) each.

    They are the shapes of the Beta that the answer's fraction follows within a draw. The others are
    summed, not subtracted from the question's total, which would cancel for a dominant answer.
    """
    answers = tree.slices[tree.question_of_answer[answer]]
    question = concentrations[..., answers].astype(np.float64)
    own = answer - answers.start
    return question[..., own], np.delete(question, own, axis=-1).sum(axis=-1)


def summaries(tree: Tree, posterior: Posterior) -> Summaries:
    """Return mean and 5 and 95 % quantiles of every answer fraction.

    Within a draw an answer's fraction is Beta(a, s - a), s its question's total; over draws it is their
    equal-weight mixture. Its quantiles hold both the draw's own width and the variance between draws, which
    the median of per-draw quantiles (as in Zoobot) leaves out. They are found by quadrature, see
    `beta_mixture`.

    Parameters
    ----------
    tree
        The tree that the posterior follows.
    posterior
        N galaxies.

    Raises
    ------
    BadInput
        If the posterior follows another tree.
    """
    check_tree(tree, posterior)
    shape = (len(posterior.galaxy_ids), tree.n_answers)
    mean, low, high = (np.empty(shape, dtype=np.float32) for _ in range(3))
    for answer in range(tree.n_answers):
        a, b = answer_and_rest(tree, posterior.concentrations, answer)
        mean[:, answer] = (a / (a + b)).mean(axis=1)
        low[:, answer], high[:, answer] = mixture_quantiles(a, b, INTERVAL).T
    return Summaries(galaxy_ids=posterior.galaxy_ids, mean=mean, low=low, high=high)


def take(posterior: Posterior, rows: IntArray) -> Posterior:
    """Return the posterior of some galaxies, in the order of `rows` (indices, each at most once)."""
    return Posterior(
        galaxy_ids=tuple(posterior.galaxy_ids[row] for row in rows),
        concentrations=posterior.concentrations[rows],
        embeddings=posterior.embeddings[rows],
        tree_hash=posterior.tree_hash,
        model=posterior.model,
    )


def concat(posteriors: Sequence[Posterior]) -> Posterior:
    """Join shards of one model's posterior, in order.

    Raises
    ------
    BadInput
        If there are none, they come from different models, trees or numbers of draws, or a galaxy occurs
        twice.
    """
    kinds = {(p.model, p.tree_hash, p.concentrations.shape[1:], p.embeddings.shape[1:]) for p in posteriors}
    if len(kinds) != 1:
        raise BadInput(
            f"only shards of one model, tree and size can be joined, not {len(kinds)} kinds",
            kinds=sorted(map(str, kinds)),
        )
    return Posterior(
        galaxy_ids=tuple(galaxy_id for p in posteriors for galaxy_id in p.galaxy_ids),
        concentrations=np.concatenate([p.concentrations for p in posteriors]),
        embeddings=np.concatenate([p.embeddings for p in posteriors]),
        tree_hash=posteriors[0].tree_hash,
        model=posteriors[0].model,
    )
