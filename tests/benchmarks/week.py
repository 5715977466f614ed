"""A week in an hour: two campaigns, people as they come, three roads for votes, an upgrade, and a gate that a person decides.

python -m tests.benchmarks.week                 # real Prefect server, a worker per pool, the service as a process
python -m tests.benchmarks.week --stepwise      # the same week without Prefect: what the suite runs, with --a-day 1

Hours of the week are slots: few people at night, more in the evening, most at the weekend, and a burst on Saturday after
the news. One campaign uploads and reads votes by the API and once from an export; on Wednesday a second one is made that
moves the survey's own subjects and gets Caesar's reductions by webhook; the service is stopped and started in between as
for an upgrade. On Sunday the first one's gate holds, and a person approves in the dashboard. At the end tallies are compared
with a recount, ledgers with Zooniverse, votes with what was posted; each cycle has its report; of the alarms `GateHeld`
rang, and no other.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

import requests
from sqlalchemy import text

from alservice.access import Scope
from alservice.app import App, open_app
from alservice.campaigns.campaign import IngestPolicy, ZooniverseTarget
from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.store import CampaignRow
from alservice.cycle.steps import Phase, states_of
from alservice.ops.access import WebhookLogin
from alservice.progress import NoProgress
from alservice.rehearsal.run import REHEARSAL, ask_volunteers, prepare_rehearsal
from alservice.rehearsal.volunteers import Assignment, VolunteerClient, Volunteers
from alservice.science.tree import load_tree
from alservice.settings import Settings
from alservice.sky.galaxies import synthetic_rows
from alservice.standin.folder import STANDIN_USER
from alservice.states import SubjectState
from alservice.subjects.subject import draft_subject
from tests.support.prefect_server import SPLIT, Server, prefect_server
from tests.support.processes import free_port, process, wait_for
from tests.support.rehearsals import environment
from tests.support.shared import ROOT

MOVING, SURVEY, POOL = "moving", "survey", "the survey's own"
GALAXIES: Final = 60

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
HOURS: Final = {4: 0.2, 9: 0.7, 14: 1.0, 20: 1.6}
"""Hour of a day to how many people come then, beside the afternoon."""

WEEKEND, BURST = 1.8, 4.0


def slots() -> list[tuple[str, int, float]]:
    """Return day, hour and the share of the week's sittings that are over by then."""
    weights = [
        (
            day,
            hour,
            weight * (WEEKEND if day in {"Sat", "Sun"} else 1.0) * (BURST if (day, hour) == ("Sat", 14) else 1.0),
        )
        for day in DAYS
        for hour, weight in HOURS.items()
    ]
    total, reached, found = sum(weight for *_, weight in weights), 0.0, []
    for day, hour, weight in weights:
        reached += weight
        found.append((day, hour, reached / total))
    return found


class Flows(Protocol):
    """Who runs the flows."""

    def run(self, flow: str, campaign: str) -> None:
        """Run one to its end, and what it starts."""


@dataclass(frozen=True)
class Stepwise:
    """The services as the flows call them, under the lease, without Prefect."""

    app: App

    def run(self, flow: str, campaign: str) -> None:
        """Run the steps of a flow."""
        phases = {
            "weekly-cycle": (Phase.ASK,),
            "ingest": (Phase.COLLECT, Phase.CLOSE),
            "advance": (Phase.LEARN, Phase.CLOSE),
        }
        app, actor = self.app, f"week:{flow}"
        with app.cycle.hold_lease(campaign, actor=actor):
            start = app.cycle.start_or_resume if flow == "weekly-cycle" else app.cycle.resume_open
            cycle = start(campaign, actor=actor)
            for state in states_of(*phases[flow]):
                if cycle is not None and cycle.state is state:
                    cycle = app.cycle.advance(cycle.id, actor=actor, only=state)
        if flow == "ingest" and cycle is not None and cycle.state in states_of(Phase.LEARN):
            self.run("advance", campaign)


@dataclass(frozen=True)
class Prefect:
    """Deployments on a server, by a worker per pool."""

    app: App
    server: Server

    def run(self, flow: str, campaign: str) -> None:
        """Run a deployment; wait for the one that it starts."""
        self.server.completed(f"{flow}/{flow}", {**SPLIT, "campaign": campaign})
        learning = set(states_of(Phase.LEARN))
        self.server.until(lambda: _newest(self.app, campaign).state not in learning, f"{campaign} learns")


def _newest(app: App, campaign: str) -> Cycle:
    return app.cycles.list(app.campaigns.get(campaign).id)[-1]


@dataclass
class Log:
    """What happened, by slot, and what was broken."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    alarms: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def tell(self, when: str, what: str) -> None:
        """Write a line."""
        self.lines.append((when, what))
        print(f"{when}: {what}", flush=True)

    def require(self, holds: bool, what: str) -> None:
        """Note what does not hold."""
        if not holds:
            self.broken.append(what)
            self.tell("audit", f"broken: {what}")

    def table(self) -> str:
        """Return the week as a table."""
        return "\n".join(["| when | what |", "|---|---|", *(f"| {when} | {what} |" for when, what in self.lines)])


class Week:
    """The week."""

    def __init__(self, app: App, flows: Flows, folder: Path, log: Log) -> None:
        self.app, self.flows, self.folder, self.log = app, flows, folder, log
        self.posted: Counter[str] = Counter()
        self.before = self._arrived()
        self.service = ""
        self.webhook: WebhookLogin

    def live(self, *, ticks: int, a_day: int) -> None:
        """Live it; people are counted so often a day, and every so many of those times the flows tick."""
        self._monday()
        seen = [slot for number, slot in enumerate(slots(), 1) if number * a_day % len(HOURS) == 0]
        with ExitStack() as service:
            service.enter_context(self._service())
            for number, (day, hour, share) in enumerate(seen):
                when = f"{day} {hour:02}:00"
                if day == "Wed" and seen[number - 1][0] == "Tue":
                    service.close()
                    service.enter_context(self._service())
                    self.log.tell(when, "the service is stopped, the schema upgraded, the service started")
                    self._wednesday(when)
                self._people(when, share)
                if day == "Thu" and seen[number + 1][0] == "Fri":
                    self._export(when)
                if number % ticks == ticks - 1 or (day, hour) == ("Sun", 20):
                    for name in self._campaigns():
                        if _newest(self.app, name).state is not CycleState.DONE:
                            self.flows.run("ingest", name)
                            self.log.tell(when, f"ingest: {name} is {_newest(self.app, name).state}")
                self._look(when)
            self._gate("Sun 21:00")
        self._audit("Sun 24:00")

    def _campaigns(self) -> Sequence[str]:
        return [row.settings.name for row in self.app.campaigns.list() if row.settings.name != SURVEY]

    def _monday(self) -> None:
        app = self.app
        row = app.campaigns.get(REHEARSAL)
        gate = replace(row.settings.gate, min_galaxies=10_000)
        app.campaigns.save(replace(row.settings, gate=gate, hold_hours=48.0))
        self._survey()
        self.flows.run("weekly-cycle", REHEARSAL)
        self.log.tell("Mon 00:00", f"{REHEARSAL} uploads its batch, and is {_newest(app, REHEARSAL).state}")

    def _survey(self) -> None:
        """Upload the survey's own subjects, which another campaign will move."""
        app, base = self.app, self.app.campaigns.get(REHEARSAL).settings
        row = app.campaigns.save(replace(base, name=SURVEY, zooniverse=ZooniverseTarget(subject_set=POOL)))
        tree = load_tree(base.tree)
        app.catalogue.import_rows(
            row, synthetic_rows(tree, GALAXIES, 11), source="synthetic sky, the survey's", total=GALAXIES
        )
        cycle = app.cycle.start(SURVEY, actor="survey")
        galaxies = app.catalogues.galaxies(cycle.catalogue_id)
        app.subjects.deliver(cycle, row.settings, [draft_subject(SURVEY, 0, g) for g in galaxies], 1, actor="survey")

    def _wednesday(self, when: str) -> None:
        app, base = self.app, self.app.campaigns.get(REHEARSAL).settings
        first = app.sites.zooniverse(base)
        wanted = {"display_name": "moving", "primary_language": "en", "tasks": {}, "links": {"project": "1"}}
        workflow = int(first._api.post("/workflows", "workflows", {"workflows": wanted})["id"])
        target = ZooniverseTarget(mode="move", pool_subject_set=POOL, subject_set="moving active", workflow_id=workflow)
        campaign = replace(
            base, name=MOVING, zooniverse=target, ingest=IngestPolicy(tallies_from="reductions"), hold_hours=0.0
        )
        row = app.campaigns.save(campaign)
        app.catalogue.import_rows(
            row,
            synthetic_rows(load_tree(base.tree), GALAXIES, 11),
            source="synthetic sky, the survey's",
            total=GALAXIES,
        )
        self.webhook = app.access.issue_webhook(MOVING, key=None, expires_days=7, actor="week")
        self.flows.run("weekly-cycle", MOVING)
        self.log.tell(
            when, f"{MOVING} is created, moves its batch out of the pool, and is {_newest(app, MOVING).state}"
        )

    # -- people

    def _people(self, when: str, share: float) -> None:
        sent = {name: self._classify(name, share) for name in self._campaigns()}
        told = ", ".join(f"{n} on {name}" for name, n in sent.items() if n)
        if MOVING in sent:
            told += f"; {self._reduce()} reductions by webhook"
        if told:
            self.log.tell(when, f"people classify: {told}")

    def _classify(self, name: str, share: float) -> int:
        """Post the sittings that are over by now, and return how many came."""
        app, cycle = self.app, _newest(self.app, name)
        if cycle.state is not CycleState.COLLECTING:
            return 0
        campaign = app.campaigns.get_version(cycle.campaign_id, cycle.campaign_version)
        ids, fractions = app.catalogue.recorded_votes(app.catalogues.get(cycle.catalogue_id))
        row_of = {galaxy: number for number, galaxy in enumerate(ids)}
        live = app.ledger.of_cycle(cycle.id, (SubjectState.LIVE,))
        assignments = [
            Assignment(
                subject_id=subject.zooniverse_id or 0,
                galaxy_id=subject.galaxy_id,
                n_votes=round(share * subject.n_votes),
                probabilities=fractions[row_of[subject.galaxy_id]],
            )
            for subject in live
        ]
        volunteers = Volunteers(
            endpoint=app.sites.connection(campaign).endpoint,
            project_id=campaign.zooniverse.project_id,
            workflow_id=campaign.zooniverse.workflow_id,
            tree=load_tree(campaign.tree),
            seed=campaign.seed,
            clock=lambda: datetime.now(UTC),
        )
        there = {
            raw.session for page in app.sites.zooniverse(campaign).classifications(0) for raw in page if raw.session
        }
        report = volunteers.classify(assignments, cycle.number, progress=NoProgress(), posted=there)
        self.posted[name] += report.posted + report.extra
        return report.posted

    def _reduce(self) -> int:
        """Send what Caesar would: the votes so far of each subject and task; return how many reductions."""
        counts: dict[tuple[int, str], Counter[str]] = {}
        campaign = self.app.campaigns.get(MOVING).settings
        for page in self.app.sites.zooniverse(campaign).classifications(0):
            for raw in page:
                for annotation in raw.annotations:
                    key = raw.zooniverse_subject_id, str(annotation["task"])
                    counts.setdefault(key, Counter())[str(annotation["value"])] += 1
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for number, ((subject, task), votes) in enumerate(counts.items(), 1):
            body = {
                "id": number,
                "reducible": {"id": campaign.zooniverse.workflow_id, "type": "Workflow"},
                "data": dict(votes),
                "subject": {"id": subject, "metadata": {}},
                "reducer_key": f"{task}_stats",
                "created_at": at,
                "updated_at": at,
            }
            answer = requests.post(
                f"{self.service}{self.webhook.path}",
                json=body,
                auth=(self.webhook.user, self.webhook.password),
                timeout=60,
            )
            answer.raise_for_status()
        return len(counts)

    def _export(self, when: str) -> None:
        """Take the workflow's export as a person does, and read it: what the API brought counts once."""
        campaign = self.app.campaigns.get(REHEARSAL).settings
        connection = self.app.sites.connection(campaign)
        with VolunteerClient(connection.endpoint, timeout_s=60, resend_waits_s=()) as client:
            token = client.log_in(STANDIN_USER, str(connection.credentials.password))
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.api+json; version=1"}
        address = f"{connection.endpoint}/api/workflows/{campaign.zooniverse.workflow_id}/classifications_export"
        requests.post(
            address, json={"media": {"content_type": "text/csv"}}, headers=headers, timeout=60
        ).raise_for_status()
        for _ in range(100):
            media = requests.get(address, headers=headers, timeout=60).json()["media"][0]
            if media["metadata"].get("state") == "ready":
                break
            time.sleep(0.1)
        file = self.folder / "classifications.csv"
        file.write_bytes(requests.get(media["src"], timeout=60).content)
        before = self._count("classifications")
        with self.app.cycle.hold_lease(REHEARSAL, actor="week"):
            self.app.votes.ingest_export(REHEARSAL, file)
        rows = file.read_bytes().count(b"\n") - 1
        self.log.tell(when, f"an export of {rows} rows is read: {self._count('classifications') - before} are new")

    # -- the service

    @contextmanager
    def _service(self) -> Iterator[None]:
        """Serve the dashboard and the webhook, from a process of its own."""
        port, log = free_port(), self.folder / "service.log"
        env = environment(self.app.settings.folder)
        command = [sys.executable, "-m", "alservice.cli"]
        subprocess.run([*command, "db", "upgrade"], env=env, cwd=ROOT, check=True, capture_output=True)
        with process([*command, "serve", "--port", str(port)], log=log, env=env, cwd=ROOT) as running:
            self.service = f"http://127.0.0.1:{port}"
            wait_for(f"{self.service}/readyz", running, log=log)
            yield

    def _gate(self, when: str) -> None:
        """Decide the held candidate in the dashboard, as a person does."""
        cycle = _newest(self.app, REHEARSAL)
        self.log.require(cycle.state is CycleState.HELD, f"the gate holds: it is {cycle.state}")
        self.log.tell(when, f"{REHEARSAL} is {cycle.state}")
        secret = self.app.access.create(scope=Scope.OPERATE, expires_days=7, name="anna")[1]
        with requests.Session() as browser:
            browser.post(f"{self.service}/login", data={"token": secret, "next": "/"}, timeout=60)
            overview = browser.get(f"{self.service}/", timeout=60).text
            self.log.require("GateHeld" in overview, "the overview tells of the held gate")
            address = f"{self.service}/campaigns/{REHEARSAL}/act/approve"
            form = browser.get(f"{address}?cycle={cycle.number}", timeout=60).text
            found = re.search(r'name="csrf" value="([^"]+)"', form)
            assert found is not None, form
            fields = {"csrf": found[1], "given": str(cycle.number), "reason": "as good, and newer"}
            answer = browser.post(address, data=fields, timeout=60)
            self.log.require(answer.ok and "done=approve" in answer.url, "the page takes the decision")
        self.flows.run("ingest", REHEARSAL)
        self.log.tell(when, f"anna approves in the page, and the cycle is {_newest(self.app, REHEARSAL).state}")
        self._look(when)

    # -- what holds

    def _look(self, when: str) -> None:
        app = self.app
        rows = [row for row in app.campaigns.list() if row.settings.name != SURVEY]
        figures = app.ops.figures.campaigns([row.id for row in rows])
        found = app.ops.troubles(app.ops.measures(), {row.settings.name: figures[row.id] for row in rows})
        for trouble in found:
            self.log.alarms[trouble.alarm.name] += 1
            self.log.tell(when, f"alarm {trouble.alarm.name}: {trouble.what}")

    def _count(self, table: str) -> int:
        with self.app.engine.connect() as connection:
            return int(connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)

    def _tallies(self, row: CampaignRow) -> Mapping[str, tuple[int, ...]]:
        tree = load_tree(row.settings.tree)
        tallies = self.app.votes.source(row.settings).tallies(row.id, tree.n_answers)
        return {g: tuple(map(int, v)) for g, v in zip(tallies.galaxy_ids, tallies.counts, strict=True)}

    def _audit(self, when: str) -> None:
        app, log = self.app, self.log
        for name in self._campaigns():
            row = app.campaigns.get(name)
            before = self._tallies(row)
            app.votes.recount_tallies(name)
            log.require(self._tallies(row) == before, f"tallies of {name} equal a recount")
            (outcome,) = app.subjects.reconcile(name, repair=False, actor="week")
            log.require(outcome.is_clean, f"ledger of {name} equals Zooniverse")
            for cycle in app.cycles.list(row.id):
                log.require(cycle.state is CycleState.DONE, f"cycle {cycle.number} of {name} is {cycle.state}")
            report = app.cycle.write_report(name).read_text(encoding="utf-8")
            log.require(name in report and "<svg" in report, f"{name} has its report")
        arrived = self._arrived()
        expected = self.posted[REHEARSAL] + self.before
        log.require(arrived == expected, f"{arrived} votes arrived of {expected}")
        log.require(set(log.alarms) == {"GateHeld"}, f"alarms: {dict(log.alarms)}")
        champions = {name: app.models.champion(app.campaigns.get(name).id) for name in self._campaigns()}
        log.require(all(champions.values()), "every campaign has a champion")
        log.tell(
            when, f"audit: {len(log.broken)} things broken; {arrived} votes of {REHEARSAL}, alarms {dict(log.alarms)}"
        )

    def _arrived(self) -> int:
        """Return the rows of the first campaign's own workflow: those of others are listed with them, and count nothing."""
        wanted = text(
            "SELECT count(*) FROM classifications r JOIN campaigns c ON c.id = r.campaign_id "
            "WHERE c.name = :name AND r.workflow_id = :workflow"
        )
        workflow = self.app.campaigns.get(REHEARSAL).settings.zooniverse.workflow_id
        with self.app.engine.connect() as connection:
            return int(connection.scalar(wanted, {"name": REHEARSAL, "workflow": workflow}) or 0)


def run(*, stepwise: bool, ticks: int, a_day: int = len(HOURS)) -> Log:
    """Return the log of a week."""
    log, began = Log(), time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alservice-week-")))
        server = None if stepwise else stack.enter_context(prefect_server())
        workdir = folder / "work" if server is None else server.workdir
        app = stack.enter_context(open_app(Settings(workdir=workdir), progress=NoProgress()))
        stack.enter_context(app.sites.local.opened())
        if server is None:
            prepare_rehearsal(app, data=None, galaxies=GALAXIES, seed=3)
            flows: Flows = Stepwise(app)
            flows.run("weekly-cycle", REHEARSAL)
            ask_volunteers(app, _newest(app, REHEARSAL).id)
            flows.run("ingest", REHEARSAL)
        else:
            flows = Prefect(app, server)
        Week(app, flows, folder, log).live(ticks=ticks, a_day=a_day)
    log.tell("after", f"{time.monotonic() - began:.0f} s in all")
    return log


def main(arguments: Sequence[str] | None = None) -> int:
    """Live a week, and print it; 1 if anything was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stepwise", action="store_true", help="without Prefect")
    parser.add_argument(
        "--a-day", type=int, default=len(HOURS), choices=(1, 2, 4), help="times that people come in a day"
    )
    parser.add_argument("--ticks", type=int, default=4, help="slots between two ticks of the flows")
    given = parser.parse_args(arguments)
    log = run(stepwise=given.stepwise, ticks=given.ticks, a_day=given.a_day)
    print(log.table())
    print(json.dumps({"broken": log.broken}))
    return int(bool(log.broken))


if __name__ == "__main__":
    os.environ["PANOPTES_ENDPOINT"] = "http://127.0.0.1:9"
    sys.exit(main())
