"""A publisher in a process of its own, which may be doomed to die by SIGKILL."""

from __future__ import annotations

import functools
import itertools
import os
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Engine

from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.cycle_store import CycleStore
from alservice.campaigns.store import CampaignStore
from alservice.catalogue.store import CatalogueStore
from alservice.errors import AlserviceError
from alservice.progress import NoProgress
from alservice.retry import RetryPolicy
from alservice.storage.images import sniff
from alservice.storage.objects import LocalObjects
from alservice.storage.postgres import make_engine
from alservice.subjects.ledger import SqlSubjectLedger
from alservice.subjects.publish import PublishPolicy, PublishReport, PublishSubjects
from alservice.zooniverse.client import PanoptesZooniverse
from alservice.zooniverse.http import Credentials, Timeouts
from tests.support.publishing import CAMPAIGN, drafts_of

DONE, UNFINISHED = 0, 3
"""Exit codes: every galaxy is live; a typed error or failed rows, so another process goes on."""


@dataclass(frozen=True, kw_only=True)
class Death:
    """SIGKILL before or after the n-th call of any port, or at some moment (seconds)."""

    kind: Literal["before", "after", "at"]
    call: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one process is to publish, and how it ends."""

    endpoint: str
    database: str
    objects: Path
    cycle: Cycle
    campaign: Campaign
    n: int
    connections: int
    attempts: int
    read_s: float
    settle_s: float
    wave: int
    death: Death | None = None


def utc_now() -> datetime:
    """Return the time (UTC)."""
    return datetime.now(tz=UTC)


def open_campaign(engine: Engine, name: str) -> tuple[Cycle, Campaign]:
    """Return a new campaign with an open cycle."""
    row = CampaignStore(engine, utc_now).save(replace(CAMPAIGN, name=name))
    catalogue = CatalogueStore(engine, utc_now).save(
        row.id, source="benchmark", digest=name, votes_key=None, galaxies=(), faults=()
    )
    return CycleStore(engine, utc_now).start(row, catalogue.id, None, "benchmark"), row.settings


def connect(endpoint: str, *, attempts: int, read_s: float) -> PanoptesZooniverse:
    """Return the real adapter on a stand-in."""
    return PanoptesZooniverse(
        endpoint,
        credentials=Credentials(username="surveyor", password="secret"),
        project_id=1,
        workflow_id=10,
        user_hash_key=b"pepper",
        timeouts=Timeouts(connect_s=5.0, read_s=read_s),
        retry=RetryPolicy(attempts=attempts, first_s=0.01, longest_s=0.05),
        sleep=time.sleep,
        chance=random.Random(0).random,
    )


class Doomed:
    """A port whose calls are counted; around one of them the process ends."""

    def __init__(self, port: Any, numbers: itertools.count[int], death: Death) -> None:
        self._port, self._numbers, self._death = port, numbers, death

    def __getattr__(self, name: str) -> Any:
        return functools.partial(self._call, getattr(self._port, name))

    def _call(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        last = next(self._numbers) == self._death.call
        if last and self._death.kind == "before":
            _die()
        result = method(*args, **kwargs)
        if last and self._death.kind == "after":
            _die()
        return result


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def publish(task: Task) -> PublishReport:
    """Publish a task's batch, as a process that starts now."""
    engine = make_engine(task.database)
    objects = LocalObjects(task.objects)
    zooniverse = connect(task.endpoint, attempts=task.attempts, read_s=task.read_s)
    ports: list[Any] = [SqlSubjectLedger(engine, utc_now), objects, zooniverse]
    drafts = drafts_of(objects, task.n, campaign=task.campaign.name)
    if task.death is not None and task.death.kind == "at":
        timer = threading.Timer(task.death.seconds, _die)
        timer.daemon = True
        timer.start()
    elif task.death is not None:
        numbers = itertools.count(1)
        ports = [Doomed(port, numbers, task.death) for port in ports]
    policy = PublishPolicy(connections=task.connections, settle_s=task.settle_s, wave=task.wave)
    publisher = PublishSubjects(*ports, policy=policy, media_type=sniff, sleep=time.sleep, progress=NoProgress())
    return publisher.publish(task.cycle, task.campaign, drafts, 40)


def publish_and_exit(task: Task) -> None:
    """Publish and tell by the exit code how it went; an untyped error is a bug and shows its traceback."""
    try:
        report = publish(task)
    except AlserviceError:
        sys.exit(UNFINISHED)
    sys.exit(DONE if report.live == task.n else UNFINISHED)
