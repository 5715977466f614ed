"""Arrays as bytes: they come back equal, equal arrays give equal bytes, and nothing is read as something else."""

import dataclasses
import io
import subprocess
import sys
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alservice.errors import AlserviceError, BadInput, BadVotes
from alservice.science.posterior import Posterior
from alservice.science.tree import load_tree
from alservice.storage.arrays import (
    decode_assessment,
    decode_counts,
    decode_fractions,
    decode_posterior,
    encode_assessment,
    encode_counts,
    encode_fractions,
    encode_posterior,
    pack_images,
    unpack_images,
)
from tests.learning.test_gate import make
from tests.support.shared import ROOT

IDS = ("J000102.03+040506.0", "587722981741363323", "naïve-Ω ☆")


def posterior(n: int = 3, draws: int = 4, answers: int = 5, embedding: int = 6, seed: int = 0) -> Posterior:
    """Return a random posterior."""
    rng = np.random.default_rng(seed)
    return Posterior(
        galaxy_ids=tuple(f"J{i}" for i in range(n)),
        concentrations=rng.gamma(2, 5, (n, draws, answers)).astype(np.float32),
        embeddings=rng.normal(size=(n, embedding)).astype(np.float16),
        tree_hash="0" * 64,
        model="compact-1",
    )


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=4, max_dims=4, max_side=5)))
def test_packed_images_come_back(images: np.ndarray):
    """Ids and pixels survive a pack, whatever their number and size."""
    ids = tuple(f"galaxy {i} ☆" for i in range(len(images)))
    found_ids, found = unpack_images(pack_images(ids, images))
    assert found_ids == ids
    np.testing.assert_array_equal(found, images)
    assert found.dtype == np.uint8


def test_an_assessment_comes_back():
    """Every figure to the last bit, equal ones as equal bytes; on another tree it is refused."""
    made = make(np.random.default_rng(1), 20)
    data = encode_assessment(made)
    found = decode_assessment(data, made.tree)
    for field in dataclasses.fields(made):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(made, field.name))
    assert encode_assessment(found) == data
    with pytest.raises(BadInput, match="another tree than gz-rings"):
        decode_assessment(data, load_tree("gz-rings"))
    with pytest.raises(BadInput, match="not an assessment"):
        decode_assessment(pack_images((), np.empty((0, 3, 8, 8), dtype=np.uint8)), made.tree)


def test_an_empty_pack_comes_back():
    """A shard of which no image could be read is still a pack."""
    ids, images = unpack_images(pack_images((), np.empty((0, 3, 8, 8), dtype=np.uint8)))
    assert (ids, images.shape) == ((), (0, 3, 8, 8))


def test_a_view_packs_like_its_copy():
    """Memory layout does not reach the bytes."""
    images = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    flipped = images[..., ::-1]
    assert pack_images(IDS[:2], flipped) == pack_images(IDS[:2], flipped.copy())


def test_unpacked_images_may_be_changed_in_place():
    """Pixels are handed out writable, as torch wants them."""
    _, images = unpack_images(pack_images(IDS[:1], np.zeros((1, 1, 2, 2), dtype=np.uint8)))
    assert images.flags.writeable


@pytest.mark.parametrize(
    ("ids", "images"),
    [
        (IDS, np.zeros((2, 1, 4, 4), dtype=np.uint8)),
        (("a", "a"), np.zeros((2, 1, 4, 4), dtype=np.uint8)),
        (IDS, np.zeros((3, 4, 4), dtype=np.uint8)),
        (IDS, np.zeros((3, 1, 4, 4), dtype=np.float32)),
    ],
)
def test_what_is_no_pack_of_images_is_refused(ids: tuple[str, ...], images: np.ndarray):
    """Ids must be unique and match the pixels, which must be bytes."""
    with pytest.raises(BadInput):
        pack_images(ids, images)


@pytest.mark.parametrize(
    "sizes",
    [{}, {"n": 1, "draws": 1, "answers": 2, "embedding": 1}, {"embedding": 0}, {"n": 0}, {"n": 300}],
)
def test_a_posterior_comes_back(sizes: dict[str, int]):
    """Every field of a posterior survives exactly, without embeddings and without galaxies too."""
    before = posterior(**sizes)
    after = decode_posterior(encode_posterior(before))
    assert (after.galaxy_ids, after.tree_hash, after.model) == (
        before.galaxy_ids,
        before.tree_hash,
        before.model,
    )
    np.testing.assert_array_equal(after.concentrations, before.concentrations)
    np.testing.assert_array_equal(after.embeddings, before.embeddings)
    assert (after.concentrations.dtype, after.embeddings.dtype) == (np.float32, np.float16)


def test_a_posterior_is_plain_parquet():
    """Other tools can read a shard: one row per galaxy, lists of draws and embedding, sizes in the metadata."""
    table = pq.read_table(io.BytesIO(encode_posterior(posterior())))
    assert table.column_names == ["galaxy_id", "draws", "embedding"]
    assert table.schema.field("draws").type == pa.list_(pa.float32(), 4 * 5)
    assert table.schema.field("embedding").type == pa.list_(pa.float16(), 6)
    np.testing.assert_array_equal(np.reshape(table["draws"][1].as_py(), (4, 5)), posterior().concentrations[1])
    assert b'"T": 4' in table.schema.metadata[b"alservice"]


@settings(deadline=None)
@given(hnp.arrays(np.int64, st.tuples(st.integers(0, 4), st.just(3)), elements=st.integers(0, 2**53)))
def test_counts_come_back(counts: np.ndarray):
    """Whole counts stay whole and exact."""
    ids = tuple(map(str, range(len(counts))))
    found_ids, found, columns = decode_counts(encode_counts(ids, counts, ("a", "b", "c")))
    assert (found_ids, columns, found.dtype) == (ids, ("a", "b", "c"), np.int64)
    np.testing.assert_array_equal(found, counts)


@pytest.mark.parametrize(("dtype", "stored"), [(np.int8, np.int64), (np.uint16, np.int64), (np.float32, np.float64)])
def test_counts_are_stored_wide(dtype: type, stored: type):
    """Small integer types become int64 and weighted votes float64, so equal counts give equal bytes."""
    counts = np.array([[1, 2], [0, 3]])
    data = encode_counts(IDS[:2], counts.astype(dtype), ("a", "b"))
    assert data == encode_counts(IDS[:2], counts.astype(stored), ("a", "b"))
    assert decode_counts(data)[1].dtype == stored


@given(hnp.arrays(np.float64, (3, 2), elements=st.floats(0, 1) | st.just(np.nan)))
def test_fractions_come_back(fractions: np.ndarray):
    """Fractions survive exactly, and NaN stays "not recorded"."""
    ids, found, columns = decode_fractions(encode_fractions(IDS, fractions, ("a", "b")))
    assert (ids, columns) == (IDS, ("a", "b"))
    np.testing.assert_array_equal(found, fractions)


@pytest.mark.parametrize("value", [-1, np.nan, np.inf])
def test_impossible_counts_are_refused(value: float):
    """A count is finite and not negative."""
    with pytest.raises(BadVotes, match="counts"):
        encode_counts(IDS[:1], np.array([[1.0, value]]), ("a", "b"))


@pytest.mark.parametrize("value", [-0.01, 1.01, np.inf, -np.inf])
def test_impossible_fractions_are_refused(value: float):
    """A fraction is between 0 and 1, or NaN."""
    with pytest.raises(BadVotes, match="fractions"):
        encode_fractions(IDS[:1], np.array([[0.5, value]]), ("a", "b"))


@pytest.mark.parametrize(
    ("ids", "columns"),
    [
        (IDS, ("a", "b")),
        (("a", "a"), ("a", "b")),
        (IDS[:2], ("a",)),
        (IDS[:2], ("a", "a")),
        (IDS[:2], ("a", "galaxy_id")),
    ],
)
def test_tables_that_do_not_fit_are_refused(ids: tuple[str, ...], columns: tuple[str, ...]):
    """Ids and columns must be unique and match the values."""
    with pytest.raises(BadInput):
        encode_counts(ids, np.zeros((2, 2), dtype=np.int64), columns)
    with pytest.raises(BadInput):
        encode_fractions(ids, np.zeros((2, 2)), columns)


COUNTS = encode_counts(IDS, np.ones((3, 2), dtype=np.int64), ("a", "b"))
SAMPLES = {
    "pack": (pack_images(IDS, np.ones((3, 1, 2, 2), dtype=np.uint8)), unpack_images),
    "posterior": (encode_posterior(posterior()), decode_posterior),
    "counts": (COUNTS, decode_counts),
    "fractions": (encode_fractions(IDS, np.ones((3, 2)), ("a", "b")), decode_fractions),
}


@pytest.mark.parametrize("written", SAMPLES)
@pytest.mark.parametrize("wanted", SAMPLES)
def test_each_kind_is_read_as_itself_only(written: str, wanted: str):
    """Counts are not fractions and a posterior is not a pack, though all are bytes."""
    data, read = SAMPLES[written][0], SAMPLES[wanted][1]
    if written == wanted:
        read(data)
    else:
        with pytest.raises(BadInput):
            read(data)


@pytest.mark.parametrize("kind", SAMPLES)
def test_broken_bytes_are_refused(kind: str):
    """Truncated and foreign bytes raise a typed error."""
    data, read = SAMPLES[kind]
    plain = io.BytesIO()
    pq.write_table(pa.table({"x": [1]}), plain)
    for broken in (b"", b"x" * 100, data[: len(data) // 2], plain.getvalue()):
        with pytest.raises(AlserviceError):
            read(broken)


DIGESTS = """
from hashlib import sha256
from tests.storage.test_packs import SAMPLES
print(" ".join(sha256(data).hexdigest() for data, _ in SAMPLES.values()))
"""


def test_other_processes_write_the_same_bytes():
    """Bytes depend on the arrays alone: a process with another hash seed writes the same."""
    here = [sha256(data).hexdigest() for data, _ in SAMPLES.values()]
    done = subprocess.run(
        [sys.executable, "-c", DIGESTS],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONHASHSEED": "1", "PYTHONPATH": "."},
    )
    assert done.stdout.split() == here
