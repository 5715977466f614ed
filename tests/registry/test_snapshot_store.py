"""Snapshots and evaluations are written once."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy import insert

from alservice.campaigns.cycle import CycleState
from alservice.registry import schema
from alservice.registry.records import ModelEvaluation
from alservice.science.bootstrap import Estimate, Figure
from alservice.science.evaluation import AnswerFigures, Evaluation, FractionFigures, QuestionFigures
from alservice.science.votes import tally_set

DATA = Path(__file__).parents[1] / "data"
TALLIES = tally_set({"b": np.array([3, 0, 2]), "a": np.array([0, 1, 0]), "none": np.zeros(3, dtype=int)}, 3)
FOUND = Evaluation(
    n_galaxies=12,
    n_votes=480,
    nll_per_vote=Estimate(value=0.1 + 0.2, low=0.25, high=0.5),
    tolerances=(0.02, 0.1),
    questions=(
        QuestionFigures(
            question="bar",
            n_galaxies=9,
            n_votes=90,
            nll_per_vote=None,
            fractions=FractionFigures(
                name="bar",
                n_judged=3,
                rmse=Figure(value=0.1),
                crps_votes=None,
                coverage_error=(None, Figure(value=-0.5, low=-0.6, high=-0.4)),
            ),
        ),
    ),
    answers=(
        AnswerFigures(
            fractions=FractionFigures(
                name="bar_yes",
                n_judged=3,
                rmse=None,
                crps_votes=Figure(value=1.5),
                coverage_error=(Figure(value=0.25), None),
            )
        ),
    ),
)


def test_a_snapshot_is_of_its_tallies(stores, cycle) -> None:
    """Digest and counts are those of the tallies it was made of."""
    assert stores.snapshots.of_cycle(cycle.id) is None
    saved = stores.snapshots.save(cycle, key="tallies/k", tallies=TALLIES, reducer="r", n_inconsistent=1)
    assert (saved.digest, saved.n_galaxies, saved.n_votes) == (TALLIES.digest, 2, 6)
    assert (saved.reducer, saved.n_inconsistent) == ("r", 1)
    assert stores.snapshots.of_cycle(cycle.id) == saved


def test_a_cycle_keeps_its_snapshot(stores, cycle) -> None:
    """Votes that came since do not change what a cycle trains on."""
    first = stores.snapshots.save(cycle, key="tallies/k", tallies=TALLIES, reducer="r", n_inconsistent=1)
    later = tally_set({"c": np.array([1, 1, 1])}, 3)
    assert stores.snapshots.save(cycle, key="tallies/later", tallies=later, reducer="s", n_inconsistent=0) == first


def test_evaluations_come_back_by_cycle(stores, campaign, catalogue, cycle) -> None:
    """Every figure survives to the last bit; saying it again keeps the first."""
    first = stores.candidate(cycle)
    old = ModelEvaluation(cycle_id=cycle.id, cycle_number=0, model_id=first.id, evaluation=FOUND, assessment="a/k")
    steps = (CycleState.ACQUIRING, CycleState.PUBLISHING, CycleState.COLLECTING, CycleState.KEPT, CycleState.DONE)
    stores.move(cycle, *steps)
    later = stores.start(campaign, catalogue)
    new = replace(old, cycle_id=later.id, cycle_number=1, assessment=None)
    for evaluation in (new, old, replace(old, evaluation=replace(FOUND, n_votes=1))):
        stores.snapshots.save_evaluation(evaluation)
    assert stores.snapshots.evaluations(campaign.id) == [old, new]
    assert stores.snapshots.evaluations_in(cycle.id) == {first.id: old}


def test_an_evaluation_of_an_earlier_release_is_read(engine, stores, campaign, cycle) -> None:
    """Its figures had no intervals and stood side by side; no assessment was kept."""
    model = stores.candidate(cycle)
    earlier = json.loads((DATA / "evaluation-of-loop.json").read_text(encoding="utf-8"))
    row = {"cycle_id": cycle.id, "model_id": model.id, "metrics": earlier, "created_at": datetime.now(UTC)}
    with engine.begin() as connection:
        connection.execute(insert(schema.evaluations).values(row))
    (found,) = stores.snapshots.evaluations(campaign.id)
    assert (found.model_id, found.assessment) == (model.id, None)
    assert found.evaluation.nll_per_vote.value == earlier["nll_per_vote"]["value"]
    assert found.evaluation.answer("ring_no").fractions.crps_votes.value == earlier["answers"][1]["crps_votes"]
