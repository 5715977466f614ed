"""Numbers per galaxy, such as a size or a redshift, from a frozen encoder: learned, judged and predicted on files.

A line through the principal components of the embeddings, in closed form, with an error bar for each galaxy
(`alservice.science.regression`). What is slow is the embedding, which goes on where it was killed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from alservice.catalogue.files import AS_TOLD, CatalogueFile, ReadAs, said_of
from alservice.catalogue.galaxies import CatalogueFault, CatalogueRow, is_evaluation_member
from alservice.catalogue.tables import Table, is_number, is_text, numbers, require
from alservice.documents import document_of
from alservice.errors import BadConfig, BadVotes
from alservice.files import read_regular
from alservice.ids import digest_of_bytes, seed_of
from alservice.network.architectures import Network
from alservice.network.config import on_threads, precision_name, resolve_device
from alservice.network.laplace import COMPONENTS
from alservice.network.values import KIND, ValueModel, any_tree, arrays_from_bytes, arrays_to_bytes
from alservice.offline.commands import (
    EVALUATION_SEED,
    PredictedFile,
    TrainedModel,
    TrainingOptions,
    json_bytes,
    open_with_images,
    predict_file,
    stream_share,
    stretch_of_models,
)
from alservice.offline.galaxies import ignore_fault
from alservice.offline.prediction import PredictRows, TableShards, fault_sheet, faults_path, open_shards
from alservice.offline.training import MAX_MODEL_BYTES, Encoder, read_encoder
from alservice.progress import Progress, process_progress
from alservice.science.laplace import Features
from alservice.science.regression import HALF_WIDTHS, LEVELS, ValueFigures, fit_linear, value_figures
from alservice.science.scorecard import TextTable
from alservice.science.stretch import PLAIN, Stretch, asked_stretch
from alservice.shapes import FloatArray
from alservice.storage import images
from alservice.storage.run_folder import RunFolder, claim_folder
from alservice.telemetry import code_revision

VALUES: Final = "values.safetensors"
"""Name of such a model in its folder."""

_CARD, _FAULTS = "card.json", "faults.csv"
_UNUSED: Final = ("steps", "epochs", "batch", "hold_out", "unfreeze")
"""Options of training by gradient, which a closed form has no use for."""


def value_encoder(path: Path | None, asked: TrainingOptions, *, device: str) -> Encoder:
    """Return the encoder that values are learned on.

    Raises
    ------
    BadConfig
        There is none, or an option is of training by gradient.
    NotFound, BadInput, DigestMismatch
        As `read_encoder`.
    """
    if path is None:
        raise BadConfig("a target is learned on the embeddings of an encoder: give one", option="encoder")
    unused = next((name for name in _UNUSED if getattr(asked, name) is not None), None)
    if unused is not None:
        text = f"a target is learned in closed form, on a frozen encoder: leave {unused} away"
        raise BadConfig(text, option=unused)
    return read_encoder(path, any_tree(), asked.network_config, device=device)


def train_values(
    data: Path | Table,
    out: Path,
    *,
    target: str,
    encoder: Encoder,
    asked: TrainingOptions,
    device: str,
    galaxies: int | None = None,
    progress: Progress | None = None,
    image_folder: Path | None = None,
    read_as: ReadAs = AS_TOLD,
    on_fault: Callable[[CatalogueFault], None] = ignore_fault,
    stretch: Stretch = PLAIN,
) -> TrainedModel:
    """Learn a column of numbers on every galaxy outside the evaluation stream, and judge the model on the stream.

    Parameters
    ----------
    data, out, galaxies, image_folder, read_as, on_fault, stretch
        As `train_on_file`; no votes are read.
    target
        Column of numbers; a row without one is a fault.
    encoder
        From `value_encoder`.
    asked
        Seed, precision and threads matter.

    Raises
    ------
    BadInput, BadConfig
        The file, the column, or what it holds cannot be learned from.
    Conflict
        The folder holds another run.
    """
    resolved = resolve_device(device)
    source = open_with_images(data, any_tree(), image_folder, read_as, stretch, votes=False)
    require(source.table, [target], _may_be_number, "numbers")
    precision = precision_name(asked.precision, resolved)
    run = {
        "command": "train values",
        "data": source.table.sha256(),
        "galaxies": galaxies,
        "target": target,
        "encoder": encoder.digest,
        "precision": precision,
        "seed": asked.seed,
    }
    with claim_folder(out, run | asked_stretch(stretch) | said_of(image_folder, read_as)) as folder:
        finished = folder.read(_CARD)
        if finished is not None:
            return TrainedModel(folder=out, card=json.loads(finished), faults=(), was_there=True)
        rows = _Valued(source=source, target=target)
        shards = _EmbeddingShards(folder=folder)
        service = _embedder(encoder.network, resolved, progress, on_fault)
        n_rows = source.n_rows if galaxies is None else galaxies
        with on_threads(asked.threads):
            n_shards, _, _ = service.embed(rows.read(galaxies), shards, precision=precision, total=n_rows)
        ids, embeddings, faults = shards.joined(n_shards)
        folder.write(_FAULTS, fault_sheet((f.row, f.galaxy_id, f.field, f.reason) for f in faults))
        known, members = rows.known(ids)
        model = _fitted(ids, embeddings, known, members, target, precision, encoder)
        card = _finish(folder, model, embeddings, known, members, asked.seed, encoder.digest, stretch)
        shards.remove(n_shards)
        return TrainedModel(folder=out, card=card, faults=tuple(faults), was_there=False)


def predict_any(
    models: Sequence[Path], data: Path | Table, out: Path, *, draws: int, keep_draws: bool, device: str, **options: Any
) -> PredictedFile:
    """Predict by models of votes as `predict_file`, or by a model of values as `predict_values`.

    Raises
    ------
    BadConfig
        Models of both kinds, several models of values, or draws of one.
    """
    of_values = [path for path in models if _file_of(path) is not None]
    if not of_values:
        return predict_file(models, data, out, draws=draws, keep_draws=keep_draws, device=device, **options)
    if len(models) > 1:
        raise BadConfig(f"{of_values[0]} is a model of values, which predicts alone", option="model")
    if keep_draws:
        raise BadConfig("a model of values has no draws to keep: it writes mean and standard deviation")
    if options.pop("tree", None) is not None:
        raise BadConfig("a model of values has no tree", option="tree")
    return predict_values(models[0], data, out, device=device, **options)


def predict_values(
    model: Path,
    data: Path | Table,
    out: Path,
    *,
    device: str,
    galaxies: int | None = None,
    progress: Progress | None = None,
    image_folder: Path | None = None,
    read_as: ReadAs = AS_TOLD,
    on_fault: Callable[[CatalogueFault], None] = ignore_fault,
    stretch: str | None = None,
) -> PredictedFile:
    """Predict the value of every galaxy of a file into a table; the same call goes on with what an earlier one left.

    Columns are ``galaxy_id`` and, named after the target, ``_mean``, ``_sd``, ``_p05`` and ``_p95``.

    Raises
    ------
    NotFound, BadInput, DigestMismatch, Conflict, BadConfig
        As `predict_file`.
    """
    bytes_of_model = read_regular(_file_of(model) or model, max_bytes=MAX_MODEL_BYTES)
    loaded = ValueModel.of_bytes(bytes_of_model, device=resolve_device(device))
    fluxes = stretch_of_models([model], stretch)
    source = open_with_images(data, any_tree(), image_folder, read_as, fluxes, votes=False)
    asked = {
        "command": "predict values",
        "model": digest_of_bytes(bytes_of_model),
        "data": source.table.sha256(),
        "galaxies": galaxies,
    }
    with open_shards(out, asked | asked_stretch(fluxes) | said_of(image_folder, read_as)) as shards:
        service = _embedder(loaded.network, resolve_device(device), progress, on_fault)
        rows, total = source.rows(galaxies, EVALUATION_SEED), source.n_rows if galaxies is None else galaxies
        sink = _ValueShards(model=loaded, shards=shards)
        n_shards, done, failed = service.embed(rows, sink, precision=loaded.precision, total=total)
        shards.join(out, n_shards)
    return PredictedFile(out=out, faults=faults_path(out), n_done=done, n_failed=failed)


def _may_be_number(kind: pa.DataType) -> bool:
    """Return whether a column may hold numbers, also as text: a cell that is none is its row's fault."""
    return is_number(kind) or is_text(kind)


def _file_of(model: Path) -> Path | None:
    """Return the file of a model of values; None for another model."""
    path = model / VALUES if model.is_dir() else model
    return path if path.name == VALUES and path.exists() else None


def _embedder(
    network: Network, device: str, progress: Progress | None, on_fault: Callable[[CatalogueFault], None]
) -> PredictRows:
    return PredictRows(
        networks=(network,),
        model="",
        codec=images,
        device=device,
        draws=1,
        keep_draws=False,
        progress=progress or process_progress(),
        on_fault=on_fault,
    )


@dataclass(kw_only=True)
class _Valued:
    """Rows of a file that have a number in a column, and what is known of those that were read."""

    source: CatalogueFile
    target: str
    _known: dict[str, tuple[float, bool]] = field(default_factory=dict)

    def read(self, galaxies: int | None) -> Iterator[CatalogueRow | CatalogueFault]:
        cells = [numbers(batch[self.target]) for batch in self.source.table.batches([self.target])]
        values, bad = (np.concatenate([cell[part] for cell in cells]) for part in (0, 1))
        for row in self.source.rows(galaxies, EVALUATION_SEED):
            value = float(values[row.row - 1])
            if isinstance(row, CatalogueFault):
                yield row
            elif not np.isfinite(value):
                why = "is no number" if bad[row.row - 1] or np.isinf(value) else "none recorded"
                yield CatalogueFault(row=row.row, galaxy_id=row.galaxy_id, field=self.target, reason=why)
            else:
                self._known[row.galaxy_id] = value, row.unbiased
                yield row

    def known(self, galaxy_ids: Sequence[str]) -> tuple[FloatArray, np.ndarray[Any, np.dtype[np.bool_]]]:
        """Return the values (N,) of galaxies, and whether they belong to the evaluation stream."""
        share = stream_share(self.source)
        pairs = [self._known[name] for name in galaxy_ids]
        members = [
            is_evaluation_member(name, unbiased=unbiased, seed=EVALUATION_SEED, fraction=share)
            for name, (_, unbiased) in zip(galaxy_ids, pairs, strict=True)
        ]
        return np.array([value for value, _ in pairs]), np.array(members, dtype=np.bool_)


@dataclass(frozen=True, kw_only=True, slots=True)
class _EmbeddingShards:
    """Embeddings of a run that is under way, in its folder."""

    folder: RunFolder

    def finished(self, index: int) -> tuple[int, int] | None:
        data = self.folder.read(self._name(index))
        if data is None:
            return None
        ids, _, faults = self._opened(data)
        return len(ids), len(faults)

    def save(
        self, index: int, galaxy_ids: Sequence[str], embeddings: FloatArray, faults: Sequence[CatalogueFault]
    ) -> None:
        about = {"ids": list(galaxy_ids), "faults": [(f.row, f.galaxy_id, f.field, f.reason) for f in faults]}
        self.folder.write(self._name(index), arrays_to_bytes({"embeddings": embeddings}, about))

    def joined(self, n_shards: int) -> tuple[list[str], FloatArray, list[CatalogueFault]]:
        parts = [self._opened(self.folder.read(self._name(index)) or b"") for index in range(n_shards)]
        ids = [name for part in parts for name in part[0]]
        if not ids:
            raise BadVotes("no row has both an image and a value", failed=sum(len(part[2]) for part in parts))
        return ids, np.concatenate([part[1] for part in parts]), [fault for part in parts for fault in part[2]]

    def remove(self, n_shards: int) -> None:
        for index in range(n_shards):
            self.folder.remove(self._name(index))

    @staticmethod
    def _name(index: int) -> str:
        return f"embeddings-{index:06}.safetensors"

    @staticmethod
    def _opened(data: bytes) -> tuple[list[str], FloatArray, list[CatalogueFault]]:
        arrays, about = arrays_from_bytes(data, what="a shard of embeddings")
        faults = [CatalogueFault(row=f[0], galaxy_id=f[1], field=f[2], reason=f[3]) for f in about["faults"]]
        return about["ids"], arrays["embeddings"], faults


@dataclass(frozen=True, kw_only=True, slots=True)
class _ValueShards:
    """Predicted values of a file that is under way."""

    model: ValueModel
    shards: TableShards

    def finished(self, index: int) -> tuple[int, int] | None:
        return self.shards.finished(index)

    def save(
        self, index: int, galaxy_ids: Sequence[str], embeddings: FloatArray, faults: Sequence[CatalogueFault]
    ) -> None:
        about = {"content": "values", "target": self.model.target}
        self.shards.save(index, _table(self.model, galaxy_ids, embeddings), faults, about)


def _table(model: ValueModel, galaxy_ids: Sequence[str], embeddings: FloatArray) -> pa.Table:
    """Return ids, mean, standard deviation and the ends of the central 90 % interval, one row a galaxy."""
    mean, deviation = model.predict(embeddings)
    half = HALF_WIDTHS[0.9] * deviation
    columns = {"mean": mean, "sd": deviation, "p05": mean - half, "p95": mean + half}
    values = {f"{model.target}_{name}": pa.array(column, pa.float64()) for name, column in columns.items()}
    return pa.table({"galaxy_id": pa.array(galaxy_ids, pa.string()), **values})


def _fitted(
    ids: Sequence[str],
    embeddings: FloatArray,
    known: FloatArray,
    members: np.ndarray[Any, np.dtype[np.bool_]],
    target: str,
    precision: str,
    encoder: Encoder,
) -> ValueModel:
    learn = ~members
    if int(learn.sum()) < 3:
        text = f"{int(learn.sum())} of {len(ids)} galaxies are left to learn from: all others are the evaluation stream"
        raise BadVotes(text)
    features = Features.of(embeddings[learn], most=min(COMPONENTS, int(learn.sum()) - 1))
    return ValueModel(
        target=target,
        precision=precision,
        network=encoder.network,
        features=features,
        posterior=fit_linear(features(embeddings[learn]), known[learn]),
    )


def _finish(
    folder: RunFolder,
    model: ValueModel,
    embeddings: FloatArray,
    known: FloatArray,
    members: np.ndarray[Any, np.dtype[np.bool_]],
    seed: int,
    parent: str,
    stretch: Stretch,
) -> dict[str, Any]:
    """Judge a model on the evaluation stream, write all that a folder has, and return its card."""
    data = model.to_bytes()
    document: dict[str, Any] = {
        "kind": KIND,
        "target": model.target,
        "network": document_of(model.network.config),
        "n_galaxies": int((~members).sum()),
        "parent": parent,
        "seed": seed,
        "code_revision": code_revision(),
        "stretch": stretch.text(),
        "weights": digest_of_bytes(data),
        "metrics": None,
    }
    if members.any():
        mean, deviation = model.predict(embeddings[members])
        rng = np.random.default_rng(seed_of(seed, "evaluation"))
        found = value_figures(mean, deviation, known[members], rng=rng)
        document["metrics"] = document_of(found)
        folder.write("metrics.json", json_bytes(document_of(found)))
        folder.write("metrics.txt", values_table(model.target, found).text().encode() + b"\n")
    folder.write(VALUES, data)
    folder.write(_CARD, json_bytes(document))  # last: a folder with a card is complete
    return document


def values_table(target: str, found: ValueFigures) -> TextTable:
    """Return the figures as a table."""
    rows = [
        ("galaxies", f"{found.n_galaxies:,}"),
        ("RMSE", f"{found.rmse.value:.4g} [{found.rmse.low:.4g}, {found.rmse.high:.4g}]"),
        ("mean absolute error", f"{found.mae:.4g}"),
        ("variance explained", "-" if found.explained is None else f"{found.explained:.3f}"),
        ("NLL per galaxy [nats]", f"{found.nll:.4g}"),
    ]
    rows += [
        (f"within the central {level:.0%} interval", f"{share:.1%}")
        for level, share in zip(LEVELS, found.coverage, strict=True)
    ]
    return TextTable(title=f"{target} on the evaluation stream", head=("figure", "value"), rows=tuple(rows))
