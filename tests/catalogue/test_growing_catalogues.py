"""Catalogues that grow: versions share galaxies and shards, rows are known, refused or replaced, imports resume."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, text

from alservice.app import App
from alservice.campaigns.campaign import ImagePolicy
from alservice.catalogue import service
from alservice.catalogue.galaxies import CatalogueRow, is_evaluation_member
from alservice.catalogue.service import CatalogueService, Order, pack_name
from alservice.errors import BadInput
from alservice.storage.images import encode_png
from alservice.storage.postgres import transaction
from tests.support.stores import Stores
from tests.support.worlds import import_rows, make_campaign, make_factory, make_row

POLICY = ImagePolicy(size_px=16, shard_galaxies=4)
WHITE = encode_png(np.full((1, 16, 16), 255, dtype=np.uint8))


def campaign(**changes):
    """Return decisions with shards of four galaxies."""
    return make_campaign(images=POLICY, **changes)


def write_file(folder: Path, ids, *, name: str = "galaxies.csv", image=None, ra=None) -> Path:
    """Write a table of galaxies, each with an image of its own."""
    lines = ["galaxy_id,ra,dec,image_path"]
    for i, galaxy_id in enumerate(ids):
        pixels = np.full((1, 16, 16), sum(map(ord, galaxy_id)) % 256, dtype=np.uint8)
        (folder / f"{galaxy_id}.png").write_bytes(encode_png(pixels) if image is None else image)
        lines.append(f"{galaxy_id},{i if ra is None else ra[i]},0,{galaxy_id}.png")
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / name


def outcome(record) -> tuple[int, int, int, int]:
    """Return what the rows of an import became."""
    return record.n_added, record.n_replaced, record.n_known, record.n_failed


def test_what_is_new_is_appended_and_shards_are_shared(factory: App) -> None:
    """Ids before and after those that are there come after them; full shards keep their objects, and are made once."""
    row = import_rows(factory, campaign(), [make_row(i) for i in range(10, 16)])
    first = factory.catalogues.newest(row.id)
    packed = factory.catalogue.pack(first, POLICY)
    assert [shard.n_galaxies for shard in packed] == [4, 2]
    import_rows(factory, campaign(), [make_row(i) for i in (5, 12, 20, 6)])
    second = factory.catalogues.newest(row.id)
    assert second.id != first.id
    ids = [g.galaxy_id for g in factory.catalogues.galaxies(second.id)]
    assert ids == ["g10", "g11", "g12", "g13", "g14", "g15", "g05", "g06", "g20"]
    assert [g.row for g in factory.catalogues.galaxies(second.id)] == list(range(9))
    decoded = []
    counting = Decoding(factory, decoded)
    again = counting.pack(second, POLICY)
    assert [shard.n_galaxies for shard in again] == [4, 4, 1]
    assert again[0] == packed[0]
    assert sorted(decoded) == ["g05", "g06", "g14", "g15", "g20"]
    images = factory.catalogue.images_of(campaign(), second.id, ids)
    assert np.array_equal(images[:6], factory.catalogue.images_of(campaign(), first.id, ids[:6]))


class Decoding(CatalogueService):
    """The service of a factory, which notes what it decodes."""

    def __init__(self, factory: App, decoded: list[str]) -> None:
        parts = factory.catalogue
        for name in ("campaigns", "catalogues", "imports", "objects", "progress", "image_folders", "threads"):
            object.__setattr__(self, name, getattr(parts, name))
        object.__setattr__(self, "decoded", decoded)

    def _decode(self, galaxy, policy):
        self.decoded.append(galaxy.galaxy_id)
        return super()._decode(galaxy, policy)


def test_what_is_predicted_of_shared_shards_is_not_predicted_again(factory: App) -> None:
    """A grown catalogue lists the model's predictions of full shards; the last one, and other models', are left to do."""
    row = import_rows(factory, campaign(), [make_row(i) for i in range(6)])
    first = factory.catalogues.newest(row.id)
    packed = factory.catalogue.pack(first, POLICY)
    stores = Stores(factory.engine)
    model, models = stores.candidate(stores.start(row, first)).id, factory.models
    made = [replace(shard, key=f"predictions/{shard.index}") for shard in packed]
    for shard in made:
        models.save_posterior_shard(model, first.id, "catalogue", shard)
    import_rows(factory, campaign(), [make_row(i) for i in range(5, 9)])
    second = factory.catalogues.newest(row.id)
    factory.catalogue.pack(second, POLICY)
    for other, scope in ((model, "evaluation"), (model + 1, "catalogue")):
        models.share_posterior_shards(other, second.id, scope, pack_name(POLICY))
        assert models.posterior_shards(other, second.id, scope) == []
    for _ in range(2):
        models.share_posterior_shards(model, second.id, "catalogue", pack_name(POLICY))
        assert models.posterior_shards(model, second.id, "catalogue") == made[:1]
    assert models.posterior_shards(model, first.id, "catalogue") == made


def test_an_older_version_stays_as_it_was(factory: App) -> None:
    """A cycle that runs keeps its galaxies, members, faults and shards, whatever is appended meanwhile."""
    row = import_rows(factory, campaign(), [make_row(1), make_row(2, image=b"broken"), make_row(3)])
    first = factory.catalogues.newest(row.id)
    before = factory.catalogues.galaxies(first.id)
    import_rows(factory, campaign(), [make_row(i) for i in range(20, 60)])
    import_rows(factory, campaign(), [make_row(0), make_row(70, image=b"broken too")])
    newest = factory.catalogues.newest(row.id)
    assert (newest.n_galaxies, newest.n_failed) == (43, 2)
    assert factory.catalogues.get(first.id) == first
    assert factory.catalogues.galaxies(first.id) == before
    assert [f.galaxy_id for f in factory.catalogues.faults(first.id)] == ["g02"]
    assert [f.galaxy_id for f in factory.catalogues.faults(newest.id)] == ["g02", "g70"]
    assert factory.catalogues.n_members(first.id) == sum(g.evaluation for g in before)
    assert [shard.n_galaxies for shard in factory.catalogue.pack(first, POLICY)] == [2]
    assert [g.galaxy_id for g in factory.catalogues.by_id(newest.id, ["g20", "g01", "g00"])] == ["g00", "g01", "g20"]
    listed = factory.ops.figures.galaxies(first.id, after="", limit=10)
    assert [g.galaxy_id for g in listed] == ["g01", "g03"]


def test_the_same_content_is_known_and_another_is_refused_by_name(factory: App, tmp_path: Path) -> None:
    """A repeated file adds nothing; a row with another image or place is in quarantine with what differs."""
    row = factory.campaigns.save(campaign())
    path = write_file(tmp_path, ["a", "b", "c"])
    first = factory.catalogue.import_file("test", path)
    assert outcome(first.record) == (3, 0, 0, 0)
    again = factory.catalogue.import_file("test", path)
    assert outcome(again.record) == (0, 0, 3, 0)
    assert again.catalogue == first.catalogue
    (tmp_path / "b.png").write_bytes(WHITE)
    path.write_text(path.read_text(encoding="utf-8").replace("c,2,", "c,7,") + "d,3,0,a.png\n", encoding="utf-8")
    third = factory.catalogue.import_file("test", path)
    assert outcome(third.record) == (1, 0, 1, 2)
    assert third.record.n_requested == 4
    assert [(f.row, f.galaxy_id, f.field) for f in third.faults] == [(2, "b", "image_key"), (3, "c", "ra_deg")]
    assert "--replace" in third.faults[0].reason
    held = [(each.source, each.fault.galaxy_id) for each in factory.catalogue.quarantine(row.settings.name)]
    assert held == [("galaxies.csv", "b"), ("galaxies.csv", "c")]


def test_replacing_makes_a_version_of_its_own(factory: App) -> None:
    """The new content is there, the older version keeps the old, and shards without it are shared."""
    row = import_rows(factory, campaign(), [make_row(i) for i in range(10)])
    first = factory.catalogues.newest(row.id)
    packed = factory.catalogue.pack(first, POLICY)
    rows = [make_row(5, image=WHITE), make_row(2), make_row(30)]
    catalogue, record, _ = factory.catalogue._import(row, lambda _: rows, source="new", replace=True)
    assert outcome(record) == (1, 1, 1, 0)
    old, new = (factory.catalogues.by_id(c.id, ["g05"])[0] for c in (first, catalogue))
    assert factory.objects.get(new.image_key) == WHITE
    assert (new.row, new.evaluation) == (old.row, old.evaluation)
    assert old.image_key != new.image_key
    assert [s.index for s in factory.catalogues.image_shards(catalogue.id, pack_name(POLICY))] == [0]
    again = factory.catalogue.pack(catalogue, POLICY)
    assert again[0] == packed[0]
    assert again[1] != packed[1]
    assert [s.n_galaxies for s in again] == [4, 4, 3]
    assert (factory.catalogue.images_of(campaign(), catalogue.id, ["g05"]) == 255).all()
    import_rows(factory, campaign(), [make_row(40)])
    assert factory.catalogues.newest(row.id).n_galaxies == 12


def test_recorded_votes_grow_with_the_catalogue(factory: App) -> None:
    """Each galaxy has the votes that came with it."""
    row = import_rows(factory, campaign(), [make_row(1)])
    import_rows(factory, campaign(), [make_row(2), make_row(1)])
    newest = factory.catalogues.newest(row.id)
    ids, fractions = factory.catalogue.recorded_votes(newest)
    assert ids == ("g01", "g02")
    assert fractions.shape[0] == 2


def test_galaxies_can_follow_each_other_on_the_sky(factory: App, tmp_path: Path) -> None:
    """By HEALPix near ones lie in one shard; those without a position come last."""
    factory.campaigns.save(campaign())
    path = write_file(tmp_path, ["a", "b", "c", "d"], ra=[10, 200, 10.001, 200.001])
    path.write_text(path.read_text(encoding="utf-8") + "aa,,,a.png\n", encoding="utf-8")
    imported = factory.catalogue.import_file("test", path, order=Order.HEALPIX)
    ids = [g.galaxy_id for g in factory.catalogues.galaxies(imported.catalogue.id)]
    assert ids[-1] == "aa"
    assert {frozenset(ids[:2]), frozenset(ids[2:4])} == {frozenset("ac"), frozenset("bd")}


def test_membership_of_the_evaluation_stream_follows_from_the_id(factory: App) -> None:
    """Whichever version brings a galaxy, it is a member or not by its id alone."""
    row = import_rows(factory, campaign(), [make_row(1)])
    import_rows(factory, campaign(), [make_row(i) for i in range(2, 40)])
    seed, fraction = row.settings.seed, row.settings.evaluation.fraction
    galaxies = factory.catalogues.galaxies(factory.catalogues.newest(row.id).id)
    for galaxy in galaxies:
        member = is_evaluation_member(galaxy.galaxy_id, unbiased=True, seed=seed, fraction=fraction)
        assert galaxy.evaluation == member
    assert any(galaxy.evaluation for galaxy in galaxies)


class Stopped(Exception):
    """Raised in place of a kill."""


def test_an_import_that_stops_goes_on_where_it_was(factory: App, tmp_path: Path, monkeypatch) -> None:
    """Rows that were committed are not read again, and the outcome is that of one that never stopped."""
    monkeypatch.setattr(service, "FLUSH_ROWS", 3)
    factory.campaigns.save(campaign())
    path = write_file(tmp_path, [f"g{i}" for i in range(10)])
    (tmp_path / "g4.png").write_bytes(b"broken")
    path.write_text(path.read_text(encoding="utf-8") + "g1,1,0,g1.png\n", encoding="utf-8")
    add, calls = factory.imports.add, []

    def stopping(*args, **kwargs):
        calls.append(kwargs["rows_done"])
        if len(calls) == 3:
            raise Stopped
        add(*args, **kwargs)

    monkeypatch.setattr(factory.imports, "add", stopping)
    with pytest.raises(Stopped):
        factory.catalogue.import_file("test", path)
    monkeypatch.setattr(factory.imports, "add", add)
    for i in range(6):
        (tmp_path / f"g{i}.png").unlink()  # what is done is not read again
    imported = factory.catalogue.import_file("test", path)
    assert outcome(imported.record) == (9, 0, 0, 2)
    assert [(f.row, f.galaxy_id) for f in imported.faults] == [(5, "g4"), (11, "g1")]
    assert [g.galaxy_id for g in factory.catalogues.galaxies(imported.catalogue.id)] == [
        f"g{i}" for i in range(10) if i != 4
    ]


IMPORTER = """
import sys
from pathlib import Path
from alservice.catalogue import service
from alservice.storage.postgres import make_engine
from tests.support.worlds import make_factory
service.FLUSH_ROWS = 5
factory = make_factory(make_engine(sys.argv[1]), Path(sys.argv[2]))
add = factory.imports.add
def slowly(*args, **kwargs):
    add(*args, **kwargs)
    print(kwargs["rows_done"], flush=True)
    if kwargs["rows_done"] >= int(sys.argv[3]):
        sys.stdin.read()
factory.imports.add = slowly
factory.catalogue.import_file("test", Path(sys.argv[2]) / "galaxies.csv")
"""


def test_a_killed_import_leaves_nothing_half_visible(engine: Engine, database_url: str, tmp_path: Path) -> None:
    """After kill -9 there is no catalogue; the same import ends as if it had not been killed, and nothing waits."""
    factory = make_factory(engine, tmp_path)
    row = factory.campaigns.save(campaign())
    path = write_file(tmp_path, [f"g{i:02}" for i in range(20)])
    command = [sys.executable, "-c", IMPORTER, database_url, str(tmp_path), "10"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert [process.stdout.readline().strip() for _ in range(2)] == ["5", "10"]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert factory.catalogues.newest(row.id) is None
    imported = factory.catalogue.import_file("test", path)
    assert outcome(imported.record) == (20, 0, 0, 0)
    assert [g.galaxy_id for g in factory.catalogues.galaxies(imported.catalogue.id)] == [f"g{i:02}" for i in range(20)]
    with transaction(engine) as connection:
        for table in ("waiting_galaxies", "waiting_votes"):
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0


def test_two_imports_at_once_add_a_galaxy_once(factory: App) -> None:
    """Of two that read their rows before either ended, the later one finds what the earlier one has added."""
    row = factory.campaigns.save(campaign())
    other: list[CatalogueRow] = [make_row(1), make_row(2, image=WHITE), make_row(3)]

    def rows(_):
        yield make_row(1)
        yield make_row(2)

    finish = factory.imports.finish

    def later(import_id, **options):
        factory.imports.finish = finish
        factory.catalogue.import_rows(row, other, source="other")
        return finish(import_id, **options)

    factory.imports.finish = later
    catalogue, record, _ = factory.catalogue._import(row, rows, source="this")
    assert outcome(record) == (0, 0, 1, 1)
    assert [g.galaxy_id for g in factory.catalogues.galaxies(catalogue.id)] == ["g01", "g02", "g03"]
    assert [(f.row, f.galaxy_id) for f in factory.imports.faults(record.id)] == [(2, "g02")]


def test_nothing_that_becomes_a_galaxy_leaves_the_catalogue_as_it_is(factory: App) -> None:
    """The faults are there to be listed; a campaign without a catalogue is told that it has none."""
    row = factory.campaigns.save(campaign())
    with pytest.raises(BadInput, match="empty: row 1"):
        factory.catalogue.import_rows(row, [make_row(1, image=b"broken")], source="bad")
    import_rows(factory, campaign(), [make_row(2)])
    before = factory.catalogues.newest(row.id)
    assert factory.catalogue.import_rows(row, [replace(make_row(3), image=b"broken")], source="bad") == before
    assert [each.fault.galaxy_id for each in factory.catalogue.quarantine("test")] == ["g01", "g03"]
