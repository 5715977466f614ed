"""What an operator looks up is there: settings in the README, codes and states in the runbook."""

import importlib
import pkgutil
import re
from datetime import UTC, datetime

import pytest
import yaml

import alservice
import flows
from alservice.campaigns.cycle import CycleKind, CycleState
from alservice.errors import AlserviceError, Retriable, Terminal
from alservice.ops.metrics import FAMILIES
from alservice.settings import Settings
from alservice.states import ModelState, SubjectState
from alservice.votes.classification import Verdict
from tests.support.shared import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
RUNBOOK = (ROOT / "deploy" / "runbook.md").read_text(encoding="utf-8")


PREFECT = yaml.safe_load((ROOT / "deploy" / "prefect.yaml").read_text(encoding="utf-8"))
AUTOMATIONS = yaml.safe_load((ROOT / "deploy" / "automations.yaml").read_text(encoding="utf-8"))["automations"]
ALERTS = yaml.safe_load((ROOT / "deploy" / "monitoring" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]

OUTSIDE = {"ALSERVICE_VENV", "ALSERVICE_TORCH", "ALSERVICE_HOME", "ALSERVICE_COMMAND", "ALSERVICE_NOTIFY"}
"""Variables of scripts and of Prefect's pull step, which the package itself does not read."""


def first_cells(document: str, heading: str) -> set[str]:
    """Return the names in the first column of the tables under a heading, up to the next of its level or above."""
    level = heading.count("#")
    section = re.split(rf"^#{{1,{level}}} ", document.split(f"{heading}\n")[1], flags=re.MULTILINE)[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


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
    assert first_cells(RUNBOOK, "## Error codes") <= {error.code for error in _errors()}


def test_the_runbook_says_rightly_what_is_retried() -> None:
    """The column of the table is the error's type."""
    section = RUNBOOK.split("## Error codes")[1].split("\n## ")[0]
    said = {line.split("`")[1]: line.split("|")[2].strip() for line in section.splitlines() if line.startswith("| `")}
    by_code = {error.code: error for error in _errors()}
    for code, retried in said.items():
        assert retried == ("yes" if issubclass(by_code[code], Retriable) else "no"), code


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


def test_every_setting_of_the_readme_and_scripts_exists() -> None:
    """No variable is described, or set, that nothing reads."""
    known = {f"ALSERVICE_{name.upper()}" for name in Settings.model_fields} | OUTSIDE
    scripts = [ROOT / "deploy" / name for name in ("backup", "restore", "register", "with-venv")]
    texts = [README, RUNBOOK, *(script.read_text(encoding="utf-8") for script in scripts)]
    assert {name for text in texts for name in re.findall(r"ALSERVICE_[A-Z_]*[A-Z]", text)} <= known


def test_deployments_are_in_the_runbook_and_exist() -> None:
    """By name and pool, both ways; each runs a flow that is there, in a pool that the README makes."""
    names = {deployment["name"] for deployment in PREFECT["deployments"]}
    assert first_cells(RUNBOOK, "## Deployments") == names
    section = RUNBOOK.split("## Deployments")[1].split("\n## ")[0]
    pools = {line.split("`")[1]: line.split("|")[2].strip() for line in section.splitlines() if line.startswith("| `")}
    assert pools == {deployment["name"]: deployment["work_pool"]["name"] for deployment in PREFECT["deployments"]}
    for deployment in PREFECT["deployments"]:
        assert deployment["description"].endswith(".")
        assert {schedule["timezone"] for schedule in deployment.get("schedules", ())} <= {"Europe/London"}


def test_every_flow_that_a_deployment_may_run_is_deployed() -> None:
    """Flows of the weekly loop and beside it have a deployment; those of the command line need none."""
    from flows.serve import flow_at

    deployed = {flow_at(deployment["entrypoint"]).name for deployment in PREFECT["deployments"]}
    named = {deployment["name"] for deployment in PREFECT["deployments"]}
    assert deployed == named, "a deployment bears its flow's name"
    written = {
        name
        for path in (ROOT / "flows").glob("*.py")
        for name in re.findall(r'@flow\(name="([^"]+)"', path.read_text(encoding="utf-8"))
    }
    assert written - named == {"start-cycle", "resume-cycle", "rehearse"}


def test_alarms_are_in_the_runbook_and_exist() -> None:
    """Prometheus' and Prefect's, both ways: whoever is woken finds a line."""
    alerts = {rule["alert"] for group in ALERTS for rule in group["rules"]}
    automations = {automation["name"] for automation in AUTOMATIONS}
    assert first_cells(RUNBOOK, "## Alarms") == alerts | automations
    for automation in AUTOMATIONS:
        assert f'deploy/runbook.md, "{automation["name"]}"' in automation["body"]
    objectives = (ROOT / "deploy" / "slo.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in objectives.splitlines() if line.startswith("| ") and "---" not in line][1:]
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row[4])}
    assert named <= alerts | automations


def test_metrics_are_in_the_runbook_and_exist() -> None:
    """Both ways, with their labels; those that objectives name exist as well."""
    assert first_cells(RUNBOOK, "## Metrics") == set(FAMILIES)
    for name, family in FAMILIES.items():
        assert f"| `{name}` | {', '.join(family.labels)} |" in RUNBOOK
    objectives = (ROOT / "deploy" / "slo.md").read_text(encoding="utf-8")
    assert set(re.findall(r"alservice_[a-z_]+", objectives)) <= set(FAMILIES)


@pytest.mark.parametrize(
    ("heading", "states"),
    [
        ("### States of a cycle", CycleState),
        ("### States of a subject", SubjectState),
        ("### States of a model", ModelState),
    ],
)
def test_every_state_of_the_runbook_exists(heading: str, states: type[CycleState | SubjectState | ModelState]) -> None:
    """The tables list the states, no more and no less."""
    assert first_cells(RUNBOOK, heading) == {str(state) for state in states}


@pytest.mark.parametrize("kind", CycleKind)
def test_every_kind_of_cycle_is_in_the_runbook(kind: CycleKind) -> None:
    """Why a cycle asked nobody can be looked up."""
    assert f"`{kind}`" in RUNBOOK


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
        "quarantine replay",
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
    from alservice.web.monitoring import WebMetrics, campaign_metrics

    told = {m.name for m in WebMetrics().registry.collect()} | {m.name for m in campaign_metrics({}, datetime.now(UTC))}
    counters = {"alservice_http_requests"}
    named = {f"`{name}_total`" if name in counters else f"`{name}`" for name in told}
    assert len(named) == 10
    assert not {name for name in named if name not in RUNBOOK}
