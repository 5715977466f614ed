"""Predictions as tables: written in shards that survive a kill, joined at the end; read back to be judged.

Columns, one row per galaxy: ``galaxy_id``; for every answer ``question_answer_mean``, ``question_answer_p05`` and
``question_answer_p95``, the mean and the 5 and 95 % quantiles of its fraction among those asked; for every question
``question_precision`` (see `science.posterior.predictions`); and in Parquet on request ``question_answer_draws``, a
list of T draws of the fraction. Beside ``NAME.parquet`` or ``NAME.csv``, ``NAME.faults.csv`` lists the rows that
failed.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
from pyarrow import parquet

from alservice.catalogue.galaxies import CatalogueFault, CatalogueRow
from alservice.catalogue.tables import Table, is_number, numbers, open_table, require, require_ids, texts
from alservice.errors import BadImage, BadInput
from alservice.ids import MAX_ID_CHARS, RoundedId, rounded
from alservice.network.architectures import Network
from alservice.network.laplace import embedded
from alservice.network.sampling import sample_ensemble
from alservice.offline.galaxies import ignore_fault
from alservice.offline.training import DRAWS_SEED
from alservice.progress import Progress
from alservice.science.posterior import Posterior, PredictionTable, predictions
from alservice.science.tree import Tree, is_packaged, load_tree, parse_tree, tree_document, tree_names
from alservice.shapes import FloatArray, UInt8Array
from alservice.storage import ImageCodec
from alservice.storage.csv import plain_cell, safe_cell
from alservice.storage.run_folder import RunFolder, cannot_write, claim_folder, write_whole

MEAN, LOW, HIGH, DRAWS, PRECISION = "mean", "p05", "p95", "draws", "precision"
_ID: Final = "galaxy_id"
_FAULT_FIELDS: Final = ("row", "galaxy_id", "field", "reason")


@dataclass(frozen=True, kw_only=True, slots=True)
class TableShards:
    """Finished shards of one table, in a folder beside the file that they will become.

    Parameters
    ----------
    asked
        What was predicted, of which model: kept in the schema of a Parquet file under ``alservice``.
    """

    folder: RunFolder
    asked: Mapping[str, Any]

    def finished(self, index: int) -> tuple[int, int] | None:
        """Return how many galaxies and how many faults a shard holds, None if it is not finished."""
        path = self._table(index)
        if not path.exists():
            return None
        return parquet.read_metadata(path).num_rows, len(self._faults(index))

    def save(self, index: int, rows: pa.Table, faults: Sequence[CatalogueFault], about: Mapping[str, Any]) -> None:
        """Keep a shard; its table comes last, so that a shard with a table is complete."""
        failed = [[fault.row, fault.galaxy_id, fault.field, fault.reason] for fault in faults]
        self.folder.write(f"{index:06}.faults.json", json.dumps(failed).encode())
        sink = pa.BufferOutputStream()
        text = json.dumps({**about, **self.asked}, sort_keys=True)
        parquet.write_table(rows.replace_schema_metadata({b"alservice": text.encode()}), sink, compression="zstd")
        self.folder.write(self._table(index).name, bytes(sink.getvalue()))

    def join(self, out: Path, n_shards: int) -> Path:
        """Write all shards to `out` and the faults beside it; return the path of the faults."""
        part = out.with_name(f"{out.name}.part")
        schema = parquet.read_schema(self._table(0))
        try:
            if out.suffix == ".csv":
                with pc.CSVWriter(part, schema) as sheet:
                    for table in self._tables(n_shards):
                        sheet.write_table(_safe(table))
            else:
                with parquet.ParquetWriter(part, schema, compression="zstd") as writer:
                    for table in self._tables(n_shards):
                        writer.write_table(table)
            faults = faults_path(out)
            write_whole(faults, fault_sheet(f for i in range(n_shards) for f in self._faults(i)))
            part.replace(out)
        except OSError as error:
            raise cannot_write(out, error) from error
        return faults

    def _table(self, index: int) -> Path:
        return self.folder.path / f"{index:06}.parquet"

    def _tables(self, n_shards: int) -> Iterator[pa.Table]:
        return (parquet.read_table(self._table(index)) for index in range(n_shards))

    def _faults(self, index: int) -> list[list[Any]]:
        rows: list[list[Any]] = json.loads(self.folder.read(f"{index:06}.faults.json") or b"[]")
        return rows


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictionShards:
    """Shards of predictions of a tree."""

    tree: Tree
    shards: TableShards

    def finished(self, index: int) -> tuple[int, int] | None:
        """Return as `TableShards.finished`."""
        return self.shards.finished(index)

    def save(self, index: int, table: PredictionTable, faults: Sequence[CatalogueFault]) -> None:
        """Keep a shard, as `TableShards.save`."""
        own = {} if is_packaged(self.tree) else {"questions": tree_document(self.tree)}
        about = {"content": "predictions", "tree": self.tree.name, **own}
        self.shards.save(index, _arrow(self.tree, table), faults, about)


@contextmanager
def open_shards(out: Path, asked: Mapping[str, Any]) -> Iterator[TableShards]:
    """Hold the shards of the prediction that becomes `out`; they go when the block ends without an error.

    Raises
    ------
    BadInput
        The name ends in neither ``.parquet`` nor ``.csv``, or its folder does not exist.
    Conflict
        Another prediction to the same file is under way, or was left unfinished.
    """
    if out.suffix not in {".parquet", ".csv"}:
        raise BadInput(f"{out}: predictions are .parquet or .csv", path=str(out))
    if not out.parent.is_dir():
        raise BadInput(f"{out.parent}: no such folder", path=str(out.parent))
    path = out.with_name(f"{out.name}.shards")
    with claim_folder(path, asked) as folder:
        yield TableShards(folder=folder, asked=asked)
    shutil.rmtree(path)


def faults_path(out: Path) -> Path:
    """Return where the faults of a table are."""
    return out.with_suffix(".faults.csv")


def fault_sheet(rows: Iterator[Sequence[Any]]) -> bytes:
    """Return faults, (row, galaxy id, field, reason) each, as CSV that a spreadsheet cannot run."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_FAULT_FIELDS)
    writer.writerows([safe_cell(str("" if cell is None else cell)) for cell in row] for row in rows)
    return text.getvalue().encode()


def read_predictions(source: Path | Table, tree: Tree) -> PredictionTable:
    """Return means, quantiles and precisions of a file or table of predictions, without draws.

    Raises
    ------
    RoundedId
        Its ids are floats.
    BadInput
        Naming the file, and the column that is missing or holds no numbers, or the galaxy that occurs twice, has no
        number or one out of range.
    """
    table = source if isinstance(source, Table) else open_table(source)
    require_ids(table, _ID)
    groups = {suffix: [f"{column}_{suffix}" for column in tree.columns] for suffix in (MEAN, LOW, HIGH)}
    groups[PRECISION] = [f"{question.name}_{PRECISION}" for question in tree.questions]
    for columns in groups.values():
        require(table, columns, is_number, "numbers")
    ids: dict[str, None] = {}
    blocks: dict[str, list[FloatArray]] = {suffix: [] for suffix in groups}
    for batch in table.batches([_ID, *(column for columns in groups.values() for column in columns)]):
        for cell in texts(batch[_ID]):
            name = plain_cell(cell or "")
            if (reason := rounded(name)) is not None:
                raise RoundedId(f"{table.path.name}: galaxy {reason}", file=str(table.path))
            if not name or name in ids:  # told at once: before rows that repeat fill the memory
                what = f"galaxy {name[:MAX_ID_CHARS]!r} occurs twice" if name else "a row has no galaxy id"
                raise BadInput(f"{table.path.name}: {what}", file=str(table.path))
            ids[name] = None
        for suffix, columns in groups.items():
            blocks[suffix].append(np.stack([numbers(batch[c])[0] for c in columns], axis=1).astype(np.float32))
    values = {suffix: np.concatenate(parts) for suffix, parts in blocks.items()}
    _check(table, tuple(ids), values)
    return PredictionTable(
        galaxy_ids=tuple(ids), mean=values[MEAN], low=values[LOW], high=values[HIGH], precision=values[PRECISION]
    )


def tree_of_predictions(source: Path | Table) -> Tree:
    """Return the tree that a file or table of predictions is of.

    A Parquet file of another tree than a packaged one carries it. Else it is the packaged tree whose answers are there:
    of several the largest.

    Raises
    ------
    BadInput
        No tree's columns are all there; the nearest tree and a missing column are named.
    """
    table = source if isinstance(source, Table) else open_table(source)
    columns = table.columns
    own = _carried(table.path)
    if own is not None and all(f"{c}_{MEAN}" in columns for c in own.columns):
        return own
    trees = sorted((load_tree(name) for name in tree_names()), key=lambda tree: -tree.n_answers)
    lacking = {tree.name: [c for c in tree.columns if f"{c}_{MEAN}" not in columns] for tree in trees}
    for tree in trees:
        if not lacking[tree.name]:
            return tree
    nearest = min(trees, key=lambda tree: len(lacking[tree.name]) / tree.n_answers)
    raise BadInput(
        f"{table.path.name}: no predictions of a known tree: of {nearest.name!r}, column "
        f"'{lacking[nearest.name][0]}_{MEAN}' is missing; a tree of your own is given with --tree",
        file=str(table.path),
    )


def _carried(path: Path) -> Tree | None:
    """Return the tree in the schema of a Parquet file of ours; `BadTree` if what is there is none."""
    if path.suffix != ".parquet" or not path.is_file():
        return None
    about = (parquet.read_schema(path).metadata or {}).get(b"alservice")
    try:
        document = json.loads(about or b"{}").get("questions")
    except (ValueError, AttributeError, RecursionError):
        return None  # another program's, under the same name
    return parse_tree(document, source=path.name) if isinstance(document, dict) else None


def _check(table: Table, ids: Sequence[str], values: Mapping[str, FloatArray]) -> None:
    for suffix, block in values.items():
        top = np.inf if suffix == PRECISION else 1
        bad = np.flatnonzero(~((block > 0) & (block <= top) & np.isfinite(block)).all(axis=1))
        if suffix in {MEAN, PRECISION} and len(bad):
            raise BadInput(
                f"{table.path.name}: galaxy {ids[bad[0]]!r} has a {suffix} that is no number or out of range",
                file=str(table.path),
                galaxies=[ids[row] for row in bad[:20]],
            )


def _arrow(tree: Tree, table: PredictionTable) -> pa.Table:
    columns: dict[str, pa.Array] = {_ID: pa.array(table.galaxy_ids, pa.string())}
    for index, column in enumerate(tree.columns):
        for suffix, values in ((MEAN, table.mean), (LOW, table.low), (HIGH, table.high)):
            columns[f"{column}_{suffix}"] = pa.array(values[:, index], pa.float32())
    for index, question in enumerate(tree.questions):
        columns[f"{question.name}_{PRECISION}"] = pa.array(table.precision[:, index], pa.float32())
    if table.draws is not None:
        for index, column in enumerate(tree.columns):
            flat = pa.array(np.ascontiguousarray(table.draws[:, :, index]).reshape(-1), pa.float32())
            ends = pa.array(np.arange(len(table.draws) + 1) * table.draws.shape[1], pa.int32())
            columns[f"{column}_{DRAWS}"] = pa.ListArray.from_arrays(ends, flat)
    return pa.table(columns)


def _safe(table: pa.Table) -> pa.Table:
    ids = pa.array([safe_cell(name) for name in table[_ID].to_pylist()], pa.string())
    return table.set_column(0, _ID, ids)


class PredictionSink(Protocol):
    """Shards of predictions, kept whole or not at all."""

    def finished(self, index: int) -> tuple[int, int] | None:
        """Return how many galaxies and how many faults a shard holds, None if it is not finished."""

    def save(self, index: int, table: PredictionTable, faults: Sequence[CatalogueFault]) -> None:
        """Keep a shard; raises `StorageFull`."""


class EmbeddingSink(Protocol):
    """Shards of embeddings, kept whole or not at all."""

    def finished(self, index: int) -> tuple[int, int] | None:
        """Return how many galaxies and how many faults a shard holds, None if it is not finished."""

    def save(
        self, index: int, galaxy_ids: Sequence[str], embeddings: FloatArray, faults: Sequence[CatalogueFault]
    ) -> None:
        """Keep a shard of embeddings (N, E); raises `StorageFull`."""


class _Images(NamedTuple):
    """The decoded images of a shard, and its rows that failed."""

    galaxy_ids: tuple[str, ...]
    images: list[UInt8Array]
    faults: list[CatalogueFault]


SHARD_ROWS = 512
"""Rows of a shard: what a kill can cost; memory holds two."""


@dataclass(frozen=True, kw_only=True)
class PredictRows:
    """Sample the posterior of a network, or of an ensemble, for the galaxies of a file.

    Parameters
    ----------
    networks
        One, or several for one tree and one kind of images, which share the draws.
    model
        Digest of their bytes.
    keep_draws
        Whether draws of the fractions are kept beside their mean and interval.
    on_fault
        Told of every row that fails, of shards that were finished before not again; may raise to end the run.
    """

    networks: Sequence[Network]
    model: str
    codec: ImageCodec
    device: str
    draws: int
    keep_draws: bool
    progress: Progress
    on_fault: Callable[[CatalogueFault], None] = ignore_fault

    def run(
        self, rows: Iterable[CatalogueRow | CatalogueFault], sink: PredictionSink, *, total: int | None = None
    ) -> tuple[int, int, int]:
        """Predict every row; return the shards, the galaxies that were predicted, and the rows that failed."""
        return self._each("predict", rows, sink.finished, partial(self._predict, sink=sink), total)

    def embed(
        self,
        rows: Iterable[CatalogueRow | CatalogueFault],
        sink: EmbeddingSink,
        *,
        precision: str,
        total: int | None = None,
    ) -> tuple[int, int, int]:
        """Embed every row by the first network, averaged over eight views; return as `run`."""
        return self._each("embed", rows, sink.finished, partial(self._embed, sink=sink, precision=precision), total)

    def _each(
        self,
        what: str,
        rows: Iterable[CatalogueRow | CatalogueFault],
        finished: Callable[[int], tuple[int, int] | None],
        make: Callable[[int, _Images], tuple[int, int]],
        total: int | None,
    ) -> tuple[int, int, int]:
        index = done = failed = 0
        self.progress.start(what, total)
        for n_rows, images in self._ahead(rows, finished):
            n_done, n_failed = images if isinstance(images, tuple) else make(index, images.result())
            done, failed, index = done + n_done, failed + n_failed, index + 1
            self.progress.advance(n_rows)
            if failed:
                self.progress.note(f"{failed} failed")
        self.progress.finish()
        return index, done, failed

    def posteriors(
        self, rows: Iterable[CatalogueRow | CatalogueFault], *, total: int | None = None
    ) -> Iterator[Posterior]:
        """Yield the posterior of every shard, without the rows that failed."""
        self.progress.start("sample the posterior", total)
        for n_rows, images in self._ahead(rows):
            assert isinstance(images, Future)  # noqa: S101 - without a sink none is finished
            yield self._posterior(*self._told(images.result()))
            self.progress.advance(n_rows)
        self.progress.finish()

    def _ahead(
        self,
        rows: Iterable[CatalogueRow | CatalogueFault],
        finished: Callable[[int], tuple[int, int] | None] = lambda _: None,
    ) -> Iterator[tuple[int, Future[_Images] | tuple[int, int]]]:
        """Yield the rows of each shard, and its images or what is finished of it; the next is decoded meanwhile."""
        with ThreadPoolExecutor(1, "decode") as pool:
            before: tuple[int, Future[_Images] | tuple[int, int]] | None = None
            for index, shard in enumerate(_shards(rows)):
                now = len(shard), finished(index) or pool.submit(self._read, shard)
                if before is not None:
                    yield before
                before = now
            if before is not None:
                yield before

    def _told(self, images: _Images) -> tuple[tuple[str, ...], list[UInt8Array]]:
        """Tell of the rows that failed; return the others."""
        for fault in images.faults:
            self.on_fault(fault)
        return images.galaxy_ids, images.images

    def _embed(self, index: int, images: _Images, *, sink: EmbeddingSink, precision: str) -> tuple[int, int]:
        ids, pixels = self._told(images)
        network = self.networks[0]
        found: FloatArray = np.empty((0, cast("int", network.trunk.embedding)), dtype=np.float32)
        if ids:
            found = embedded(network, np.stack(pixels), precision=precision, device=self.device)
        sink.save(index, ids, found, images.faults)
        return len(ids), len(images.faults)

    def _predict(self, index: int, images: _Images, *, sink: PredictionSink) -> tuple[int, int]:
        table = predictions(
            self.networks[0].tree,
            self._posterior(*self._told(images)),
            draws_seed=DRAWS_SEED if self.keep_draws else None,
        )
        sink.save(index, table, images.faults)
        return len(images.galaxy_ids), len(images.faults)

    def _read(self, rows: list[CatalogueRow | CatalogueFault]) -> _Images:
        ids: list[str] = []
        images: list[UInt8Array] = []
        faults: list[CatalogueFault] = []
        for row in rows:
            image = row if isinstance(row, CatalogueFault) else self._image(row)
            if isinstance(image, CatalogueFault):
                faults.append(image)
            else:
                ids.append(str(row.galaxy_id))
                images.append(image)
        return _Images(tuple(ids), images, faults)

    def _image(self, row: CatalogueRow) -> UInt8Array | CatalogueFault:
        config = self.networks[0].config
        try:
            return self.codec.decode(row.image, size_px=config.image_px, channels=3 if config.channels == 3 else 1)
        except BadImage as error:
            return CatalogueFault(row=row.row, galaxy_id=row.galaxy_id, field="image", reason=error.message)

    def _posterior(self, ids: tuple[str, ...], images: list[UInt8Array]) -> Posterior:
        config, tree = self.networks[0].config, self.networks[0].tree
        pixels = np.empty((len(ids), config.channels, config.image_px, config.image_px), dtype=np.uint8)
        if ids:
            np.stack(images, out=pixels)
        concentrations, embeddings = sample_ensemble(
            self.networks, pixels, draws=self.draws, seed=DRAWS_SEED, device=self.device
        )
        return Posterior(
            galaxy_ids=ids,
            concentrations=concentrations,
            embeddings=embeddings,
            tree_hash=tree.hash,
            model=self.model,
        )


def _shards(rows: Iterable[CatalogueRow | CatalogueFault]) -> Iterator[list[CatalogueRow | CatalogueFault]]:
    stream = iter(rows)
    while shard := list(islice(stream, SHARD_ROWS)):
        yield shard
