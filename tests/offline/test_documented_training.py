"""The ten lines of the document that start from an encoder, in Python and as a command, as printed."""

import shlex

import pandas as pd
import pytest
from typer.testing import CliRunner

import alservice
from alservice.cli import app
from alservice.offline import commands
from alservice.testing import synthetic_galaxies
from tests.support.shared import ROOT


@pytest.mark.usefixtures("one_core")
def test_the_lines_on_encoders_run_as_printed(tmp_path, monkeypatch, capsys):
    """Only the least number of steps is smaller; both ways give the same model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "_TUNING_STEPS", 1)
    text = (ROOT / "deploy/docs/train.md").read_text(encoding="utf-8").partition("## Start from an encoder")[2]
    python, command = (text.partition(f"```{kind}\n")[2].partition("```")[0] for kind in ("python", "bash"))
    galaxies = synthetic_galaxies(24, seed=1)
    alservice.train(galaxies, tree="gz2", out="model", network="small", px=32, steps=1, batch=8, threads=1)
    rings: pd.DataFrame = galaxies[["galaxy_id", "image"]].assign(ring=[1, 0] * 12)
    rings.to_parquet("rings.parquet")
    rings.to_parquet("galaxies.parquet")
    exec(compile(python, "train.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 6
    arguments = shlex.split(command)[1:]
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0, again.output
    assert "rings: was there already: small trained on" in again.output
