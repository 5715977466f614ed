"""Galaxies scored per second, and how right: the loop's joint information, a sum over questions, simulated walks.

All score the same 30 draws of the 37 answers of GZ2 for 40 votes in one run; each slower way takes as many galaxies as
its pace allows. The truth is the simulation of walks with ten times its usual samples.

Run: ``python -m tests.benchmarks.acquisition``; ``--population FILE.npz`` scores the real galaxies that
``tests.benchmarks.real_predictions`` kept, two networks of 15 draws each.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import stats

from alservice.acquisition.batch import BatchDrawer, BatchPolicy
from alservice.science.information import (
    dirichlet_multinomial_mutual_information,
    joint_information,
    simulated_joint_information,
)
from alservice.science.posterior import answer_probabilities
from alservice.science.tree import load_tree
from alservice.shapes import FloatArray
from tests.support.posteriors import network_posterior
from tests.support.shared import ROOT

TREE = load_tree("gz2")
DRAWS, VOTES = 30, 40
SHARD = 1_000
SEED = 11


@dataclass(frozen=True, kw_only=True)
class Line:
    """One way: galaxies scored, CPU seconds for each, and what it says beside the truth.

    Parameters
    ----------
    ratio, error, rank
        Mean score over mean truth, mean absolute difference over mean truth, and Spearman's correlation.
    most
        Largest score (nats); 30 draws hold 3.40.
    """

    way: str
    galaxies: int
    cpu_each: float
    ratio: float
    error: float
    rank: float
    most: float


def summed(draws: FloatArray, votes: float, *, states: int = 256, samples: int = 64) -> FloatArray:
    """Return the sum over questions of what each one's expected votes would teach alone: the score until 0.9.

    Outcomes of a question are enumerated up to 256 and simulated above, between the whole numbers around its votes.
    """
    asked = TREE.asked_probability(answer_probabilities(TREE, draws)).mean(axis=1, dtype=np.float64)
    total = np.zeros(len(draws))
    for question, answers in enumerate(TREE.slices):
        expected = votes * asked[:, question]
        below = np.floor(expected).astype(np.int64)
        share = expected - below
        for part, n in ((1 - share, below), (share, np.where(share > 0, below + 1, 0))):
            total += part * dirichlet_multinomial_mutual_information(
                draws[..., answers], n, max_states=states, samples=samples
            )
    return total


def compare(draws: FloatArray, *, judged: int) -> list[Line]:
    """Return a line per way; the truth is known of the first `judged` galaxies."""
    truth = simulated_joint_information(TREE, draws[:judged], VOTES, seed=SEED, samples=100 * DRAWS)
    ways: list[tuple[str, Callable[[FloatArray], FloatArray], int]] = [
        ("joint information (the loop)", lambda rows: joint_information(TREE, rows, VOTES), len(draws)),
        ("sum over questions", lambda rows: summed(rows, VOTES), judged),
        (
            "simulated walks, 300 each",
            lambda rows: simulated_joint_information(TREE, rows, VOTES, seed=0),
            judged,
        ),
    ]
    seconds = dict.fromkeys((way for way, _, _ in ways), math.inf)
    found: dict[str, FloatArray] = {}
    # Side by side and the best of three: other work on the machine slows all ways alike, or none.
    for _ in range(3):
        for way, score, n in ways:
            start = time.process_time()
            found[way] = score(draws[:n])
            seconds[way] = min(seconds[way], (time.process_time() - start) / n)
    return [_line(way, len(found[way]), seconds[way], found[way][:judged], truth) for way, _, _ in ways]


def _line(way: str, galaxies: int, cpu_each: float, scores: FloatArray, truth: FloatArray) -> Line:
    return Line(
        way=way,
        galaxies=galaxies,
        cpu_each=cpu_each,
        ratio=float(scores.mean() / truth.mean()),
        error=float(np.abs(scores - truth).mean() / truth.mean()),
        rank=float(stats.spearmanr(scores, truth).statistic),
        most=float(scores.max()),
    )


def table(lines: Sequence[Line]) -> str:
    """Return the table of a comparison."""
    ours = lines[0].cpu_each
    head = "| way | galaxies | galaxies per CPU s | the loop's is faster by | mean over truth | mean error | Spearman | most, nats |"
    rows = [
        f"| {line.way} | {line.galaxies:,} | {1 / line.cpu_each:,.0f} | {line.cpu_each / ours:,.1f} | "
        f"{line.ratio:.3f} | {line.error:.1%} | {line.rank:.3f} | {line.most:.2f} |"
        for line in lines
    ]
    return "\n".join([head, "|---" * 8 + "|", *rows])


def streamed(n: int) -> tuple[float, float]:
    """Score and draw from n galaxies, a shard at a time; return CPU seconds, without those of the input, and peak MiB."""
    drawer = BatchDrawer(BatchPolicy(rule="power", informative=256, random=64), seed=SEED)
    seconds = 0.0
    for first, ids in _shards(n):
        draws = network_posterior(TREE, len(ids), seed=first)
        start = time.process_time()
        drawer.offer(ids, joint_information(TREE, draws, VOTES))
        seconds += time.process_time() - start
    drawer.draw()
    return seconds, peak_mib()


def peak_mib() -> float:
    """Return the most memory this process has held (MiB); `getrusage` would count its parent's from before exec."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def memory(largest: int) -> str:
    """Return the table of streamed draws, each in a process of its own, from 10^3 galaxies on."""
    rows = ["| galaxies, streamed | CPU s (score and draw) | galaxies per CPU s | peak RSS, MiB |", "|---|---|---|---|"]
    for exponent in range(3, round(math.log10(largest)) + 1):
        command = [sys.executable, "-m", "tests.benchmarks.acquisition", "--stream", str(10**exponent)]
        out = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
        seconds, peak = (float(word) for word in out.split())
        rows.append(f"| 10^{exponent} | {seconds:.2f} | {10**exponent / seconds:,.0f} | {peak:.0f} |")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the measured tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--galaxies", type=int, default=2_000)
    parser.add_argument("--judged", type=int, default=100, help="Galaxies that the slow ways score.")
    parser.add_argument("--population", type=Path, help="Real galaxies, from tests.benchmarks.real_predictions.")
    parser.add_argument("--largest", type=int, default=10**5, help="Galaxies of the largest streamed draw.")
    parser.add_argument("--stream", type=int, help="Only stream so many galaxies; prints seconds and MiB.")
    args = parser.parse_args(arguments)
    if args.stream is not None:
        print(*streamed(args.stream))
        return
    print(f"load before: {os.getloadavg()[0]:.1f}; OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}")
    print(table(compare(_draws(args.population, args.galaxies), judged=args.judged)))
    print(memory(args.largest))
    print(f"load after: {os.getloadavg()[0]:.1f}")


def _draws(population: Path | None, n: int) -> FloatArray:
    if population is None:
        return network_posterior(TREE, n, seed=SEED)
    # Read as arrays, since the module that kept them needs torch, and memory is measured here.
    with np.load(population) as kept:
        return np.concatenate([kept["first"], kept["second"]], axis=1)[:n]


def _shards(n: int) -> Iterator[tuple[int, list[str]]]:
    for first, end in pairwise([*range(0, n, SHARD), n]):
        yield first, [f"J{i:09}" for i in range(first, end)]


if __name__ == "__main__":
    main()
