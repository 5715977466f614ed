"""Rules and dashboards name metrics that exist, with labels that they have."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from alservice.campaigns.cycle import CycleState
from alservice.ops.alarms import ALARMS, ALARMS_PAGE, TARGETS
from alservice.ops.metrics import FAMILIES
from alservice.web.pages import TABS
from tests.support.shared import ROOT

FOLDER = ROOT / "deploy" / "monitoring"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD = json.loads((FOLDER / "grafana" / "alservice.json").read_text())
BUILT_IN = {"up"}
"""Series that Prometheus makes of every scrape."""

FUNCTIONS = {"max", "sum", "by", "increase", "rate", "time", "absent", "label_values"}

SELECTOR = re.compile(r"(?P<name>[a-z_]+)(?:\{(?P<matchers>[^}]*)\})?(?:\[(?P<range>\d+[mhd])\])?")
MATCHER = re.compile(r'(?P<label>\w+)(?P<how>=~|!~|!=|=)"(?P<value>[^"]*)"')


def expressions() -> Iterator[tuple[str, str]]:
    """Yield where an expression is, and the expression."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


def metrics_in(expression: str) -> Iterator[tuple[str, dict[str, str], bool]]:
    """Yield each metric of an expression with its matchers, and whether it stands under a range."""
    grouped = re.sub(r"by \([^)]*\)", "", expression)
    for found in SELECTOR.finditer(grouped):
        name = found["name"]
        if name in FUNCTIONS or ("_" not in name and name not in BUILT_IN):
            continue
        matchers = {m["label"]: m["value"] for m in MATCHER.finditer(found["matchers"] or "")}
        assert not found["matchers"] or matchers, f"unreadable matchers: {found['matchers']}"
        yield name, matchers, found["range"] is not None


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_an_expression_asks_for_what_there_is(where: str, expression: str) -> None:
    """Names, labels, states and brackets are right; only counters are under a range."""
    found = list(metrics_in(expression))
    assert found, where
    depth = [expression.count(a) == expression.count(b) for a, b in ("()", "{}", "[]")]
    assert all(depth), where
    for name, matchers, is_ranged in found:
        if name in BUILT_IN:
            assert matchers == {"job": "alservice"}
            continue
        family = FAMILIES[name]
        assert set(matchers) <= set(family.labels), where
        assert is_ranged <= (family.kind == "counter"), f"{where}: a rate of the gauge {name}"
        assert matchers.get("state", "failed") in {str(state) for state in CycleState}
    labels = {label for name, _, _ in found if name in FAMILIES for label in FAMILIES[name].labels}
    for grouping in re.findall(r"by \(([^)]*)\)", expression):
        assert {label.strip() for label in grouping.split(",")} <= labels, where


def test_every_metric_is_on_the_dashboard() -> None:
    """A metric that nobody sees is not worth its query."""
    shown = {name for _, expression in expressions() for name, _, _ in metrics_in(expression)}
    assert set(FAMILIES) <= shown


def test_every_alarm_is_complete() -> None:
    """Unique, in the table of alarms, with its severity there, and a sentence whose labels the expression keeps."""
    assert [rule["alert"] for rule in RULES] == list(ALARMS)
    for rule in RULES:
        assert rule["labels"]["severity"] == ALARMS[rule["alert"]].severity
        texts = rule["annotations"]["summary"] + rule["annotations"]["page"]
        used = set(re.findall(r"\$labels\.(\w+)", texts))
        kept = {label.strip() for group in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in group.split(",")}
        assert used <= kept, rule["alert"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alarm_leads_to_its_section_and_to_the_page_that_shows_it(rule: dict[str, Any]) -> None:
    """The anchor is a heading of the runbook, and the service has the page."""
    alarm, notes = ALARMS[rule["alert"]], rule["annotations"]
    path, _, anchor = notes["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(), re.MULTILINE)
    assert [heading for heading in headings if heading.lower().replace(" ", "-") == anchor] == [rule["alert"]]
    if alarm.page == TARGETS:
        assert notes["page"] == "{{ $externalURL }}/targets"
        return
    assert notes["page"] == "{{ $externalLabels.dashboard }}" + alarm.page_of("{{ $labels.campaign }}")
    own = {tab for tab, _ in TABS}
    assert alarm.page == ALARMS_PAGE or alarm.page in own
    assert "dashboard" in yaml.safe_load((FOLDER / "prometheus.yaml").read_text())["global"]["external_labels"]


def test_rules_and_table_fire_at_the_same_age() -> None:
    """Seconds, or times in a day: what the dashboard shows is what wakes somebody."""
    for rule in RULES:
        alarm = ALARMS[rule["alert"]]
        named = re.search(r"> ([\d *.]+)$", rule["expr"])
        bound = None if named is None else math.prod(float(part) for part in named[1].split("*"))
        if alarm.over is not None:
            waits = {"m": 60, "h": 3600, "d": 86_400}
            held = re.fullmatch(r"(\d+)([mhd])", rule.get("for", ""))
            told = bound if held is None else int(held[1]) * waits[held[2]]
            assert alarm.over.total_seconds() == told, alarm.name
        elif alarm.times is not None:
            assert "[1d]" in rule["expr"]
            assert alarm.times == bound, alarm.name


def test_panels_do_not_overlap() -> None:
    """Each has a place of its own on Grafana's 24 columns, a unit and a title."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["fieldConfig"]["defaults"]["unit"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_prometheus_reads_the_rules_and_scrapes_with_a_token() -> None:
    """The configuration names the rules' file and the job that the rules mean."""
    config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    (job,) = config["scrape_configs"]
    assert (job["job_name"], job["metrics_path"]) == ("alservice", "/metrics")
    assert "credentials_file" in job["authorization"]
    assert config["rule_files"] == ["/etc/prometheus/alerts.yaml"]
