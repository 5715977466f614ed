"""Subjects per second at a set latency per call: our publisher and the three ways of the panoptes-client, in one run.

python -m tests.benchmarks.publish_throughput --subjects 10000 --latency 0.15

The stand-in is a process of its own, a fresh one for each way, and so is each way. Ours creates, uploads, fetches every
image back, links and records every step in Postgres; the client's ways only do what their name says.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from alservice.progress import NoProgress
from alservice.storage.images import sniff
from alservice.storage.objects import LocalObjects
from alservice.storage.postgres import make_engine
from alservice.subjects.ledger import SqlSubjectLedger
from alservice.subjects.publish import PublishPolicy, PublishSubjects
from tests.benchmarks.publisher_process import connect, open_campaign, utc_now
from tests.support.postgres import migrated_database, scratch_folder
from tests.support.processes import free_port, process, wait_for
from tests.support.publishing import drafts_of, image_of
from tests.support.shared import ROOT

REPEATS = 6_000
"""Images of about 30 kB, as survey cut-outs are."""


@dataclass(kw_only=True)
class Measured:
    """Figures of one way."""

    subjects: int
    seconds: float = 0.0
    connections: int = 0
    rss_before_mib: float = 0.0
    rss_peak_mib: float = 0.0
    link_calls: int = 0

    @property
    def per_second(self) -> float:
        """Subjects per second."""
        return self.subjects / self.seconds


@contextmanager
def measuring(endpoint: str, subjects: int) -> Iterator[Measured]:
    """Time a block, sample its connections to the stand-in, and read the process's peak memory."""
    seen = Measured(subjects=subjects, rss_before_mib=_peak_mib())
    over = threading.Event()
    port = urlsplit(endpoint).port or 0

    def sample() -> None:
        while not over.wait(0.02):
            seen.connections = max(seen.connections, _connections(port))

    sampler = threading.Thread(target=sample)
    sampler.start()
    started = time.perf_counter()
    try:
        yield seen
    finally:
        seen.seconds = time.perf_counter() - started
        over.set()
        sampler.join()
        seen.rss_peak_mib = _peak_mib()


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _connections(port: int) -> int:
    """Return established TCP connections to a loopback port (Linux)."""
    fields = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return sum(1 for f in fields if f[3] == "01" and int(f[2].split(":")[1], 16) == port)


def publish_ours(endpoint: str, folder: Path, n: int, *, database: str) -> Measured:
    """Publish n subjects with 24 connections: created, uploaded, fetched back, linked, recorded."""
    engine = make_engine(database)
    objects = LocalObjects(folder / "objects")
    cycle, campaign = open_campaign(engine, f"throughput-{n}")
    drafts = drafts_of(objects, n, campaign=campaign.name, repeats=REPEATS)
    publisher = PublishSubjects(
        SqlSubjectLedger(engine, utc_now),
        objects,
        connect(endpoint, attempts=5, read_s=60.0),
        policy=PublishPolicy(connections=24, settle_s=1.0),
        media_type=sniff,
        sleep=time.sleep,
        progress=NoProgress(),
    )
    with measuring(endpoint, n) as seen:
        report = publisher.publish(cycle, campaign, drafts, 40)
    if (report.live, report.sent) != (n, n):
        raise AssertionError(f"not a fair run: {report}")
    return seen


def _client_subjects(folder: Path, n: int) -> Iterator[Any]:
    from panoptes_client import Subject

    folder.mkdir(parents=True, exist_ok=True)
    for row in range(n):
        path = folder / f"{row}.png"
        path.write_bytes(image_of(f"J{row:04d}", REPEATS))
        subject = Subject()
        subject.links.project = 1
        subject.metadata["#survey_id"] = f"J{row:04d}"
        subject.add_location(str(path), manual_mimetype="image/png")  # no real picture, libmagic would say
        yield subject


def _log_in(endpoint: str) -> None:
    from panoptes_client import Panoptes

    os.environ["PANOPTES_ENDPOINT"] = endpoint
    Panoptes.connect(endpoint=endpoint, username="surveyor", password="secret")


def publish_sequential(endpoint: str, folder: Path, n: int) -> Measured:
    """Save one subject after the other."""
    _log_in(endpoint)
    subjects = list(_client_subjects(folder, n))
    with measuring(endpoint, n) as seen:
        for subject in subjects:
            subject.save()
    return seen


def publish_async_saves(endpoint: str, folder: Path, n: int) -> Measured:
    """Save in the client's own pool of five threads."""
    from panoptes_client import Subject

    _log_in(endpoint)
    subjects = list(_client_subjects(folder, n))
    with measuring(endpoint, n) as seen, Subject.async_saves():
        for subject in subjects:
            subject.save()
    return seen


def publish_set_add(endpoint: str, folder: Path, n: int) -> Measured:
    """Link subjects that exist already, with ``subject_set.add``; creating them is not timed."""
    from panoptes_client import Subject, SubjectSet

    _log_in(endpoint)
    subjects = list(_client_subjects(folder, n))
    with Subject.async_saves():
        for subject in subjects:
            subject.save()
    subject_set = SubjectSet()
    subject_set.links.project = 1
    subject_set.display_name = "throughput"
    subject_set.save()
    with measuring(endpoint, n) as seen:
        subject_set.add(subjects)
    return seen


def measure(way: Callable[[str, Path, int], Measured], n: int, latency_s: float, folder: Path) -> Measured:
    """Run one way in a process of its own against a fresh stand-in in another."""
    folder.mkdir(parents=True)
    port, log = free_port(), folder / "standin.log"
    endpoint = f"http://127.0.0.1:{port}"
    program = [sys.executable, "-m", "alservice.cli", "standin", "--live-project", "--user", "surveyor:secret"]
    command = [*program, "--state", str(folder / "standin"), "--port", str(port)]
    with process(command, log=log, env=os.environ, cwd=ROOT) as running:
        wait_for(f"{endpoint}/standin/state", running, log=log)
        hooks = f"{endpoint}/standin/faults"
        counted = {"kind": "latency", "seconds": 0, "method": "POST", "path": "/links/subjects"}
        rules = [counted, {"kind": "latency", "seconds": latency_s, "path": ""}]
        requests.post(hooks, json=rules, timeout=5).raise_for_status()
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            seen = pool.submit(way, endpoint, folder / "files", n).result()
        seen.link_calls = requests.get(hooks, timeout=5).json()[0]["met"]
    return seen


def main(arguments: Sequence[str] | None = None) -> dict[str, Measured]:
    """Measure all ways, print a table, and return the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=10_000, help="for our publisher; a tenth of it is run first")
    parser.add_argument("--client-subjects", type=int, default=60, help="for each way of the client")
    parser.add_argument("--latency", type=float, default=0.15, help="seconds added to every call")
    given = parser.parse_args(arguments)
    few = given.client_subjects
    with migrated_database() as database, scratch_folder() as folder:
        ours = partial(publish_ours, database=database)
        ways: tuple[tuple[str, Callable[[str, Path, int], Measured], int], ...] = (
            ("client, save in turn", publish_sequential, few),
            ("client, async_saves", publish_async_saves, 4 * few),
            ("client, set.add (links only)", publish_set_add, few),
            ("ours, a tenth", ours, max(1, given.subjects // 10)),
            ("ours", ours, given.subjects),
        )
        table = {
            name: measure(way, n, given.latency, Path(folder) / str(number))
            for number, (name, way, n) in enumerate(ways)
        }
    print("| way | subjects | s | subjects/s | connections | RSS before -> peak (MiB) | link calls |")
    print("|---|---|---|---|---|---|---|")
    for name, m in table.items():
        memory = f"{m.rss_before_mib:.0f} -> {m.rss_peak_mib:.0f}"
        print(
            f"| {name} | {m.subjects} | {m.seconds:.1f} | {m.per_second:.1f} | {m.connections} | {memory} "
            f"| {m.link_calls} |"
        )
    print(json.dumps({"latency_s": given.latency, "load": os.getloadavg()}))
    return table


if __name__ == "__main__":
    main()
