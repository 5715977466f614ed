"""Catalogues that try something: images from elsewhere, what is no file, and values that no database holds."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from alservice.catalogue.files import open_catalogue
from alservice.catalogue.galaxies import CatalogueFault, CatalogueRow
from alservice.catalogue.image_source import ImageSource
from alservice.errors import BadInput
from alservice.files import open_regular, read_regular, sha256_of_file
from alservice.science.tree import load_tree
from alservice.storage.images import encode_png

RINGS = load_tree("gz-rings")
YES, NO = RINGS.columns
IMAGE = encode_png(np.zeros((1, 4, 4), dtype=np.uint8))


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    """A folder for a catalogue, beside one with an image that is none of its business."""
    for folder in ("survey", "private"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(IMAGE)
    return tmp_path / "survey"


def read(path: Path, **options) -> list[CatalogueRow | CatalogueFault]:
    """Read a catalogue."""
    return list(open_catalogue(path, RINGS, **options).rows())


def table(folder: Path, form: str, **columns) -> Path:
    """Write a catalogue as CSV or Parquet."""
    path = folder / f"galaxies.{form}"
    rows = pa.table(columns)
    if form == "csv":
        pc.write_csv(rows, path)
    else:
        pq.write_table(rows, path)
    return path


@contextmanager
def bounded(seconds: int) -> Iterator[None]:
    """End a test that waits."""

    def late(*_: object) -> None:
        raise TimeoutError("it waited")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# Images from elsewhere


def paths_out(survey: Path) -> list[str]:
    """Return every way in which a path may lead out of a folder."""
    private = survey.parent / "private"
    (survey / "link.png").symlink_to(private / "a.png")
    (survey / "folder").symlink_to(private)
    (survey / "back").symlink_to("..")
    (survey / "ring").symlink_to("ring")
    return [
        str(private / "a.png"),
        "../private/a.png",
        "./x/../../private/a.png",
        "link.png",
        "folder/a.png",
        "back/private/a.png",
        "/etc/hostname",
        "/proc/self/environ",
        "ring",
        "ring/a.png",
    ]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_no_path_leads_out_of_the_folder(survey: Path, form: str):
    """Kind: a catalogue that publishes files of the machine. Absolute paths, `..` and links are faults of their row."""
    names = ["a.png", str(survey / "a.png"), *paths_out(survey)]
    catalogue = table(survey, form, galaxy_id=[f"g{i}" for i in range(len(names))], image_path=names)
    rows = read(catalogue)
    assert [isinstance(row, CatalogueRow) for row in rows] == [True, True, *[False] * (len(names) - 2)]
    faults = [row for row in rows if isinstance(row, CatalogueFault)]
    assert {fault.field for fault in faults} == {"image_path"}
    assert all("lies outside survey" in fault.reason for fault in faults if "ring" not in names[fault.row - 1])
    roots = (survey.parent / "private",)
    allowed = [isinstance(row, CatalogueRow) for row in read(catalogue, roots=roots)]
    assert allowed == [True] * 8 + [False] * 4


def test_no_id_leads_out_of_the_folder_of_images(survey: Path):
    """Files named after galaxies: an id is a path too."""
    ids = ["a", "../private/a", str(survey.parent / "private" / "a"), "link"]
    (survey / "link.png").symlink_to(survey.parent / "private" / "a.png")
    catalogue = table(survey, "csv", galaxy_id=ids)
    rows = read(catalogue, images=ImageSource(folder=survey, pattern="{id}.png"))
    assert [isinstance(row, CatalogueRow) for row in rows] == [True, False, False, False]


def test_a_folder_that_is_a_link_itself_is_as_it_was_named(survey: Path):
    """Who names a folder means where it is."""
    (survey.parent / "named").symlink_to(survey)
    table(survey, "csv", galaxy_id=["g"], image_path=["a.png"])
    assert all(isinstance(row, CatalogueRow) for row in read(survey.parent / "named" / "galaxies.csv"))


# What is no file


def not_files(folder: Path) -> dict[str, Path]:
    """Return one of each kind that is no regular file."""
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(folder / "socket.png"))
    (folder / "folder.png").mkdir()
    found = {name: folder / f"{name}.png" for name in ("pipe", "socket", "folder")}
    return found | {"device": Path("/dev/zero"), "terminal": Path("/dev/tty"), "nothing": folder / "none.png"}


def test_pipes_sockets_and_devices_are_refused_unopened(survey: Path):
    """Kind: a name of what is no file. A pipe waits for ever, a device gives without end, and some act when opened."""
    with bounded(10):
        for path in not_files(survey).values():
            for read_one in (open_regular, sha256_of_file, lambda path: read_regular(path, max_bytes=10)):
                with pytest.raises(BadInput, match=str(path)):
                    read_one(path)
        names = [path.name for path in not_files_there(survey)]
        rows = read(table(survey, "csv", galaxy_id=names, image_path=names))
        assert all(isinstance(row, CatalogueFault) and row.field == "image_path" for row in rows)
        for form in ("csv", "parquet"):
            os.mkfifo(survey / f"catalogue.{form}")
            with pytest.raises(BadInput):
                read(survey / f"catalogue.{form}")


def not_files_there(survey: Path) -> list[Path]:
    """Return what `not_files` made."""
    return sorted(path for path in survey.glob("*.png") if path.name != "a.png")


def test_a_file_is_read_up_to_a_bound(tmp_path: Path):
    """And not beyond, however long it is."""
    path = tmp_path / "long"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BadInput, match="longer than 1,000 bytes"):
        read_regular(path, max_bytes=1000)
    (tmp_path / "short").write_bytes(b"12")
    assert read_regular(tmp_path / "short", max_bytes=2) == b"12"


# Values that no database holds

LONG = "x" * 5000
ODD = ["a\0b", "\0", "a\tb", LONG, "\u202egalaxy", " g", "\ufffd"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_an_id_that_cannot_be_stored_is_a_fault_of_its_row(survey: Path, form: str):
    """Kind: one value loses a whole import. The fault itself can be stored: no NUL, and no text without end."""
    ids = ["g0", *ODD, "g1"]
    rows = read(table(survey, form, galaxy_id=ids, image_path=["a.png"] * len(ids)))
    assert [row.row for row in rows if isinstance(row, CatalogueRow)] == [1, len(ids)]
    for fault in rows[1:-1]:
        assert isinstance(fault, CatalogueFault)
        assert fault.field == "galaxy_id"
        assert "\0" not in f"{fault.galaxy_id}{fault.field}{fault.reason}"
        assert len(fault.reason) < 600
        assert fault.galaxy_id is None or len(fault.galaxy_id) <= 200


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("cell", [b"caf\xe9", b"\xed\xa0\x80", b"\xff\xfe", b"\xc0\x80"])
def test_bytes_that_are_no_text_are_a_fault_of_their_row(survey: Path, form: str, cell: bytes):
    """Latin-1, half a surrogate pair and an overlong NUL, as an id, as a path and as a number."""
    columns = {
        "galaxy_id": b"g",
        "image_path": b"a.png",
        YES: b"3",
        NO: b"1",
        "ra": b"1",
        "dec": b"1",
        "random_block": b"1",
    }
    rows = [list(columns.values())]
    for place in range(len(columns)):
        given = list(columns.values())
        given[0] = b"g%d" % place
        given[place] = cell
        rows.append(given)
    path = survey / f"galaxies.{form}"
    if form == "csv":
        path.write_bytes(b"\n".join([",".join(columns).encode(), *(b",".join(row) for row in rows)]) + b"\n")
    else:
        arrays = [pa.array(list(column), pa.binary()).view(pa.string()) for column in zip(*rows, strict=True)]
        pq.write_table(pa.table(arrays, names=list(columns)), path)
    outcomes = read(path)
    assert [isinstance(row, CatalogueRow) for row in outcomes] == [True, *[False] * len(columns)]
    named = [row.field for row in outcomes[1:] if isinstance(row, CatalogueFault)]
    question = RINGS.questions[0].name
    assert named == ["galaxy_id", "image_path", question, question, "ra", "dec", "random_block"]


@pytest.mark.parametrize("value", ["1e300", "9223372036854775808", "1" * 400, "-inf", "2147483648"])
def test_a_vote_beyond_any_count_is_a_fault_of_its_row(survey: Path, value: str):
    """Kind: numbers out of range, which wrap around where they become integers."""
    columns = {"galaxy_id": ["a", "b"], "image_path": ["a.png"] * 2, YES: [value, "3"], NO: ["1", "4"]}
    fault, row = read(table(survey, "csv", **columns))
    assert isinstance(fault, CatalogueFault)
    assert fault.field == RINGS.questions[0].name
    assert isinstance(row, CatalogueRow)


def test_integers_beyond_what_a_float_holds_lose_no_import(survey: Path):
    """Parquet has wider integers than numbers have digits."""
    columns = {"galaxy_id": [2**63 - 1, 5], "image_path": ["a.png"] * 2, YES: [2**53 + 1, 3], NO: [1, 4]}
    fault, row = read(table(survey, "parquet", **columns))
    assert isinstance(fault, CatalogueFault)
    assert isinstance(row, CatalogueRow)


def test_a_fault_can_always_be_recorded():
    """Whatever stood in the row, and whoever found it."""
    fault = CatalogueFault(row=1, galaxy_id="a\0", field="f\0", reason="\ud800" + LONG)
    assert (fault.galaxy_id, fault.field) == (None, "f\\x00")
    assert fault.reason.startswith("\\ud800x")
    assert len(fault.reason) < 600
    assert CatalogueFault(row=1, galaxy_id="a", field="f", reason="r").galaxy_id == "a"


def test_a_header_without_end_is_refused_at_once(survey: Path):
    """Kind: time that grows by the square. A hundred thousand columns, of which one is given twice."""
    (survey / "wide.csv").write_text(
        ",".join(map(str, range(100_000))) + ",1\n" + "," * 100_000 + "\n", encoding="ascii"
    )
    with bounded(20), pytest.raises(BadInput, match="100,001 columns"):
        read(survey / "wide.csv")
