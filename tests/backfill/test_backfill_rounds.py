"""Rounds in a folder: whole or not there."""

import numpy as np
import pytest

from alservice.backfill.run import RoundFolder
from alservice.errors import BadInput, NotFound
from tests.support.backfills import a_round


def test_a_round_comes_back_as_it_was(tmp_path) -> None:
    """Its document and its terms."""
    folder = RoundFolder(tmp_path)
    assert folder.get("random", 0, 0) is None
    done = a_round(terms=np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32))
    folder.save(done, b"weights")
    back = folder.get("random", 0, 0)
    assert back is not None
    assert back.document() == done.document()
    np.testing.assert_array_equal(back.terms, done.terms)
    assert folder.count() == 1


def test_only_the_model_that_chooses_next_is_kept(tmp_path) -> None:
    """A run of many rounds does not fill the disk."""
    folder = RoundFolder(tmp_path)
    folder.save(a_round(number=1, champion_round=1), b"one")
    folder.save(a_round(number=2, champion_round=1, verdict="hold"), b"two")
    assert folder.model("random", 0, 1) == b"one"
    with pytest.raises(NotFound, match="round 2"):
        folder.model("random", 0, 2)
    folder.save(a_round(number=3, champion_round=3), b"three")
    with pytest.raises(NotFound):
        folder.model("random", 0, 1)
    assert folder.model("random", 0, 3) == b"three"


def test_a_damaged_round_is_named(tmp_path) -> None:
    """With what to do about it."""
    (tmp_path / "random-000-000.npz").write_bytes(b"not a round")
    with pytest.raises(BadInput, match=r"random-000-000\.npz.*remove it"):
        RoundFolder(tmp_path).get("random", 0, 0)
