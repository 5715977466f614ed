"""Votes as arrays: totals, fractions, volunteers' walks through a tree, and counts that no walks can give.

One volunteer answers every question that the tree asks them once; a galaxy's counts are the sum over its
volunteers. A question nobody was asked has no fraction: "not asked" is NaN or `NOT_ASKED`, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from alservice.errors import BadVotes
from alservice.ids import digest_of_bytes, seed_of
from alservice.science.tree import Tree
from alservice.shapes import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True)
class TallySet:
    """Votes per galaxy and answer, in order of galaxy id.

    Parameters
    ----------
    galaxy_ids
        (N,) ids, ascending and unique.
    counts
        (N, A) votes in tree order; a question nobody was asked has zeros in all its answers.
    """

    galaxy_ids: tuple[str, ...]
    counts: IntArray

    def __post_init__(self) -> None:
        if self.counts.ndim != 2 or len(self.galaxy_ids) != len(self.counts):
            raise BadVotes(f"{len(self.galaxy_ids)} ids for counts of shape {self.counts.shape}")
        if any(a >= b for a, b in zip(self.galaxy_ids, self.galaxy_ids[1:], strict=False)):
            raise BadVotes("galaxy ids must ascend without repeats")

    @property
    def n_votes(self) -> int:
        """Votes in all."""
        return int(self.counts.sum())

    @property
    def digest(self) -> str:
        """Digest of ids and counts: the same votes give the same training set."""
        ids = "\n".join(self.galaxy_ids).encode()
        return digest_of_bytes(ids + b"\0" + np.ascontiguousarray(self.counts, dtype="<i8").tobytes())

    def only(self, keep: Sequence[bool]) -> TallySet:
        """Return the galaxies marked True."""
        rows = np.flatnonzero(np.asarray(keep, dtype=bool))
        return TallySet(galaxy_ids=tuple(self.galaxy_ids[i] for i in rows), counts=self.counts[rows])


def tally_set(tallies: Mapping[str, IntArray], n_answers: int) -> TallySet:
    """Return the galaxies that have at least one vote, in order of id."""
    ids = tuple(sorted(g for g, counts in tallies.items() if counts.sum() > 0))
    stacked = np.stack([tallies[g] for g in ids]) if ids else np.zeros((0, n_answers), dtype=np.int64)
    return TallySet(galaxy_ids=ids, counts=stacked)


Counts: TypeAlias = IntArray | FloatArray

NOT_ASKED = -1
"""In the result of `walk`: the volunteer was not asked this question."""

SUM_TOLERANCE = 1e-5
"""How far the answer probabilities of one question may sum from 1: float32 rounding, not a mistake."""


def totals(tree: Tree, counts: Counts) -> npt.NDArray[Any]:
    """Return the votes of each question: (..., A) counts to (..., Q), of the same type."""
    tree.check_columns(counts)
    sums: npt.NDArray[Any] = np.add.reduceat(counts, _starts(tree), axis=-1)
    return sums


def any_answer(tree: Tree, mask: BoolArray) -> BoolArray:
    """Return where a mask over answers (..., A) holds for any answer of a question, (..., Q)."""
    tree.check_columns(mask)
    found: BoolArray = np.logical_or.reduceat(mask, _starts(tree), axis=-1)
    return found


def conditional_fractions(tree: Tree, counts: Counts) -> FloatArray:
    """Return the share of each answer among the votes of its question.

    Parameters
    ----------
    counts
        (N, A) vote counts.

    Returns
    -------
    FloatArray
        (N, A) float64; NaN where the question has no votes.
    """
    asked = totals(tree, counts)[..., tree.question_of_answer]
    fractions = np.full(counts.shape, np.nan)
    np.divide(counts, asked, out=fractions, where=asked != 0)
    return fractions


def walk(tree: Tree, probabilities: FloatArray, n_votes: int, rng: np.random.Generator) -> npt.NDArray[np.int8]:
    """Walk volunteers through the tree, one after the other.

    Parameters
    ----------
    probabilities
        (A,) probability of each answer among those asked; NaN for every answer of a question of which nothing
        is known, which then is asked of nobody.
    n_votes
        Number of volunteers.
    rng
        Source of randomness. Each volunteer takes Q numbers from it, whatever they are asked, so the first k
        volunteers are the same for every `n_votes` >= k.

    Returns
    -------
    numpy.ndarray
        (n_votes, Q) int8: index of the chosen answer within its question, or `NOT_ASKED`.

    Raises
    ------
    BadVotes
        Naming the question whose probabilities are negative, do not sum to 1, or are NaN only in part.
    """
    tree.check_columns(probabilities)
    draws = rng.random((n_votes, tree.n_questions))
    chosen = np.full((n_votes, tree.n_questions), NOT_ASKED, dtype=np.int8)
    for index, part in enumerate(tree.slices):
        if not np.isnan(probabilities[part]).all():
            cumulative = _cumulative(probabilities[part], tree.questions[index].name)
            asked = _asked(tree, chosen, index)
            chosen[asked, index] = np.searchsorted(cumulative, draws[asked, index], side="right")
    return chosen


def count_walks(tree: Tree, walks: IntArray) -> npt.NDArray[np.int64]:
    """Return the votes for each answer, (A,), of the volunteers in `walks`, (V, Q)."""
    columns = (walks + np.array(_starts(tree)))[walks != NOT_ASKED]
    return np.bincount(columns, minlength=tree.n_answers)


def walked_counts(
    tree: Tree, probabilities: FloatArray, ids: Sequence[str], *, volunteers: int | IntArray, seed: int
) -> npt.NDArray[np.int64]:
    """Return the votes of simulated volunteers for galaxies of which only fractions are recorded.

    Parameters
    ----------
    probabilities
        (N, A) probability of each answer among those asked, NaN where not recorded.
    ids
        N galaxy ids: a galaxy's walk depends on its id and the seed alone.
    volunteers
        How many walk, one number or (N,).

    Returns
    -------
    numpy.ndarray
        (N, A) int64.
    """
    numbers = np.broadcast_to(np.asarray(volunteers), len(ids))
    counts = np.zeros((len(ids), tree.n_answers), dtype=np.int64)
    for row, (galaxy_id, n) in enumerate(zip(ids, numbers.tolist(), strict=True)):
        rng = np.random.default_rng(seed_of(seed, "walk", galaxy_id))
        counts[row] = count_walks(tree, walk(tree, probabilities[row], n, rng))
    return counts


def inconsistent(tree: Tree, counts: Counts) -> BoolArray:
    """Tell which questions have counts that no volunteers' walks can give.

    Parameters
    ----------
    counts
        (N, A) vote counts.

    Returns
    -------
    BoolArray
        (N, Q); true where a count is negative or not finite, or where more volunteers answered than chose one
        of the parent answers.
    """
    possible = (counts >= 0) & np.isfinite(counts)
    impossible = any_answer(tree, ~possible)
    usable = np.where(possible, counts, np.nan)  # NaN compares as false: children of a fault are not blamed
    asked = totals(tree, usable)
    for index, parents in enumerate(tree.parents_of):
        if parents:
            impossible[..., index] |= asked[..., index] > usable[..., parents].sum(axis=-1)
    return impossible


def check_counts(tree: Tree, counts: Counts, ids: Sequence[object]) -> None:
    """Raise `BadVotes` for the first galaxy with `inconsistent` counts (N, A), naming it and the question."""
    faults = inconsistent(tree, counts)
    if faults.any():
        row, index = np.argwhere(faults)[0]
        question = tree.questions[index]
        seen = dict(zip(question.columns, counts[row, tree.slices[index]].tolist(), strict=True))
        raise BadVotes(
            f"galaxy {ids[row]}: question {question.name!r} has counts {seen}: negative, not finite, or more "
            "than the votes for its parent answers",
            galaxy=str(ids[row]),
            question=question.name,
            galaxies_at_fault=int(faults.any(axis=-1).sum()),
        )


def _starts(tree: Tree) -> list[int]:
    return [part.start for part in tree.slices]


def _cumulative(probabilities: FloatArray, question: str) -> FloatArray:
    """Return the cumulative probabilities of one question, ending in exactly 1."""
    total = float(np.sum(probabilities, dtype=np.float64))
    if not (np.all(probabilities >= 0) and abs(total - 1) <= SUM_TOLERANCE):
        raise BadVotes(
            f"question {question!r}: answer probabilities {probabilities.tolist()} are not a distribution",
            question=question,
        )
    cumulative = np.cumsum(probabilities, dtype=np.float64)
    scaled: FloatArray = cumulative / cumulative[-1]
    return scaled


def _asked(tree: Tree, chosen: npt.NDArray[np.int8], index: int) -> BoolArray:
    """Tell which volunteers are asked a question, given their choices (V, Q) at the earlier ones."""
    parents = np.array(tree.parents_of[index], dtype=np.int64)
    if not parents.size:
        return np.ones(len(chosen), dtype=np.bool_)
    questions = tree.question_of_answer[parents]
    answers = parents - np.array(_starts(tree))[questions]
    asked: BoolArray = (chosen[:, questions] == answers).any(axis=1)
    return asked
