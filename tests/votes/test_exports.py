"""Exports as wholes: repeat, stale and shrunk are told by name."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from alservice.votes.exports import ExportReceipt, suspicions

GOOD = ExportReceipt(
    name="new.csv", digest="a", n_rows=100, newest_id=500, newest_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
)
EARLIER = replace(GOOD, name="old.csv", digest="b", n_rows=90, newest_id=400)


def test_a_larger_file_with_the_newest_rows_is_good() -> None:
    """Nothing is said of what is as it should be, the first file included."""
    assert suspicions(GOOD, [EARLIER], 0) == ()
    assert suspicions(GOOD, [], 0) == ()


@pytest.mark.parametrize(
    ("export", "n_newer", "names"),
    [
        (replace(GOOD, digest="b"), 0, ["repeat"]),
        (GOOD, 7, ["stale"]),
        (replace(GOOD, n_rows=89), 0, ["shrunk"]),
        (replace(EARLIER, name="again.csv"), 3, ["repeat", "stale"]),
        (replace(GOOD, n_rows=0, newest_id=None, newest_at=None), 0, ["shrunk"]),
    ],
)
def test_what_is_wrong_has_its_name(export: ExportReceipt, n_newer: int, names: list[str]) -> None:
    """Each warning begins with its name and says what it was seen by."""
    found = suspicions(export, [EARLIER], n_newer)
    assert [text.partition(":")[0] for text in found] == names
    assert all(export.name in text for text in found)


def test_a_stale_file_says_how_far_it_goes() -> None:
    """The newest row, its time, and how many are known beyond it."""
    (text,) = suspicions(GOOD, [], 7)
    assert text == "stale: new.csv ends with classification 500 of 2026-01-02 03:04 UTC; 7 later ones are known already"
