"""Rows per second from an export CSV to committed tallies, beside pandas and to_sql on its first 100,000 rows.

The file is made of the nine real GZ DECaLS rows: their cells, with ids, people, sessions, times and subjects of its
own, and answers that walk the tree of the real workflow version 66.425 in the words of its definition. Subjects
are classified 40 times each, 5,000 of them at a time, as a weekly batch is.

Run: ``python -m tests.benchmarks.ingest --rows 300000``
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from sqlalchemy import Engine, text

from alservice.adapters.sql.embedded import EmbeddedPostgres
from alservice.adapters.sql.engine import make_engine, transaction, upgrade
from alservice.adapters.workflow_files import read_workflows
from alservice.campaigns import parse_campaign
from alservice.core.tree import load_tree
from alservice.core.workflows import Workflow
from tests.support.shared import ROOT, shared_data
from tests.support.worlds import make_factory

TREE = load_tree("gz-decals-dr5")
ACTIVE, VOTES = 5_000, 40
BASELINE_ROWS = 100_000


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


def ours(url: str, folder: Path, path: Path, rows: int) -> tuple[float, str]:
    """Return seconds and report of an ingest into an empty campaign."""
    engine = make_engine(url)
    upgrade(engine)
    factory = make_factory(engine, folder)
    document = yaml.safe_load((ROOT / "deploy" / "campaigns" / "gz-decals-dr5.yaml").read_text())
    document["zooniverse"]["workflow_id"] = 6122
    campaign = factory.campaigns.save(parse_campaign(document, source="bench"))
    catalogue = factory.catalogues.save(
        campaign.id, source="bench", digest="0" * 64, votes_key=None, galaxies=[], faults=[]
    )
    cycle = factory.cycles.start(campaign, catalogue.id, None, "bench")
    with transaction(engine) as connection:
        connection.execute(
            text(
                "INSERT INTO subjects (campaign_id, cycle_id, galaxy_id, key, image_key, state, zooniverse_id, n_votes,"
                " attempts, created_at, updated_at) SELECT :c, :y, 'J' || lpad(i::text, 9, '0'), 'k' || i, 'x', 'live',"
                " i, 40, 1, now(), now() FROM generate_series(0, :n) AS i"
            ),
            {"c": campaign.id, "y": cycle.id, "n": rows // VOTES + ACTIVE},
        )
    factory.ingest_workflows(campaign.campaign.name, shared_data() / "exports" / "gz_decals_workflow_versions_24.json")
    start, cpu, server, reader = time.perf_counter(), time.process_time(), postgres_seconds(engine), reader_seconds()
    report = factory.ingest_export(campaign.campaign.name, path)
    seconds = time.perf_counter() - start
    cpu, server = time.process_time() - cpu, postgres_seconds(engine) - server
    reader = reader_seconds() - reader
    with transaction(engine) as connection:
        size = connection.scalar(text("SELECT pg_total_relation_size('classifications')"))
    engine.dispose()
    return (
        seconds,
        f"{report.text()}; table {size / rows:.0f} bytes a row; CPU {cpu:.1f} s + reader {reader:.1f} s + Postgres {server:.1f} s",
    )


def reader_seconds() -> float:
    """Return CPU seconds of processes of ours that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def postgres_seconds(engine: Engine) -> float:
    """Return CPU seconds of the server processes that serve this engine."""
    ticks = 0
    with transaction(engine) as connection:
        for pid in connection.scalars(text("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def baseline(url: str, path: Path, rows: int) -> tuple[float, float]:
    """Return seconds, and CPU seconds of this process, of the usual script: read_csv, json.loads per row, to_sql of rows and tallies."""
    engine = make_engine(url)
    start, cpu = time.perf_counter(), time.process_time()
    table = pd.read_csv(path, nrows=rows)
    table = table.drop_duplicates("classification_id")
    votes: list[dict[str, Any]] = [
        {"subject": subject, "task": answer["task"], "value": answer["value"]}
        for subject, cell in zip(table["subject_ids"], table["annotations"], strict=True)
        for answer in json.loads(cell)
    ]
    tallies = pd.DataFrame(votes).groupby(["subject", "task", "value"]).size().rename("votes").reset_index()
    columns = ["classification_id", "user_id", "workflow_version", "created_at", "annotations", "subject_ids"]
    table[columns].to_sql("baseline_rows", engine, index=False, if_exists="replace", chunksize=10_000)
    tallies.to_sql("baseline_tallies", engine, index=False, if_exists="replace", chunksize=10_000)
    engine.dispose()
    return time.perf_counter() - start, time.process_time() - cpu


def main() -> None:
    """Print the measured figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=300_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="alservice-bench-") as name:
        folder = Path(name)
        path = folder / "export.csv"
        make_file(path, rows)
        print(f"file: {rows} rows, {path.stat().st_size / rows:.0f} bytes a row")
        with EmbeddedPostgres(folder / "postgres") as url:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            seconds, report = ours(url, folder, path, rows)
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"alservice: {rows / seconds:.0f} rows/s ({seconds:.1f} s); {report}")
            print(f"memory: {after:.0f} MiB at most, {before:.0f} MiB before")
            n = min(rows, BASELINE_ROWS)
            seconds, cpu = baseline(url, path, n)
            print(f"pandas + to_sql: {n / seconds:.0f} rows/s ({seconds:.1f} s for {n} rows; CPU {cpu:.1f} s)")


if __name__ == "__main__":
    main()
