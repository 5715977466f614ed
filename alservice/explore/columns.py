"""The columns of an explorer's table, and the values in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from alservice.catalogue.galaxies import Galaxy
from alservice.release.columns import DEC, ID, RA, Column
from alservice.release.rows import Rows
from alservice.science.prediction import Prediction
from alservice.science.tree import Tree
from alservice.science.votes import totals
from alservice.shapes import FloatArray, IntArray

PLACE: Final = "place"
"""Place of a galaxy among those predicted, the first being 0: its key among the vectors; no column of a download."""

VOTES: Final = "n_votes"
SCORE: Final = "score_nats"
CONFIDENCE: Final = "confidence"
NOVELTY: Final = "novelty"
MAP_X: Final = "map_x"
MAP_Y: Final = "map_y"

MEASURES: Final = (NOVELTY, SCORE, CONFIDENCE, VOTES)
"""Columns that galaxies may be sorted by, beside the fractions."""

LATER: Final = (NOVELTY, MAP_X, MAP_Y)
"""Columns that follow from all galaxies together."""

_MEANING: Final = {
    VOTES: "Volunteers who answered a question that everyone is asked, when the index was built.",
    SCORE: "Informativeness: nats that a full set of votes on it would teach the network.",
    CONFIDENCE: "1 without any doubt, 0 with the most: 1 less twice the standard deviation of the least certain answer "
    "of each question, averaged over questions by how many volunteers are asked them.",
    NOVELTY: "Distance of its embedding to that of the nearest galaxy whose votes trained the model; empty where no "
    "model has embeddings or nothing was labelled.",
    MAP_X: "Place on the map of embeddings, from left to right in [0, 1); empty where no model has embeddings.",
    MAP_Y: "Place on the map of embeddings, from top to bottom in [0, 1); empty where no model has embeddings.",
}


def mean_of(answer: str) -> str:
    """Return the column of an answer's expected fraction."""
    return f"{answer}_model_mean"


def asked_of(question: str) -> str:
    """Return the column of the expected share of volunteers who are asked a question."""
    return f"{question}_model_asked"


def explore_columns(tree: Tree) -> tuple[Column, ...]:
    """Return the columns of a table in order; those that a release has too bear the same names."""
    of_model = "by the model alone"
    return (
        Column(name=ID, kind="text", unit="", meaning="Id in the survey; unique."),
        Column(name=RA, kind="double", unit="deg", meaning="Right ascension, ICRS; empty where not known."),
        Column(name=DEC, kind="double", unit="deg", meaning="Declination, ICRS; empty where not known."),
        Column(name=VOTES, kind="integer", unit="count", meaning=_MEANING[VOTES]),
        *(Column(name=name, kind="float", unit="", meaning=_MEANING[name]) for name in (SCORE, CONFIDENCE, *LATER)),
        *(
            Column(
                name=asked_of(question.name),
                kind="float",
                unit="",
                meaning=f"Expected share of volunteers who are asked this question, {of_model}.",
            )
            for question in tree.questions
        ),
        *(
            Column(
                name=mean_of(answer),
                kind="float",
                unit="",
                meaning=f"Expected fraction of volunteers who give this answer among those asked, {of_model}.",
            )
            for answer in tree.columns
        ),
    )


def table_rows(tree: Tree, galaxies: Sequence[Galaxy], prediction: Prediction, counts: IntArray) -> Rows:
    """Return the values of N galaxies, all columns but `PLACE` and those of `LATER`.

    Parameters
    ----------
    galaxies
        N, in the order of the prediction.
    counts
        int64 (N, A) votes.
    """
    mean, sd = prediction.mean.astype(np.float32), prediction.sd.astype(np.float32)
    asked = tree.asked_probability(mean).astype(np.float32)
    everyone = [not parents for parents in tree.parents_of]
    return {
        ID: np.array(prediction.galaxy_ids, dtype=object),
        RA: np.array([np.nan if g.ra_deg is None else g.ra_deg for g in galaxies], dtype=np.float64),
        DEC: np.array([np.nan if g.dec_deg is None else g.dec_deg for g in galaxies], dtype=np.float64),
        VOTES: totals(tree, counts)[:, everyone].max(axis=1).astype(np.int32),
        SCORE: prediction.scores.astype(np.float32),
        CONFIDENCE: confidence(tree, asked, sd),
        **{asked_of(q.name): asked[:, place] for place, q in enumerate(tree.questions)},
        **{mean_of(answer): mean[:, place] for place, answer in enumerate(tree.columns)},
    }


def confidence(tree: Tree, asked: FloatArray, sd: FloatArray) -> FloatArray:
    """Return how sure a model is of galaxies, (N,) float32 in [0, 1].

    No fraction's standard deviation is above 1/2, which half of all volunteers against the other half would have.

    Parameters
    ----------
    asked
        (N, Q) expected shares of volunteers who are asked each question.
    sd
        (N, A) standard deviations of the fractions.
    """
    doubt = np.stack([sd[:, part].max(axis=1) for part in tree.slices], axis=1)
    sure: FloatArray = 1 - 2 * (asked * doubt).sum(axis=1) / asked.sum(axis=1)
    return np.clip(sure, 0, 1).astype(np.float32)
