"""Checks beside those of the machine: Prefect's server, and what each campaign's next batch needs of Zooniverse."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import requests

from alservice.cycle.readiness import Finding
from alservice.cycle.service import CycleService
from alservice.cycle.stages import Stages
from alservice.cycle.steps import Need
from alservice.errors import PrefectUnavailable
from alservice.ops.service import OpsService
from alservice.zooniverse.sessions import Session

DATABASE: Final = frozenset({"database", "schema"})
"""Parts without which nobody knows the campaigns."""

_ABROAD: Final = frozenset({Need.LOGIN, Need.RIGHTS, Need.WORKFLOW})


_ANSWER_S: Final = 60.0
"""For an answer of Prefect's server: busy with the runs of a shared core, one that works has taken over 30."""


def check_campaigns(stages: Stages) -> Iterator[Finding]:
    """Yield what is found of each campaign's Zooniverse; a paused one is not tried."""
    rows = stages.campaigns.list()
    if not rows:
        yield Finding(part=Need.LOGIN, ok=True, message="no campaign yet: nothing to log in to")
    for row in rows:
        name = row.settings.name
        if OpsService(stages).paused(row) is not None:
            yield Finding(part=Need.LOGIN, ok=True, message=f"{name}: paused, not tried")
            continue
        batch = Need.ALLOWANCE if row.settings.zooniverse.mode == "upload" else Need.POOL
        with stages.sites.opened(name):
            found = CycleService(stages).readiness.run(row, stages.cycles.open(row.id), _ABROAD | {batch})
        yield from (replace(finding, message=f"{name}: {finding.message}") for finding in found)


def check_prefect() -> str:
    """Return what is seen of the server that the environment names; raises `PrefectUnavailable`."""
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return "no server is named (PREFECT_API_URL): runs use one of their own"
    try:
        with Session(url) as session:
            session.get(f"{url.rstrip('/')}/health", timeout=_ANSWER_S).raise_for_status()
    except requests.RequestException as error:
        raise PrefectUnavailable(f"{url} does not answer: {error}") from error
    return f"{url} answers"
