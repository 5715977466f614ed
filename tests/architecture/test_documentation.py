"""What people look up is there and true: settings, commands, codes, states, links."""

import ast
import dataclasses
import importlib
import pkgutil
import re
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
import yaml
from typer.core import TyperGroup

import alservice
import flows
from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import CycleKind, CycleState
from alservice.cli import app
from alservice.errors import AlserviceError, Retriable, Terminal
from alservice.ops.alarms import ALARMS as ALARM_TABLE
from alservice.ops.metrics import FAMILIES
from alservice.science.tree import tree_names
from alservice.settings import Settings
from alservice.states import ModelState, SubjectState
from alservice.votes.classification import Verdict
from tests.architecture import docs
from tests.benchmarks.savings_figure import plot, recorded
from tests.support.printed import spelled_out, table_commands
from tests.support.shared import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
RUNBOOK = (ROOT / "deploy" / "runbook.md").read_text(encoding="utf-8")
DOCS = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "deploy" / "docs").glob("*.md"))}
LINKED = sorted(
    path
    for pattern in (
        "*.md",
        "alservice/*/README.md",
        "deploy/*.md",
        "deploy/docs/*.md",
        "deploy/decisions/*.md",
        "migrations/README.md",
        "tests/benchmarks/README.md",
    )
    for path in ROOT.glob(pattern)
)
"""Documents whose links are followed."""

FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
"""A block of code, in which a # is no heading and brackets are no link."""

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


def test_what_is_made_from_the_code_is_as_the_code_says() -> None:
    """Commands, campaign file, settings, diagram and layers: `python -m tests.architecture.docs --write` makes them."""
    assert docs.stale() == [], "run: python -m tests.architecture.docs --write"


@pytest.mark.parametrize("path", docs.PAGES)
def test_every_made_part_says_something(path: str) -> None:
    """Kind: an empty page that agrees with an empty page."""
    assert len(docs.PAGES[path]().splitlines()) > 10


def test_a_changed_document_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: a comparison that compares a document with itself."""
    monkeypatch.setattr(docs, "PAGES", {"deploy/docs/settings.md": lambda: "other words"})
    assert docs.stale() == ["deploy/docs/settings.md"]


def test_every_field_of_a_campaign_file_has_a_meaning() -> None:
    """In the docstring of its record, which the page is made from."""
    for path, record in docs.sections(Campaign, ""):
        _, meanings = docs.documented(record)
        without = [each.name for each in dataclasses.fields(record) if not meanings.get(each.name)]
        assert not without, (path, without)


def test_every_setting_of_documents_and_scripts_exists() -> None:
    """No variable is described, or set, that nothing reads."""
    known = {f"ALSERVICE_{name.upper()}" for name in Settings.model_fields} | OUTSIDE
    scripts = [ROOT / "deploy" / name for name in ("backup", "restore", "register", "with-venv")]
    texts = [README, RUNBOOK, *DOCS.values(), *(script.read_text(encoding="utf-8") for script in scripts)]
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
    from flows.deployments import flow_at

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
    assert first_cells(RUNBOOK, "## Alarms") == automations
    section = RUNBOOK.split("## Alarms\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^### ([A-Z][a-z]+[A-Z]?\w*)$", section, re.MULTILINE)) == alerts == set(ALARM_TABLE)
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


def test_every_command_is_in_the_table_of_commands() -> None:
    """Both ways; that each parses as printed is tests/cli/test_printed_commands.py."""
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    there = {path[1:] for path, _ in docs.leaves(root, ("alservice",))}
    lines = [line for each in table_commands(DOCS["commands"]) for line in spelled_out(each, defaultdict(lambda: "1"))]
    named = {tuple(words[1 : 1 + length]) for words in lines for length in (1, 2)} & there
    assert named == there


def slugs(document: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    found: Counter[str] = Counter()
    anchors = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", FENCED.sub("", document), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        anchors.add(f"{slug}-{found[slug]}" if found[slug] else slug)
        found[slug] += 1
    return anchors


def broken_links(path: Path) -> list[str]:
    """Return the relative links of a document that lead to no file, or to no heading of it."""
    text = path.read_text(encoding="utf-8")
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", FENCED.sub("", text))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in slugs(target.read_text(encoding="utf-8"))):
            broken.append(link)
    return broken


@pytest.mark.parametrize("path", LINKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    """Files, pictures and headings."""
    assert broken_links(path) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    """Kind: a check of links that finds none, since it looks at none."""
    page = tmp_path / "page.md"
    page.write_text("# A `b`, c\n\n[1](page.md#a-b-c) [2](#a-b-c) [3](#d) [4](none.md) ![5](none.png) `[6](x)`\n")
    assert broken_links(page) == ["#d", "none.md", "none.png"]


def spans(path: Path) -> list[str]:
    """Return what a document sets as code within its sentences."""
    return re.findall(r"`([^`\n]+)`", FENCED.sub("", path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", LINKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_is_named_exists(path: Path) -> None:
    """By its path from the repository, from the package or from the document."""
    named = [each for each in spans(path) if re.fullmatch(r"[\w.-][\w./-]*\.(py|md|yaml|sql|svg|toml)", each)]
    roots = (ROOT, ROOT / "alservice", path.parent)
    assert not [each for each in named if "/" in each and not any((root / each).exists() for root in roots)]


STAGES = sorted(path.parent for path in (ROOT / "alservice").glob("*/__init__.py"))


def names_in(package: Path) -> set[str]:
    """Return the names of a package's modules and of what they define."""
    found = {path.name for path in package.glob("*.py")}
    for path in package.glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize("package", STAGES, ids=lambda package: package.name)
def test_every_package_says_what_it_guarantees(package: Path) -> None:
    """In a README of a few lines, whose names are those of the package and whose door is what it exports."""
    readme = package / "README.md"
    text = readme.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 20
    exported = set(getattr(importlib.import_module(f"alservice.{package.name}"), "__all__", ()))
    assert not [name for name in spans(readme) if name not in names_in(package) | exported]
    door = re.search(r"^\*\*Door:\*\* (.*)$", text, re.MULTILINE)
    assert not exported or (door and set(re.findall(r"`(\w+)`", door[1])) == exported)


def test_every_page_is_linked_from_the_readme() -> None:
    """Nobody has to know that a page exists."""
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in re.findall(r"\]\(([^)\s]+)\)", README)}
    assert {name for name in DOCS if (ROOT / "deploy" / "docs" / f"{name}.md") not in linked} == {"README"}
    index = DOCS["README"]
    assert not {name for name in DOCS if name != "README" and f"]({name}.md)" not in index}


def test_the_readme_is_short_and_says_how_to_run_the_tests() -> None:
    """As `.ci/run` does."""
    assert len(README.splitlines()) <= 100
    last = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1]
    assert last == "CI=true deploy/with-venv deploy/check"
    assert "\ndeploy/with-venv deploy/check " in README
    assert "`CI=true`" in README


def test_savings_are_as_the_benchmarks_record_them() -> None:
    """The README's number, and every number of its figure."""
    savings = recorded()
    figure = (ROOT / "deploy" / "docs" / "savings.svg").read_text(encoding="utf-8")
    assert figure == plot(savings) + "\n"
    default = savings[0]
    for text in (README, DOCS["backfill"]):
        assert f"{default.saved} % fewer new labels [{default.low}, {default.high}]" in text
        assert f"{default.today} %" in text


def test_every_tree_is_named() -> None:
    """Where people learn which trees are packaged."""
    assert not {name for name in tree_names() if f"`{name}`" not in DOCS["train"]}


def test_every_metric_is_in_the_runbook() -> None:
    """What Prometheus scrapes of the service is explained, and nothing else is."""
    from alservice.web.monitoring import WebMetrics, campaign_metrics

    told = {m.name for m in WebMetrics().registry.collect()} | {m.name for m in campaign_metrics({}, datetime.now(UTC))}
    counters = {"alservice_http_requests"}
    named = {f"`{name}_total`" if name in counters else f"`{name}`" for name in told}
    assert len(named) == 10
    assert not {name for name in named if name not in RUNBOOK}
