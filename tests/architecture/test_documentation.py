"""What an operator looks up is there: settings in the README, codes and states in the runbook."""

import importlib
import pkgutil
from datetime import UTC, datetime

import pytest

import alservice
import flows
from alservice.core.classifications import Verdict
from alservice.core.cycles import CycleState
from alservice.core.states import ModelState, SubjectState
from alservice.errors import AlserviceError, Retriable, Terminal
from alservice.settings import Settings
from tests.support.shared import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
RUNBOOK = (ROOT / "deploy" / "runbook.md").read_text(encoding="utf-8")


def _errors() -> set[type[AlserviceError]]:
    for package in (alservice, flows):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    found, open_ = set(), [AlserviceError]
    while open_:
        subclasses = open_.pop().__subclasses__()
        found |= set(subclasses)
        open_ += subclasses
    return {error for error in found if error.__module__.startswith(("alservice.", "flows."))}


def test_every_error_code_is_in_the_runbook() -> None:
    """A code in a log leads to a line that says what to do."""
    missing = sorted({e.code for e in _errors() if f"`{e.code}`" not in RUNBOOK} - {"retriable", "terminal"})
    assert not missing


def test_every_code_in_the_runbook_exists() -> None:
    """The runbook does not explain errors that cannot happen."""
    section = RUNBOOK.split("## Error codes")[1].split("\n## ")[0]
    listed = {line.split("`")[1] for line in section.splitlines() if line.startswith("| `")}
    assert listed <= {error.code for error in _errors()}


def test_error_codes_are_unique_and_say_whether_to_retry() -> None:
    """One code, one class; each is Retriable or Terminal, never both."""
    errors = [e for e in _errors() if "code" in vars(e)]
    assert len({e.code for e in errors}) == len(errors)
    for error in _errors() - {Retriable, Terminal}:
        assert issubclass(error, Retriable) != issubclass(error, Terminal), error


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_in_the_readme(name: str) -> None:
    """An environment variable that is read is documented."""
    assert f"`ALSERVICE_{name.upper()}`" in README


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_is_in_the_runbook(verdict: Verdict) -> None:
    """Why a classification does not count can be looked up."""
    assert f"`{verdict}`" in RUNBOOK


@pytest.mark.parametrize("state", [*CycleState, *SubjectState, *ModelState])
def test_every_state_is_in_the_runbook(state: str) -> None:
    """A state on a page leads to a line that says what it means."""
    assert f"`{state}`" in RUNBOOK


def test_every_command_of_the_readme_exists() -> None:
    """The README's table names real commands."""
    from typer.testing import CliRunner

    from alservice.cli import app

    for command in (
        "rehearse",
        "train",
        "predict",
        "evaluate",
        "doctor",
        "db upgrade",
        "campaign create",
        "campaign validate",
        "campaign webhook",
        "tally compare",
        "tally faults",
        "tally recount",
        "forget-user",
        "catalogue import",
        "reconcile",
        "serve",
        "token create",
    ):
        assert f"`alservice {command}" in README
        assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0
    for command in (
        "ingest api",
        "ingest export",
        "ingest workflows",
        "quarantine list",
        "tally export",
        "forget-expired",
    ):
        assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0
    for group, commands in (
        ("model", ("list", "promote", "rollback", "lineage", "shadow", "bias")),
        ("gate", ("show", "approve", "reject")),
    ):
        assert f"`alservice {group} " in README
        for command in commands:
            assert CliRunner().invoke(app, [group, command, "--help"]).exit_code == 0
    for command in ("token list", "token revoke"):
        assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0
    for command in ("start", "list", "show", "resume"):
        assert CliRunner().invoke(app, ["cycle", command, "--help"]).exit_code == 0


def test_every_metric_is_in_the_runbook() -> None:
    """What Prometheus scrapes of the service is explained, and nothing else is."""
    from alservice.web.telemetry import WebMetrics, campaign_metrics

    told = {m.name for m in WebMetrics().registry.collect()} | {m.name for m in campaign_metrics([], datetime.now(UTC))}
    counters = {"alservice_http_requests"}
    named = {f"`{name}_total`" if name in counters else f"`{name}`" for name in told}
    assert len(named) == 10
    assert not {name for name in named if name not in RUNBOOK}
