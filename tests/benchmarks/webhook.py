"""Requests per second of the Caesar webhook, with latencies, while classifications are read beside it.

Four processes share the machine, as they do in service: Postgres with its defaults, uvicorn with the webhook, a reader
that lands pages of 200 classifications without pause, and this one, which sends reductions over connections that stay
open. Every request is a task of a subject of its own; a tenth comes again and a tenth comes late.

Run: ``python -m tests.benchmarks.webhook --requests 10000 --connections 8``
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import multiprocessing
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import psutil
import uvicorn
from sqlalchemy import text

from alservice.constants import INGEST_PAGE
from alservice.ops.access import WebhookLogin
from alservice.storage.embedded_postgres import EmbeddedPostgres
from alservice.storage.postgres import make_engine, transaction, upgrade
from alservice.votes.ingest import CollectClassifications
from alservice.web.application import create_app
from alservice.web.limits import Limits
from alservice.zooniverse.records import RawClassification
from tests.support.worlds import NOON, TREE, make_campaign, make_factory
from tests.votes.test_classification import raw
from tests.votes.test_collect_classifications import Listing
from tests.votes.test_reductions import payload

SUBJECTS = 5_000
"""Subjects of a weekly batch, 10 tasks each."""


@dataclass(frozen=True)
class Result:
    """What was measured, and what must hold: every request answered 204, every reduction kept once."""

    requests: int
    failed: int
    kept: int
    expected: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    polled: int


class Endless(Listing):
    """A listing that never ends: page after page of new classifications, until told to stop."""

    def __init__(self, stop: Event) -> None:
        super().__init__()
        self._stop = stop
        self.read = 0

    def classifications(self, last_id: int) -> Iterator[Sequence[RawClassification]]:
        """Yield full pages; the overlap is not read again, for there is no end to come back from."""
        number = max(last_id, 500_000_000)
        while not self._stop.is_set():
            yield [raw(number + i + 1, zooniverse_subject_id=(number + i) % SUBJECTS) for i in range(INGEST_PAGE)]
            number += INGEST_PAGE
            self.read += INGEST_PAGE


def prepare(url: str, folder: Path) -> WebhookLogin:
    """Make campaign, subjects and login."""
    engine = make_engine(url)
    upgrade(engine)
    factory = make_factory(engine, folder)
    campaign = factory.campaigns.save(make_campaign())
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
            {"c": campaign.id, "y": cycle.id, "n": SUBJECTS - 1},
        )
    login = factory.access.issue_webhook("test", key=None, expires_days=1, actor="bench")
    engine.dispose()
    return login


def serve(url: str, folder: Path, listener: socket.socket) -> None:
    """Serve the webhook until the process is ended."""
    application = create_app(make_factory(make_engine(url), folder), limits=Limits(reductions_per_minute=1_000_000_000))
    config = uvicorn.Config(application, log_level="error", access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])


def poll(url: str, folder: Path, stop: Event, counted: multiprocessing.SimpleQueue[int]) -> None:
    """Land classifications without pause until told to stop; put how many there were."""
    factory = make_factory(make_engine(url), folder)
    listing = Endless(stop)
    collect = CollectClassifications(
        classifications=factory.classifications,
        votes=factory.votes.source,
        workflows=factory.workflows,
        ledger=factory.ledger,
        stops=factory.stops,
        zooniverse=listing,
        clock=lambda: NOON,
        progress=factory.progress,
    )
    collect.read(factory.campaigns.get("test"), TREE)
    counted.put(listing.read)


def send(port: int, login: WebhookLogin, numbers: Sequence[int]) -> list[tuple[int, float]]:
    """Send reductions over one connection; return status and seconds of each."""
    token = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    answers = []
    for number in numbers:
        second = 30 if number % 10 else 10  # every tenth reduction of a subject and task is a late one
        task = number // SUBJECTS % 10
        body = json.dumps(
            payload(
                id=number + 1,
                subject={"id": number % SUBJECTS + 1, "metadata": {"!filename": f"{number}.jpeg", "#ra": "12.5"}},
                reducer_key=f"T{task}_stats",
                data={"0": 3, "1": 9},
                updated_at=f"2026-01-01T10:{number // SUBJECTS // 10 % 60:02}:{second}.000Z",
            )
        )
        start = time.perf_counter()
        connection.request("POST", f"{login.path}_t{task}", body, headers)
        response = connection.getresponse()
        response.read()
        answers.append((response.status, time.perf_counter() - start))
    connection.close()
    return answers


def measure(requests: int, connections: int, *, polls: bool) -> Result:
    """Return the figures of one run on a database of its own."""
    numbers = np.arange(requests)
    numbers[numbers % 10 == 5] -= 5  # a tenth comes again
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="alservice-bench-") as name,
        EmbeddedPostgres(Path(name) / "postgres") as url,
        socket.create_server(("127.0.0.1", 0), backlog=128) as listener,
    ):
        login = prepare(url, Path(name))
        stop, counted = context.Event(), context.SimpleQueue()
        server = context.Process(target=serve, args=(url, Path(name), listener))
        poller = context.Process(target=poll, args=(url, Path(name), stop, counted))
        server.start()
        if polls:
            poller.start()
        port = listener.getsockname()[1]
        send(port, login, [0] * 20)  # both are up once this is answered and the reader has landed something
        while polls and not _has_landed(url):
            time.sleep(0.05)
        start, cpu = time.perf_counter(), _cpu_seconds(server.pid)
        with ThreadPoolExecutor(connections) as pool:
            shares = pool.map(lambda i: send(port, login, numbers[i::connections].tolist()), range(connections))
            answers = [answer for share in shares for answer in share]
        seconds = time.perf_counter() - start
        cpu = _cpu_seconds(server.pid) - cpu
        stop.set()
        polled = counted.get() if polls else 0
        if polls:
            poller.join()
        server.terminate()
        server.join()
        kept = _count(url, "SELECT count(*) FROM reductions")
    latencies = np.array([latency for _, latency in answers]) * 1000
    places = {(int(n) % SUBJECTS, int(n) // SUBJECTS % 10) for n in numbers}
    return Result(
        requests=requests,
        failed=sum(status != 204 for status, _ in answers),
        kept=kept,
        expected=len(places),
        seconds=seconds,
        p50_ms=float(np.percentile(latencies, 50)),
        p99_ms=float(np.percentile(latencies, 99)),
        cpu_ms=cpu / requests * 1000,
        polled=polled,
    )


def _cpu_seconds(pid: int | None) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _has_landed(url: str) -> bool:
    return _count(url, "SELECT count(*) FROM (SELECT 1 FROM classifications LIMIT 1) AS one") > 0


def _count(url: str, sql: str) -> int:
    engine = make_engine(url)
    with transaction(engine) as connection:
        n = connection.scalar(text(sql))
    engine.dispose()
    return int(n or 0)


def main(arguments: Sequence[str] | None = None) -> list[Result]:
    """Print the measured figures, without and with the reader."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=8)
    given = parser.parse_args(arguments)
    results = []
    print(f"load before: {os.getloadavg()[0]:.1f}")
    for polls in (False, True):
        result = measure(given.requests, given.connections, polls=polls)
        beside = f"{result.polled / result.seconds:.0f} classifications/s read beside" if polls else "alone"
        print(
            f"{result.requests / result.seconds:.0f} requests/s, p50 {result.p50_ms:.1f} ms, p99 {result.p99_ms:.1f} ms, "
            f"{result.cpu_ms:.2f} ms CPU of uvicorn a request, {result.failed} failed, {result.kept} kept; {beside}; load {os.getloadavg()[0]:.1f}"
        )
        results.append(result)
    return results


if __name__ == "__main__":
    main()
