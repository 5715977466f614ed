"""A check of every part this process needs, each with what to do when it fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import requests

from alservice.app.jobs import Factory
from alservice.app.opening import open_factory
from alservice.app.operations import paused
from alservice.app.readiness import check_ground, readiness
from alservice.app.standin import open_zooniverse
from alservice.cycle.check_readiness import seen
from alservice.cycle.readiness import Finding, Need
from alservice.errors import PrefectUnavailable
from alservice.settings import load_settings
from alservice.zooniverse.sessions import Session

_DATABASE: Final = frozenset({"database", "schema"})
"""Parts without which nobody knows the campaigns."""

_ABROAD: Final = frozenset({Need.LOGIN, Need.RIGHTS, Need.WORKFLOW})


def diagnose() -> Iterator[Finding]:
    """Yield a finding per part; of campaigns that are not paused, what the next batch needs of Zooniverse."""
    settings = load_settings()
    ground = check_ground(settings)
    yield from ground
    yield seen("prefect", _prefect)
    if all(finding.ok for finding in ground if finding.part in _DATABASE):
        with open_factory(settings) as factory:
            yield from _campaigns(factory)


def _campaigns(factory: Factory) -> Iterator[Finding]:
    rows = factory.campaigns.list()
    if not rows:
        yield Finding(part=Need.LOGIN, ok=True, message="no campaign yet: nothing to log in to")
    for row in rows:
        name = row.campaign.name
        if paused(factory, row) is not None:
            yield Finding(part=Need.LOGIN, ok=True, message=f"{name}: paused, not tried")
            continue
        batch = Need.ALLOWANCE if row.campaign.zooniverse.mode == "upload" else Need.POOL
        with open_zooniverse(factory, name):
            found = readiness(factory).run(row, factory.cycles.open(row.id), _ABROAD | {batch})
        yield from (replace(finding, message=f"{name}: {finding.message}") for finding in found)


def _prefect() -> str:
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return "no server is named (PREFECT_API_URL): runs use one of their own"
    try:
        with Session(url) as session:
            session.get(f"{url.rstrip('/')}/health", timeout=5).raise_for_status()
    except requests.RequestException as error:
        raise PrefectUnavailable(f"{url} does not answer: {error}") from error
    return f"{url} answers"
