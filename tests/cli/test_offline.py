"""The commands as typed: results on standard output, errors as one line that names what is wrong."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from alservice.cli import app
from tests.support.files import write_galaxies

TRAINING = ("--network", "compact", "--px", "16", "--field", "1", "--batch", "4", "--threads", "1", "--device", "cpu")


def run(*arguments: object) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_three_commands_in_turn(tmp_path: Path) -> None:
    """Train, predict and evaluate; JSON is alone on standard output."""
    data = write_galaxies(tmp_path / "g.parquet", 40, broken=(5,))
    trained = run("train", "--data", data, "--tree", "gz2", "--out", tmp_path / "m", "--steps", 6, *TRAINING)
    assert trained.exit_code == 0, trained.output
    assert "compact trained on" in trained.stdout
    assert "row 6 (J0005): image:" in trained.stderr
    again = run("train", "--data", data, "--tree", "gz2", "--out", tmp_path / "m", "--steps", 6, *TRAINING)
    assert "was there already" in again.stdout
    predicted = run("predict", "--model", tmp_path / "m", "--data", data, "--out", tmp_path / "p.csv", "--draws", 3)
    assert "39 galaxies predicted, 1 rows failed of 40" in predicted.stdout
    assert "p.faults.csv" in predicted.stderr
    judged = run("evaluate", "--predictions", tmp_path / "p.csv", "--votes", data, "--json")
    assert judged.exit_code == 0, judged.output
    (line,) = judged.stdout.splitlines()
    document = json.loads(line)
    assert (document["matched"], document["votes_without_prediction"]) == (39, 1)
    assert 0 < document["nll_per_vote"]["low"] < document["nll_per_vote"]["high"]
    told = run("evaluate", "--predictions", tmp_path / "p.csv", "--votes", data, "--out", tmp_path / "e")
    assert "smooth-or-featured_smooth" in told.stdout
    assert "39 galaxies matched" in told.stdout
    assert "1 voted galaxies without a prediction: J0005" in told.stderr
    assert (tmp_path / "e" / "reliability.png").stat().st_size > 1000


def test_an_ensemble_trains_and_predicts(tmp_path: Path) -> None:
    """Members are reported one by one, and the folder is a model."""
    data = write_galaxies(tmp_path / "g.parquet", 12)
    options = ("--data", data, "--tree", "gz2", "--out", tmp_path / "e", "--steps", 1, "--ensemble", 2, *TRAINING)
    trained = run("train", *options)
    assert trained.exit_code == 0, trained.output
    assert "an ensemble of 2 networks" in trained.stdout
    model, member = tmp_path / "e", tmp_path / "e" / "member-1"
    predicted = run("predict", "--model", model, "--model", member, "--data", data, "--out", tmp_path / "p.csv")
    assert "12 galaxies predicted, 0 rows failed of 12" in predicted.stdout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--tree": "gz9"}, "unknown tree 'gz9'; known trees: "),
        ({"--network": "resnet"}, "no network is called 'resnet'; known: compact"),
        ({"--data": "absent.parquet"}, "absent.parquet: no such file"),
        ({"--device": "tpu7"}, "device: 'tpu7' cannot be used"),
        ({"--tree": "gz-rings"}, "no column of votes"),
        ({"--epochs": "2"}, "steps or epochs, not both"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    """Exit code 1, no traceback, and no folder is made."""
    data = write_galaxies(tmp_path / "g.parquet", 3)
    options = {
        "--data": str(data),
        "--tree": "gz2",
        "--network": "compact",
        "--steps": "2",
        "--out": str(tmp_path / "m"),
    }
    typed = [part for pair in (options | changes).items() for part in pair]
    failed = run("train", *typed, *(() if "--device" in changes else ("--device", "cpu")))
    assert failed.exit_code == 1
    assert message in failed.stderr
    assert len(failed.stderr.splitlines()) <= 2
    assert not (tmp_path / "m").exists()
