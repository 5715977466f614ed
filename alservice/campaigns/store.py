"""Campaigns and the versions of their decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal, TypeAlias

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Engine, Row, delete, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from alservice.campaigns import schema
from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle, Pause
from alservice.campaigns.schema import campaign_versions, campaigns
from alservice.documents import document_of
from alservice.errors import BadConfig, Conflict, DigestMismatch, NotFound
from alservice.progress import Clock
from alservice.science.tree import Tree
from alservice.storage.postgres import columns_of, transaction

_NEWEST = (
    select(campaigns.c.id, campaigns.c.name, *(campaign_versions.c[c] for c in ("version", "digest", "document")))
    .join_from(campaigns, campaign_versions)
    .distinct(campaigns.c.name)
    .order_by(campaigns.c.name, campaign_versions.c.version.desc())
)


class CampaignStore:
    """Campaigns in Postgres; a version never changes, since cycles may have run under it."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def save(self, campaign: Campaign) -> CampaignRow:
        """Create the campaign, or add a version when its decisions changed; unchanged adds none."""
        with transaction(self._engine) as connection:
            connection.execute(upsert(campaigns).values(name=campaign.name).on_conflict_do_nothing())
            # The lock puts simultaneous saves in a row, so that the second sees the version of the first.
            campaign_id = connection.scalars(
                select(campaigns.c.id).where(campaigns.c.name == campaign.name).with_for_update(key_share=True)
            ).one()
            newest = connection.execute(_NEWEST.where(campaigns.c.id == campaign_id)).one_or_none()
            if newest is not None and newest.digest == campaign.digest:
                return CampaignRow(id=campaign_id, version=newest.version, settings=campaign)
            version = 1 if newest is None else newest.version + 1
            connection.execute(
                insert(campaign_versions).values(
                    campaign_id=campaign_id,
                    version=version,
                    digest=campaign.digest,
                    document=_stored(campaign),
                    created_at=self._clock(),
                )
            )
        return CampaignRow(id=campaign_id, version=version, settings=campaign)

    def get(self, name: str) -> CampaignRow:
        """Return the newest version; raises `NotFound`."""
        with transaction(self._engine) as connection:
            row = connection.execute(_NEWEST.where(campaigns.c.name == name)).one_or_none()
        if row is None:
            raise NotFound(f"there is no campaign {name!r}", campaign=name)
        return _campaign_row(row)

    def get_version(self, campaign_id: int, version: int) -> Campaign:
        """Return the decisions a cycle was started under; raises `NotFound`."""
        wanted = campaigns.c.id == campaign_id, campaign_versions.c.version == version
        with transaction(self._engine) as connection:
            row = connection.execute(_NEWEST.where(*wanted)).one_or_none()
        if row is None:
            raise NotFound(f"campaign {campaign_id} has no version {version}", campaign=campaign_id, version=version)
        return _campaign_row(row).settings

    def list(self) -> Sequence[CampaignRow]:
        """Return all campaigns by name."""
        with transaction(self._engine) as connection:
            return [_campaign_row(row) for row in connection.execute(_NEWEST)]


@cache
def _validator() -> TypeAdapter[Campaign]:
    return TypeAdapter(Campaign)


def _stored(campaign: Campaign) -> dict[str, Any]:
    """Return the document of a version: a tree that is not packaged stands in it whole, with its hash."""
    document = document_of(campaign)
    if isinstance(campaign.tree, Tree):
        document["tree"]["hash"] = campaign.tree.hash
    return document


def _campaign_row(row: Row[Any]) -> CampaignRow:
    document, digest = dict(row.document), None
    if isinstance(document.get("tree"), dict):
        document["tree"] = dict(document["tree"])
        digest = document["tree"].pop("hash", None)
    try:
        campaign = _validator().validate_python(document)
    except ValidationError as error:
        names = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors(include_input=False))
        stored = f"campaign {row.name} version {row.version} as stored"
        raise BadConfig(f"{stored} is not one this release understands: {names}") from error
    if isinstance(campaign.tree, Tree) and campaign.tree.hash != digest:
        raise DigestMismatch(
            f"the tree of campaign {row.name} version {row.version} is not the one that was stored", campaign=row.name
        )
    return CampaignRow(id=row.id, version=row.version, settings=campaign)


def write_event(
    connection: Connection, cycle: Cycle, *, at: datetime, actor: str, kind: str, detail: Mapping[str, Any]
) -> None:
    """Append an event of a cycle in the transaction of what it tells."""
    event = Event(campaign_id=cycle.campaign_id, cycle_id=cycle.id, at=at, actor=actor, kind=kind, detail=detail)
    append(connection, event)


def append(connection: Connection, event: Event) -> None:
    """Append an event in a transaction."""
    connection.execute(insert(schema.events).values(**asdict(event)))


class EventLog:
    """The audit in Postgres."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, event: Event) -> None:
        """Append one event."""
        with transaction(self._engine) as connection:
            append(connection, event)

    def list(self, campaign_id: int, *, limit: int = 200) -> Sequence[Event]:
        """Return the newest events, newest first."""
        table = schema.events
        wanted = select(*columns_of(table, Event)).where(table.c.campaign_id == campaign_id)
        with transaction(self._engine) as connection:
            rows = connection.execute(wanted.order_by(table.c.id.desc()).limit(limit)).mappings()
            return [Event(**row) for row in rows]


_PAUSES = schema.campaign_pauses


class SqlOperations:
    """Acts of operators in Postgres, each with its event in one transaction."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def paused(self, campaign_id: int) -> Pause | None:
        """Return the pause of a campaign, if it is paused."""
        wanted = select(_PAUSES.c.reason, _PAUSES.c.actor, _PAUSES.c.at).where(_PAUSES.c.campaign_id == campaign_id)
        with transaction(self._engine) as connection:
            row = connection.execute(wanted).mappings().one_or_none()
        return None if row is None else Pause(**row)

    def pause(self, campaign_id: int, *, actor: str, reason: str) -> Pause:
        """Pause a campaign; raises `Conflict` if it is paused already."""
        now = self._clock()
        with transaction(self._engine) as connection:
            lock_campaign(connection, campaign_id)
            if connection.scalar(select(_PAUSES.c.actor).where(_PAUSES.c.campaign_id == campaign_id)) is not None:
                raise Conflict("the campaign is paused already")
            connection.execute(insert(_PAUSES).values(campaign_id=campaign_id, reason=reason, actor=actor, at=now))
            _tell(connection, campaign_id, now, actor, "campaign.paused", {"reason": reason})
        return Pause(reason=reason, actor=actor, at=now)

    def unpause(self, campaign_id: int, *, actor: str, reason: str) -> bool:
        """End a campaign's pause; return whether there was one."""
        with transaction(self._engine) as connection:
            lock_campaign(connection, campaign_id)
            ended = connection.execute(delete(_PAUSES).where(_PAUSES.c.campaign_id == campaign_id)).rowcount
            if ended:
                _tell(connection, campaign_id, self._clock(), actor, "campaign.resumed", {"reason": reason})
        return bool(ended)


def lock_campaign(connection: Connection, campaign_id: int) -> None:
    """Hold a campaign in a transaction against others who do the same."""
    table = schema.campaigns
    connection.execute(select(table.c.id).where(table.c.id == campaign_id).with_for_update(key_share=True))


def _tell(
    connection: Connection, campaign_id: int, at: datetime, actor: str, kind: str, detail: Mapping[str, Any]
) -> None:
    append(connection, Event(campaign_id=campaign_id, cycle_id=None, at=at, actor=actor, kind=kind, detail=detail))


@dataclass(frozen=True, kw_only=True, slots=True)
class CampaignRow:
    """A campaign: its id, and one version of its settings."""

    id: int
    version: int
    settings: Campaign


@dataclass(frozen=True, kw_only=True, slots=True)
class CycleRun:
    """An orchestrated run that works, or worked, on a cycle.

    Parameters
    ----------
    run_id
        The orchestrator's id of it.
    flow, name
        Which flow it runs, and what it is called.
    """

    cycle_id: int
    run_id: str
    flow: str
    name: str
    began_at: datetime


StatisticsKind: TypeAlias = Literal["drift", "shadow", "selected"]
"""What a cycle's statistics are about: its data, a shadow candidate's selection, the loss on what was selected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One line of the audit: who did what, when (UTC), and on what evidence."""

    campaign_id: int
    cycle_id: int | None
    at: datetime
    actor: str
    kind: str
    detail: Mapping[str, Any]
