"""``kill -9`` in training and in predicting files: the same command goes on, to the same bytes."""

from pathlib import Path

import pytest

from tests.support.files import write_galaxies
from tests.support.rehearsals import run_alservice, run_killed

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

WRITE = "alservice.storage.run_folder:RunFolder.write"


def test_killed_commands_end_as_unkilled_ones(tmp_path: Path) -> None:
    """Killed after the third checkpoint, and between a shard's faults and its table."""
    data = write_galaxies(tmp_path / "g.parquet", 40, broken=(7,))
    train = ("train", "--data", str(data), "--tree", "gz2", "--px", "16", "--field", "1", "--steps", "40")
    train += ("--batch", "4", "--threads", "1", "--device", "cpu", "--out")
    predict = (
        "predict",
        "--data",
        str(data),
        "--device",
        "cpu",
        "--draws",
        "4",
        "--model",
        str(tmp_path / "a"),
        "--out",
    )
    for command, name, result, calls in (
        (train, ("a", "b"), "model.safetensors", 4),
        (predict, ("p.parquet", "q.parquet"), "", 2),
    ):
        whole, killed = (tmp_path / part for part in name)
        assert run_alservice(tmp_path, *command, str(whole)).returncode == 0
        assert run_killed(tmp_path, WRITE, calls, "before", *command, str(killed)).returncode == -9
        assert not (killed / "card.json").exists()
        ended = run_alservice(tmp_path, *command, str(killed))
        assert ended.returncode == 0, ended.stderr
        assert (killed / result).read_bytes() == (whole / result).read_bytes()
