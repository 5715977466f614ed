"""Galaxies scored per second by mutual information of 40 votes and 30 draws: ours, two libraries, the paper's method.

All score the same draws in one run; each slower way takes as many of them as its pace allows. Libraries live in an
environment of their own, named by ``--peers-python``, and are passed over with the reason where they cannot run.

Run: ``python -m tests.benchmarks.acquisition --peers-python /path/to/venv/bin/python``
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from alservice.acquisition.batch import BatchDrawer, BatchPolicy
from alservice.science.information import binomial_mutual_information, fast_binomial_mutual_information
from alservice.shapes import FloatArray
from tests.support.shared import ROOT

DRAWS, VOTES = 30, 40
SHARD = 10_000
SEED = 11


@dataclass(frozen=True, kw_only=True)
class Line:
    """One way: galaxies scored, seconds elapsed and of CPU, and the largest difference to the exact score (nats)."""

    way: str
    galaxies: int
    seconds: float
    cpu: float
    max_error: float

    @property
    def per_second(self) -> float:
        """Galaxies per CPU second: what an idle machine does in a second, since every way uses one thread."""
        return self.galaxies / self.cpu


def galaxies(n: int, seed: int) -> FloatArray:
    """Return float32 (n, 30) draws of rho: certain to undecided galaxies, draws close together to far apart."""
    rng = np.random.default_rng(seed)
    mean, precision = rng.beta(0.7, 0.7, (n, 1)), np.exp(rng.uniform(1, 6, (n, 1)))
    a = rng.standard_gamma(mean * precision + 1e-3, (n, DRAWS))
    b = rng.standard_gamma((1 - mean) * precision + 1e-3, (n, DRAWS))
    return (a / np.maximum(a + b, 1e-300)).astype(np.float32)


def paper(rho: FloatArray, votes: int) -> FloatArray:
    """Return the scores as the paper's equations read: galaxy by galaxy, draw by draw, vote by vote.

    As in its code, pmfs are remembered for rho rounded to three decimals.
    """

    @cache
    def pmf(rounded: float) -> npt.NDArray[np.float64]:
        return np.asarray(stats.binom.pmf(np.arange(votes + 1), votes, rounded))

    def entropy(p: Sequence[float]) -> float:
        return -sum(x * math.log(x + 1e-12) for x in p)

    scores = []
    for row in rho.tolist():
        pmfs = [pmf(round(value, 3)) for value in row]
        mean = [sum(p[k] for p in pmfs) / len(pmfs) for k in range(votes + 1)]
        scores.append(entropy(mean) - sum(map(entropy, pmfs)) / len(pmfs))
    return np.array(scores)


def measured(way: str, score: Callable[[], FloatArray], exact: FloatArray) -> Line:
    """Time one way, the better of two runs, and compare what it says with the exact scores it overlaps."""
    seconds = cpu = math.inf
    for _ in range(2):
        start, cpu_start = time.perf_counter(), time.process_time()
        found = score()
        seconds = min(seconds, time.perf_counter() - start)
        cpu = min(cpu, time.process_time() - cpu_start)
    return Line(way=way, galaxies=len(found), seconds=seconds, cpu=cpu, max_error=_error(found, exact))


def peer(python: Path, name: str, rho: FloatArray, exact: FloatArray) -> Line | str:
    """Return what a library needs and says, or why it cannot run."""
    with tempfile.TemporaryDirectory(prefix="alservice-bench-") as folder:
        draws, out = Path(folder) / "draws.npy", Path(folder) / "scores.npy"
        np.save(draws, rho)
        module = ["-W", "ignore", "-m", "tests.benchmarks.acquisition_peers", name, str(draws), str(out)]
        command = [str(python), *module, "--votes", str(VOTES)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        except OSError as error:
            return f"{python}: {error.strerror}"
        if done.returncode:
            return done.stderr.strip().splitlines()[-1]
        found = np.load(out)
        seconds, cpu = (float(word) for word in done.stdout.split()[-2:])
    way = f"{name}, {rho.dtype}"
    return Line(way=way, galaxies=len(found), seconds=seconds, cpu=cpu, max_error=_error(found, exact))


def streamed(n: int) -> tuple[float, float]:
    """Score and draw from n galaxies, a shard at a time; return CPU seconds, without those of the input, and peak MiB."""
    drawer = BatchDrawer(BatchPolicy(rule="power", informative=256, random=64), seed=SEED)
    seconds = 0.0
    for first, ids in _shards(n):
        rho = galaxies(len(ids), first)
        start = time.process_time()
        drawer.offer(ids, fast_binomial_mutual_information(rho, VOTES))
        seconds += time.process_time() - start
    drawer.draw()
    return seconds, peak_mib()


def peak_mib() -> float:
    """Return the most memory this process has held (MiB); `getrusage` would count its parent's from before exec."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def compare(n: int, python: Path | None) -> tuple[list[Line], dict[str, str]]:
    """Return a line per way, and the reason for each that was passed over."""
    rho = galaxies(n, SEED)
    exact = binomial_mutual_information(rho[: min(n, 20_000)], VOTES)
    fast = fast_binomial_mutual_information
    lines = [
        measured("alservice, fast", lambda: fast(rho, VOTES), exact),
        measured("alservice, exact", lambda: binomial_mutual_information(rho[: n // 50], VOTES), exact),
    ]
    skipped = {}
    for name, dtype, share in (("baal", "f8", 25), ("baal", "f4", 25), ("batchbald_redux", "f4", 100)):
        draws = rho[: n // share].astype(dtype)
        found = "no --peers-python" if python is None else peer(python, name, draws, exact)
        if isinstance(found, str):
            skipped[f"{name}, {dtype}"] = found
        else:
            lines.append(found)
    lines.append(measured("the paper's method", lambda: paper(rho[: n // 500], VOTES), exact))
    return lines, skipped


def table(lines: Sequence[Line]) -> str:
    """Return the table of a comparison."""
    ours = lines[0].per_second
    rows = [
        f"| {line.way} | {line.galaxies:,} | {line.seconds:.2f} | {line.cpu:.2f} | {line.per_second:,.0f} | "
        f"{ours / line.per_second:,.1f} | {line.max_error:.1e} |"
        for line in lines
    ]
    names = "| way | galaxies | s | CPU s | galaxies per CPU s | alservice is faster by | max error, nats |"
    head = f"{names}\n{'|---' * 7}|"
    return "\n".join([head, *rows])


def memory(largest: int) -> str:
    """Return the table of streamed draws, each in a process of its own, from 10^4 galaxies on."""
    rows = ["| galaxies, streamed | CPU s (score and draw) | galaxies per CPU s | peak RSS, MiB |", "|---|---|---|---|"]
    for exponent in range(4, round(math.log10(largest)) + 1):
        command = [sys.executable, "-m", "tests.benchmarks.acquisition", "--stream", str(10**exponent)]
        out = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
        seconds, peak = (float(word) for word in out.split())
        rows.append(f"| 10^{exponent} | {seconds:.2f} | {10**exponent / seconds:,.0f} | {peak:.0f} |")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the measured tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--galaxies", type=int, default=1_000_000)
    parser.add_argument("--largest", type=int, default=10**7, help="Galaxies of the largest streamed draw.")
    parser.add_argument("--peers-python", type=Path)
    parser.add_argument("--stream", type=int, help="Only stream so many galaxies; prints seconds and MiB.")
    args = parser.parse_args(arguments)
    if args.stream is not None:
        print(*streamed(args.stream))
        return
    print(f"load before: {os.getloadavg()[0]:.1f}; OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}")
    lines, skipped = compare(args.galaxies, args.peers_python)
    print(table(lines))
    for name, why in skipped.items():
        print(f"not run: {name}: {why}")
    print(memory(args.largest))
    print(f"load after: {os.getloadavg()[0]:.1f}")


def _error(found: FloatArray, exact: FloatArray) -> float:
    n = min(len(found), len(exact))
    return float(np.abs(found[:n] - exact[:n]).max())


def _shards(n: int) -> Iterator[tuple[int, list[str]]]:
    for first, end in pairwise([*range(0, n, SHARD), n]):
        yield first, [f"J{i:09}" for i in range(first, end)]


if __name__ == "__main__":
    main()
