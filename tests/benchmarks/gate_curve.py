"""How often the gate promotes, by how good the candidate is and how many galaxies judge it; on real predictions.

The champion is the worse of two networks of one recipe, the candidate the other, made exactly as good as the case says: its
fractions are drawn towards the population's mean, by the share at which its NLL per vote on the whole population of
4,000 real galaxies is that of the champion plus the margin, plus nothing, or minus the margin. Each run draws its
evaluation galaxies from the population with replacement, so that the population's difference is the truth.

Run: ``python -m tests.benchmarks.gate_curve --predictions FILE.npz --plot deploy/docs/gate-operating-curve.svg``
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from alservice.campaigns.policies import GatePolicy
from alservice.learning.gate import decide
from alservice.registry.records import GateDecision
from alservice.science.evaluation import Assessment, assess, mixture_nll
from alservice.science.posterior import Posterior, answer_probabilities, question_totals
from alservice.shapes import IntArray
from tests.benchmarks.real_predictions import TREE, Population, population

POLICY = GatePolicy()
CASES: Final = {"worse by the margin": 1.0, "equal": 0.0, "better by the margin": -1.0}
"""Difference of the NLL per vote on the population, in margins; positive is worse."""

SIZES: Final = (100, 200, 400, 800, 1500, 3000)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The verdicts of one case at one number of evaluation galaxies."""

    case: str
    galaxies: int
    verdicts: dict[str, int]
    failed: dict[str, int]

    @property
    def promoted(self) -> float:
        """Share of the runs that promoted."""
        return self.verdicts.get("promote", 0) / sum(self.verdicts.values())


def drawn_to_mean(posterior: Posterior, share: float) -> Posterior:
    """Return the posterior with every draw's fractions moved towards the population's mean by a share."""
    alpha = posterior.concentrations.astype(np.float64)
    fractions = answer_probabilities(TREE, alpha)
    mean = fractions.mean(axis=(0, 1))
    totals = question_totals(TREE, alpha)[..., TREE.question_of_answer]
    moved = totals * ((1 - share) * fractions + share * mean)
    return dataclasses.replace(posterior, concentrations=moved.astype(np.float32))


def as_good_as(posterior: Posterior, counts: IntArray, nll_per_vote: float) -> Posterior:
    """Return the posterior drawn to the mean until its NLL per vote on all galaxies is as asked (nats)."""
    low, high = 0.0, 1.0
    for _ in range(18):
        middle = (low + high) / 2
        moved = drawn_to_mean(posterior, middle)
        nll = mixture_nll(TREE, moved.concentrations, counts).sum() / counts.sum()
        low, high = (middle, high) if nll < nll_per_vote else (low, middle)
    moved = drawn_to_mean(posterior, low)
    reached = mixture_nll(TREE, moved.concentrations, counts).sum() / counts.sum()
    if abs(reached - nll_per_vote) > POLICY.margin_nats_per_vote / 100:
        raise ValueError(f"drawing to the mean leads to {reached:.5f} nats per vote, not {nll_per_vote:.5f}")
    return moved


def draw(assessment: Assessment, rows: IntArray) -> Assessment:
    """Return an assessment of the galaxies in `rows`."""
    arrays = ("nll", "votes", "judged", "squared_error", "crps_votes", "expected", "actual")
    return dataclasses.replace(
        assessment,
        galaxy_ids=tuple(f"{i}" for i in range(len(rows))),
        **{name: getattr(assessment, name)[rows] for name in arrays},
    )


def measure(people: Population, *, runs: int, sizes: Sequence[int], seed: int = 0) -> list[Cell]:
    """Return the verdicts of every case at every size."""
    # The worse of the two is the champion: the other can be made worse, not better.
    judged = {id(p): assess(TREE, p, people.counts) for p in (people.first, people.second)}
    best, worst = sorted((people.first, people.second), key=lambda p: judged[id(p)].nll.sum())
    champion = judged[id(worst)]
    level = champion.nll.sum() / champion.votes.sum()
    cells = []
    for case, margins in CASES.items():
        moved = as_good_as(best, people.counts, level + margins * POLICY.margin_nats_per_vote)
        candidate = assess(TREE, moved, people.counts)
        truth = candidate.nll.sum() / candidate.votes.sum() - level
        print(f"{case}: difference on the population {truth:+.6f} nats per vote")
        for size in sizes:
            verdicts: Counter[str] = Counter()
            failed: Counter[str] = Counter()
            for run in range(runs):
                decision = judge(champion, candidate, size, np.random.default_rng([seed, size, run]))
                verdicts[decision.verdict] += 1
                failed.update(check.name for check in decision.checks if not check.passed)
            cells.append(Cell(case=case, galaxies=size, verdicts=dict(verdicts), failed=dict(failed.most_common(4))))
            print(cells[-1], flush=True)
    return cells


def judge(champion: Assessment, candidate: Assessment, size: int, rng: np.random.Generator) -> GateDecision:
    """Return the gate's decision on so many galaxies of the population."""
    rows = rng.integers(len(champion.galaxy_ids), size=size)
    return decide(POLICY, champion=draw(champion, rows), candidate=draw(candidate, rows), rng=rng)


def plot(cells: Sequence[Cell], path: Path) -> None:
    """Draw the share promoted over the number of galaxies, beside a policy that copies the newest model."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "gate"
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    for (case, color), marker in zip(
        {"better by the margin": "#117733", "equal": "#332288", "worse by the margin": "#cc3311"}.items(),
        "^os",
        strict=True,
    ):
        line = sorted((cell.galaxies, cell.promoted) for cell in cells if cell.case == case)
        axes.plot(*zip(*line, strict=True), marker=marker, color=color, label=case)
    axes.axhline(1.0, color="grey", linestyle="--", label="copy the newest: any candidate")
    axes.axhline(0.05, color="#cc3311", linestyle=":", linewidth=1)
    axes.axhline(0.90, color="#332288", linestyle=":", linewidth=1)
    axes.axvline(1500, color="grey", linewidth=0.5)
    axes.set_xscale("log")
    axes.set_xticks(sorted({cell.galaxies for cell in cells}), [f"{n}" for n in sorted({c.galaxies for c in cells})])
    axes.minorticks_off()
    axes.set_xlabel("evaluation galaxies with votes")
    axes.set_ylabel("share of runs that promote")
    axes.set_ylim(-0.03, 1.05)
    axes.legend(loc="center right")
    figure.savefig(path, format="svg", metadata={"Date": None})


def main(arguments: Sequence[str] | None = None) -> list[Cell]:
    """Measure, print the table, draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=Path, help="as made by tests.benchmarks.real_predictions")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    cells = measure(population(options.predictions), runs=options.runs, sizes=options.sizes)
    print("| case | galaxies | promote | hold | reject | checks that failed most |\n|---|---|---|---|---|---|")
    for cell in cells:
        shares = [cell.verdicts.get(v, 0) / options.runs for v in ("promote", "hold", "reject")]
        failed = ", ".join(f"{name} {times}" for name, times in cell.failed.items())
        print(f"| {cell.case} | {cell.galaxies} | {' | '.join(f'{s:.1%}' for s in shares)} | {failed or '-'} |")
    print(f"{time.perf_counter() - started:.0f} s for {options.runs} runs per cell")
    if options.plot:
        plot(cells, options.plot)
    return cells


if __name__ == "__main__":
    main()
