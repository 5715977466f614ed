"""A trunk that never saw a vote on Smooth or Bar, and the galaxies that it never saw: for ``backfill --encoder``.

``python -m tests.benchmarks.backfill_encoder --out DIR`` trains on 8,000 galaxies of the clean selection, on votes on all other
questions of GZ2, for a minute of CPU. ``DIR/encoder`` is the model, ``DIR/rest.parquet`` the rows to replay, the
evaluation stream among them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alservice.backfill.plan import target_of
from alservice.catalogue.files import open_catalogue
from alservice.network.architectures import NetworkConfig
from alservice.network.config import FitConfig, decay_of, precision_name, use_threads
from alservice.offline.commands import reader
from alservice.offline.training import TrainNetwork
from alservice.progress import process_progress
from alservice.science.tree import load_tree
from alservice.storage.run_folder import write_whole
from alservice.telemetry import code_revision
from tests.support.shared import shared_data

TREE = load_tree("gz2")
HIDDEN = ("smooth", "bar")
PX, FIELD = 64, 0.5
SEED = 77


def main(argv: list[str] | None = None) -> Path:
    """Write the model and the rows; return their folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--galaxies", type=int, default=8000)
    parser.add_argument("--of", type=int, default=None, help="rows of the file to read (all)")
    parser.add_argument("--steps", type=int, default=1500)
    asked = parser.parse_args(argv)
    use_threads(1)
    data = shared_data() / "gz2_kaggle.parquet"
    source = open_catalogue(data, TREE)
    read = reader(source, TREE, size_px=PX, channels=1, progress=process_progress())
    voted, _ = read.run(source.rows(asked.of, 0), total=asked.of or source.n_rows)
    selected = np.flatnonzero(~voted.unbiased & ~voted.evaluation)
    learn = voted.only(np.sort(np.random.default_rng(SEED).permutation(selected)[: asked.galaxies]))
    counts = learn.counts.copy()
    for question in HIDDEN:
        counts[:, target_of(TREE, question).columns] = 0  # a question nobody was asked carries no loss
    train = TrainNetwork(tree=TREE, device="cpu", code_revision=code_revision(), progress=process_progress())
    config = FitConfig(
        network=NetworkConfig(image_px=PX, field=FIELD),
        steps=asked.steps,
        batch=64,
        weight_decay=decay_of(asked.steps),
        looks=4,
        threads=1,
        precision=precision_name("auto", "cpu"),
    )
    _, model = train.run(replace(learn, counts=counts), config)
    folder: Path = asked.out
    (folder / "encoder").mkdir(parents=True, exist_ok=True)
    write_whole(folder / "encoder" / "model.safetensors", model)
    table = pq.read_table(data)
    seen = pc.is_in(table[source.id_column].cast(pa.string()), value_set=pa.array(learn.galaxy_ids))
    pq.write_table(table.filter(pc.invert(seen)), folder / "rest.parquet")
    return folder


if __name__ == "__main__":
    print(main())
