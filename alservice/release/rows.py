"""Rows of a release: what model, votes, and both together say of some galaxies, as columns of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from alservice.catalogue.galaxies import Galaxy
from alservice.release.columns import DEC, ID, RA
from alservice.science.fusion import expected_asked, fraction_moments
from alservice.science.pmf import mixture_quantiles
from alservice.science.posterior import INTERVAL, Mixture, Posterior, answer_and_rest, update
from alservice.science.tree import Tree
from alservice.science.votes import conditional_fractions, inconsistent, totals
from alservice.shapes import BoolArray, FloatArray, IntArray

Rows: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""Values (N,) by column name; texts are objects, what is empty in a float column is NaN."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """What is asked of volunteers about one galaxy; of a galaxy that no cycle chose, the default.

    Parameters
    ----------
    state, rule, reason, votes
        As the columns ``asking``, ``stop_rule``, ``stop_reason`` and ``votes_wanted``.
    """

    state: str = "never"
    rule: str = ""
    reason: str = ""
    votes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Evidence:
    """What is known of N galaxies.

    Parameters
    ----------
    mean, sd
        (N, A) of the model's fractions; NaN for galaxies that it did not predict.
    posterior
        Draws of those that have votes and a prediction, in any order; others may be among them.
    counts
        int64 (N, A) votes, 0 where nobody was asked.
    in_training
        (N,) whether a galaxy's votes trained the model.
    asking
        N, in the order of the galaxies.
    """

    galaxies: Sequence[Galaxy]
    mean: FloatArray
    sd: FloatArray
    posterior: Posterior
    counts: IntArray
    in_training: BoolArray
    asking: Sequence[Asking]


def release_rows(tree: Tree, evidence: Evidence, *, temper: FloatArray | None, positions: bool) -> Rows:
    """Return the columns of `alservice.release.columns.release_columns` for N galaxies.

    Parameters
    ----------
    tree
        The tree of the Q questions and A answers.
    temper
        (Q,) factor on the model's concentrations before votes, see `alservice.science.fusion.fit_temper`.
    positions
        Whether there are columns of positions.

    Raises
    ------
    NumericalFault, BadVotes, BadInput
        As `alservice.science.posterior.update`.
    """
    galaxies, counts = evidence.galaxies, evidence.counts
    place = {galaxy.galaxy_id: row for row, galaxy in enumerate(galaxies)}
    consistent: BoolArray = ~np.logical_or.reduce(inconsistent(tree, counts), axis=1)
    asked = totals(tree, counts)
    drawn = np.array([place[name] for name in evidence.posterior.galaxy_ids], dtype=np.int64)
    voted = np.flatnonzero(asked[drawn].any(axis=1) & consistent[drawn])
    fused = update(tree, evidence.posterior.concentrations[voted], counts[drawn[voted]], temper=temper)
    return {
        **_of_galaxies(tree, evidence, asked, consistent, positions=positions),
        **_of_model(tree, evidence),
        **_of_votes(tree, counts, asked),
        **_of_both(tree, fused, drawn[voted], len(galaxies)),
    }


def _of_model(tree: Tree, evidence: Evidence) -> dict[str, FloatArray]:
    asked = tree.asked_probability(evidence.mean).astype(np.float32)
    found = {f"{q.name}_model_asked": asked[:, place] for place, q in enumerate(tree.questions)}
    for place, answer in enumerate(tree.columns):
        found[f"{answer}_model_mean"] = evidence.mean[:, place].astype(np.float32)
        found[f"{answer}_model_sd"] = evidence.sd[:, place].astype(np.float32)
    return found


def _of_galaxies(
    tree: Tree, evidence: Evidence, asked: IntArray, consistent: BoolArray, *, positions: bool
) -> dict[str, npt.NDArray[Any]]:
    galaxies = evidence.galaxies
    everyone = [not parents for parents in tree.parents_of]
    places = {
        RA: np.array([np.nan if g.ra_deg is None else g.ra_deg for g in galaxies], dtype=np.float64),
        DEC: np.array([np.nan if g.dec_deg is None else g.dec_deg for g in galaxies], dtype=np.float64),
    }
    return {
        ID: np.array([g.galaxy_id for g in galaxies], dtype=object),
        **(places if positions else {}),
        "unbiased": np.array([g.unbiased for g in galaxies], dtype=bool),
        "evaluation": np.array([g.evaluation for g in galaxies], dtype=bool),
        "in_training": evidence.in_training,
        "n_votes": asked[:, everyone].max(axis=1).astype(np.int32),
        "votes_consistent": consistent,
        "votes_wanted": np.array([a.votes for a in evidence.asking], dtype=np.int32),
        "asking": np.array([a.state for a in evidence.asking], dtype=object),
        "stop_rule": np.array([a.rule for a in evidence.asking], dtype=object),
        "stop_reason": np.array([a.reason for a in evidence.asking], dtype=object),
    }


def _of_votes(tree: Tree, counts: IntArray, asked: IntArray) -> dict[str, npt.NDArray[Any]]:
    fractions = conditional_fractions(tree, counts)
    found: dict[str, npt.NDArray[Any]] = {
        f"{question.name}_total-votes": asked[:, place].astype(np.int32)
        for place, question in enumerate(tree.questions)
    }
    for place, answer in enumerate(tree.columns):
        total = asked[:, tree.question_of_answer[place]]
        interval = np.full((len(counts), 2), np.nan)
        rows = np.flatnonzero((total > 0) & (counts[:, place] <= total))
        if len(rows):
            own = counts[rows, place, None] + 0.5
            interval[rows] = mixture_quantiles(own, total[rows, None] + 1 - own, INTERVAL)
        found[f"{answer}_votes"] = counts[:, place].astype(np.int32)
        found[f"{answer}_votes_fraction"] = fractions[:, place].astype(np.float32)
        found[f"{answer}_votes_p05"] = interval[:, 0].astype(np.float32)
        found[f"{answer}_votes_p95"] = interval[:, 1].astype(np.float32)
    return found


def _of_both(tree: Tree, mixture: Mixture, rows: IntArray, n_galaxies: int) -> dict[str, FloatArray]:
    """Return means, deviations, intervals and shares asked of the galaxies of `rows`; NaN for all others."""
    moments, asked = fraction_moments(tree, mixture), expected_asked(tree, mixture)

    def spread(values: FloatArray) -> FloatArray:
        column = np.full(n_galaxies, np.nan, dtype=np.float32)
        column[rows] = values
        return column

    found = {f"{q.name}_fused_asked": spread(asked[:, place]) for place, q in enumerate(tree.questions)}
    for place, answer in enumerate(tree.columns):
        own, rest = answer_and_rest(tree, mixture.concentrations, place)
        low, high = mixture_quantiles(own, rest, INTERVAL, weights=mixture.weights).T
        found[f"{answer}_fused_mean"] = spread(moments.mean[:, place])
        found[f"{answer}_fused_sd"] = spread(moments.sd[:, place])
        found[f"{answer}_fused_p05"] = spread(low)
        found[f"{answer}_fused_p95"] = spread(high)
    return found
