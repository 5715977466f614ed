"""Votes weighted by how well their volunteer agrees with others, beside the raw counts.

The weighting of Galaxy Zoo 2 (Willett et al. 2013, MNRAS 435, 2835, section on individual user weighting). For a
question with K answers of which a volunteer chose c, with f_i the weighted fraction of answer i for this galaxy, the
consistency of the vote is the mean over answers of f_c for the chosen one and 1 - f_i for the others:

    kappa = (2 f_c + K - 2) / K,

since fractions sum to 1. A volunteer's consistency is the mean over all votes, and the weight is
``min(1, (kappa / 0.6) ** 8.5)``: most count in full, those who contradict nearly everyone hardly at all. Fractions
follow from weights and weights from fractions, so both are computed by turns. A vote is part of the fraction it is
compared with, as in the paper: a galaxy with one volunteer agrees with itself and says nothing about anyone. The
formula is lenient: with many answers kappa is large whatever was chosen, so those lose weight who are at odds on
the first questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from alservice.errors import BadVotes
from alservice.science.tree import Tree
from alservice.science.votes import conditional_fractions, totals
from alservice.shapes import BoolArray, FloatArray, IntArray

KAPPA_SCALE: Final = 0.6
KAPPA_POWER: Final = 8.5
SETTLED: Final = 1e-3
"""Weights have settled when none moves by more than this between two rounds."""

MAX_ROUNDS: Final = 20
HISTOGRAM_BINS: Final = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Sitting:
    """What one volunteer answered about one galaxy, as counted.

    Parameters
    ----------
    voter
        Pseudonym of the volunteer.
    answers
        Answer columns of the tree.
    """

    galaxy_id: str
    voter: str
    answers: Sequence[int]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VoteList:
    """V votes one by one.

    Parameters
    ----------
    galaxy_ids
        (N,) ids, ascending.
    galaxies, answers, voters
        (V,) int64: place in `galaxy_ids`, answer column, number of the volunteer.
    n_voters
        W, the volunteers.
    """

    galaxy_ids: tuple[str, ...]
    galaxies: IntArray
    answers: IntArray
    voters: IntArray
    n_voters: int

    def counts(self, tree: Tree, weights: FloatArray | None = None) -> FloatArray:
        """Return the votes (N, A) float64, each with the weight of its volunteer (W,), or 1."""
        cells = self.galaxies * tree.n_answers + self.answers
        each = None if weights is None else weights[self.voters]
        n = len(self.galaxy_ids)
        flat = np.bincount(cells, weights=each, minlength=n * tree.n_answers)
        return flat.astype(np.float64).reshape(n, tree.n_answers)


def vote_list(sittings: Iterable[Sitting], tree: Tree) -> VoteList:
    """Return sittings as votes.

    Raises
    ------
    BadVotes
        An answer is not a column of the tree.
    """
    galaxy_of: dict[str, int] = {}
    voter_of: dict[str, int] = {}
    galaxies: list[int] = []
    answers: list[int] = []
    voters: list[int] = []
    for sitting in sittings:
        galaxy = galaxy_of.setdefault(sitting.galaxy_id, len(galaxy_of))
        voter = voter_of.setdefault(sitting.voter, len(voter_of))
        for answer in sitting.answers:
            galaxies.append(galaxy)
            answers.append(answer)
            voters.append(voter)
    chosen = np.array(answers, dtype=np.int64)
    if chosen.size and (chosen.min() < 0 or chosen.max() >= tree.n_answers):
        raise BadVotes(f"a vote for column {chosen.max()} of the tree {tree.name!r}, which has {tree.n_answers}")
    order = sorted(galaxy_of)
    place = np.empty(len(order), dtype=np.int64)
    place[[galaxy_of[galaxy_id] for galaxy_id in order]] = np.arange(len(order))
    return VoteList(
        galaxy_ids=tuple(order),
        galaxies=place[np.array(galaxies, dtype=np.int64)],
        answers=chosen,
        voters=np.array(voters, dtype=np.int64),
        n_voters=len(voter_of),
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VolunteerWeights:
    """Weights of W volunteers.

    Parameters
    ----------
    weights
        (W,) float64 in [0, 1].
    consistency
        (W,) float64 kappa, from which the weights follow; 1 for a volunteer without votes.
    rounds
        Rounds taken.
    settled
        Whether the last round moved no weight by more than `SETTLED`.
    """

    weights: FloatArray
    consistency: FloatArray
    rounds: int
    settled: bool


def volunteer_weights(votes: VoteList, tree: Tree, *, max_rounds: int = MAX_ROUNDS) -> VolunteerWeights:
    """Return the weight of every volunteer, beginning with all equal."""
    sizes = np.array([len(question.answers) for question in tree.questions])[tree.question_of_answer][votes.answers]
    n_votes = np.bincount(votes.voters, minlength=votes.n_voters)
    weights, consistency = np.ones(votes.n_voters), np.ones(votes.n_voters)
    for done in range(1, max_rounds + 1):
        fractions = conditional_fractions(tree, votes.counts(tree, weights))[votes.galaxies, votes.answers]
        # Where all weights of a question have vanished there is nobody left to agree with.
        known = ~np.isnan(fractions)
        kappa = np.where(known, (2 * fractions + sizes - 2) / sizes, 0)
        n_known = np.bincount(votes.voters, weights=known, minlength=votes.n_voters)
        summed = np.bincount(votes.voters, weights=kappa, minlength=votes.n_voters)
        np.divide(summed, n_known, out=consistency, where=(n_known > 0) & (n_votes > 0))
        before, weights = weights, np.minimum(1.0, (consistency / KAPPA_SCALE) ** KAPPA_POWER)
        if np.max(np.abs(weights - before), initial=0) <= SETTLED:
            return VolunteerWeights(weights=weights, consistency=consistency, rounds=done, settled=True)
    return VolunteerWeights(weights=weights, consistency=consistency, rounds=max_rounds, settled=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionChange:
    """What weighting changes for one question.

    Parameters
    ----------
    galaxies
        Galaxies of which it was asked.
    changed
        Those whose most frequent answer is another one.
    mean_shift, largest_shift
        Of a galaxy's vote fractions, the largest absolute change among its answers: mean and maximum over galaxies.
    """

    question: str
    galaxies: int
    changed: int
    mean_shift: float
    largest_shift: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensitivity:
    """How much depends on weighting.

    Parameters
    ----------
    changed
        Galaxies with another most frequent answer to any question.
    histogram
        Volunteers by weight, in ten equal steps from 0 to 1.
    """

    galaxies: int
    volunteers: int
    votes: int
    changed: int
    rounds: int
    settled: bool
    histogram: tuple[int, ...]
    questions: tuple[QuestionChange, ...]

    def text(self) -> str:
        """Return the report as people read it."""
        steps = ", ".join(f"{i / HISTOGRAM_BINS:.1f}: {n}" for i, n in enumerate(self.histogram))
        state = "settled" if self.settled else "not settled"
        lines = [
            f"{self.votes} votes of {self.volunteers} volunteers on {self.galaxies} galaxies",
            f"weights {state} after {self.rounds} rounds; {self.changed} galaxies have another most frequent answer",
            f"volunteers by weight from: {steps}",
            f"{'question':<32} {'asked':>8} {'changed':>8} {'mean shift':>11} {'largest':>8}",
        ]
        lines += [
            f"{q.question:<32} {q.galaxies:>8} {q.changed:>8} {q.mean_shift:>11.4f} {q.largest_shift:>8.4f}"
            for q in self.questions
        ]
        return "\n".join(lines)


def sensitivity(tree: Tree, votes: VoteList, found: VolunteerWeights) -> Sensitivity:
    """Compare weighted tallies with raw ones."""
    raw, weighted = votes.counts(tree), votes.counts(tree, found.weights)
    asked = totals(tree, raw) > 0
    fractions, weighted_fractions = conditional_fractions(tree, raw), conditional_fractions(tree, weighted)
    changed: BoolArray = np.zeros(asked.shape, dtype=np.bool_)
    questions = []
    for index, part in enumerate(tree.slices):
        rows = asked[:, index] & ~np.isnan(weighted_fractions[:, part.start])
        before, after = fractions[rows, part], weighted_fractions[rows, part]
        kept = np.take_along_axis(after, before.argmax(axis=1)[:, np.newaxis], axis=1)[:, 0]
        changed[rows, index] = kept < after.max(axis=1)  # a tie that is still one is no change
        shift = np.abs(after - before).max(axis=1)
        questions.append(
            QuestionChange(
                question=tree.questions[index].name,
                galaxies=int(asked[:, index].sum()),
                changed=int(changed[:, index].sum()),
                mean_shift=float(shift.mean()) if shift.size else 0.0,
                largest_shift=float(shift.max(initial=0)),
            )
        )
    bins = np.minimum((found.weights * HISTOGRAM_BINS).astype(np.int64), HISTOGRAM_BINS - 1)
    return Sensitivity(
        galaxies=len(votes.galaxy_ids),
        volunteers=votes.n_voters,
        votes=len(votes.answers),
        changed=int(changed.any(axis=1).sum()),
        rounds=found.rounds,
        settled=found.settled,
        histogram=tuple(np.bincount(bins, minlength=HISTOGRAM_BINS).tolist()),
        questions=tuple(questions),
    )
