"""Predictions beside votes: joined by galaxy id, then judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alservice.errors import BadInput
from alservice.ids import seed_of
from alservice.offline.galaxies import VotedGalaxies
from alservice.offline.training import cumulative_pair
from alservice.science.evaluation import Evaluation, evaluate
from alservice.science.posterior import PredictionTable, posterior_of
from alservice.science.tree import Tree


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedPredictions:
    """What came of a join.

    Parameters
    ----------
    without_votes, without_prediction
        Ids of predictions that have no votes, and of voted galaxies that have no prediction.
    """

    evaluation: Evaluation
    n_matched: int
    without_votes: tuple[str, ...]
    without_prediction: tuple[str, ...]


def judge_predictions(tree: Tree, table: PredictionTable, galaxies: VotedGalaxies, *, seed: int) -> JudgedPredictions:
    """Judge the galaxies that have both a prediction and votes, under the Dirichlets that the table states.

    Raises
    ------
    BadInput
        No galaxy has both.
    """
    row_of = {galaxy_id: row for row, galaxy_id in enumerate(table.galaxy_ids)}
    voted = set(galaxies.galaxy_ids)
    matched = np.array([galaxy_id in row_of for galaxy_id in galaxies.galaxy_ids], dtype=np.bool_)
    if not matched.any():
        raise BadInput(
            f"no galaxy has both a prediction and votes: predictions begin with {table.galaxy_ids[0]!r}, "
            f"votes with {galaxies.galaxy_ids[0]!r}"
        )
    judged = galaxies.only(matched)
    rows = np.array([row_of[galaxy_id] for galaxy_id in judged.galaxy_ids])
    both = PredictionTable(
        galaxy_ids=judged.galaxy_ids,
        mean=table.mean[rows],
        low=table.low[rows],
        high=table.high[rows],
        precision=table.precision[rows],
    )
    found = evaluate(
        tree,
        posterior_of(tree, both, model="predictions"),
        judged.counts,
        rng=np.random.default_rng(seed_of(seed, "evaluation")),
        fractions=judged.fractions,
        cumulative=cumulative_pair(tree, both.mean[:, None, :].astype(np.float64), judged.cumulative),
    )
    return JudgedPredictions(
        evaluation=found,
        n_matched=len(rows),
        without_votes=tuple(galaxy_id for galaxy_id in table.galaxy_ids if galaxy_id not in voted),
        without_prediction=tuple(np.array(galaxies.galaxy_ids)[~matched].tolist()),
    )
