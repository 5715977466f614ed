"""Snapshots and evaluations are written once."""

from dataclasses import replace

import numpy as np

from alservice.campaigns.cycle import CycleState
from alservice.registry.records import Evaluation
from alservice.science.bootstrap import Estimate
from alservice.science.evaluation import AnswerMetrics, Metrics, QuestionMetrics
from alservice.science.votes import tally_set

TALLIES = tally_set({"b": np.array([3, 0, 2]), "a": np.array([0, 1, 0]), "none": np.zeros(3, dtype=int)}, 3)
METRICS = Metrics(
    n_galaxies=12,
    n_votes=480,
    nll_per_vote=Estimate(value=0.1 + 0.2, low=0.25, high=0.5),
    tolerances=(0.02, 0.1),
    questions=(
        QuestionMetrics(
            question="bar",
            n_galaxies=9,
            n_votes=90,
            nll_per_vote=None,
            n_judged=3,
            rmse=0.1,
            coverage_error=(None, -0.5),
        ),
    ),
    answers=(AnswerMetrics(column="bar_yes", n_judged=3, rmse=None, crps_votes=1.5, coverage_error=(0.25, None)),),
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
    old = Evaluation(cycle_id=cycle.id, cycle_number=0, model_id=first.id, metrics=METRICS)
    steps = (CycleState.ACQUIRING, CycleState.PUBLISHING, CycleState.COLLECTING, CycleState.KEPT, CycleState.DONE)
    stores.move(cycle, *steps)
    later = stores.start(campaign, catalogue)
    new = replace(old, cycle_id=later.id, cycle_number=1)
    for evaluation in (new, old, replace(old, metrics=replace(METRICS, n_votes=1))):
        stores.snapshots.save_evaluation(evaluation)
    assert stores.snapshots.evaluations(campaign.id) == [old, new]
