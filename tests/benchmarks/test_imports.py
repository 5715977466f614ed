"""The benchmark of imports, small: every row becomes a galaxy, and every galaxy is packed."""

import pytest

from tests.benchmarks.imports import main


@pytest.mark.slow
def test_every_row_is_a_galaxy_and_packed() -> None:
    """Pillow's loop, import and packing, and a long import end with as many as they began with."""
    results = main(["--images", "12", "--rows", "50"])
    assert [result.expected for result in results] == [12, 12, 5, 50]
    assert all(result.done == result.expected for result in results)
