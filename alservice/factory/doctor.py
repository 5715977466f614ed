"""A check of every part this process needs, each with what to do when it fails."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import requests

from alservice.adapters.objects import open_objects
from alservice.adapters.sessions import Session
from alservice.adapters.sql.engine import check_schema, make_engine, schema_state, upgrade
from alservice.errors import AlserviceError, PrefectUnavailable, StorageFull
from alservice.factory.context import database_url, make_folder
from alservice.factory.opening import open_factory
from alservice.factory.standin import open_zooniverse
from alservice.model.device import resolve_device
from alservice.settings import Settings, load_settings

MIN_FREE_BYTES = 2 * 1024**3
"""Room for the database, image packs and posteriors of a rehearsal on real galaxies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One part: whether it works, what was seen, and what to do if it does not."""

    part: str
    ok: bool
    message: str
    remedy: str


Check = Callable[[Settings], str]


def diagnose() -> Iterator[Finding]:
    """Yield a finding per part, in the order in which they are needed."""
    settings = load_settings()
    checks: tuple[tuple[str, Check], ...] = (
        ("disk", _disk),
        ("database", _database),
        ("schema", _schema),
        ("object store", _objects),
        ("zooniverse", _zooniverse),
        ("prefect", _prefect),
        ("torch", _torch),
    )
    for part, check in checks:
        try:
            message = check(settings)
        except AlserviceError as error:
            yield Finding(part=part, ok=False, message=error.message, remedy=error.remedy)
        else:
            yield Finding(part=part, ok=True, message=message, remedy="")


def _disk(settings: Settings) -> str:
    free = shutil.disk_usage(make_folder(settings.folder)).free
    if free < MIN_FREE_BYTES:
        raise StorageFull(f"{free / 1024**3:.1f} GiB free at {settings.folder}; a rehearsal needs 2 GiB")
    return f"{free / 1024**3:.0f} GiB free at {settings.folder}"


def _database(settings: Settings) -> str:
    with database_url(settings) as url:
        engine = make_engine(url)
        try:
            schema_state(engine)
        finally:
            engine.dispose()
    return "embedded Postgres starts and answers" if settings.database_url is None else "Postgres answers"


def _schema(settings: Settings) -> str:
    with database_url(settings) as url:
        engine = make_engine(url)
        try:
            if settings.database_url is None:
                upgrade(engine)  # the embedded one belongs to this release
            check_schema(engine)
            return f"at revision {schema_state(engine)[1]}"
        finally:
            engine.dispose()


def _objects(settings: Settings) -> str:
    open_objects(settings.object_store or str(settings.folder / "objects")).check()
    return "an object was written, read back and deleted"


def _zooniverse(settings: Settings) -> str:
    seen = []
    with open_factory(settings) as factory:
        for row in factory.campaigns.list():
            with open_zooniverse(factory, row.campaign.name):
                login = factory.zooniverse(row.campaign).check()
            seen.append(f"{row.campaign.name}: logged in as {login}")
    return "; ".join(seen) or "no campaign yet: nothing to log in to"


def _prefect(_settings: Settings) -> str:
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return "no server is named (PREFECT_API_URL): runs use one of their own"
    try:
        with Session(url) as session:
            session.get(f"{url.rstrip('/')}/health", timeout=5).raise_for_status()
    except requests.RequestException as error:
        raise PrefectUnavailable(f"{url} does not answer: {error}") from error
    return f"{url} answers"


def _torch(settings: Settings) -> str:
    return f"device {resolve_device(settings.device)}"
