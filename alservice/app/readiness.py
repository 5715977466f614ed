"""Checks before a run begins, made of real parts: of a machine, of a campaign's run, of a backfill."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from alservice.app.context import database_url, make_folder
from alservice.app.jobs import Factory
from alservice.app.zooniverse import publish_policy
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.store import CampaignRow, Event
from alservice.catalogue.files import open_catalogue
from alservice.cycle.check_readiness import CHECK_S, CheckReadiness, Part, failed, seen, side_by_side, within
from alservice.cycle.readiness import Finding, Flight, Need
from alservice.errors import AlserviceError, BadConfig, StorageFull
from alservice.network.config import resolve_device
from alservice.registry.promotion import LoadModel
from alservice.science.tree import load_tree
from alservice.settings import Settings, load_settings
from alservice.storage.objects import open_objects
from alservice.storage.postgres import check_schema, make_engine, schema_state, upgrade

MIN_FREE_BYTES = 2 * 1024**3
"""Room for the database, image packs and posteriors of a rehearsal on real galaxies."""

REFUSED = "flight.refused"
"""Kind of the event that a run leaves which did not begin."""

KNOWN_EVENTS = 50
"""Newest events among which the same refusal is not told again: a tick comes every 15 minutes."""


def check_flight(factory: Factory, name: str, flight: Flight) -> Sequence[Finding]:
    """Return what is found of all that a run of a campaign needs, from where its open cycle stands; nothing changes."""
    row, cycle = _standing(factory, name)
    return readiness(factory).run(row, cycle, _needs(factory, row, cycle, flight))


def needs_something(factory: Factory, name: str, flight: Flight) -> bool:
    """Return whether a run has anything to check: told by the database alone, for ticks that mostly have no work."""
    row, cycle = _standing(factory, name)
    return bool(_needs(factory, row, cycle, flight))


def tell_refusal(factory: Factory, name: str, flight: Flight, findings: Sequence[Finding], *, actor: str) -> None:
    """Leave an event that says why a run did not begin, unless the same was said shortly before."""
    row, cycle = _standing(factory, name)
    wrong = [{"part": f.part, "code": f.code, "message": f.message} for f in findings if not f.ok]
    detail = {"run": flight.name, "failed": wrong}
    said = factory.events.list(row.id, limit=KNOWN_EVENTS)
    if not any(event.kind == REFUSED and _parts(event.detail) == _parts(detail) for event in said):
        cycle_id = None if cycle is None else cycle.id
        event = Event(
            campaign_id=row.id, cycle_id=cycle_id, at=factory.clock(), actor=actor, kind=REFUSED, detail=detail
        )
        factory.events.record(event)


def _parts(detail: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what a refusal is about: messages may name a probe, which is another every time."""
    return detail["run"], *((failed["part"], failed["code"]) for failed in detail["failed"])


def readiness(factory: Factory) -> CheckReadiness:
    """Return the checks of a campaign's runs on this machine."""
    return CheckReadiness(
        catalogues=factory.catalogues,
        models=factory.models,
        acquisitions=factory.acquisitions,
        ledger=factory.ledger,
        load=LoadModel(objects=factory.objects),
        machine=machine_parts(factory.settings),
        zooniverse=factory.zooniverse,
        allowance=lambda campaign: publish_policy(campaign).allowance,
    )


def machine_parts(settings: Settings) -> Mapping[str, Part]:
    """Return how the parts of a machine are tried that belong to no campaign."""
    return {
        Need.DISK: lambda: _disk(settings),
        Need.OBJECTS: lambda: _objects(settings),
        Need.DEVICE: lambda: f"device {resolve_device(settings.device)}, asked for {settings.device}",
    }


def check_ground(settings: Settings | None = None) -> Sequence[Finding]:
    """Return what is found of all that needs no campaign: disk, database, schema, object store, device."""
    settings = settings or load_settings()
    groups = side_by_side(machine_parts(settings))
    return within(CHECK_S, {"database": partial(_database, settings), **groups})


def check_replay(*, out: Path, tree: str, data: Path | None, encoder: Path | None, device: str) -> Sequence[Finding]:
    """Return what is found of all that a backfill needs: no database, no Zooniverse."""
    parts: dict[str, Part] = {
        "folder": lambda: _writable(out),
        Need.DEVICE: lambda: f"device {resolve_device(device)}, asked for {device}",
    }
    if data is not None:
        parts["data"] = lambda: f"{open_catalogue(data, load_tree(tree)).n_rows:,} rows in {data}"
    if encoder is not None:
        parts["encoder"] = lambda: _there(encoder)
    return within(CHECK_S, side_by_side(parts))


def _standing(factory: Factory, name: str) -> tuple[CampaignRow, Cycle | None]:
    """Return a campaign under the decisions of its open cycle, and that cycle; of now where none is open."""
    row = factory.campaigns.get(name)
    cycle = factory.cycles.open(row.id)
    if cycle is None:
        return row, None
    decisions = factory.campaigns.get_version(row.id, cycle.campaign_version)
    return CampaignRow(id=row.id, version=cycle.campaign_version, campaign=decisions), cycle


def _needs(factory: Factory, row: CampaignRow, cycle: Cycle | None, flight: Flight) -> frozenset[Need]:
    has_champion = factory.models.champion(row.id) is not None if cycle is None else cycle.champion_id is not None
    uploads = row.campaign.zooniverse.mode == "upload"
    return flight.needs(cycle, uploads=uploads, has_champion=has_champion)


def _disk(settings: Settings) -> str:
    store = settings.object_store
    places = [make_folder(settings.folder)]
    if store is not None and "://" not in store and Path(store).is_dir():
        places.append(Path(store))
    for place in places:
        _room(place)
    return ", ".join(f"{shutil.disk_usage(place).free / 1024**3:.0f} GiB free at {place}" for place in places)


def _room(place: Path) -> None:
    free = shutil.disk_usage(place).free
    if free < MIN_FREE_BYTES:
        needed = f"{MIN_FREE_BYTES / 1024**3:.0f} GiB are needed"
        raise StorageFull(f"{free / 1024**3:.1f} GiB free at {place}, and {needed}")


def _writable(folder: Path) -> str:
    make_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise BadConfig(f"nothing can be written in {folder}: {error.strerror}") from error
    _room(folder)
    return f"{shutil.disk_usage(folder).free / 1024**3:.0f} GiB free at {folder}"


def _there(path: Path) -> str:
    if not path.exists():
        raise BadConfig(f"there is no {path}")
    return f"{path} is there"


def _objects(settings: Settings) -> str:
    open_objects(settings.object_store or str(settings.folder / "objects")).check()
    return "an object was written, read back and deleted"


def _database(settings: Settings) -> Iterator[Finding]:
    """Yield what is found of the database, and of its schema where it answers."""
    try:
        with database_url(settings) as url, _engine(url) as engine:
            schema_state(engine)
            own = settings.database_url is None
            message = "embedded Postgres starts and answers" if own else "Postgres answers"
            yield Finding(part="database", ok=True, message=message)
            yield seen("schema", lambda: _schema(engine, own=own))
    except AlserviceError as error:
        yield failed("database", error)


def _schema(engine: Engine, *, own: bool) -> str:
    if own:
        upgrade(engine)  # the embedded one belongs to this release
    check_schema(engine)
    return f"at revision {schema_state(engine)[1]}"


@contextmanager
def _engine(url: str) -> Iterator[Engine]:
    """Yield an engine on a database, and close its connections at the end."""
    engine = make_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()
