"""What a wrong champion costs where model and votes are fused, and whether the alarm of disagreement fires.

Real predictions of real galaxies (``tests.benchmarks.real_predictions``), made wrong on purpose: sharpened and flattened
fractions, a precision that is off, answers and galaxies mixed up. Factors are fitted on the votes of half of the
galaxies, as the loop fits them on the evaluation stream; the other half judges: recorded votes are replayed one by one,
and the label when asking ends, by certainty or by what is left to gain, is compared with the recorded one, as is that of
all votes alone.

Run: ``python -m tests.benchmarks.wrong_models --population FILE.npz [--galaxies 800]`` (ten minutes on a core).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alservice.backfill.votes import Replayed, recorded_fractions, replay_votes, volunteer_walks
from alservice.campaigns.policies import DriftPolicy
from alservice.learning.drift import FALSE_ALARMS, disagreement_figures
from alservice.science.bootstrap import Estimate, bootstrap_sums, percentile_estimate
from alservice.science.disagreement import WHOLE_TREE, label_disagreements
from alservice.science.fusion import fit_temper
from alservice.science.stopping import StoppingPolicy
from alservice.science.tree import Tree
from alservice.shapes import FloatArray, IntArray
from tests.benchmarks.real_predictions import TREE, population
from tests.support.miscalibrated import WRONG

DRAWS = 8
SEED = 0
POLICY = StoppingPolicy(
    rule="label", confidence=0.95, questions=("smooth-or-featured", "disk-edge-on", "something-odd", "bar")
)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What model and votes together cost against all votes alone.

    Parameters
    ----------
    loss
        Label accuracy of all votes alone, less that of model and votes when asking ends, over all judged questions.
    votes
        Votes per galaxy until the whole tree is known.
    """

    loss: Estimate
    votes: float


def fused_cost(
    tree: Tree,
    policy: StoppingPolicy,
    concentrations: FloatArray,
    fractions: FloatArray,
    ids: Sequence[str],
    *,
    temper: FloatArray | None,
) -> Mapping[float, Cost]:
    """Replay the votes of galaxies (N,) fused with a model's draws (N, T, A).

    Returns
    -------
    mapping
        What ends asking to its cost: a certainty, 1 where all votes are asked and the label is of model and votes, or the
        least gain of the policy.
    """
    walks = volunteer_walks(tree, fractions, ids, volunteers=policy.max_votes, seed=SEED)
    replayed = replay_votes(tree, fractions, walks, concentrations, policy=policy, temper=temper, seed=SEED)
    whole = [(k, point) for k, point in enumerate(replayed.points) if point.max_votes == policy.max_votes]
    places = {(point.rule, point.confidence or point.min_gain): k for k, point in whole}
    votes_alone = places["fixed", None]
    found = {c: place for (rule, c), place in places.items() if rule == "sequential+model" and c is not None}
    found |= {1.0: places["fixed+model", None], policy.min_gain: places["gain+model", policy.min_gain]}
    return {ends: _cost(replayed, votes_alone, place) for ends, place in found.items()}


def _cost(replayed: Replayed, votes_alone: int, place: int) -> Cost:
    judged = replayed.judged.sum(axis=1).astype(np.float64)
    lost = (replayed.right[votes_alone] - replayed.right[place])[:, -1]
    sums = bootstrap_sums(np.stack([lost, judged], axis=1), repeats=1000, rng=np.random.default_rng(SEED))
    return Cost(
        loss=percentile_estimate(float(lost.sum() / judged.sum()), sums[:, 0] / sums[:, 1], confidence=0.95),
        votes=float(replayed.votes[place, :, -1].mean()),
    )


def alarms(
    tree: Tree, concentrations: FloatArray, counts: IntArray, *, temper: FloatArray | None
) -> tuple[float, tuple[str, ...]]:
    """Return the excess of labels that differ over the tree, and the figures that are an alarm, as the loop has them."""
    found = label_disagreements(
        tree,
        concentrations,
        counts,
        rng=np.random.default_rng(SEED),
        temper=temper,
        first_votes=0,
        min_votes=20,
        false_alarms=FALSE_ALARMS,
    )
    over_tree = next(figure.excess for figure in found if figure.question == WHOLE_TREE)
    figures = disagreement_figures(DriftPolicy(), found)
    return over_tree, tuple(figure.name.partition(" ")[2] for figure in figures if figure.alarm)


def main() -> None:
    """Print a row per model: what it costs without factors and with them, and what the alarm says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--population", type=Path)
    parser.add_argument("--galaxies", type=int, default=800)
    options = parser.parse_args()
    found, n = population(options.population), options.galaxies
    judges, others = slice(0, n // 2), slice(n // 2, n)
    ids, counts = found.galaxy_ids[judges], found.counts
    fractions = recorded_fractions(TREE, ids, counts[judges], np.full((len(ids), TREE.n_answers), np.nan))
    ends = ("95 %", "99 %", "gain")
    stopped = " | ".join(f"{name}: loss | votes" for name in ends)
    print(f"| model | factors | all 40 votes: loss | {stopped} | excess | alarms |")
    print("|---" * (5 + 2 * len(ends)) + "|")
    for name, wrong in WRONG.items():
        draws = wrong(TREE, found.first.concentrations[:n, :DRAWS].astype(np.float64))
        fitted = fit_temper(TREE, draws[others], counts[others])
        for factors, temper in (("none", None), ("fitted", fitted)):
            costs = fused_cost(TREE, POLICY, draws[judges], fractions, ids, temper=temper)
            excess, raised = alarms(TREE, draws[judges], counts[judges], temper=temper)
            levels = (0.95, 0.99, POLICY.min_gain)
            early = [f"{_points(costs[level].loss)} | {costs[level].votes:.1f}" for level in levels]
            cells = [name, factors, _points(costs[1.0].loss), *early, f"{excess:+.3f}", ", ".join(raised) or "none"]
            print(f"| {' | '.join(cells)} |", flush=True)


def _points(loss: Estimate) -> str:
    return f"{100 * loss.value:+.1f} [{100 * loss.low:+.1f}, {100 * loss.high:+.1f}]"


if __name__ == "__main__":
    main()
