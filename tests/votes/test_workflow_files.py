"""Files of workflow versions: whole and named, or refused with the place that is wrong."""

import csv
import gzip
import io
import json
from pathlib import Path

import pytest

from alservice.errors import BadInput
from alservice.votes.decoding import read_workflows
from alservice.zooniverse.workflow import tasks_of
from tests.support.worlds import TREE

HEADER = ["workflow_id", "version", "minor_version", "tasks", "strings"]
ENTRY = {"id": "10", "version": "28.30", "tasks": tasks_of(TREE)}


def table(*rows: list[str], header: list[str] = HEADER) -> bytes:
    """Return a workflows export."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().encode()


GOOD = ["10", "28", "30", json.dumps(tasks_of(TREE)), ""]


@pytest.mark.parametrize(
    "data",
    [
        table(GOOD),
        b"\xef\xbb\xbf" + table(GOOD),
        gzip.compress(table(GOOD)),
        json.dumps({"workflows": [ENTRY]}).encode(),
        json.dumps(ENTRY).encode(),
        gzip.compress(json.dumps([ENTRY]).encode()),
    ],
    ids=["csv", "csv with a mark", "csv.gz", "wrapped", "bare", "list.gz"],
)
def test_every_form_gives_the_same_version(tmp_path: Path, data: bytes) -> None:
    """An export or what the API gives, zipped or not."""
    path = tmp_path / "versions"
    path.write_bytes(data)
    (found,) = read_workflows(path)
    assert (found.workflow_id, found.version, set(found.tasks)) == (10, "28.30", set(tasks_of(TREE)))


REFUSED = {
    "empty": (b"", "holds no workflow version"),
    "header alone": (table(), "holds no workflow version"),
    "empty list": (b"[]", "holds no workflow version"),
    "no list": (b'{"workflows": 5}', "is not a list"),
    "json cut": (b'{"workflows": [{"id": 10', "is not JSON"),
    "gzip cut": (gzip.compress(json.dumps(ENTRY).encode())[:40], "cannot be read to its end"),
    "gzip of csv cut": (gzip.compress(table(GOOD))[:-20], "ends with the file"),
    "another table": (table(header=["a", "b"]), "not a workflows export"),
    "id as a float": (table(["10.0", *GOOD[1:]]), "row 1: '10.0' is a float and no id"),
    "number as a float": (table([GOOD[0], "28.0", *GOOD[2:]]), "row 1: '28.0' is a float and no id"),
    "json id as a float": (json.dumps([ENTRY | {"id": 10.5}]).encode(), "entry 1: .*10.5 is a float and no id"),
    "too few cells": (table(GOOD, GOOD[:3]), "row 2: has 3 of 5 cells"),
    "tasks cut": (table([*GOOD[:3], GOOD[3][:-5], ""]), "row 1: "),
    "deep": (table([*GOOD[:3], "[" * 200_000, ""]), "row 1: "),
    "version as number": (json.dumps({**ENTRY, "version": 28.3}).encode(), "28.30 is not 28.3"),
    "Latin-1": (table(GOOD).replace(b"smooth", b"sm\xf6oth"), "is not UTF-8"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_definition_is_refused_by_name(tmp_path: Path, name: str) -> None:
    """The message names the file and the place; nothing is half read."""
    data, reason = REFUSED[name]
    path = tmp_path / "versions.file"
    path.write_bytes(data)
    with pytest.raises(BadInput, match=reason) as caught:
        read_workflows(path)
    assert "versions.file" in caught.value.message


def test_a_folder_and_nothing_are_refused(tmp_path: Path) -> None:
    """By their path."""
    for path in (tmp_path, tmp_path / "absent.csv"):
        with pytest.raises(BadInput, match=path.name):
            read_workflows(path)
