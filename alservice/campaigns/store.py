"""Campaigns and the versions of their decisions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Engine, Row, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from alservice.campaigns.campaign import Campaign
from alservice.campaigns.records import CampaignRow
from alservice.errors import BadConfig, NotFound
from alservice.process import Clock
from alservice.storage.postgres import transaction
from alservice.storage.schema.catalogues import campaign_versions, campaigns

_NEWEST = (
    select(campaigns.c.id, campaigns.c.name, *(campaign_versions.c[c] for c in ("version", "digest", "document")))
    .join_from(campaigns, campaign_versions)
    .distinct(campaigns.c.name)
    .order_by(campaigns.c.name, campaign_versions.c.version.desc())
)


class SqlCampaignStore:
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
                return CampaignRow(id=campaign_id, version=newest.version, campaign=campaign)
            version = 1 if newest is None else newest.version + 1
            connection.execute(
                insert(campaign_versions).values(
                    campaign_id=campaign_id,
                    version=version,
                    digest=campaign.digest,
                    document=campaign.document(),
                    created_at=self._clock(),
                )
            )
        return CampaignRow(id=campaign_id, version=version, campaign=campaign)

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
        return _campaign_row(row).campaign

    def list(self) -> Sequence[CampaignRow]:
        """Return all campaigns by name."""
        with transaction(self._engine) as connection:
            return [_campaign_row(row) for row in connection.execute(_NEWEST)]


@cache
def _validator() -> TypeAdapter[Campaign]:
    return TypeAdapter(Campaign)


def _campaign_row(row: Row[Any]) -> CampaignRow:
    try:
        campaign = _validator().validate_python(row.document)
    except ValidationError as error:
        names = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors(include_input=False))
        stored = f"campaign {row.name} version {row.version} as stored"
        raise BadConfig(f"{stored} is not one this release understands: {names}") from error
    return CampaignRow(id=row.id, version=row.version, campaign=campaign)
