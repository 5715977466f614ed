"""The comparison with experts as a command: tables, report, and files that do not go together."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from alservice.cli import app
from alservice.science.experts import Rescaling

EXPERTS = Rescaling(intercept=-2.0, slope=6.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write votes, labels of experts and predictions of 600 galaxies; fifty have too few votes."""
    folder = tmp_path_factory.mktemp("experts")
    rng = np.random.default_rng(0)
    share = rng.beta(0.8, 1.5, 600)
    asked = np.where(np.arange(600) < 50, 3, 40)
    yes = rng.binomial(asked, share)
    ids = [f"g{i}" for i in range(600)]
    pd.DataFrame({"galaxy_id": ids, "ring_yes": yes, "ring_no": asked - yes}).to_csv(folder / "votes.csv", index=False)
    labels = (rng.random(600) < EXPERTS(share)).astype(int)
    pd.DataFrame({"galaxy_id": ids[:590], "expert": labels[:590]}).to_csv(folder / "experts.csv", index=False)
    means = {"ring_yes_mean": share, "ring_no_mean": 1 - share, "ring_precision": np.full(600, 9.0)}
    ends = {f"ring_{a}_{q}": v for a in ("yes", "no") for q, v in (("p05", np.zeros(600)), ("p95", np.ones(600)))}
    pd.DataFrame({"galaxy_id": ids, **means, **ends}).to_csv(folder / "predictions.csv", index=False)
    return folder


def run(folder, **changes):
    """Run the command with some options changed."""
    options = {
        "--votes": folder / "votes.csv",
        "--experts": folder / "experts.csv",
        "--label": "expert",
        "--tree": "gz-rings",
        "--answer": "ring_yes",
    } | {f"--{name}": value for name, value in changes.items()}
    return CliRunner().invoke(app, ["compare", *(str(part) for pair in options.items() for part in pair)])


def test_votes_and_predictions_are_compared_with_experts(folder, tmp_path):
    """Rescaled numbers of yes are nearer to the experts'; report and probabilities of all galaxies are written."""
    found = run(folder, predictions=folder / "predictions.csv", out=tmp_path / "out")
    assert found.exit_code == 0, found.output
    assert "Confusion at 0.5, probability of 0.8 or more" in found.output
    figures = json.loads((tmp_path / "out/figures.json").read_text())
    assert figures["left_aside"]["with fewer than 10 votes"] == 50
    assert figures["left_aside"]["without a label"] == 10
    assert figures["fitted"] + figures["test"] == 540
    assert figures["rescaling"]["slope"] == pytest.approx(6, abs=2)
    compared = figures["compared"]
    assert set(compared) == {"votes", "votes, rescaled", "predictions", "predictions, rescaled"}
    for name in ("votes", "predictions"):
        plain, rescaled = compared[name]["all"], compared[f"{name}, rescaled"]["all"]
        yes = plain["true_yes"] + plain["false_no"]
        assert abs(rescaled["expected_yes"] - yes) < abs(plain["expected_yes"] - yes)
        assert compared[name]["area"] == pytest.approx(compared[f"{name}, rescaled"]["area"])
    assert compared["votes, rescaled"]["confident"]["true_no"] > 0
    assert len((tmp_path / "out/probabilities.csv").read_text().splitlines()) == 551
    assert "](roc.svg)" in (tmp_path / "out/report.md").read_text()
    assert (tmp_path / "out/calibration.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answer": "ring_perhaps"}, "no answer column 'ring_perhaps'"),
        ({"label": "nobody"}, "column 'nobody' is missing"),
        ({"min-votes": "1000"}, "0 galaxies have votes and a label"),
    ],
)
def test_what_cannot_be_compared_is_one_line(folder, changes, message):
    """An answer, a column, or galaxies that are not there."""
    failed = run(folder, **changes)
    assert failed.exit_code == 1
    assert message in failed.stderr


def test_a_label_that_says_neither_names_its_row(folder, tmp_path):
    """Experts who say perhaps are asked again."""
    pd.DataFrame({"galaxy_id": ["g1"], "expert": ["perhaps"]}).to_csv(tmp_path / "e.csv", index=False)
    failed = run(folder, experts=tmp_path / "e.csv")
    assert "e.csv: row 1: expert: label 'perhaps' is none of yes, no" in failed.stderr
