"""What a wrong champion costs where asking stops by model and votes, and whether the alarm of disagreement fires.

Real predictions of real galaxies (``tests.benchmarks.real_predictions``), made wrong on purpose: sharpened and flattened
fractions, a precision that is off, answers and galaxies mixed up. Factors are fitted on the votes of half of the
galaxies, as the loop fits them on the evaluation stream; the other half judges: recorded votes are replayed one by one,
and the label when asking ends is compared with the recorded one, as is that of all votes alone.

Run: ``python -m tests.benchmarks.wrong_models --population FILE.npz [--galaxies 600]`` (some minutes on a core).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
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
    """What stopping by one model costs.

    Parameters
    ----------
    loss
        Label accuracy of all votes alone, less that of model and votes when asking ends, over all judged questions.
    votes
        Votes per galaxy until the whole tree is known.
    """

    loss: Estimate
    votes: float


def stopping_cost(
    tree: Tree,
    policy: StoppingPolicy,
    concentrations: FloatArray,
    fractions: FloatArray,
    ids: Sequence[str],
    *,
    temper: FloatArray | None,
) -> Cost:
    """Replay the votes of galaxies (N,) by a rule, fused with a model's draws (N, T, A)."""
    walks = volunteer_walks(tree, fractions, ids, volunteers=policy.max_votes, seed=SEED)
    replayed = replay_votes(tree, fractions, walks, concentrations, policy=policy, temper=temper, seed=SEED)
    right, judged = replayed.right[..., -1], replayed.judged.sum(axis=1).astype(np.float64)
    fixed = _point(replayed, "fixed", policy)
    stopped = _point(replayed, "sequential+model", policy)
    columns = np.stack([right[fixed] - right[stopped], judged], axis=1)
    sums = bootstrap_sums(columns, repeats=1000, rng=np.random.default_rng(SEED))
    loss = percentile_estimate(float(columns[:, 0].sum() / judged.sum()), sums[:, 0] / sums[:, 1], confidence=0.95)
    return Cost(loss=loss, votes=float(replayed.votes[stopped, :, -1].mean()))


def _point(replayed: Replayed, rule: str, policy: StoppingPolicy) -> int:
    level = None if rule == "fixed" else policy.confidence
    return next(
        place
        for place, point in enumerate(replayed.points)
        if (point.rule, point.confidence, point.max_votes) == (rule, level, policy.max_votes)
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
    """Print a row per model: what stopping costs without factors and with them, and what the alarm says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--population", type=Path)
    parser.add_argument("--galaxies", type=int, default=600)
    options = parser.parse_args()
    found, n = population(options.population), options.galaxies
    judges, others = slice(0, n // 2), slice(n // 2, n)
    ids, counts = found.galaxy_ids[judges], found.counts
    nothing = np.full((len(ids), TREE.n_answers), np.nan)
    fractions = recorded_fractions(TREE, ids, counts[judges], nothing)
    print(
        "| model | no factors: loss | votes | fitted factors: loss | votes | excess | alarms |\n|---|---|---|---|---|---|---|"
    )
    for name, wrong in WRONG.items():
        draws = wrong(TREE, found.first.concentrations[:n, :DRAWS].astype(np.float64))
        temper = fit_temper(TREE, draws[others], counts[others])
        bare, fitted = (
            stopping_cost(TREE, POLICY, draws[judges], fractions, ids, temper=each) for each in (None, temper)
        )
        excess, raised = alarms(TREE, draws[judges], counts[judges], temper=temper)
        cells = [f"{_points(cost.loss)} | {cost.votes:.1f}" for cost in (bare, fitted)]
        print(f"| {name} | {' | '.join(cells)} | {excess:+.3f} | {', '.join(raised) or 'none'} |", flush=True)


def _points(loss: Estimate) -> str:
    return f"{100 * loss.value:+.1f} [{100 * loss.low:+.1f}, {100 * loss.high:+.1f}]"


if __name__ == "__main__":
    main()
