"""Throttled and stale exports on a real database, by way of the factory's job."""

from pathlib import Path

import pytest

from tests.support.exports import write_export
from tests.votes.test_collect_classifications import START
from tests.votes.test_ingest import FileWorld, cells, put, world

__all__ = ["world"]  # the fixture is shared


@pytest.fixture
def ingest(world: FileWorld, tmp_path: Path):
    """Return a function that ingests rows as a named file and returns the names of its warnings."""

    def warnings_of(name: str, rows: list[list[str]], **options: bool) -> list[str]:
        report = world.factory.votes.ingest_export("test", write_export(tmp_path / name, rows, **options))
        assert [f"warning: {text}" in report.text() for text in report.warnings] == [True] * len(report.warnings)
        return [text.partition(":")[0] for text in report.warnings]

    return warnings_of


def test_a_growing_series_of_exports_is_good(ingest) -> None:
    """Each holds what the last did, and more."""
    assert ingest("monday.csv", [cells(1), cells(2)]) == []
    assert ingest("tuesday.csv", [cells(1), cells(2), cells(3)]) == []


def test_the_same_bytes_under_another_name_are_a_repeat(ingest, world: FileWorld) -> None:
    """A cancelled request serves the old file; what it holds is in already and stays."""
    rows = [cells(1), cells(2)]
    assert ingest("monday.csv", rows) == []
    assert ingest("tuesday.csv", rows) == ["repeat"]
    assert ingest("wednesday.csv", [*rows, cells(3)]) == []
    assert ingest("thursday.csv", rows) == ["repeat", "stale", "shrunk"]
    assert world.votes() == {"g00": 3}


def test_a_file_that_the_api_has_overtaken_is_stale(ingest, world: FileWorld) -> None:
    """Rows known from the listing beyond the file's newest one give it away; broken rows count as rows."""
    for number in (1, 2, 9):
        world.send(number)
    world.run()
    assert ingest("late.csv", [cells(1), cells(2)]) == ["stale"]
    assert ingest("later.csv", [cells(9), put(cells(1), 10, "{"), put(cells(2), 10, "{")]) == []


def test_an_export_of_broken_rows_alone_is_remembered(ingest, world: FileWorld) -> None:
    """A file without one good row has no newest classification."""
    assert ingest("broken.csv", [put(cells(1), 10, "{")]) == []
    (receipt,) = world.factory.exports.list(world.campaign.id)
    assert (receipt.n_rows, receipt.newest_id, receipt.newest_at) == (1, None, None)


def test_the_newest_row_is_found_wherever_it_stands(ingest, world: FileWorld) -> None:
    """Batches need not end with their highest id."""
    ingest("mixed.csv", [cells(7), cells(3), cells(5)])
    (receipt,) = world.factory.exports.list(world.campaign.id)
    assert (receipt.n_rows, receipt.newest_id) == (3, START + 7)
