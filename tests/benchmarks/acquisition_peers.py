"""Two peers on the same draws, in an interpreter of their own: no import of this project.

Run: ``PEERS_PYTHON -m tests.benchmarks.acquisition_peers baal DRAWS.npy OUT.npy --votes 40``; prints elapsed and CPU seconds, the better of two runs,
and writes the scores (nats). Both need the pmf of the votes as their input, so that building it is part of the time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
CHUNK = 10_000


def log_pmf(rho: Array, votes: int) -> Array:
    """Return ln Bin(k; rho, votes) as (N, T, votes + 1) in the dtype of rho, vectorised over all."""
    k = np.arange(votes + 1, dtype=rho.dtype)
    log_factorial = np.concatenate([[0], np.cumsum(np.log(np.arange(1, votes + 1)))]).astype(rho.dtype)
    choose = log_factorial[-1] - log_factorial - log_factorial[::-1]
    inside = np.clip(rho, 1e-7, 1 - 1e-7)[..., None]
    result: Array = choose + k * np.log(inside) + (votes - k) * np.log1p(-inside)
    return result


def baal(rho: Array, votes: int) -> Array:
    """Return the scores of baal's BALD, which takes (N, classes, draws)."""
    from baal.active.heuristics import BALD

    heuristic = BALD()
    parts = [rho[i : i + CHUNK] for i in range(0, len(rho), CHUNK)]
    return np.concatenate([heuristic.compute_score(np.exp(log_pmf(p, votes)).swapaxes(1, 2)) for p in parts])


def batchbald_redux(rho: Array, votes: int) -> Array:
    """Return the BALD scores of batchbald_redux, which takes log probabilities (N, draws, classes)."""
    import torch
    from batchbald_redux.batchbald import compute_conditional_entropy, compute_entropy

    scores = []
    for i in range(0, len(rho), CHUNK):
        tensor = torch.from_numpy(log_pmf(rho[i : i + CHUNK], votes))
        scores.append((compute_entropy(tensor) - compute_conditional_entropy(tensor)).numpy())
    return np.concatenate(scores)


PEERS: dict[str, Callable[[Array, int], Array]] = {"baal": baal, "batchbald_redux": batchbald_redux}


def main() -> None:
    """Score, write, and print the seconds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("draws", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--votes", type=int, required=True)
    args = parser.parse_args()
    rho = np.load(args.draws)
    score = PEERS[args.peer]
    score(rho[:100], args.votes)  # imports and first calls are not what is measured
    seconds, cpu = [], []
    for _ in range(2):
        start, cpu_start = time.perf_counter(), time.process_time()
        scores = score(rho, args.votes)
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - cpu_start)
    print(min(seconds), min(cpu))
    np.save(args.out, scores)


if __name__ == "__main__":
    main()
