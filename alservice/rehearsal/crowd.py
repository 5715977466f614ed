"""How simulated volunteers see: what each of them answers about a galaxy whose true probabilities are known.

Real votes scatter more than independent draws would. Here the crowd in front of a galaxy shares one
Dirichlet draw around the true probabilities, so its votes are Dirichlet-multinomial, and every person has
lasting leanings.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from alservice.errors import BadInput, BadVotes
from alservice.ids import seed_of
from alservice.science.tree import Tree
from alservice.science.votes import totals, walk
from alservice.shapes import FloatArray

PEOPLE = 2_000
"""People that the volunteers of a galaxy are drawn from, nobody twice; more votes than this are refused."""


class Crowd:
    """People who answer a tree's questions.

    Parameters
    ----------
    tree
        The questions.
    seed
        Of all that the crowd does.
    precision
        Of the Dirichlet draw (votes): two volunteers at one galaxy are correlated by 1 / (precision + 1).
        None: no draw, everybody answers from the probabilities as given.
    bias
        Spread of a person's leanings towards each answer (standard deviation, log-odds); 0: none. Leanings
        pull average probabilities towards the middle, by about bias**2 p (1 - p) (1 - 2 p) for two answers.

    Raises
    ------
    BadInput
        If the precision is below 1 or the bias is negative.
    """

    def __init__(self, tree: Tree, *, seed: int, precision: float | None, bias: float) -> None:
        if precision is not None and not 1 <= precision < math.inf:
            raise BadInput(f"crowd precision must be at least 1 vote and finite, or None; not {precision}")
        if not 0 <= bias < math.inf:
            raise BadInput(f"crowd bias must be at least 0 and finite, not {bias}")
        self._tree = tree
        self._seed = seed
        self._precision = precision
        leanings = np.random.default_rng(seed_of(seed, "people")).normal(0, bias, (PEOPLE, tree.n_answers))
        self._leanings_PA = np.exp(leanings) if bias else None

    def answers(self, galaxy_id: str, probabilities: FloatArray, n: int, cycle: int) -> npt.NDArray[np.int8]:
        """Return what `n` volunteers answer; the first k of them do not depend on `n`.

        Parameters
        ----------
        galaxy_id, cycle
            Seed the answers together with the crowd's seed; nothing else does.
        probabilities
            (A,) of each answer among those asked; all NaN within a question that nothing is known about.
        n
            Number of volunteers.

        Returns
        -------
        numpy.ndarray
            (n, Q) int8: answer index within each question, or -1 where the volunteer was not asked.

        Raises
        ------
        BadVotes
            Naming the galaxy and the question whose probabilities are not a distribution.
        BadInput
            If `n` is negative or more than `PEOPLE`.
        """
        if not 0 <= n <= PEOPLE:
            raise BadInput(f"galaxy {galaxy_id}: volunteers must number 0 to {PEOPLE}, not {n}")
        rng = np.random.default_rng(seed_of(self._seed, "answers", cycle, galaxy_id))
        try:
            walk(self._tree, probabilities, 0, rng)  # judges the probabilities before anything perturbs them
        except BadVotes as error:
            raise BadVotes(f"galaxy {galaxy_id}: {error.message}", galaxy=galaxy_id, **error.evidence) from error
        shared = self._shared(probabilities, rng)
        if self._leanings_PA is None:
            return walk(self._tree, shared, n, rng)
        people = rng.permutation(PEOPLE)[:n]
        walks = [walk(self._tree, self._normalised(shared * leaning), 1, rng) for leaning in self._leanings_PA[people]]
        return np.concatenate([np.empty((0, self._tree.n_questions), np.int8), *walks])

    def _shared(self, probabilities: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return what this crowd makes of the galaxy: one Dirichlet draw per question."""
        if self._precision is None:
            return probabilities
        known = ~np.isnan(probabilities)
        draw = rng.standard_gamma(self._precision * np.where(known, probabilities, 0.0))
        return self._normalised(np.where(known, draw, np.nan))

    def _normalised(self, weights: FloatArray) -> FloatArray:
        shares: FloatArray = weights / totals(self._tree, weights)[self._tree.question_of_answer]
        return shares
