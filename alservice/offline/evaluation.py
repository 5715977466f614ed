"""Predictions joined with votes by galaxy id, and the figures of the galaxies that have both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from alservice.errors import BadInput
from alservice.ids import seed_of
from alservice.offline.galaxies import VotedGalaxies
from alservice.offline.training import cumulative_pair
from alservice.science.bootstrap import Estimate, Figure
from alservice.science.evaluation import AnswerFigures, Evaluation, FractionFigures, QuestionFigures, evaluate
from alservice.science.posterior import PredictionTable, posterior_of
from alservice.science.scorecard import evaluation_tables
from alservice.science.tree import Tree

if TYPE_CHECKING:
    from pandas import DataFrame

_Cells = dict[str, str | int | float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluatedPredictions:
    """Figures of predictions on votes, and the galaxies that have only one of the two.

    Parameters
    ----------
    evaluation
        All figures with their intervals.
    n_matched
        Galaxies with both.
    without_votes, without_prediction
        Ids of predictions that have no votes, and of voted galaxies that have no prediction.
    """

    evaluation: Evaluation = field(repr=False)
    n_matched: int
    without_votes: tuple[str, ...]
    without_prediction: tuple[str, ...]

    def text(self) -> str:
        """Return the tables that the command prints: totals, questions, answers, confident galaxies."""
        return "\n\n".join(table.text() for table in evaluation_tables(self.evaluation))

    def to_frame(self, by: Literal["question", "answer"] = "question") -> DataFrame:
        """Return the figures as a table.

        Parameters
        ----------
        by
            A row per ``question`` (Q rows) or per ``answer`` column (A rows), which is also the name of the index.

        Returns
        -------
        DataFrame
            ``n_judged`` galaxies with votes enough for a fraction; ``rmse`` of the fractions and ``crps_votes`` (votes)
            of the counts, each with the ends ``_low`` and ``_high`` of its 95 % interval over galaxies. Per question
            also ``n_galaxies``, ``n_votes``, ``nll_per_vote`` (nats) and, on galaxies whose volunteers agree,
            ``n_confident``, ``accuracy``, ``precision``, ``recall`` and ``f1``; per answer the distance
            ``pit_distance`` of the PIT from uniform and its ``pit_p``. NaN where there are no such galaxies.

        Raises
        ------
        BadInput
            `by` is neither.
        """
        import pandas as pd

        if by not in {"question", "answer"}:
            raise BadInput(f"figures are by 'question' or by 'answer', not {by!r}", by=by)
        rows: Sequence[_Cells] = (
            [_question_cells(question) for question in self.evaluation.questions]
            if by == "question"
            else [_answer_cells(answer) for answer in self.evaluation.answers]
        )
        names = [figures.pop(by) for figures in rows]
        whole = {name: "int64" for name in rows[0] if name.startswith("n_")}
        return pd.DataFrame(rows, index=pd.Index(names, name=by)).astype("float64").astype(whole)


def _question_cells(question: QuestionFigures) -> _Cells:
    confident = question.confident
    return {
        "question": question.question,
        "n_galaxies": question.n_galaxies,
        "n_votes": question.n_votes,
        **_interval("nll_per_vote", question.nll_per_vote),
        **_fraction_cells(question.fractions),
        "n_confident": 0 if confident is None else confident.n_galaxies,
        **_interval("accuracy", None if confident is None else confident.accuracy),
        **_interval("precision", None if confident is None else confident.precision),
        **_interval("recall", None if confident is None else confident.recall),
        **_interval("f1", None if confident is None else confident.f1),
    }


def _answer_cells(answer: AnswerFigures) -> _Cells:
    figures = {"pit_distance": answer.pit_distance, "pit_p": answer.pit_p}
    return {"answer": answer.fractions.name, **_fraction_cells(answer.fractions), **figures}


def _fraction_cells(fractions: FractionFigures) -> _Cells:
    return {
        "n_judged": fractions.n_judged,
        **_interval("rmse", fractions.rmse),
        **_interval("crps_votes", fractions.crps_votes),
    }


def _interval(name: str, figure: Estimate | Figure | None) -> _Cells:
    ends = (None, None, None) if figure is None else (figure.value, figure.low, figure.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))


def evaluate_predictions(
    tree: Tree, table: PredictionTable, galaxies: VotedGalaxies, *, seed: int
) -> EvaluatedPredictions:
    """Evaluate the galaxies that have both a prediction and votes, under the Dirichlets that the table states.

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
    return EvaluatedPredictions(
        evaluation=found,
        n_matched=len(rows),
        without_votes=tuple(galaxy_id for galaxy_id in table.galaxy_ids if galaxy_id not in voted),
        without_prediction=tuple(np.array(galaxies.galaxy_ids)[~matched].tolist()),
    )
