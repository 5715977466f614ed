"""The registry and the gate from the command line, on a finished rehearsal."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alservice.cli import app
from alservice.storage.embedded_postgres import EmbeddedPostgres
from tests.support.postgres import scratch_folder

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def workdir(rehearsed: tuple[Path, list[dict[str, Any]]]) -> Iterator[Path]:
    """A copy of the finished rehearsal, this test's own; its database is kept running from command to command."""
    with scratch_folder() as folder:
        subprocess.run(["cp", "-a", f"{rehearsed[0]}/.", folder], check=True)
        with EmbeddedPostgres(folder / "postgres"):
            yield folder


OF = ("--campaign", "rehearsal")


def test_models_are_listed_traced_changed_and_compared(workdir, monkeypatch) -> None:
    """Every command works on what a rehearsal left, and refuses with one line what cannot be."""
    monkeypatch.setenv("ALSERVICE_WORKDIR", str(workdir))

    def run(*arguments: str) -> str:
        """Run a command that succeeds, in this process; return what it prints."""
        result = CliRunner().invoke(app, [*arguments, *OF])
        assert result.exit_code == 0, result.output
        return result.stdout

    def refused(*arguments: str) -> str:
        """Run a command that is refused; return what it says."""
        result = CliRunner().invoke(app, [*arguments, *OF])
        assert (result.exit_code, result.stdout) == (1, "")
        return result.stderr

    models = [json.loads(line) for line in run("model", "list", "--json").splitlines()]
    champion, other = sorted(models, key=lambda model: model["state"] != "champion")
    assert "history" not in champion["card"]
    shown = json.loads(run("gate", "show", "--json"))
    assert {"value", "low", "high", "margin", "passed"} <= set(shown["checks"][0])
    assert "first-model" in run("gate", "show", "--number", "0")
    assert "nothing to decide" in refused("gate", "approve", "--reason", "I like it")

    lineage = json.loads(run("model", "lineage", "--json"))
    assert lineage["models"][0]["digest"] == champion["digest"]
    assert lineage["models"][0]["data_digest"] == champion["card"]["data_digest"]
    overlap = json.loads(run("model", "shadow", "--model", str(other["model"]), "--json"))
    assert 0 <= overlap["common"] <= 1
    run("model", "promote", "--model", str(other["model"]), "--reason", "second look", "--actor", "ann")
    assert f"model {champion['model']} of cycle" in run("model", "rollback", "--reason", "no better", "--actor", "ann")
    assert "rollback by ann: no better" in run("model", "list")
    assert "50 are needed" in refused("model", "bias", "--out", str(workdir / "bias.html"))
