"""The reducer's version follows the rules, and tallies are checked against the tree."""

from dataclasses import replace

import numpy as np
import pytest

from alservice.campaigns.campaign import Campaign, IngestPolicy, TrainingPolicy, ZooniverseTarget
from alservice.campaigns.policies import CountingPolicy, LabelRule
from alservice.science.tree import load_tree
from alservice.votes.counting import GalaxyTally, judge_of, reducer_version

TREE = load_tree("gz2")
CAMPAIGN = Campaign(name="survey", tree="gz2")


def tally(**votes: int) -> GalaxyTally:
    """Return a tally by column name, underscores for hyphens."""
    counts = np.zeros(TREE.n_answers, dtype=np.int64)
    for name, n in votes.items():
        counts[TREE.column(name.replace("__", "@").replace("_", "-").replace("@", "_"))] = n
    return GalaxyTally(votes=counts, classifications=1, last_id=1, seen=None)


@pytest.mark.parametrize(
    "changes",
    [
        {"counting": CountingPolicy(min_seconds=1)},
        {"decoding": (LabelRule(task="T0", ignored=True),)},
        {"ingest": IngestPolicy(tallies_from="reductions")},
        {"ingest": IngestPolicy(reducers=("a",))},
        {"zooniverse": ZooniverseTarget(workflow_id=11)},
    ],
)
def test_another_rule_is_another_reducer(changes: dict[str, object]) -> None:
    """Whatever turns rows into other tallies changes the version."""
    assert reducer_version(replace(CAMPAIGN, **changes), TREE) != reducer_version(CAMPAIGN, TREE)


@pytest.mark.parametrize(
    "changes", [{"training": TrainingPolicy(steps=1)}, {"ingest": IngestPolicy(retention_days=3)}, {"seed": 9}]
)
def test_what_makes_no_tally_is_no_part_of_it(changes: dict[str, object]) -> None:
    """Training, retention and seeds leave tallies as they are."""
    assert reducer_version(replace(CAMPAIGN, **changes), TREE) == reducer_version(CAMPAIGN, TREE)


def test_tallies_beyond_the_tree_are_found() -> None:
    """More answers to a question than volunteers led to it, by galaxy and place of the question."""
    judge = judge_of(CAMPAIGN, TREE)
    fits = tally(smooth_or_featured__smooth=3, how_rounded__round=3)
    odd = tally(smooth_or_featured__smooth=1, how_rounded__round=1, how_rounded__cigar_shaped=1, bar__yes=1)
    assert judge.impossible({"a": fits, "b": odd}) == {"b": (TREE.index("bar"), TREE.index("how-rounded"))}
    assert judge.impossible({}) == {}
