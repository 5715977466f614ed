"""Publishing under fire: many seeded runs of faults on the wire and processes killed, each checked to the last subject.

python -m tests.benchmarks.fault_campaign --runs 500 --fakes 5000 --seed 0

A run has a stand-in and a campaign of its own. Processes publish one after the other (real panoptes-client, ledger in
Postgres) while fault rules strike; most processes are doomed to SIGKILL around a call or at some moment.
Then the weather calms, the last one finishes, and ledger, stand-in and images are compared.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from alservice.standin.config import StandinConfig
from alservice.standin.server import Standin
from alservice.states import SubjectState
from alservice.storage.objects import LocalObjects
from alservice.storage.postgres import make_engine
from alservice.subjects.ledger import SqlSubjectLedger
from alservice.subjects.publish import is_image_of, zooniverse_id_of
from alservice.subjects.reconcile import ReconcileSubjects
from alservice.zooniverse.records import KEY_FIELD
from tests.benchmarks.publisher_process import (
    DONE,
    UNFINISHED,
    Death,
    Task,
    connect,
    open_campaign,
    publish_and_exit,
    utc_now,
)
from tests.support.postgres import migrated_database
from tests.support.publishing import storm_on_fakes

ON_THE_WIRE = {
    "sign in": {"path": "/users/sign_in"},
    "token": {"path": "/oauth/token"},
    "find set": {"method": "GET", "path": "/api/subject_sets"},
    "create set": {"method": "POST", "path": "/api/subject_sets$"},
    "workflow": {"method": "GET", "path": "/api/workflows"},
    "link set": {"method": "POST", "path": "/links/subject_sets"},
    "create": {"method": "POST", "path": "/api/subjects$"},
    "upload": {"method": "PUT", "path": "/uploads/"},
    "fetch": {"method": "GET", "path": "/uploads/"},
    "list": {"method": "GET", "path": "/api/subjects.project_id"},
    "delete": {"method": "DELETE", "path": "/api/subjects/"},
    "link": {"method": "POST", "path": "/links/subjects"},
    "members": {"method": "GET", "path": "/api/subjects.subject_set_id"},
}
"""What publishing sends; creates and links are struck three times as often."""

READ_TIMEOUT_S = 0.4
LATE_S = 0.8
"""A call held so long commits after its client has given up."""

STORMY_PROCESSES = 10
CALM_PROCESSES = 5
SETTLE_S = 0.02


@dataclass
class Totals:
    """Counts over all runs."""

    runs: int = 0
    planned: int = 0
    live: int = 0
    processes: int = 0
    killed: int = 0
    stopped_by_faults: int = 0
    creates: int = 0
    deleted: int = 0
    runs_with_late_orphans: int = 0
    late_orphans: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


def draw_rules(rng: random.Random) -> list[dict[str, Any]]:
    """Return the weather of one run: one to seven rules out of the whole matrix."""
    calls = [*ON_THE_WIRE, *("create", "link", "upload") * 2]
    rules = [_draw_rule(rng, rng.choice(calls)) for _ in range(rng.randint(1, 6))]
    if rng.random() < 0.4:
        # The worst case gets its share: a create that commits after its client has given up.
        late = {"kind": "latency", "seconds": LATE_S, "count": rng.randint(1, 2), "skip": rng.randint(0, 3)}
        rules.append({**ON_THE_WIRE["create"], **late})
    return rules


def _draw_rule(rng: random.Random, call: str) -> dict[str, Any]:
    rule: dict[str, Any] = {**ON_THE_WIRE[call], "skip": rng.choice([0, 0, 1, 2, 5])}
    if rng.random() < 0.3:
        rule |= {"probability": rng.choice([0.1, 0.3]), "seed": rng.randrange(10**9)}
    else:
        rule["count"] = rng.randint(1, 3)
    kind = rng.choice(["status", "status", "status", "reset", "close", "hang", "latency"])
    if kind == "status":
        # A refusal stands before the action; what fails behind the server may have been carried out.
        status = rng.choice([401, 403, 409, 412, 422, 429, 429, 500, 502, 503, 504, 504])
        when = rng.choice(["before", "after"]) if status >= 500 else "before"
        return {**rule, "kind": kind, "status": status, "when": when, "body": rng.choice(["json", "html", "empty"])}
    if kind in {"hang", "latency"}:
        rule |= {"seconds": LATE_S, "count": 1}
        rule.pop("probability", None)
        rule.pop("seed", None)
        return {**rule, "kind": kind}
    return {**rule, "kind": kind, "when": rng.choice(["before", "after"])}


def draw_death(rng: random.Random, n: int) -> Death | None:
    """Return how a process dies, None for one that may live."""
    if rng.random() < 0.3:
        return None
    kind = rng.choice(("before", "after", "at"))
    return Death(kind=kind, call=rng.randint(1, 7 * n + 8), seconds=rng.uniform(0.05, 0.8))


class Run:
    """One run: a stand-in, a campaign, and the processes that publish it."""

    def __init__(self, *, seed: int, database: str, folder: Path, totals: Totals) -> None:
        self.seed, self.totals, self.folder = seed, totals, folder
        self.rng = random.Random(seed)
        self.n = self.rng.choice([1, 3, 6, 10])
        self.connections = self.rng.choice([2, 4])
        self.attempts = self.rng.choice([1, 3])
        self.wave = self.rng.choice([2, 1000])
        self.database = database
        self.engine = make_engine(database)
        self.ledger = SqlSubjectLedger(self.engine, utc_now)
        self.cycle, self.campaign = open_campaign(self.engine, f"run-{seed}")
        self.spawner = multiprocessing.get_context("forkserver")

    def go(self) -> None:
        """Publish in the storm, finish in the calm, check, reconcile, check again."""
        config = StandinConfig(state=self.folder / "standin", users=(("surveyor", "secret"),), seed=self.seed)
        self.totals.runs += 1
        self.totals.planned += self.n
        with Standin(config) as self.standin:
            self._hooks = f"{self.standin.endpoint}/standin/faults"
            requests.post(self._hooks, json=draw_rules(self.rng), timeout=5).raise_for_status()
            done = any(self._process(draw_death(self.rng, self.n)) == DONE for _ in range(STORMY_PROCESSES))
            late = self._calm()
            done = done or any(self._process(None) == DONE for _ in range(CALM_PROCESSES))
            self._require(done, "never came to an end")
            if late:
                time.sleep(LATE_S)
            self._check()
        self.engine.dispose()

    def _process(self, death: Death | None) -> int:
        task = Task(
            endpoint=self.standin.endpoint,
            database=self.database,
            objects=self.folder / "objects",
            cycle=self.cycle,
            campaign=self.campaign,
            n=self.n,
            connections=self.connections,
            attempts=self.attempts,
            read_s=READ_TIMEOUT_S,
            settle_s=SETTLE_S,
            wave=self.wave,
            death=death,
        )
        process = self.spawner.Process(target=publish_and_exit, args=(task,))
        process.start()
        process.join(60)
        self.totals.processes += 1
        if process.exitcode == -signal.SIGKILL:
            self.totals.killed += 1
        elif process.exitcode == UNFINISHED:
            self.totals.stopped_by_faults += 1
        elif process.exitcode != DONE:
            process.kill()
            self._require(False, f"a publisher ended with {process.exitcode}")
        self._require(not self._keys_linked_twice(), "two linked subjects of one galaxy")
        return process.exitcode if process.exitcode is not None else UNFINISHED

    def _calm(self) -> bool:
        """End the weather; return whether calls may still be under way in the stand-in."""
        rules = requests.get(self._hooks, timeout=5).json()
        requests.delete(self._hooks, timeout=5).raise_for_status()
        for rule in rules:
            name = f"{rule['kind']} {rule['status']}" if rule["kind"] == "status" else rule["kind"]
            self.totals.faults[f"{name} {rule.get('when', '')}".strip()] += rule["hits"]
        return any(rule["kind"] == "latency" and rule["hits"] for rule in rules)

    def _keys_linked_twice(self) -> list[Any]:
        with self.standin.state.transaction() as tx:
            return tx.all(
                "SELECT json_extract(s.metadata, ?) AS key FROM subjects s JOIN set_member_subjects m "
                "ON m.subject_id = s.id WHERE s.active GROUP BY key HAVING count(*) > 1",
                f'$."{KEY_FIELD}"',
            )

    def _check(self) -> None:
        zooniverse = connect(self.standin.endpoint, attempts=3, read_s=10.0)
        set_id = zooniverse.ensure_subject_set(self.campaign.zooniverse.subject_set)
        rows = list(self.ledger.of_campaign(self.cycle.campaign_id))
        members = zooniverse.linked(set_id)
        self.totals.live += len(members)
        self._require([row.state for row in rows] == [SubjectState.LIVE] * self.n, "ledger is not all live")
        self._require({row.zooniverse_id for row in rows} == members, "ledger and set differ")
        self._require(len(members) == self.n, "live subjects are not as many as planned")
        remote = {s.zooniverse_id: s for s in zooniverse.subjects_above(0)}
        for row in rows:
            subject = remote.get(zooniverse_id_of(row))
            image = zooniverse.fetch_image(subject.image_url) if subject else None
            good = subject is not None and subject.key == row.key and image is not None and is_image_of(row, image)
            self._require(good, f"galaxy {row.galaxy_id} shows no image of its own")
        orphans = remote.keys() - members
        self.totals.late_orphans += len(orphans)
        self.totals.runs_with_late_orphans += bool(orphans)
        reconcile = ReconcileSubjects(self.ledger, zooniverse, connections=2)
        repairs = reconcile.repair(reconcile.report(self.cycle.campaign_id, set_id))
        self._require(set(repairs.removed) == orphans, "reconcile removed something else than the orphans")
        self._require(reconcile.report(self.cycle.campaign_id, set_id).is_clean, "not clean after reconcile")
        left = {s.zooniverse_id for s in zooniverse.subjects_above(0)}
        self._require(left == members, "an orphan outlived the reconcile")
        counts = requests.get(f"{self.standin.endpoint}/standin/state", timeout=5).json()
        self.totals.creates += counts["uploaded"]
        self.totals.deleted += counts["deleted_subjects"]

    def _require(self, holds: bool, what: str) -> None:
        if not holds:
            self.totals.violations.append(f"seed {self.seed}: {what}")


def run_campaign(*, runs: int, seed: int) -> Totals:
    """Return the counts of seeded runs on the stand-in."""
    totals = Totals()
    multiprocessing.get_context("forkserver").set_forkserver_preload(["tests.benchmarks.publisher_process"])
    with tempfile.TemporaryDirectory(prefix="alservice-faults-") as name, migrated_database() as database:
        for number in range(seed, seed + runs):
            folder = Path(name) / str(number)
            Run(seed=number, database=database, folder=folder, totals=totals).go()
    return totals


def run_fakes(*, runs: int, seed: int) -> list[int]:
    """Return the seeds of runs on the fakes that broke a rule."""
    broken = []
    with tempfile.TemporaryDirectory(prefix="alservice-faults-") as name:
        objects = LocalObjects(Path(name))
        for number in range(seed, seed + runs):
            try:
                storm_on_fakes(objects, number)
            except AssertionError:
                broken.append(number)
    return broken


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print the counts; 1 if any rule was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500, help="runs on the stand-in, real client")
    parser.add_argument("--fakes", type=int, default=5000, help="runs on the in-memory fakes")
    parser.add_argument("--seed", type=int, default=0, help="first seed; run n has seed + n")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    totals = run_campaign(runs=given.runs, seed=given.seed)
    on_standin_s = time.monotonic() - started
    broken = run_fakes(runs=given.fakes, seed=given.seed)
    print(json.dumps({**vars(totals), "faults": dict(totals.faults.most_common())}, indent=1))
    print(
        f"stand-in: {given.runs} runs in {on_standin_s:.0f} s; fakes: {given.fakes} runs, {len(broken)} broken {broken}"
    )
    return int(bool(totals.violations or broken))


if __name__ == "__main__":
    # Nothing here may reach the public site, whatever a client finds in its environment.
    os.environ["PANOPTES_ENDPOINT"] = "http://127.0.0.1:9"
    sys.exit(main())
