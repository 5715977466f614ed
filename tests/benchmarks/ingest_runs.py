"""Rows per second from an export CSV to committed tallies, beside pandas and to_sql on its first 100,000 rows.

The file is made of the nine real GZ DECaLS rows: their cells, with ids, people, sessions, times and subjects of its
own, and answers that walk the tree of the real workflow version 66.425 in the words of its definition. Subjects
are classified 40 times each, 5,000 of them at a time, as a weekly batch is.

Run: ``python -m tests.benchmarks.ingest --rows 300000``; ``--full`` measures all: 300,000 rows beside the baselines,
memory, time and table sizes of 5 million rows, what 60 million votes would take, and 100,000 rows of the API listing.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import resource
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from sqlalchemy import Engine, text

from alservice.adapters.sql.embedded import EmbeddedPostgres
from alservice.adapters.sql.engine import make_engine, transaction, upgrade
from alservice.adapters.workflow_files import read_workflows
from alservice.campaigns import parse_campaign
from alservice.core.campaign import Campaign
from alservice.core.records import CampaignRow
from alservice.core.tree import load_tree
from alservice.core.workflows import Workflow
from alservice.factory import Factory
from tests.support.shared import ROOT, shared_data
from tests.support.worlds import make_campaign, make_factory

TREE = load_tree("gz-decals-dr5")
ACTIVE, VOTES = 5_000, 40
BASELINE_ROWS = 100_000
FULL_ROWS, POLLED_ROWS, GZ2_VOTES = 5_000_000, 100_000, 60_000_000
TABLES = ("classifications", "tallies")


def walks(workflow: Workflow, strings: dict[str, str], rng: np.random.Generator, n: int) -> list[str]:
    """Return annotation cells of volunteers who walk the tree."""
    cells = []
    for _ in range(n):
        chosen: set[str] = set()
        annotations = []
        for question in TREE.questions:
            if question.parents and not chosen & set(question.parents):
                continue
            pick = int(rng.integers(len(question.task_answers)))
            chosen.add(f"{question.name}_{question.task_answers[pick]}")
            label = strings[f"{question.task}.answers.{pick}.label"]
            task = workflow.tasks[question.task]
            annotations.append({"task": question.task, "task_label": task["question"], "value": label})
        cells.append(json.dumps(annotations, separators=(",", ":")))
    return cells


def make_file(path: Path, rows: int) -> None:
    """Write the export."""
    folder = shared_data() / "exports"
    with (folder / "gz_decals_dr5_classifications.csv").open(encoding="utf-8", newline="") as file:
        header, *real = list(csv.reader(file))
    (workflow,) = read_workflows(folder / "gz_decals_workflow_version_66.425.json")
    strings = json.loads((folder / "gz_decals_workflow_version_66.425.json").read_text())["strings"]
    rng = np.random.default_rng(1)
    annotations = walks(workflow, strings, rng, 20_000)
    metadata = [json.loads(row[10]) for row in real]
    subjects = (np.arange(rows) // (ACTIVE * VOTES)) * ACTIVE + rng.integers(0, ACTIVE, rows)
    users = rng.integers(1, 60_000, rows)
    answers = rng.integers(0, len(annotations), rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for i in range(rows):
            row = list(real[i % 9])
            meta = metadata[i % 9]
            stamp = f"2018-03-{1 + i // 3600 // 24 % 28:02}T{i // 3600 % 24:02}:{i // 60 % 60:02}:{i % 60:02}"
            meta |= {"session": f"{users[i] * 7919:064x}", "started_at": f"{stamp}.{i % 1000:03}Z"}
            row[0], row[2] = str(100_000_000 + i), "" if users[i] % 4 == 0 else str(users[i])
            row[6], row[7] = "66.425", stamp.replace("T", " ") + " UTC"
            row[10], row[11] = json.dumps(meta, separators=(",", ":")), annotations[answers[i]]
            row[12] = row[12].replace(row[13], str(subjects[i]))
            row[13] = str(subjects[i])
            writer.writerow(row)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one ingest took; sizes in bytes, with indexes."""

    rows: int
    votes: int
    seconds: float
    cpu: dict[str, float]
    sizes: dict[str, int]
    report: str

    def text(self) -> str:
        """Return the figures as people read them."""
        spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.cpu.items())
        sizes = ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in self.sizes.items())
        return f"{self.rows / self.seconds:.0f} rows/s ({self.seconds:.1f} s; CPU: {spent}); {self.report}; {sizes}"

    def extrapolated(self, votes: int) -> str:
        """Return what so many votes would take, by proportion."""
        times = votes / self.votes
        size = sum(self.sizes.values()) * times
        return (
            f"{votes:,} votes, from {self.votes:,} measured: {self.seconds * times / 60:.0f} min, "
            f"{self.rows * times / 1e6:.1f} million classifications, tables {size / 2**30:.1f} GiB"
        )


def open_campaign(factory: Factory, campaign: Campaign, subjects: int) -> CampaignRow:
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


def ours(factory: Factory, path: Path, rows: int) -> Measured:
    """Ingest a file into an empty campaign."""
    document = yaml.safe_load((ROOT / "deploy" / "campaigns" / "gz-decals-dr5.yaml").read_text())
    document["zooniverse"]["workflow_id"] = 6122
    campaign = open_campaign(factory, parse_campaign(document, source="bench"), rows // VOTES + ACTIVE)
    factory.ingest_workflows(campaign.campaign.name, shared_data() / "exports" / "gz_decals_workflow_versions_24.json")
    start, before = time.perf_counter(), cpu_seconds(factory.engine)
    report = factory.ingest_export(campaign.campaign.name, path)
    seconds, after = time.perf_counter() - start, cpu_seconds(factory.engine)
    with transaction(factory.engine) as connection:
        sizes = {name: int(connection.scalar(text(f"SELECT pg_total_relation_size('{name}')"))) for name in TABLES}
        votes = int(connection.scalar(text("SELECT sum(v) FROM tallies, unnest(votes) AS v")))
    return Measured(
        rows=rows,
        votes=votes,
        seconds=seconds,
        cpu={name: after[name] - before[name] for name in after},
        sizes=sizes,
        report=report.text(),
    )


def cpu_seconds(engine: Engine) -> dict[str, float]:
    """Return CPU seconds of this process, of those it started that have ended, and of its Postgres."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = used.ru_utime + used.ru_stime
    return {"landing": time.process_time(), "reading": ended, "Postgres": postgres_seconds(engine)}


def postgres_seconds(engine: Engine) -> float:
    """Return CPU seconds of the server processes that serve this engine."""
    ticks = 0
    with transaction(engine) as connection:
        for pid in connection.scalars(text("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def fresh(folder: Path) -> Iterator[tuple[Factory, str]]:
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
    print(f"file: {rows} rows, {path.stat().st_size / rows:.0f} bytes a row")
    with fresh(folder) as (factory, url):
        before = peak_mib()
        with watching_reader() as reader:
            measured = ours(factory, path, rows)
        print(f"alservice: {measured.text()}")
        print(
            f"memory: {peak_mib():.0f} MiB at most, {before:.0f} before; reading process {reader[-1]:.0f} MiB at most"
        )
        if baselines:
            from tests.benchmarks import ingest_baseline

            n = min(rows, baselines)
            for make in (ingest_baseline.short, ingest_baseline.equal):
                seconds, cpu = ingest_baseline.measure(url, path, n, TREE, make)
                print(
                    f"pandas + to_sql, {make.__name__}: {n / seconds:.0f} rows/s ({seconds:.1f} s for {n} rows; CPU {cpu:.1f} s)"
                )
    path.unlink()
    return measured


def api(folder: Path, rows: int) -> None:
    """Measure the API listing of a stand-in with so many classifications."""
    from tests.benchmarks import ingest_polling

    subjects = max(1, rows // VOTES)
    ingest_polling.fill(folder / "standin", rows, subjects)
    with fresh(folder) as (factory, _), ingest_polling.serving(folder / "standin") as endpoint:
        os.environ["PANOPTES_ENDPOINT"] = endpoint
        open_campaign(factory, make_campaign(), 100 + subjects)
        print(f"API listing: {ingest_polling.poll(factory, 'test', rows)}")


@contextmanager
def watching_reader() -> Iterator[list[float]]:
    """Look at the reading process's own peak memory (MiB) while it lives; what the kernel tells later is its parent's."""
    seen, over = [0.0], threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            for child in multiprocessing.active_children():
                with suppress(OSError):
                    status = Path(f"/proc/{child.pid}/status").read_text()
                    seen.extend(int(line.split()[1]) / 1024 for line in status.splitlines() if "VmHWM" in line)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def peak_mib() -> float:
    """Return the largest memory this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the measured figures; the largest file first, while memory shows what it alone needs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--api-rows", type=int, default=0)
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args(arguments)
    print(f"load {os.getloadavg()[0]:.1f}")
    runs = [(FULL_ROWS, 0), (300_000, BASELINE_ROWS)] if options.full else [(options.rows, BASELINE_ROWS)]
    for rows, baselines in runs:
        with tempfile.TemporaryDirectory(prefix="alservice-bench-") as name:
            print(export(Path(name), rows, baselines=baselines).extrapolated(GZ2_VOTES))
    polled = POLLED_ROWS if options.full else options.api_rows
    if polled:
        with tempfile.TemporaryDirectory(prefix="alservice-bench-") as name:
            api(Path(name), polled)
