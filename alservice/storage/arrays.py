"""Arrays as bytes: image packs, posterior shards, counts and fractions.

Equal arrays give equal bytes, so that content-addressed objects are shared and a repeated shard is known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.numpy import load, save

from alservice.documents import document_of, record_of
from alservice.errors import BadInput, BadVotes
from alservice.science.evaluation import Assessment
from alservice.science.posterior import Posterior
from alservice.science.prediction import Prediction, Recipe
from alservice.science.tree import Tree
from alservice.science.votes import Counts
from alservice.shapes import FloatArray, UInt8Array

_FORMAT: Final = b"alservice"
"""Schema metadata key that says what a Parquet file holds, so that nothing is read as something else."""

_ID: Final = "galaxy_id"


def pack_images(galaxy_ids: Sequence[str], images: UInt8Array) -> bytes:
    """Return an image pack: safetensors of the pixels and, as JSON bytes, the ids.

    Parameters
    ----------
    galaxy_ids
        N unique ids.
    images
        uint8 (N, C, H, W).

    Raises
    ------
    BadInput
        If ids repeat, or their number, the shape or the dtype is wrong.
    """
    _check_ids(galaxy_ids, len(images))
    if images.ndim != 4 or images.dtype != np.uint8:
        raise BadInput(f"an image pack holds uint8 (N, C, H, W), not {images.dtype} {images.shape}")
    ids = json.dumps(list(galaxy_ids), ensure_ascii=False, separators=(",", ":")).encode()
    # Metadata stays out: safetensors writes more than one entry in random order.
    return save({"ids": np.frombuffer(ids, dtype=np.uint8), "images": np.ascontiguousarray(images)})


def unpack_images(data: bytes) -> tuple[tuple[str, ...], UInt8Array]:
    """Return ids and pixels, uint8 (N, C, H, W), of an image pack; `BadInput` if the bytes are none."""
    try:
        tensors = load(data)
        return tuple(json.loads(tensors["ids"].tobytes())), tensors["images"]
    except (SafetensorError, KeyError, ValueError) as error:
        raise BadInput(f"not an image pack: {error}") from error


def encode_posterior(posterior: Posterior) -> bytes:
    """Return a posterior shard as Parquet: a row per galaxy, its (T, A) draws and its embedding as lists."""
    n, n_draws, n_answers = posterior.concentrations.shape
    table = pa.table(
        {
            _ID: pa.array(posterior.galaxy_ids, pa.string()),
            "draws": _lists(posterior.concentrations.reshape(n, n_draws * n_answers)),
            # Parquet has no lists of length 0, which is what a network without embeddings gives.
            **({"embedding": _lists(posterior.embeddings)} if posterior.embeddings.shape[1] else {}),
        }
    )
    shape = {"T": n_draws, "A": n_answers, "tree_hash": posterior.tree_hash, "model": posterior.model}
    return _write(table, "posterior", shape)


def decode_posterior(data: bytes) -> Posterior:
    """Return the posterior of a shard; `BadInput` if the bytes hold none."""
    table, shape = _read(data, "posterior")
    embedded = "embedding" in table.column_names
    return Posterior(
        galaxy_ids=_ids(table),
        concentrations=_array(table["draws"]).reshape(len(table), shape["T"], shape["A"]),
        embeddings=_array(table["embedding"]) if embedded else np.empty((len(table), 0), dtype=np.float16),
        tree_hash=shape["tree_hash"],
        model=shape["model"],
    )


def encode_prediction(prediction: Prediction) -> bytes:
    """Return a prediction shard as Parquet: a row per galaxy, its means, deviations and embedding as lists."""
    lists = {"mean": prediction.mean, "sd": prediction.sd, "embedding": prediction.embeddings}
    table = pa.table(
        {
            _ID: pa.array(prediction.galaxy_ids, pa.string()),
            "score": pa.array(prediction.scores),
            **{name: _lists(values) for name, values in lists.items() if values.shape[1]},
        }
    )
    return _write(table, "prediction", {"recipe": document_of(prediction.recipe)})


def decode_prediction(data: bytes) -> Prediction | Posterior:
    """Return what a shard holds: a prediction, or the posterior with draws that releases before this one stored.

    Raises
    ------
    BadInput
        The bytes hold neither.
    """
    table, document = _open(data)
    if document.get("content") != "prediction":
        return decode_posterior(data)
    none = np.empty((len(table), 0), dtype=np.float16)
    return Prediction(
        galaxy_ids=_ids(table),
        scores=table["score"].to_numpy(),
        mean=_array(table["mean"]),
        sd=_array(table["sd"]),
        embeddings=_array(table["embedding"]) if "embedding" in table.column_names else none,
        recipe=record_of(Recipe, document["recipe"]),
    )


_TERMS: Final = ("nll", "votes", "judged", "squared_error", "crps_votes", "expected", "actual", "below", "at")


def encode_assessment(assessment: Assessment) -> bytes:
    """Return figures per galaxy as safetensors: their arrays and, as JSON bytes, ids, tree and settings."""
    about = {
        "galaxy_ids": assessment.galaxy_ids,
        "tree_hash": assessment.tree.hash,
        "tolerances": assessment.tolerances,
        "min_votes": assessment.min_votes,
    }
    text = json.dumps(about, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    terms = {name: np.ascontiguousarray(getattr(assessment, name)) for name in _TERMS}
    return save({"about": np.frombuffer(text, dtype=np.uint8), **terms})


def decode_assessment(data: bytes, tree: Tree) -> Assessment:
    """Return the figures per galaxy of a posterior on a tree; `BadInput` if the bytes hold none of it."""
    try:
        tensors = load(data)
        about = json.loads(tensors.pop("about").tobytes())
        if about["tree_hash"] != tree.hash:
            raise BadInput(f"the assessment follows another tree than {tree.name}", tree=tree.hash)
        return Assessment(
            tree=tree,
            galaxy_ids=tuple(about["galaxy_ids"]),
            tolerances=tuple(about["tolerances"]),
            min_votes=about["min_votes"],
            **{name: tensors[name] for name in _TERMS},
        )
    except (SafetensorError, KeyError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"not an assessment: {error}") from error


def encode_counts(galaxy_ids: Sequence[str], counts: Counts, columns: Sequence[str]) -> bytes:
    """Return vote counts (N, A) as Parquet, one column per answer; integers stay integers.

    Raises
    ------
    BadVotes
        If a count is negative or not finite.
    BadInput
        If ids repeat, or ids, counts and columns do not fit together.
    """
    if not np.isfinite(counts).all() or (counts < 0).any():
        raise BadVotes("counts must be finite and not negative")
    whole = np.issubdtype(counts.dtype, np.integer)
    values: Counts = counts.astype(np.int64) if whole else counts.astype(np.float64)
    return _encode_answers(galaxy_ids, values, columns, "counts")


def decode_counts(data: bytes) -> tuple[tuple[str, ...], Counts, tuple[str, ...]]:
    """Return ids, counts (N, A) as int64 or float64, and answer columns."""
    return _decode_answers(data, "counts")


def encode_fractions(galaxy_ids: Sequence[str], fractions: FloatArray, columns: Sequence[str]) -> bytes:
    """Return vote fractions (N, A) as Parquet, one float64 column per answer; NaN means not recorded.

    Raises
    ------
    BadVotes
        If a fraction is outside [0, 1].
    BadInput
        If ids repeat, or ids, fractions and columns do not fit together.
    """
    if ((fractions < 0) | (fractions > 1)).any():
        raise BadVotes("fractions must be within [0, 1], or NaN where not recorded")
    return _encode_answers(galaxy_ids, fractions.astype(np.float64), columns, "fractions")


def decode_fractions(data: bytes) -> tuple[tuple[str, ...], FloatArray, tuple[str, ...]]:
    """Return ids, fractions (N, A) as float64 with NaN where not recorded, and answer columns."""
    return _decode_answers(data, "fractions")


def _encode_answers(galaxy_ids: Sequence[str], values: Counts, columns: Sequence[str], content: str) -> bytes:
    _check_ids(galaxy_ids, len(values))
    if values.shape != (len(galaxy_ids), len(columns)) or len({_ID, *columns}) <= len(columns):
        raise BadInput(f"{content} of shape {values.shape} do not fit {len(columns)} unique columns")
    answers = {column: pa.array(values[:, index]) for index, column in enumerate(columns)}
    return _write(pa.table({_ID: pa.array(galaxy_ids, pa.string()), **answers}), content, {})


def _decode_answers(data: bytes, content: str) -> tuple[tuple[str, ...], Any, tuple[str, ...]]:
    table, _ = _read(data, content)
    columns = tuple(table.column_names[1:])
    values = np.stack([table[column].to_numpy() for column in columns], axis=-1)
    return _ids(table), values, columns


def _check_ids(galaxy_ids: Sequence[str], n: int) -> None:
    if len(galaxy_ids) != n or len(set(galaxy_ids)) != n:
        raise BadInput(f"{len(galaxy_ids)} ids, {len(set(galaxy_ids))} of them different, for {n} rows")


def _write(table: pa.Table, content: str, details: dict[str, object]) -> bytes:
    document = json.dumps({"content": content, **details}, sort_keys=True)
    sink = pa.BufferOutputStream()
    # Draws hardly repeat, so dictionaries cost and save nothing; splitting floats by byte helps zstd.
    pq.write_table(
        table.replace_schema_metadata({_FORMAT: document.encode()}),
        sink,
        row_group_size=max(len(table), 1),
        compression="zstd",
        use_dictionary=False,
        use_byte_stream_split=[
            f"{field.name}.list.element" for field in table.schema if pa.types.is_fixed_size_list(field.type)
        ],
    )
    return bytes(sink.getvalue())


def _open(data: bytes) -> tuple[pa.Table, dict[str, Any]]:
    try:
        table = pq.read_table(pa.BufferReader(data))
    except pa.ArrowInvalid as error:
        raise BadInput(f"not a Parquet file: {error}") from error
    return table, json.loads((table.schema.metadata or {}).get(_FORMAT, b"{}"))


def _read(data: bytes, content: str) -> tuple[pa.Table, dict[str, Any]]:
    table, document = _open(data)
    if document.get("content") != content:
        raise BadInput(f"the file holds {document.get('content')}, not {content}")
    return table, document


def _ids(table: pa.Table) -> tuple[str, ...]:
    return tuple(table[_ID].to_pylist())


def _lists(values: FloatArray) -> pa.FixedSizeListArray:
    """Return (N, length) values as a column of lists."""
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _array(column: pa.ChunkedArray) -> Any:
    """Return a column of lists of one length as values (N, length)."""
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), column.type.list_size)
