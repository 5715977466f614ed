"""The registry and the gate from the command line, on a finished rehearsal."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.rehearsals import SMALL, lines_of, run_alservice

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def workdir() -> Iterator[Path]:
    """A work folder of this test's own: what it changes, no other test may see."""
    with tempfile.TemporaryDirectory(prefix="alservice-registry-") as folder:
        yield Path(folder)


OF = ("--campaign", "rehearsal")


def test_models_are_listed_traced_changed_and_compared(workdir) -> None:
    """Every command works on what a rehearsal left, and refuses with one line what cannot be."""

    def run(*arguments: str):
        return run_alservice(workdir, *arguments)

    lines_of(run(*SMALL))
    first, second = lines_of(run("model", "list", *OF, "--json"))
    assert "history" not in first["card"]
    assert "champion" in {first["state"], second["state"]}
    champion, other = (first, second) if first["state"] == "champion" else (second, first)
    assert champion["digest"][:16] in run("model", "list", *OF).stdout

    shown = lines_of(run("gate", "show", *OF, "--json"))[0]
    assert {"value", "low", "high", "margin", "passed"} <= set(shown["checks"][0])
    assert "judged on" in run("gate", "show", *OF, "--number", "0").stdout
    refused = run("gate", "approve", *OF, "--reason", "I like it")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "nothing to decide" in refused.stderr

    lineage = lines_of(run("model", "lineage", *OF, "--json"))[0]
    assert lineage["models"][0]["digest"] == champion["digest"]
    assert lineage["models"][0]["data_digest"] == champion["card"]["data_digest"]
    overlap = lines_of(run("model", "shadow", *OF, "--model", str(other["model"]), "--json"))[0]
    assert 0 <= overlap["common"] <= 1

    promoted = run("model", "promote", *OF, "--model", str(other["model"]), "--reason", "second look", "--actor", "ann")
    assert promoted.returncode == 0, promoted.stderr
    back = run("model", "rollback", *OF, "--reason", "no better", "--actor", "ann")
    assert f"model {champion['model']} of cycle" in back.stdout, back.stderr
    assert "rollback by ann: no better" in run("model", "list", *OF).stdout

    few = run("model", "bias", *OF, "--out", str(workdir / "bias.html"))
    assert few.returncode == 1
    assert "50 are needed" in few.stderr
