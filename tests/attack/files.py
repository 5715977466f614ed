"""Hostile files: each is made, given to its door in a process of its own, and measured.

``python -m tests.attack.files`` prints a table: bytes of the file, the most memory that reading it took beyond what the
imports take, seconds, and what the door said. A case is one more function with `@case` and the name of a door.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from alservice.errors import AlserviceError

TIMEOUT_S = 300
"""A door that takes longer waits for something."""

CEILING_MB = 800
"""Most memory, in 10^6 bytes beyond the imports, that any file may take: its pages, and a batch of largest images."""

ANSWERED = "typed error: "

Make = Callable[[Path], Path]
CASES: dict[str, tuple[str, Make]] = {}


def case(door: str) -> Callable[[Make], Make]:
    """Register what makes a hostile file for a door."""

    def register(make: Make) -> Make:
        CASES[make.__name__] = (door, make)
        return make

    return register


# Doors: what is imported first is not measured


def _catalogue() -> Callable[[Path], str]:
    from alservice.catalogue.files import open_catalogue
    from alservice.catalogue.galaxies import CatalogueRow
    from alservice.errors import BadImage
    from alservice.science.tree import load_tree
    from alservice.storage.images import for_volunteers

    def read(path: Path) -> str:
        good = bad = 0
        for row in open_catalogue(path, load_tree("gz-rings")).rows():
            try:
                ok = isinstance(row, CatalogueRow) and bool(for_volunteers(row.image))
            except BadImage:
                ok = False
            good, bad = good + ok, bad + (not ok)
        return f"{good} galaxies, {bad} faults"

    return read


def _predictions() -> Callable[[Path], str]:
    from alservice.offline.prediction import read_predictions
    from alservice.science.tree import load_tree

    return lambda path: f"{len(read_predictions(path, load_tree('gz-rings')).galaxy_ids)} predictions"


def _export() -> Callable[[Path], str]:
    from datetime import UTC, datetime

    from alservice.votes.exports import ExportFile

    def read(path: Path) -> str:
        late = datetime(2030, 1, 1, tzinfo=UTC)
        file = ExportFile(path=path, workflow_ids=frozenset({7}), user_hash_key=b"k", latest=late)
        rows = faults = 0
        for batch in file.batches():
            rows, faults = rows + len(batch.rows), faults + len(batch.faults)
        return f"{rows} rows, {faults} faults"

    return read


def _workflows() -> Callable[[Path], str]:
    from alservice.votes.decoding import read_workflows

    return lambda path: f"{len(read_workflows(path))} versions"


def _campaign() -> Callable[[Path], str]:
    from alservice.campaigns.campaign import load_campaign_file

    return lambda path: f"campaign {load_campaign_file(path).name}"


def _model() -> Callable[[Path], str]:
    from alservice.offline.training import load_models

    return lambda path: f"{len(load_models([path], device='cpu')[0])} networks"


DOORS: dict[str, Callable[[], Callable[[Path], str]]] = {
    "catalogue": _catalogue,
    "predictions": _predictions,
    "export": _export,
    "workflows": _workflows,
    "campaign": _campaign,
    "model": _model,
}


# Catalogues


def _parquet(path: Path, columns: dict[str, object], **options: object) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path, compression="zstd", **options)
    return path


@case("catalogue")
def parquet_of_one_repeated_cell(folder: Path) -> Path:
    """Two kilobytes: 128 rows that point at one image of 36 MiB."""
    import pyarrow as pa

    images = pa.DictionaryArray.from_arrays(pa.array([0] * 128, pa.int32()), pa.array([bytes(36 << 20)], pa.binary()))
    columns = {"galaxy_id": [f"g{i}" for i in range(128)], "image": images}
    return _parquet(folder / "g.parquet", columns, store_schema=False, dictionary_pagesize_limit=1 << 30)


@case("catalogue")
def parquet_of_prefixes(folder: Path) -> Path:
    """Each image is the one before and nothing more."""
    columns = {"galaxy_id": [f"g{i}" for i in range(200)], "image": [bytes(4 << 20)] * 200}
    delta = {"image": "DELTA_BYTE_ARRAY"}
    return _parquet(folder / "g.parquet", columns, use_dictionary=False, column_encoding=delta)


@case("catalogue")
def parquet_of_one_large_page(folder: Path) -> Path:
    """A page of 600 MiB that no two rows share."""
    columns = {"galaxy_id": ["a", "b"], "image": [bytes(300 << 20)] * 2}
    return _parquet(folder / "g.parquet", columns, use_dictionary=False)


@case("catalogue")
def parquet_of_rows_without_bytes(folder: Path) -> Path:
    """Five million rows of one id, which would be as many faults."""
    import numpy as np
    import pyarrow as pa

    n = 5_000_000
    return _parquet(folder / "g.parquet", {"galaxy_id": np.zeros(n, np.int64), "image_path": pa.nulls(n, pa.string())})


@case("catalogue")
def csv_zipped(folder: Path) -> Path:
    """A gigabyte of one row, zipped to one megabyte."""
    path = folder / "g.csv.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(b"galaxy_id,image_path\n")
        for _ in range(256):
            file.write(b"a,a.png\n" * (1 << 19))
    return path


@case("catalogue")
def csv_of_many_columns(folder: Path) -> Path:
    """A hundred thousand, one of them twice."""
    path = folder / "g.csv"
    path.write_text(",".join(map(str, range(100_000))) + ",1\n" + "," * 100_000 + "\n", encoding="ascii")
    return path


@case("catalogue")
def csv_of_one_line(folder: Path) -> Path:
    """A quote that is never closed, and 200 MB after it."""
    path = folder / "g.csv"
    with path.open("wb") as file:
        file.write(b'galaxy_id,image_path\n"')
        for _ in range(200):
            file.write(b"a" * 1_000_000)
    return path


def _png(width: int, height: int, pixels: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _of_image(folder: Path, name: str) -> Path:
    (folder / "g.csv").write_text(f"galaxy_id,image_path\na,{name}\n", encoding="utf-8")
    return folder / "g.csv"


@case("catalogue")
def png_that_inflates(folder: Path) -> Path:
    """Sixteen pixels, and 900 MB after them."""
    (folder / "a.png").write_bytes(_png(4, 4, zlib.compress(bytes(900_000_000), 9)))
    return _of_image(folder, "a.png")


@case("catalogue")
def png_that_declares(folder: Path) -> Path:
    """A header of 3.6 billion pixels."""
    (folder / "a.png").write_bytes(_png(60_000, 60_000, zlib.compress(b"")))
    return _of_image(folder, "a.png")


@case("catalogue")
def image_that_is_a_pipe(folder: Path) -> Path:
    """Nobody writes into it."""
    os.mkfifo(folder / "a.png")
    return _of_image(folder, "a.png")


@case("catalogue")
def image_that_is_a_device(folder: Path) -> Path:
    """It gives without end."""
    return _of_image(folder, "/dev/zero")


# Predictions, votes, workflows


@case("predictions")
def predictions_that_repeat(folder: Path) -> Path:
    """Three million rows of one galaxy."""
    import numpy as np

    n = 3_000_000
    from alservice.science.tree import load_tree

    tree = load_tree("gz-rings")
    names = [f"{column}_{what}" for column in tree.columns for what in ("mean", "p05", "p95")]
    names += [f"{question.name}_precision" for question in tree.questions]
    columns = {"galaxy_id": np.zeros(n, np.int64)} | {name: np.full(n, 0.5, np.float32) for name in names}
    return _parquet(folder / "p.parquet", columns)


def _export_of(folder: Path, annotations: str, n_rows: int) -> Path:
    from alservice.votes.exports import REQUIRED

    path = folder / "e.csv.gz"
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as file:
        file.write(",".join(REQUIRED) + "\n")
        for number in range(1, n_rows + 1):
            cells = [str(number), "", "7", "1.1", "2025-01-01 00:00:00 UTC", "", "{}", annotations, '{"5": {}}', "5"]
            file.write(",".join('"' + cell.replace('"', '""') + '"' for cell in cells) + "\n")
    return path


@case("export")
def export_of_long_rows(folder: Path) -> Path:
    """Ten thousand rows of 100 kB each: a gigabyte, more than the ceiling, and once one batch."""
    return _export_of(folder, json.dumps([{"task": "T0", "value": "x" * 100_000}]), 10_000)


@case("export")
def export_of_deep_rows(folder: Path) -> Path:
    """Answers of fifty thousand levels."""
    return _export_of(folder, "[" * 50_000 + "]" * 50_000, 200)


@case("workflows")
def workflows_of_many_values(folder: Path) -> Path:
    """Sixty megabytes of empty lists."""
    path = folder / "w.json"
    path.write_text("[" + "[]," * 20_000_000 + "[]]", encoding="ascii")
    return path


# Campaigns


def _yaml(folder: Path, text: str) -> Path:
    path = folder / "c.yaml"
    path.write_text(f"name: gz\ntree: gz2\n{text}\n", encoding="utf-8")
    return path


@case("campaign")
def yaml_of_many_levels(folder: Path) -> Path:
    """Twenty thousand."""
    return _yaml(folder, "a: " + "[" * 20_000 + "]" * 20_000)


@case("campaign")
def yaml_of_aliases(folder: Path) -> Path:
    """Thirty lists, each of the one before twice: a billion values."""
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 30))]
    return _yaml(folder, "\n".join(lines))


@case("campaign")
def yaml_with_a_long_seed(folder: Path) -> Path:
    """Four hundred digits."""
    return _yaml(folder, "seed: " + "9" * 400)


@case("campaign")
def yaml_with_infinite_hours(folder: Path) -> Path:
    """A deadline that no calendar holds."""
    return _yaml(folder, "collecting: {deadline_hours: .inf}")


@case("campaign")
def campaign_that_is_a_device(folder: Path) -> Path:
    """It gives without end."""
    (folder / "c.yaml").symlink_to("/dev/zero")
    return folder / "c.yaml"


# Models


@case("model")
def card_of_many_heads(folder: Path) -> Path:
    """A billion, with weights for five."""
    from alservice.network.architectures import NetworkConfig, build_network
    from alservice.network.files import ModelCard, tensors_from_bytes, tensors_to_bytes, to_bytes
    from alservice.science.tree import load_tree

    tree, config = load_tree("gz-rings"), NetworkConfig(name="small", image_px=16)
    card = ModelCard(
        network=config,
        training={},
        tree=tree.name,
        tree_hash=tree.hash,
        data_digest="0" * 64,
        n_galaxies=1,
        n_votes=1,
        seed=0,
        code_revision="r",
        history=(),
    )
    state, document = tensors_from_bytes(
        to_bytes(build_network(config, tree, seed=0).state_dict(), card), what="a model"
    )
    document["network"]["heads"] = 10**9
    path = folder / "model.safetensors"
    path.write_bytes(tensors_to_bytes(state, document))
    return path


@case("model")
def header_of_many_bytes(folder: Path) -> Path:
    """Its length is 2^63."""
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**63) + b"{}")
    return path


@case("model")
def model_of_a_terabyte(folder: Path) -> Path:
    """Holes, which take no room on the disk."""
    path = folder / "model.safetensors"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    return path


@case("model")
def list_of_members_that_is_none(folder: Path) -> Path:
    """A list where names and digests are due."""
    (folder / "ensemble.json").write_text("[1, 2]", encoding="ascii")
    return folder


# Measuring


def measure(name: str) -> dict[str, object]:
    """Make a file, read it in a process of its own, and return what that took; `said` begins with what it ended in."""
    door, make = CASES[name]
    with tempfile.TemporaryDirectory(prefix="alservice-attack-") as folder:
        path = make(Path(folder))
        size = sum(one.stat().st_size for one in Path(folder).iterdir() if one.is_file() and not one.is_symlink())
        command = [sys.executable, "-m", "tests.attack.files", "--door", door, "--file", str(path)]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            return {"case": name, "bytes": size, "mb": None, "seconds": TIMEOUT_S, "said": "no answer"}
    if ran.returncode != 0:
        said = (ran.stderr.strip().splitlines() or [f"ended with {ran.returncode}"])[-1]
        return {"case": name, "bytes": size, "mb": None, "seconds": None, "said": f"traceback: {said}"}
    return {"case": name, "bytes": size, **json.loads(ran.stdout.splitlines()[-1])}


def _read(door: str, path: Path) -> dict[str, object]:
    read = DOORS[door]()
    before, began = _most_kib(), time.perf_counter()
    try:
        said = read(path)
    except AlserviceError as error:
        said = f"{ANSWERED}{error.code}"
    seconds = time.perf_counter() - began
    return {"mb": round((_most_kib() - before) * 1024 / 1e6), "seconds": round(seconds, 2), "said": said}


def _most_kib() -> int:
    """Return the most memory that this program ever had; that of `getrusage` begins with its parent's."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    """Print the table, or, as the process of one file, what reading it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="Cases; all when left out.")
    parser.add_argument("--door", choices=sorted(DOORS))
    parser.add_argument("--file", type=Path)
    asked = parser.parse_args()
    if asked.door is not None:
        sys.stdout.write(json.dumps(_read(asked.door, asked.file)) + "\n")
        return
    sys.stdout.write("| file | bytes | MB beyond imports | s | the door says |\n|---|---|---|---|---|\n")
    for name in asked.names or CASES:
        seen = measure(name)
        cells = (name.replace("_", " "), f"{seen['bytes']:,}", seen["mb"], seen["seconds"], seen["said"])
        sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
