"""Rows per second from an export CSV to committed tallies, beside pandas and to_sql on its first 100,000 rows.

The command line is measured as people run it, in a process of its own, on Postgres with its defaults.

Run: ``python -m tests.benchmarks.ingest --rows 300000``; ``--votes N`` makes the file hold so many votes instead. ``--full``
is 5 million rows, and 100,000 rows of the API listing. Everything lies under the folder for temporary files (TMPDIR), 14 GB
of it for ``--full``, and is removed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from sqlalchemy import text

from alservice.app import App
from alservice.campaigns.campaign import Campaign, parse_campaign
from alservice.campaigns.store import CampaignRow
from alservice.storage.embedded_postgres import EmbeddedPostgres
from alservice.storage.postgres import make_engine, transaction, upgrade
from tests.benchmarks import ingest_baseline, ingest_polling
from tests.benchmarks.ingest_files import ACTIVE, TREE, VOTES, make_file, rows_for
from tests.benchmarks.ingest_watch import Watched, watch
from tests.support.rehearsals import environment
from tests.support.shared import ROOT, shared_data
from tests.support.worlds import make_campaign, make_factory

BASELINE_ROWS = 100_000
FULL_ROWS, POLLED_ROWS, GZ2_VOTES = 5_000_000, 100_000, 60_000_000
TABLES = ("classifications", "tallies")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one ingest took; sizes in bytes, with indexes."""

    rows: int
    votes: int
    seconds: float
    taken: Watched
    sizes: dict[str, int]
    report: str

    def text(self) -> str:
        """Return the figures as people read them."""
        spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.taken.cpu.items())
        sizes = ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in self.sizes.items())
        memory = ", ".join(f"{name} {mib:.0f}" for name, mib in self.taken.memory.items())
        return (
            f"alservice: {self.rows / self.seconds:.0f} rows/s ({self.seconds:.1f} s; CPU: {spent})\n"
            f"  {self.report}\n  memory (MiB at most): {memory}; landing and reading together {self.taken.ours:.0f}\n"
            f"  tables: {sizes}"
        )

    def extrapolated(self, votes: int) -> str:
        """Return what so many votes would take, by proportion."""
        times = votes / self.votes
        size = sum(self.sizes.values()) * times
        return (
            f"{votes:,} votes, from {self.votes:,} measured: {self.seconds * times / 60:.0f} min, "
            f"{self.rows * times / 1e6:.1f} million classifications, tables {size / 2**30:.1f} GiB"
        )


def open_campaign(factory: App, campaign: Campaign, subjects: int) -> CampaignRow:
    """Make a campaign with live subjects 0, 1, ... on Zooniverse."""
    row = factory.campaigns.save(campaign)
    catalogue = factory.catalogues.save(row.id, source="bench", digest="0" * 64, votes_key=None, galaxies=[], faults=[])
    cycle = factory.cycles.start(row, catalogue.id, None, "bench")
    with transaction(factory.engine) as connection:
        connection.execute(
            text(
                "INSERT INTO subjects (campaign_id, cycle_id, galaxy_id, key, image_key, state, zooniverse_id, n_votes,"
                " attempts, created_at, updated_at) SELECT :c, :y, 'J' || lpad(i::text, 9, '0'), 'k' || i, 'x', 'live',"
                " i, 40, 1, now(), now() FROM generate_series(0, :n) AS i"
            ),
            {"c": row.id, "y": cycle.id, "n": subjects},
        )
    return row


def ours(factory: App, url: str, folder: Path, path: Path, rows: int) -> Measured:
    """Ingest a file into an empty campaign."""
    document = yaml.safe_load((ROOT / "deploy" / "campaigns" / "gz-decals-dr5.yaml").read_text())
    document["zooniverse"]["workflow_id"] = 6122
    campaign = open_campaign(factory, parse_campaign(document, source="bench"), rows // VOTES + ACTIVE)
    name = campaign.settings.name
    factory.votes.ingest_workflows(name, shared_data() / "exports" / "gz_decals_workflow_versions_24.json")
    command = [sys.executable, "-m", "alservice.cli", "ingest", "export", str(path), "--campaign", name]
    env = environment(folder / "work", ALSERVICE_DATABASE_URL=url)
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as running:
        taken = watch(running, int((folder / "postgres/data/postmaster.pid").read_text().split()[0]))
        report = running.communicate()[0].strip()
    seconds = time.perf_counter() - start
    if running.returncode:
        raise SystemExit(f"ingest failed: {report}")
    with transaction(factory.engine) as connection:
        sizes = {name: int(connection.scalar(text(f"SELECT pg_total_relation_size('{name}')"))) for name in TABLES}
        votes = int(connection.scalar(text("SELECT sum(v) FROM tallies, unnest(votes) AS v")))
    return Measured(rows=rows, votes=votes, seconds=seconds, taken=taken, sizes=sizes, report=report)


@contextmanager
def fresh(folder: Path) -> Iterator[tuple[App, str]]:
    """Open an empty database with Postgres' defaults; give a factory on it, and its URL."""
    with EmbeddedPostgres(folder / "postgres") as url:
        engine = make_engine(url)
        upgrade(engine)
        yield make_factory(engine, folder), url
        engine.dispose()


def export(folder: Path, rows: int, *, baselines: int) -> Measured:
    """Measure a file of so many rows, beside the baselines on its first ones."""
    path = folder / "export.csv"
    make_file(path, rows)
    print(f"file: {rows:,} rows, {path.stat().st_size / rows:.0f} bytes a row", flush=True)
    with fresh(folder) as (factory, url):
        measured = ours(factory, url, folder, path, rows)
        print(measured.text(), flush=True)
        n = min(rows, baselines)
        for make in (ingest_baseline.short, ingest_baseline.equal) if n else ():
            seconds, cpu = ingest_baseline.measure(url, path, n, TREE, make)
            took = f"{seconds:.1f} s for {n:,} rows; CPU {cpu:.1f} s"
            print(f"pandas + to_sql, {make.__name__}: {n / seconds:.0f} rows/s ({took})", flush=True)
    return measured


def api(folder: Path, rows: int) -> None:
    """Measure the API listing of a stand-in with so many classifications."""
    subjects = max(1, rows // VOTES)
    ingest_polling.fill(folder / "standin", rows, subjects)
    with fresh(folder) as (factory, _), ingest_polling.serving(folder / "standin"):
        open_campaign(factory, make_campaign(), 100 + subjects)
        print(f"API listing: {ingest_polling.poll(factory, 'test', rows)}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the measured figures."""
    parser = argparse.ArgumentParser()
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--rows", type=int, default=300_000)
    size.add_argument("--votes", type=int, default=0, help="rows enough for so many votes")
    size.add_argument("--full", action="store_true")
    parser.add_argument("--baseline-rows", type=int, default=BASELINE_ROWS, help="0 leaves the baselines out")
    parser.add_argument("--api-rows", type=int, default=0)
    options = parser.parse_args(arguments)
    print(f"load {os.getloadavg()[0]:.1f}", flush=True)
    rows = FULL_ROWS if options.full else rows_for(options.votes) if options.votes else options.rows
    with tempfile.TemporaryDirectory(prefix="alservice-bench-") as name:
        print(export(Path(name), rows, baselines=options.baseline_rows).extrapolated(GZ2_VOTES), flush=True)
    polled = POLLED_ROWS if options.full else options.api_rows
    if polled:
        with tempfile.TemporaryDirectory(prefix="alservice-bench-") as name:
            api(Path(name), polled)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
