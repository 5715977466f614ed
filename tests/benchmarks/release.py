"""Rows of a release written per second, and the memory that takes, by format and size: synthetic galaxies, no database.

Each format and size has a process of its own, whose peak memory is told. One galaxy in a hundred has votes, so that its
fused posterior is computed; all have summaries on the tree of GZ2, 487 columns with positions.

Run: ``python -m tests.benchmarks.release --rows 10000 100000``
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from alservice.catalogue.galaxies import Galaxy
from alservice.release import FORMATS, Evidence, release_columns, release_rows
from alservice.release.folder import checksums
from alservice.release.formats import FormatName, Layout, write_rows
from alservice.release.rows import Asking, Rows
from alservice.science.posterior import Posterior, answer_probabilities
from alservice.science.tree import load_tree
from alservice.science.votes import walked_counts
from alservice.shapes import FloatArray
from tests.support.posteriors import network_posterior
from tests.support.shared import ROOT

TREE = load_tree("gz2")
SHARD = 2_000
VOTED = 20
"""Galaxies of a shard with votes."""


def positions(first: int, n: int) -> tuple[FloatArray, FloatArray]:
    """Return positions (deg) spread over the sky, the same for the same numbers."""
    number = np.arange(first, first + n)
    return (number * 137.50776405) % 360, np.degrees(np.arcsin(2 * ((number * 0.7548776662) % 1) - 1))


def rows(n_rows: int) -> Iterator[Rows]:
    """Yield rows, a shard at a time; figures of shards differ by noise."""
    draws = network_posterior(TREE, SHARD, seed=0)
    shares = answer_probabilities(TREE, draws)
    mean, sd = shares.mean(axis=1), shares.std(axis=1)
    counts = np.zeros((SHARD, TREE.n_answers), dtype=np.int64)
    counts[:VOTED] = walked_counts(TREE, mean[:VOTED], [str(i) for i in range(VOTED)], volunteers=40, seed=0)
    for first in range(0, n_rows, SHARD):
        n = min(SHARD, n_rows - first)
        ra, dec = positions(first, n)
        galaxies = [
            Galaxy(
                galaxy_id=f"s{first + row:09}",
                row=first + row,
                ra_deg=float(ra[row]),
                dec_deg=float(dec[row]),
                image_key="",
                unbiased=True,
                evaluation=False,
            )
            for row in range(n)
        ]
        posterior = Posterior(
            galaxy_ids=tuple(g.galaxy_id for g in galaxies[:VOTED]),
            concentrations=draws[: min(VOTED, n)],
            embeddings=np.zeros((min(VOTED, n), 0), dtype=np.float16),
            tree_hash=TREE.hash,
            model="synthetic",
        )
        noise = np.random.default_rng(first).normal(0, 0.01, (n, TREE.n_answers))
        evidence = Evidence(
            galaxies=galaxies,
            mean=np.clip(mean[:n] + noise, 0, 1),
            sd=np.abs(sd[:n] + noise / 10),
            posterior=posterior,
            counts=counts[:n],
            in_training=np.zeros(n, dtype=bool),
            asking=[Asking()] * n,
        )
        yield release_rows(TREE, evidence, temper=None, positions=True)


def write(name: FormatName, n_rows: int, folder: Path) -> str:
    """Write a release and return its line of the table."""
    layout = Layout(
        columns=release_columns(TREE, positions=True),
        n_rows=n_rows,
        id_bytes=10,
        provenance={"campaign": {"name": "synthetic"}},
        positions=lambda: (positions(first, min(SHARD, n_rows - first)) for first in range(0, n_rows, SHARD)),
    )
    began, cpu = time.monotonic(), time.process_time()
    written = write_rows(name, folder, layout, rows(n_rows))
    assert written == n_rows
    checksums(folder)
    took, cpu = time.monotonic() - began, time.process_time() - cpu
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        f"| {name} | {n_rows:,} | {took:.1f} | {cpu:.1f} | {n_rows / cpu:,.0f} | {size / n_rows:,.0f} | {peak:,.0f} |"
    )


def main() -> None:
    """Write every format at every size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--format", choices=list(FORMATS), nargs="+", default=list(FORMATS))
    parser.add_argument("--here", action="store_true", help="in this process")
    asked = parser.parse_args()
    if asked.here:
        with tempfile.TemporaryDirectory() as folder:
            print(write(asked.format[0], asked.rows[0], Path(folder)), flush=True)
        return
    print(
        "| format | rows | elapsed s | CPU s | rows/s of CPU | bytes a row | peak MiB |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    for name in asked.format:
        for n_rows in asked.rows:
            program = [
                sys.executable,
                "-m",
                "tests.benchmarks.release",
                "--here",
                "--format",
                name,
                "--rows",
                str(n_rows),
            ]
            subprocess.run(program, cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
