"""Vectors, their graph and the versions of an index: near galaxies are found, what is the same is kept, nothing is half."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from alservice.errors import Conflict, NoIndex
from alservice.explore import build as building
from alservice.explore.index import Index, IndexFolder
from alservice.explore.neighbours import Neighbours, nearest_distances
from alservice.explore.table import Table
from tests.explore.worlds import SHARD, TREE, WIDTH, N, build, index_of, parts


def embeddings(n: int = N) -> np.ndarray:
    """Return the embeddings of the galaxies that are made up."""
    return np.concatenate([part.prediction.embeddings for part in parts(n)]).astype(np.float32)


def test_the_graph_finds_what_a_look_at_every_galaxy_finds(tmp_path: Path) -> None:
    """Distances are those of the embeddings, since all components fit."""
    index = build(tmp_path, parts())
    assert (index.dimensions, index.n, index.fitted) == (WIDTH, N, N)
    assert index.explained == pytest.approx(1.0)
    found, values = Neighbours(tmp_path), embeddings()
    for row in (0, 31, N - 1):
        wanted = np.linalg.norm(values - values[row], axis=1)
        for search in (found.near, found.exact):
            places, distances = search(found.vectors[row].astype(np.float32), 9)
            assert places.tolist() == wanted.argsort()[:9].tolist()
            assert np.allclose(distances, np.sort(wanted)[:9], atol=0.02)
    assert len(found.near(np.zeros(WIDTH, np.float32), 500)[0]) == N, "no more than there are"


def test_vectors_are_mapped_and_not_loaded(tmp_path: Path) -> None:
    """Kind: every process of the service holds gigabytes of its own."""
    build(tmp_path, parts())
    assert isinstance(Neighbours(tmp_path).vectors, np.memmap)
    mapped = Path("/proc/self/maps")
    if mapped.exists():
        held = Neighbours(tmp_path)
        assert held.vectors is not None
        assert str(tmp_path / "graph.usearch") in mapped.read_text(encoding="utf-8")


def test_a_catalogue_that_grows_keeps_components_and_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces that are the same are not joined anew, the last one that was filled up is; what is found is right."""
    folders = [tmp_path / name for name in ("first", "second", "third")]
    for folder in folders:
        folder.mkdir()
    first = build(folders[0], parts(60))
    joined: list[int] = []
    plain = building.build_graph
    monkeypatch.setattr(building, "build_graph", lambda *a, **k: (joined.append(k["kept"]), plain(*a, **k))[1])
    second = build(folders[1], parts(80), before=(folders[0], first))
    assert joined == [2 * SHARD]
    assert (second.n, second.fitted, second.explained) == (80, 60, first.explained)
    found, values = Neighbours(folders[1]), embeddings(80)
    for row in (10, 55, 79):
        places, _ = found.near(found.vectors[row].astype(np.float32), 5)
        assert places.tolist() == np.linalg.norm(values - values[row], axis=1).argsort()[:5].tolist()
    build(folders[2], parts(80), before=(folders[1], second), model="another")
    assert joined[1:] == [0], "another model's embeddings are all new"


def test_components_are_found_anew_when_the_catalogue_outgrew_them(tmp_path: Path) -> None:
    """Kind: axes of the first thousand galaxies for a million."""
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    first = build(tmp_path / "first", parts(25))
    second = build(tmp_path / "second", parts(100), before=(tmp_path / "first", first))
    assert second.fitted == 100


def test_a_model_without_embeddings_has_a_table_and_no_neighbours(tmp_path: Path) -> None:
    """Draws of older releases have none."""
    index = build(tmp_path, parts(30, width=0), labelled=(2,))
    assert index.dimensions == 0
    assert Table(tmp_path / "galaxies.parquet", TREE).n == 30
    assert not (tmp_path / "graph.usearch").exists()


def test_distances_to_the_nearest_are_by_blocks_what_they_are_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And none where there is nothing to be near to."""
    from alservice.explore import neighbours

    values = embeddings()
    wanted = np.linalg.norm(values[:, None] - values[None, :7], axis=2).min(axis=1)
    monkeypatch.setattr(neighbours, "_BLOCK_BYTES", 4 * 7 * 13)
    assert np.allclose(nearest_distances(values, values[:7]), wanted, atol=1e-4)
    assert np.isnan(nearest_distances(values, values[:0])).all()


def publish(folder: IndexFolder, n: int) -> Index:
    """Build and publish an index of so many galaxies."""
    with folder.building() as work:
        index = build(work, parts(n), before=folder.usable())
        folder.publish(work, index)
    return index


def test_a_version_replaces_another_whole_and_the_one_before_stays_for_its_readers(tmp_path: Path) -> None:
    """Whoever dies while building leaves what was there; two builds at once are refused."""
    folder = IndexFolder(tmp_path / "gz")
    assert folder.current() is None
    first = publish(folder, 30)
    reading = Table((tmp_path / "gz" / first.version) / "galaxies.parquet", TREE)
    with suppress(KeyboardInterrupt), folder.building() as work:
        build(work, parts(40))
        raise KeyboardInterrupt
    found = folder.current()
    assert found is not None
    assert found[1] == first
    second = publish(folder, 40)
    assert reading.n == 30
    third = publish(folder, 50)
    assert {path.name for path in (tmp_path / "gz").glob("v-*")} == {second.version, third.version}
    with folder.building(), pytest.raises(Conflict, match="another process"), folder.building():
        pass


@pytest.mark.parametrize("text", ["{", json.dumps({"campaign": "gz"})])
def test_an_index_that_cannot_be_read_says_so_and_is_built_again(tmp_path: Path, text: str) -> None:
    """Of another release, or damaged."""
    folder = IndexFolder(tmp_path / "gz")
    made = publish(folder, 30)
    (tmp_path / "gz" / made.version / "about.json").write_text(text)
    with pytest.raises(NoIndex, match="built again"):
        folder.current()
    assert folder.usable() is None
    publish(folder, 40)
    found = folder.current()
    assert found is not None
    assert found[1].n == 40
    assert index_of(parts(40)).version != found[1].version
