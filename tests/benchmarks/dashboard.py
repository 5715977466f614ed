"""Milliseconds of the dashboard's overview and of every page of a large campaign, over HTTP, cold and remembered.

The campaign has 1,000 cycles with models, decisions and evaluations, 1 million galaxies and subjects, and a part of 50
million classifications, all made in Postgres by ``generate_series``. The service runs in a thread of this process.

Run: ``python -m tests.benchmarks.dashboard --cycles 1000 --subjects 1000000 --classifications 5000000``
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np
from sqlalchemy import Engine, text

from alservice.access import Scope
from alservice.app import App
from alservice.storage.postgres import make_engine, transaction
from alservice.web.application import create_app
from alservice.web.limits import Limits
from tests.support.dashboards import World, populate
from tests.support.postgres import migrated_database
from tests.support.web_server import served

FULL = 50_000_000
"""Classifications of which a part is made."""

HOME = "/campaigns/gz-demo"
PAGES = ("/", HOME, *(f"{HOME}/{tab}" for tab in ("cycles", "votes", "subjects", "models", "gallery", "events")))

CYCLES = """
INSERT INTO cycles (
    campaign_id, campaign_version, catalogue_id, number, kind, state, champion_id, created_at, updated_at)
SELECT campaign_id, campaign_version, catalogue_id, number + n, kind, 'done', champion_id,
    created_at - n * interval '1 day', updated_at - n * interval '1 day'
FROM cycles, generate_series(1, :cycles) AS n WHERE id = :cycle;

INSERT INTO training_snapshots (
    cycle_id, key, digest, n_galaxies, n_votes, reducer, n_inconsistent, created_at)
SELECT c.id, 'k', 'd', 100, 1000 * c.number, '1', 0, c.created_at FROM cycles c WHERE c.number > :number;

INSERT INTO models (campaign_id, cycle_id, snapshot_id, key, digest, state, card, created_at)
SELECT c.campaign_id, c.id, s.id, 'k', 'd' || c.id, 'retired', '{"n_galaxies": 100}', c.created_at
FROM cycles c JOIN training_snapshots s ON s.cycle_id = c.id WHERE c.number > :number;

UPDATE cycles SET candidate_id = m.id FROM models m WHERE m.cycle_id = cycles.id AND cycles.number > :number;

INSERT INTO evaluations (cycle_id, model_id, metrics, created_at)
SELECT c.id, c.candidate_id, e.metrics, c.created_at
FROM cycles c, (SELECT metrics FROM evaluations WHERE cycle_id = :cycle LIMIT 1) e WHERE c.number > :number;

INSERT INTO gate_decisions (cycle_id, verdict, document, actor, decided_at)
SELECT c.id, 'promote', d.document, 'bench', c.created_at
FROM cycles c, (SELECT document FROM gate_decisions WHERE cycle_id = :cycle) d WHERE c.number > :number;

INSERT INTO events (campaign_id, cycle_id, at, actor, kind, detail)
SELECT c.campaign_id, c.id, c.created_at, 'prefect:bench', 'cycle.moved', '{"from": "planned", "to": "acquiring"}'
FROM cycles c, generate_series(1, 20) WHERE c.number > :number;
"""

SUBJECTS = """
INSERT INTO galaxies (catalogue_id, row, galaxy_id, ra_deg, dec_deg, image_key, unbiased, evaluation)
SELECT :catalogue, 1000 + n, 'bench-' || n, 10, 10, 'images/none', true, false FROM generate_series(1, :subjects) AS n;

INSERT INTO subjects (campaign_id, cycle_id, galaxy_id, key, image_key, state, zooniverse_id, n_votes, attempts,
    created_at, updated_at)
SELECT :campaign, (SELECT min(id) FROM cycles) + n % :cycles, 'bench-' || n, 'bench-key-' || n, 'images/none',
    (ARRAY['retired', 'retired', 'retired', 'live', 'withdrawn'])[1 + n % 5], n, 40, 1, now(), now()
FROM generate_series(1, :subjects) AS n;

INSERT INTO tallies (campaign_id, galaxy_id, classifications, votes, last_id)
SELECT :campaign, 'bench-' || n, 40, ARRAY[20, 15, 5], 1 FROM generate_series(1, :subjects) AS n;
"""

CLASSIFICATIONS = """
INSERT INTO classifications (campaign_id, classification_id, workflow_id, workflow_version, seen_before, live_project,
    created_at, annotations, galaxy_id, answers, abstentions, verdict, source, received_at, gold_standard,
    after_retirement, answers_from)
SELECT :campaign, 900000000000 + n, 1, '1.1', false, true, at, '[]', 'bench-' || (1 + n % :subjects), '{0}', 0,
    CASE WHEN n % 10000 = 0 THEN 'quarantined' ELSE 'counted' END, 'api', at, false, false, 'api'
FROM (SELECT n, CAST(:now AS timestamptz) - n * interval '20 seconds' AS at FROM generate_series(1, :rows) AS n) AS made
"""


def fill(engine: Engine, world: World, *, cycles: int, subjects: int, classifications: int) -> None:
    """Make the campaign large, and let Postgres look at its tables as its own vacuum would."""
    last = world.held
    with transaction(engine) as connection:
        connection.execute(text("UPDATE cycles SET state = 'done' WHERE id = :cycle"), {"cycle": last.id})
        shared = {"cycle": last.id, "number": last.number, "cycles": cycles, "subjects": subjects}
        shared |= {"campaign": world.campaign.id, "catalogue": last.catalogue_id}
        for statement in (CYCLES + SUBJECTS).split(";"):
            if statement.strip():
                names = [name for name in shared if f":{name}" in statement]
                connection.execute(text(statement), {name: shared[name] for name in names})
    for first in range(0, classifications, 500_000):
        rows = min(500_000, classifications - first)
        values = {"campaign": world.campaign.id, "subjects": subjects, "now": world.hands.now, "rows": rows}
        made = CLASSIFICATIONS.replace("900000000000 + n", f"900000000000 + {first} + n")
        made = made.replace("- n * interval", f"- ({first} + n) * interval")
        with transaction(engine) as connection:
            connection.execute(text(made), values)
    with transaction(engine.execution_options(isolation_level="AUTOCOMMIT")) as connection:
        connection.execute(text("VACUUM ANALYZE"))


def measure(factory: App, repeats: int, *, life_s: float) -> dict[str, tuple[float, float, float]]:
    """Return page to median, 95th percentile and longest answer (ms), one request at a time."""
    secret = factory.access.create(scope=Scope.READ, name=f"bench-{life_s:g}")[1]
    limits = Limits(requests_per_minute=1_000_000)
    found = {}
    with (
        served(create_app(factory, limits=limits, figures_life_s=life_s)) as url,
        httpx.Client(base_url=url, timeout=120) as client,
    ):
        client.post("/login", data={"token": secret, "next": "/"})
        for page in PAGES:
            client.get(page).raise_for_status()  # plans and imports
            took = []
            for _ in range(repeats):
                began = time.perf_counter()
                client.get(page).raise_for_status()
                took.append(1000 * (time.perf_counter() - began))
            found[page] = (float(np.median(took)), float(np.quantile(took, 0.95)), max(took))
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, tuple[float, float, float]]:
    """Fill, measure, print; return the figures without memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=1_000)
    parser.add_argument("--subjects", type=int, default=1_000_000)
    parser.add_argument("--classifications", type=int, default=5_000_000)
    parser.add_argument("--repeats", type=int, default=40)
    given = parser.parse_args(arguments)
    os.environ.setdefault("PANOPTES_ENDPOINT", "http://127.0.0.1:9")
    with migrated_database() as url, tempfile.TemporaryDirectory() as folder:
        engine = make_engine(url)
        world = populate(engine, Path(folder), cycles=3)
        began = time.perf_counter()
        sizes = {name: getattr(given, name) for name in ("cycles", "subjects", "classifications")}
        fill(engine, world, **sizes)
        part = f"{given.classifications / FULL:.1%} of {FULL:,}"
        print(
            f"{sizes} ({part} classifications), filled in {time.perf_counter() - began:.0f} s; load {os.getloadavg()}"
        )
        cold = measure(world.factory, given.repeats, life_s=0)
        warm = measure(world.factory, given.repeats, life_s=10)
        print("| page | p50 cold (ms) | p95 cold (ms) | longest | p95 remembered (ms) |\n|---|---|---|---|---|")
        for page, (middle, high, longest) in cold.items():
            print(f"| `{page}` | {middle:.0f} | {high:.0f} | {longest:.0f} | {warm[page][1]:.0f} |")
        engine.dispose()
    return cold


if __name__ == "__main__":
    main()
