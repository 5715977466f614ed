"""Fetching GZ2 from a mirror: a folder that a backfill reads."""

import csv
import gzip
import hashlib
import http.server
import io
import threading
import zipfile
from dataclasses import replace
from functools import partial

import pytest

from alservice.catalogue import gz2 as published_data
from alservice.catalogue.gz2 import GalaxyJoin, Release, RemoteFile, fetch_release, unpack_images
from alservice.errors import BadInput, NotFound, StorageFull
from alservice.ids import RoundedId
from alservice.progress import NoProgress

VOTES = """dr7objid,ra,dec,sample,t01_smooth_or_features_a01_smooth_count
11,10.0,-5.0,original,30
12,11.0,-5.0,stripe82,30
11,10.0,-5.0,extra,31
13,12.0,-5.0,original,32
14,13.0,-5.0,original,33
"""
MAPPING = "objid,sample,asset_id\n11,original,101\n11,extra,901\n13,original,103\n12,stripe82,102\n14,original,104\n"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *_):
        """Keep the test's output clean."""


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A server with a release of five rows; its digests are those of the release."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "gz2_hart16.csv.gz").write_bytes(gzip.compress(VOTES.encode()))
    (folder / "gz2_filename_mapping.csv").write_text(MAPPING)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("images/101.jpg", "images/103.jpg", "images/._104.jpg", "images/readme.txt"):
            archive.writestr(name, b"a picture")
    (folder / "images_gz2.zip").write_bytes(packed.getvalue())
    files = tuple(
        RemoteFile(name=path.name, url="", md5=hashlib.md5(path.read_bytes()).hexdigest()) for path in folder.iterdir()
    )
    monkeypatch.setitem(published_data.RELEASES, "gz2", Release(name="gz2", files=files, cite="somebody"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def fetch(mirror, out):
    """Fetch the release."""
    return fetch_release("gz2", out, NoProgress(), mirror=mirror, needed_bytes=1)


def drop_checksums(monkeypatch) -> None:
    """Make the release one whose publisher gives no checksums, so that what lies in the folder is read."""
    release = published_data.RELEASES["gz2"]
    files = tuple(replace(file, md5=None) for file in release.files)
    monkeypatch.setitem(published_data.RELEASES, "gz2", replace(release, files=files))


def test_rows_with_an_image_become_a_table_and_the_others_are_counted(mirror, tmp_path) -> None:
    """Stripe 82, repeats and missing images are left out by name, as the paper does."""
    _, table, joined = fetch(mirror, tmp_path / "gz2")
    with gzip.open(table, "rt") as file:
        rows = list(csv.DictReader(file))
    assert [(r["dr7objid"], r["image_path"]) for r in rows] == [("11", "images/101.jpg"), ("13", "images/103.jpg")]
    assert all((table.parent / row["image_path"]).read_bytes() == b"a picture" for row in rows)
    assert (joined.galaxies, joined.stripe82, joined.repeated, joined.imageless) == (2, 1, 1, 1)
    assert joined.rows == 5


def test_fetching_again_changes_nothing(mirror, tmp_path) -> None:
    """The same bytes, images included."""
    _, table, first = fetch(mirror, tmp_path / "gz2")
    before = table.read_bytes()
    _, again, second = fetch(mirror, tmp_path / "gz2")
    assert again.read_bytes() == before
    assert first == second


def test_an_unknown_release_and_a_full_disk_are_named(tmp_path) -> None:
    """Before anything is sent."""
    with pytest.raises(NotFound, match="'gz3'; known: gz2"):
        fetch_release("gz3", tmp_path, NoProgress())
    with pytest.raises(StorageFull, match="are needed"):
        fetch_release("gz2", tmp_path, NoProgress(), needed_bytes=1 << 60)


def test_a_table_without_its_columns_is_named(mirror, tmp_path, monkeypatch) -> None:
    """A release of another layout is not guessed at."""
    out = tmp_path / "gz2"
    out.mkdir()
    (out / "gz2_filename_mapping.csv").write_text("a,b\n1,2\n")
    drop_checksums(monkeypatch)
    with pytest.raises(BadInput, match=r"gz2_filename_mapping\.csv: no column 'objid'"):
        fetch(mirror, out)


def test_a_release_whose_ids_went_through_floats_is_refused(mirror, tmp_path, monkeypatch) -> None:
    """Kind: ids rounded before they reach us. Joining them would give galaxies each other's images."""
    out = tmp_path / "gz2"
    out.mkdir()
    (out / "gz2_filename_mapping.csv").write_text("objid,asset_id\n5.877e+17,1\n")
    drop_checksums(monkeypatch)
    with pytest.raises(RoundedId, match=r"gz2_filename_mapping\.csv: objid: '5.877e\+17' is a float"):
        fetch(mirror, out)


def test_an_image_that_is_there_is_the_archives(mirror, tmp_path) -> None:
    """One that was cut short or changed is unpacked again; the kind: what is found is taken for what was written."""
    _, table, _ = fetch(mirror, tmp_path / "gz2")
    images = table.parent / "images"
    (images / "101.jpg").write_bytes(b"a pic")
    (images / "103.jpg").write_bytes(b"a pictuer")
    (images / "999.jpg").write_bytes(b"nobody's")
    fetch(mirror, tmp_path / "gz2")
    assert [(images / name).read_bytes() for name in ("101.jpg", "103.jpg")] == [b"a picture"] * 2


def test_a_member_that_unfolds_to_more_than_an_image_is_refused_unread(tmp_path) -> None:
    """A few kilobytes can hold a gigabyte."""
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("images/101.jpg", bytes(2_000_000))
    with pytest.raises(BadInput, match=r"images/101\.jpg unfolds to 2,000,000 bytes"):
        unpack_images(archive, tmp_path / "images")
    assert list((tmp_path / "images").iterdir()) == []


def test_an_archive_that_cannot_be_unpacked_is_named(tmp_path) -> None:
    """Cut within a member, or packed in a way that needs a password or another program."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("images/101.jpg", bytes(range(256)) * 20)
    data = whole.getvalue()
    start = data.index(b"PK\x01\x02")
    encrypted = data[:6] + b"\x01" + data[7 : start + 8] + b"\x01" + data[start + 9 :]
    strange = data[: start + 10] + b"\x63" + data[start + 11 :]
    changed = data[:60] + bytes([data[60] ^ 255]) + data[61:]
    for name, content in {"cut": data[:100], "encrypted": encrypted, "strange": strange, "changed": changed}.items():
        archive = tmp_path / f"{name}.zip"
        archive.write_bytes(content)
        with pytest.raises(BadInput, match=rf"{name}\.zip"):
            unpack_images(archive, tmp_path / "images")


def test_of_a_repeated_galaxy_the_first_row_counts() -> None:
    """Also when it has no image: the second row is the same galaxy."""
    join = GalaxyJoin({"1": "a"}, frozenset())
    assert join.image_of("1", "original") is None
    assert join.image_of("1", "extra") is None
    assert (join.joined().imageless, join.joined().repeated, join.joined().galaxies) == (1, 1, 0)
