"""Galaxies per second of import and packing beside Pillow in a loop, and rows per second of a long import.

Both on one core: their process is bound to it, Postgres to the others. Pillow's loop is what scripts do: open a file,
decode, resize, stack, save; it checks nothing, strips nothing and remembers nothing.

Run: ``python -m tests.benchmarks.imports --images 4000``, and ``python -m tests.benchmarks.imports --rows 1000000``
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from alservice.campaigns.campaign import ImagePolicy
from alservice.storage.embedded_postgres import EmbeddedPostgres
from alservice.storage.images import encode_jpeg, encode_png
from alservice.storage.postgres import make_engine, upgrade
from tests.support.shared import shared_data
from tests.support.worlds import make_campaign, make_factory

SIZE_PX = 128
SHARD = 512
POLICY = ImagePolicy(size_px=SIZE_PX, shard_galaxies=SHARD)


@dataclass(frozen=True)
class Result:
    """What was done, and what must hold: every row a galaxy, each packed."""

    what: str
    done: int
    expected: int
    seconds: float
    cpu_seconds: float
    peak_mib: float

    def __str__(self) -> str:
        """Return one line."""
        return (
            f"{self.what}: {self.done:,} in {self.seconds:.1f} s, {self.done / self.seconds:,.0f}/s, "
            f"{self.done / self.cpu_seconds:,.0f} per CPU second, {self.peak_mib:.0f} MiB at most"
        )


@contextmanager
def one_core() -> Iterator[None]:
    """Bind this process to one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Watch:
    """Seconds and CPU seconds of this process since it was made, and its highest memory."""

    def __init__(self) -> None:
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def result(self, what: str, done: int, expected: int) -> Result:
        """Return what was measured so far."""
        return Result(
            what=what,
            done=done,
            expected=expected,
            seconds=time.perf_counter() - self._began,
            cpu_seconds=time.process_time() - self._cpu,
            peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        )


def write_images(folder: Path, n: int) -> Path:
    """Write JPEGs of the sizes that surveys have, each different, and the table that names them.

    They are the 600 real ones of 424 px, and the same turned and mirrored, coded again as they were.
    """
    originals = pq.read_table(shared_data() / "gz2_hart16_600_424.parquet", columns=["jpeg"])["jpeg"].to_pylist()
    for i in range(n):
        data = originals[i % len(originals)]
        turn = i // len(originals)
        if turn:
            pixels = np.asarray(Image.open(folder / f"g{i % len(originals)}.jpg").convert("RGB"))
            pixels = np.rot90(pixels[::-1] if turn >= 4 else pixels, turn % 4)
            data = encode_jpeg(np.ascontiguousarray(pixels.transpose(2, 0, 1)), quality=90)
        (folder / f"g{i}.jpg").write_bytes(data)
    table = folder / "galaxies.csv"
    table.write_text("galaxy_id,image_path\n" + "".join(f"g{i},g{i}.jpg\n" for i in range(n)), encoding="utf-8")
    return table


def by_pillow(folder: Path, n: int) -> Result:
    """Decode and pack the images as a script does."""
    with one_core():
        watch = Watch()
        for start in range(0, n, SHARD):
            images = []
            for i in range(start, min(start + SHARD, n)):
                with Image.open(folder / f"g{i}.jpg") as image:
                    images.append(np.asarray(image.convert("RGB").resize((SIZE_PX, SIZE_PX))))
            np.save(folder / f"pack-{start}.npy", np.stack(images))
        return watch.result("Pillow in a loop", n, n)


def by_import(url: str, work: Path, table: Path, n: int) -> Result:
    """Import the images and pack them."""
    engine = make_engine(url)
    upgrade(engine)
    factory = make_factory(engine, work)
    row = factory.campaigns.save(make_campaign(images=POLICY))
    with one_core():
        service = replace(factory.catalogue, threads=1)
        watch = Watch()
        catalogue = service.import_file(row.settings.name, table).catalogue
        packed = sum(shard.n_galaxies for shard in service.pack(catalogue, POLICY))
        return watch.result("import and pack", packed, n)


def write_rows(path: Path, n: int) -> Path:
    """Write a Parquet table of so many galaxies with a position and one of a thousand small images."""
    rng = np.random.default_rng(1)
    images = [encode_png(rng.integers(0, 256, (1, 16, 16), dtype=np.uint8)) for _ in range(min(n, 1000))]
    schema = pa.schema({"galaxy_id": pa.string(), "ra": pa.float64(), "dec": pa.float64(), "image": pa.binary()})
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, n, 10_000):
            places = range(start, min(start + 10_000, n))
            columns = {
                "galaxy_id": [f"J{place:09}" for place in places],
                "ra": rng.uniform(0, 360, len(places)),
                "dec": rng.uniform(-90, 90, len(places)),
                "image": [images[place % len(images)] for place in places],
            }
            writer.write_table(pa.table(columns, schema=schema))
    return path


def long_import(url: str, work: Path, table: Path, n: int) -> Result:
    """Import a long table on all cores."""
    engine = make_engine(url)
    upgrade(engine)
    factory = make_factory(engine, work)
    row = factory.campaigns.save(make_campaign())
    watch = Watch()
    imported = factory.catalogue.import_file(row.settings.name, table)
    return watch.result(f"import of {n:,} rows", imported.catalogue.n_galaxies, n)


def alone(work: Callable[..., Result], *arguments: object) -> Result:
    """Return what a function returns in a process of its own, whose memory is then its alone."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def main(arguments: Sequence[str] | None = None) -> list[Result]:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=0, help="real JPEGs to import and pack")
    parser.add_argument("--rows", type=int, default=0, help="rows with small images to import; a tenth first")
    options = parser.parse_args(arguments)
    results = []
    with tempfile.TemporaryDirectory(prefix="alservice-imports-") as folder:
        work = Path(folder)
        if options.images:
            table = write_images(work, options.images)
            results.append(alone(by_pillow, work, options.images))
            with EmbeddedPostgres(work / "postgres") as url:
                results.append(alone(by_import, url, work / "images", table, options.images))
        for n in (options.rows // 10, options.rows) if options.rows else ():
            table = write_rows(work / "rows.parquet", n)
            with EmbeddedPostgres(work / f"postgres-{n}") as url:
                results.append(alone(long_import, url, work / f"rows{n}", table, n))
    for result in results:
        print(result)
    return results


if __name__ == "__main__":
    main()
