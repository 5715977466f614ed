"""Images wherever people have them: every place and format, by every door, shown alike to volunteers and network."""

import io
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from PIL import Image

from alservice.app import App
from alservice.backfill.run import recorded_rows
from alservice.catalogue.files import CatalogueFile, images_in, open_catalogue
from alservice.catalogue.galaxies import CatalogueFault, CatalogueRow
from alservice.catalogue.image_source import IN_FLIGHT, ImageSource, images_at
from alservice.catalogue.tables import open_table
from alservice.errors import BadConfig, BadInput, ImagesUnavailable
from alservice.offline.commands import reader, stretch_of_models
from alservice.progress import NoProgress
from alservice.retry import RetryPolicy
from alservice.science.stretch import PRESETS
from alservice.science.tree import load_tree
from alservice.settings import Settings
from alservice.storage import images as image_files
from alservice.storage.images import encode_png
from alservice.storage.originals import shown
from alservice.storage.remote_images import AllowedHosts, Bounds, RemoteImages
from tests.support.image_server import LONGEST_S, ImageServer, body, certificate, endless, image_server, moved
from tests.support.s3 import S3Server
from tests.support.worlds import make_campaign

RINGS = load_tree("gz-rings")
GZ2 = load_tree("gz2")
YES, NO = RINGS.columns
RNG = np.random.default_rng(0)
PNG = encode_png(RNG.integers(0, 256, (3, 24, 24), dtype=np.uint8))
FLUX = RNG.normal(0, 1, (3, 24, 24)) + 40 * np.exp(-np.hypot(*np.indices((24, 24)) - 12) / 3)
BUCKET = "ring-images"


def fits_file() -> bytes:
    """Return a cutout."""
    buffer = io.BytesIO()
    fits.PrimaryHDU(FLUX).writeto(buffer)
    return buffer.getvalue()


FITS = fits_file()


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of this machine, which the fixture's server has and readers trust."""
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(pem: Path) -> Iterator[ImageServer]:
    """A server of images."""
    two = threading.Barrier(2, timeout=LONGEST_S)

    def together(connection: socket.socket) -> None:
        """Answer once another image is asked for as well."""
        two.wait()
        body(PNG)(connection)

    answers = {
        "/g.png": body(PNG),
        "/g.fits": body(FITS),
        "/a%2F..%2Fb.png": body(PNG),
        "/none.png": body(b"", status="404 Not Found"),
        "/page.png": body(b"<!DOCTYPE html><title>Log in</title>"),
        "/long.png": body(PNG, length=40 << 20),
        "/short.png": body(PNG, length=len(PNG) - 400),
        "/away.png": moved("https://127.0.0.1/g.png"),
        "/drip.png": endless(b"HTTP/1.0 200 OK\r\n\r\n", b"x", 0.02),
        **{f"/many/{i}.png": together for i in range(40)},
        "/down.png": body(b"", status="503 Service Unavailable"),
    }
    with image_server(answers, pem) as running:
        yield running


@pytest.fixture
def remote(server: ImageServer, pem: Path, moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> RemoteImages:
    """A reader that may ask the server and one bucket."""
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    client = boto3.session.Session().client("s3", endpoint_url=moto.endpoint_url)
    client.create_bucket(Bucket=BUCKET)
    client.put_object(Bucket=BUCKET, Key="g.png", Body=PNG)
    return RemoteImages(
        AllowedHosts.of(server.host),
        {BUCKET: {"endpoint_url": moto.endpoint_url}},
        tls=ssl.create_default_context(cafile=str(pem)),
        bounds=Bounds(total_s=3.0),
        retry=RetryPolicy(attempts=1, first_s=0.0),
    )


def catalogue(folder: Path, cells: list[str] | list[bytes], column: str = "image") -> Path:
    """Write a table of galaxies with votes, whose images are in these cells."""
    n = len(cells)
    columns = {"galaxy_id": [f"g{i}" for i in range(n)], column: cells, YES: [3.0] * n, NO: [1.0] * n}
    pq.write_table(pa.table(columns), folder / "galaxies.parquet")
    return folder / "galaxies.parquet"


def places(folder: Path, server: ImageServer) -> list[str]:
    """Return one image in every place, and the last as FITS."""
    (folder / "g.png").write_bytes(PNG)
    (folder / "g h.png").write_bytes(PNG)
    (folder / "g.fits").write_bytes(FITS)
    return [
        "g.png",
        str(folder / "g.png"),
        (folder / "g h.png").as_uri(),
        server.url("/g.png"),
        f"s3://{BUCKET}/g.png",
        "g.fits",
        server.url("/g.fits"),
    ]


def test_one_table_may_name_images_anywhere(tmp_path: Path, server: ImageServer, remote: RemoteImages):
    """Paths, file://, https:// and s3:// side by side, FITS stretched as asked; one column of ids, votes and cells."""
    path = catalogue(tmp_path, places(tmp_path, server))
    rows = list(open_catalogue(path, RINGS, remote=remote, stretch=PRESETS["hsc"]).rows())
    assert [getattr(row, "reason", None) for row in rows] == [None] * 7
    made = shown(FITS, PRESETS["hsc"]).data
    assert [(row.image, row.made_from) for row in rows] == [(PNG, None)] * 5 + [(made, "FITS")] * 2


BAD = {
    "/none.png": "the server answers 404",
    "/page.png": "not an image but HTML",
    "/long.png": "too many bytes",
    "/away.png": "the server 127.0.0.1 is not one of ALSERVICE_IMAGE_HOSTS",
    "/drip.png": "not whole after 3 s",
    "https://elsewhere.example/g.png": "the server elsewhere.example is not one of ALSERVICE_IMAGE_HOSTS",
    "http://elsewhere.example/g.png": "the server http://elsewhere.example is not one of",
    "s3://other/g.png": "the bucket 'other' is not one of ALSERVICE_IMAGE_BUCKETS",
    "ftp://elsewhere.example/g.png": "over https, http and s3, not ftp",
    "file://elsewhere/g.png": "a file of another machine",
    "file:///etc/hostname": "the file lies outside",
    "../g.png": "the file lies outside",
    "none.fits": "the file cannot be read",
}


def test_each_image_that_fails_is_a_fault_of_its_row(tmp_path: Path, server: ImageServer, remote: RemoteImages):
    """Requested is done and failed; the rows around are read, and a cut answer is told when it is decoded."""
    cells = [server.url(name) if name.startswith("/") else name for name in BAD]
    (tmp_path / "g.png").write_bytes(PNG)
    rows = list(open_catalogue(catalogue(tmp_path, ["g.png", *cells, "g.png"]), RINGS, remote=remote).rows())
    assert [row.row for row in rows] == list(range(1, len(cells) + 3))
    assert [isinstance(row, CatalogueRow) for row in rows] == [True, *[False] * len(cells), True]
    for fault, said in zip(rows[1:-1], BAD.values(), strict=True):
        assert isinstance(fault, CatalogueFault)
        assert said in fault.reason
        assert (fault.field, fault.galaxy_id) == ("image", f"g{fault.row - 1}")


def test_every_door_reads_the_same(
    factory: App, tmp_path: Path, server: ImageServer, remote: RemoteImages, monkeypatch: pytest.MonkeyPatch
):
    """Import, training, prediction and backfills show the same pixels of each place, and fail on the same rows."""
    monkeypatch.setattr(RemoteImages, "of", lambda _: remote)
    path = catalogue(tmp_path, [*places(tmp_path, server), server.url("/short.png"), server.url("/none.png")])
    stretch = PRESETS["decals"]
    opened = open_catalogue(path, RINGS, remote=remote, stretch=stretch)
    offline, faults = reader(opened, RINGS, size_px=16, channels=3, progress=NoProgress()).run(opened.rows())
    replayed, total, _ = recorded_rows(path, None, RINGS, stretch)
    rows = list(replayed)
    assert total == len(rows) == 9
    imported, galaxies = import_with(factory, path, remote, "decals")
    assert [g.galaxy_id for g in galaxies] == list(offline.galaxy_ids) == [f"g{i}" for i in range(7)]
    assert {fault.row for fault in faults} == {fault.row for fault in imported.faults} == {8, 9}
    for place, galaxy in enumerate(galaxies):
        stored = factory.objects.get(galaxy.image_key)
        assert stored == rows[place].image
        assert np.array_equal(image_files.decode(stored, size_px=16, channels=3), offline.images[place])


def import_with(factory: App, path: Path, remote: RemoteImages, stretch: str):
    """Import a file and return what it became and the galaxies."""
    factory.campaigns.save(make_campaign(tree=RINGS.name))
    service = replace(factory.catalogue, remote_images=remote)
    imported = service.import_file("test", path, stretch=PRESETS[stretch])
    return imported, factory.catalogues.galaxies(imported.catalogue.id)


def test_a_catalogue_says_what_is_shown_of_its_images(
    factory: App, tmp_path: Path, server: ImageServer, remote: RemoteImages
):
    """The stretch of each import, what was made from what, and what volunteers and the network see."""
    imported, _ = import_with(factory, catalogue(tmp_path, places(tmp_path, server)), remote, "euclid")
    assert {kind: (noted.n, noted.first) for kind, noted in imported.converted.items()} == {"FITS": (2, "g5")}
    card = factory.catalogue.card("test")
    document = card.document()
    assert [(each["stretch"], each["n_added"]) for each in document["imports"]] == [("euclid", 7)]
    assert "FITS" in document["shown"]["volunteers"]
    assert f"{make_campaign().images.size_px} px" in document["shown"]["network"]
    assert any("stretch of fluxes: euclid" in line for _, line in card.rows())
    again = factory.catalogue.import_file("test", tmp_path / "galaxies.parquet", stretch=PRESETS["plain"])
    assert again.record.n_failed == 4  # no addresses here, and two files of other content
    assert [each["stretch"] for each in factory.catalogue.card("test").document()["imports"]] == ["euclid", "plain"]


def test_several_images_are_in_flight(tmp_path: Path, server: ImageServer, remote: RemoteImages):
    """As many as are allowed and no more, and the rows keep their order."""
    server.most_at_once = 0
    path = catalogue(tmp_path, [server.url(f"/many/{i}.png") for i in range(40)])
    rows = list(open_catalogue(path, RINGS, remote=remote).rows())
    assert [row.galaxy_id for row in rows] == [f"g{i}" for i in range(40)]
    assert all(isinstance(row, CatalogueRow) for row in rows)
    assert 2 <= server.most_at_once <= IN_FLIGHT


def test_a_server_that_is_down_ends_the_import_and_loses_nothing(tmp_path: Path, server: ImageServer, pem: Path):
    """A night without the archive is no catalogue of faults."""
    path = catalogue(tmp_path, [server.url("/down.png")] * 30)
    down = RemoteImages(
        AllowedHosts.of(server.host),
        {},
        tls=ssl.create_default_context(cafile=str(pem)),
        bounds=Bounds(failures=5),
        retry=RetryPolicy(attempts=1, first_s=0.0),
    )
    with pytest.raises(ImagesUnavailable, match=r"5 failures in a row, the last: .*503"):
        list(open_catalogue(path, RINGS, remote=down).rows())


def test_names_are_filled_into_addresses(tmp_path: Path, server: ImageServer, remote: RemoteImages):
    """A pattern may be an address; no id leads out of it."""
    columns = {"galaxy_id": ["g", "a/../b"], YES: [3.0, 3.0], NO: [1.0, 1.0]}
    pq.write_table(pa.table(columns), tmp_path / "galaxies.parquet")
    table = open_table(tmp_path / "galaxies.parquet")
    for place in (server.url("/{id}.png"), Path(server.url("/{id}.png"))):
        images = images_in(place, table)
        rows = list(open_catalogue(table, RINGS, images=images, remote=remote).rows())
        assert [row.image for row in rows] == [PNG, PNG]


@pytest.mark.parametrize(
    ("place", "name", "expected"),
    [
        ("images", "{id}.png", ("images", "{id}.png")),
        ("images/{id}.png", "{id}.jpg", ("images", "{id}.png")),
        ("https://host/images/", "{id}.png", (".", "https://host/images/{id}.png")),
        (Path("s3://bucket/images"), "{id:.4}/{id}.png", (".", "s3://bucket/images/{id:.4}/{id}.png")),
        ("file:///srv/images", "{id}.png", ("/srv/images", "{id}.png")),
    ],
)
def test_what_may_stand_for_a_folder(place: Path | str, name: str, expected: tuple[str, str]):
    """A folder, an address, either with a pattern; of a path one slash was lost."""
    images = images_at(place, name)
    assert (str(images.folder), images.pattern) == expected


def test_a_pattern_that_is_none_is_refused():
    """As for files."""
    with pytest.raises(BadInput, match="must hold"):
        images_at("https://host/{name}.png")


def test_addresses_are_refused_where_nobody_may_ask(tmp_path: Path):
    """A reader of files alone."""
    (fault,) = open_catalogue(catalogue(tmp_path, ["https://host/a.png?key=secret"]), RINGS).rows()
    assert fault.reason == "https://host/a.png: addresses are not read here"
    source = ImageSource(folder=tmp_path, column="image")
    assert source.field == "image"
    (fault,) = open_catalogue(
        catalogue(tmp_path, ["https://host/a.png"]), RINGS, remote=RemoteImages.of(Settings())
    ).rows()
    assert "the server host is not one of ALSERVICE_IMAGE_HOSTS" in fault.reason


def test_a_model_is_predicted_with_the_stretch_that_it_was_trained_with(tmp_path: Path):
    """Its folder says which; another is refused, and weights alone have to be told."""
    for name, text in (("a", "decals"), ("b", "hsc,softening=5")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").write_text(f'{{"stretch": "{text}"}}', encoding="ascii")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "card.json").write_text("{}", encoding="ascii")
    assert stretch_of_models([tmp_path / "a"], None) == PRESETS["decals"]
    assert stretch_of_models([tmp_path / "b"], "hsc,softening=5").softening == 5
    assert stretch_of_models([tmp_path / "old"], None) == PRESETS["plain"]
    assert stretch_of_models([tmp_path / "weights.safetensors"], "euclid") == PRESETS["euclid"]
    with pytest.raises(BadConfig, match="was trained with stretch decals, not plain"):
        stretch_of_models([tmp_path / "a"], "plain")
    with pytest.raises(BadConfig, match="several stretches: decals, hsc,softening=5"):
        stretch_of_models([tmp_path / "a", tmp_path / "b"], None)


def test_a_bytes_column_holds_any_format(tmp_path: Path):
    """As files do."""
    image = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(image, "WEBP")
    source: CatalogueFile = open_catalogue(catalogue(tmp_path, [PNG, FITS, image.getvalue()]), RINGS)
    assert [row.made_from for row in source.rows()] == [None, "FITS", "WebP"]
