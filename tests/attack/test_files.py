"""Every hostile file is answered, within bounded memory; times are printed by the command and never asserted."""

import pytest

from tests.attack.files import CASES, CEILING_MB, DOORS, measure

LONG = {
    "csv_zipped",
    "export_of_long_rows",
    "parquet_of_one_large_page",
    "png_that_inflates",
    "workflows_of_many_values",
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in CASES])
def test_a_hostile_file_is_answered_within_bounds(name: str) -> None:
    """Kind: a small file that takes a machine. It ends in rows and faults or in a typed error, and takes little."""
    seen = measure(name)
    assert seen["mb"] is not None, seen
    assert seen["mb"] < CEILING_MB, seen


def test_every_door_has_a_case() -> None:
    """A door that is added without a hostile file is found."""
    assert {door for door, _ in CASES.values()} == set(DOORS)
