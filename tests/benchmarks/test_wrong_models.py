"""What a wrong champion costs, in small: factors that are fitted on votes keep it from outvoting people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alservice.backfill.votes import recorded_fractions
from alservice.science.fusion import fit_temper
from alservice.science.tree import load_tree
from tests.benchmarks.wrong_models import POLICY, alarms, fused_cost
from tests.support.miscalibrated import WRONG, calibrated_world

TREE = load_tree("gz2")
N = 160
SMALL = replace(POLICY, questions=("smooth-or-featured", "something-odd"))


@pytest.mark.parametrize("name", ["temperature 0.3", "temperature 3", "answers permuted"])
def test_a_wrong_champion_cannot_outvote_forty_people_once_it_is_tempered(name: str) -> None:
    """Of the labels of all votes few are lost; without factors a champion that is sure of other answers loses many."""
    draws, _, counts = calibrated_world(TREE, N, seed=4)
    wrong = WRONG[name](TREE, draws)
    judges, others = slice(0, N // 2), slice(N // 2, N)
    ids = tuple(f"g{i}" for i in range(N // 2))
    fractions = recorded_fractions(TREE, ids, counts[judges], np.full((len(ids), TREE.n_answers), np.nan))
    fitted = fit_temper(TREE, wrong[others], counts[others])

    def cost(temper):
        return fused_cost(TREE, SMALL, wrong[judges], fractions, ids, temper=temper)[1.0].loss.value

    assert cost(fitted) <= 0.02
    if name == "answers permuted":
        assert cost(np.full(TREE.n_questions, 10.0)) > 0.1
        assert alarms(TREE, wrong[judges], counts[judges], temper=None)[1]
