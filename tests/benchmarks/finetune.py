"""Rings from a hundred labels: a network from scratch, and the same one from an encoder.

``python -m tests.benchmarks.finetune encoder --out DIR`` trains the encoder on votes of Galaxy Zoo 2, without the question
that asks for rings and without the galaxies that are tested; ``... rings --out DIR`` trains and tests every arm with every
seed, and prints the table. What is done stays: a killed run goes on. All goes through `alservice.train` and
`alservice.predict`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

import alservice
from alservice.catalogue.vote_columns import KAGGLE_COLUMNS, conditional_from_cumulative
from alservice.progress import NoProgress
from alservice.storage.csv import plain_cell
from tests.support.shared import shared_data

LABELS: Final = 100
NETWORK: Final[Mapping[str, Any]] = MappingProxyType({"network": "small", "px": 128, "field": 0.5})
SAME: Final[Mapping[str, Any]] = MappingProxyType({"steps": 400, "batch": 12, "hold_out": 0.2})
"""What fine-tuning does with a hundred labels unless told otherwise, for the network from scratch as well."""

RING, NO_RING = 0.3, 0.05
"""Shares of Galaxy Zoo 2's volunteers who saw a ring: from here a ring, and below it none."""


def main(argv: list[str] | None = None) -> None:
    """Train the encoder, or test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["encoder", "rings"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--data", choices=sorted(DATA), action="append", help="which data [all]")
    parser.add_argument("--steps", type=int, default=2300, help="of the encoder")
    asked = parser.parse_args(argv)
    if asked.what == "encoder":
        train_encoder(asked.out / "encoder", steps=asked.steps)
    else:
        for name in asked.data or sorted(DATA):
            print(table(name, test(name, asked.out, seeds=asked.seeds)))


def kaggle() -> pd.DataFrame:
    """Return Galaxy Zoo 2 as in the Kaggle challenge."""
    return pq.read_table(shared_data() / "gz2_kaggle.parquet").to_pandas()


def kaggle_rings() -> pd.DataFrame:
    """Return its rings, and as many galaxies that are none."""
    table = kaggle()
    rings = np.flatnonzero(table["Class8.1"] >= RING)
    others = np.random.default_rng(0).permutation(np.flatnonzero(table["Class8.1"] < NO_RING))[: len(rings)]
    chosen = table.iloc[np.concatenate([rings, others])]
    return chosen[["galaxy_id", "image"]].assign(ring=[1] * len(rings) + [0] * len(others)).reset_index(drop=True)


def decals_rings() -> pd.DataFrame:
    """Return the galaxies of DECaLS that volunteers tagged as rings, and as many that they did not."""
    table = pq.read_table(shared_data() / "gz_decals_rings_470_256.parquet").to_pandas()
    return pd.DataFrame({"galaxy_id": table["iauname"], "image": table["jpeg"], "ring": table["ring"]})


DATA: Final[Mapping[str, Callable[[], pd.DataFrame]]] = MappingProxyType(
    {"decals": decals_rings, "kaggle": kaggle_rings}
)

ARMS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "scratch": {**NETWORK, **SAME},
        "scratch, 36 passes": dict(NETWORK),
        "encoder, heads alone": {"unfreeze": 0},
        "encoder, all blocks": {},
        "encoder, Laplace heads": {"head": "laplace"},
    }
)


def train_encoder(out: Path, *, steps: int) -> None:
    """Train on all galaxies but those of `kaggle_rings`, and on all questions but the one with the ring."""
    tree, table = alservice.load_tree("gz2"), kaggle()
    table = table[~table["galaxy_id"].isin(kaggle_rings()["galaxy_id"])]
    shares = conditional_from_cumulative(tree, table[list(KAGGLE_COLUMNS)].to_numpy(), table["galaxy_id"].tolist())
    votes = pd.DataFrame(shares, columns=list(tree.columns), index=table.index)
    votes = votes[[column for column in votes if not column.startswith("odd-feature_")]]
    galaxies = pd.concat([table[["galaxy_id", "image", "random_block"]], votes], axis=1)
    alservice.train(galaxies, tree="gz2", out=out, **NETWORK, steps=steps, seed=0, threads=1)


def test(name: str, out: Path, *, seeds: int) -> list[dict[str, Any]]:
    """Return a line per arm and seed: the accuracy on all galaxies but the hundred that were learned from."""
    galaxies = DATA[name]()
    path = out / f"{name}.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(line["arm"], line["seed"]) for line in lines}
    for seed in range(seeds):
        for arm, options in ARMS.items():
            if (arm, seed) not in done:
                encoder = None if arm.startswith("scratch") else out / "encoder"
                found = accuracy(galaxies, seed, out / name, arm, {**options, "encoder": encoder})
                line = {"arm": arm, "seed": seed, "accuracy": found}
                lines.append(line)
                with path.open("a") as file:
                    file.write(json.dumps(line) + "\n")
    return lines


def accuracy(galaxies: pd.DataFrame, seed: int, out: Path, arm: str, options: Mapping[str, Any]) -> float:
    """Return the share of the other galaxies whose likelier answer is their label."""
    order = np.random.default_rng(seed).permutation(len(galaxies))
    learn, rest = galaxies.iloc[order[:LABELS]].assign(random_block=False), galaxies.iloc[order[LABELS:]]
    place = out / f"{arm.replace(', ', '-').replace(' ', '-')}-{seed}"
    train = partial(alservice.train, tree="gz-rings", label="ring", seed=seed, threads=1, progress=NoProgress())
    model = train(learn, out=place, **options)
    found = alservice.predict(model, rest[["galaxy_id", "image"]], progress=NoProgress())
    assert [plain_cell(name) for name in found["galaxy_id"]] == rest["galaxy_id"].astype(str).tolist()
    return float(((found["ring_yes_mean"] > 0.5).to_numpy() == (rest["ring"] == 1).to_numpy()).mean())


def table(name: str, lines: list[dict[str, Any]]) -> str:
    """Return the mean accuracy of every arm with its 95 % interval over seeds, and the gain over scratch seed by seed."""
    frame = pd.DataFrame(lines).pivot_table(index="seed", columns="arm", values="accuracy").dropna()
    rows = [
        f"| {arm} | {_interval(frame[arm])} | {_interval(frame[arm] - frame['scratch'])} |"
        for arm in ARMS
        if arm in frame
    ]
    return "\n".join([f"| {name}, {len(frame)} seeds | accuracy | above scratch |", "|---|---|---|", *rows, ""])


def _interval(values: pd.Series) -> str:
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{values.mean():.3f} ± {half:.3f}"


if __name__ == "__main__":
    main()
