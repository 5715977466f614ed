"""A backfill's findings in words and figures."""

import pytest

from alservice.backfill.savings import floor_table
from tests.support.backfills import a_round


def runs(*rmse):
    """Return one policy with a run of two rounds per last RMSE."""
    return [("random", [[a_round(rmse=0.5), a_round(number=1, labels=14, rmse=last)] for last in rmse])]


def test_what_is_above_the_noise_is_what_a_model_is_to_blame_for() -> None:
    """Squares of independent errors add up: 0.5 with a noise of 0.3 leaves 0.4."""
    table = floor_table(runs(0.3), noise=0.3, nll=0.15)
    assert table.rows == (("random", "10", "0.0500", "0.4000"), ("random", "14", "0.0500", "0.0000"))
    assert "0.1500 nats per vote, and an RMSE of 0.3000" in table.title


@pytest.mark.parametrize(("noise", "text"), [(None, "-"), (0.6, "none")])
def test_nothing_is_made_of_what_cannot_be_said(noise, text) -> None:
    """A tree has no RMSE; an error below the noise that was estimated leaves no root."""
    assert [row[-1] for row in floor_table(runs(0.3), noise=noise, nll=0.1).rows] == [text, text]
