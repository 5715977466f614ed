"""Searches for interesting galaxies in Postgres: every rating is a line that stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from alservice.campaigns.store import append
from alservice.explore import schema
from alservice.explore.ratings import (
    RESERVED_FOR,
    Method,
    Rating,
    Search,
    check_lines,
    check_room,
    check_same,
    created_event,
    unknown,
)
from alservice.progress import Clock
from alservice.storage.postgres import columns_of, transaction

_SEARCHES, _RATINGS, _RESERVED = schema.searches, schema.ratings, schema.reservations


class SqlRatingStore:
    """Searches, ratings and reservations in Postgres."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def create(self, campaign_id: int, name: str, *, owner: str, is_shared: bool, method: Method, seed: int) -> Search:
        """Begin a search, with an event; the same again by the same person is the one that there is."""
        own = _SEARCHES.c.campaign_id == campaign_id
        row: dict[str, Any] = {
            "campaign_id": campaign_id,
            "name": name,
            "owner": owner,
            "is_shared": is_shared,
            "method": method,
            "seed": seed,
            "created_at": self._clock(),
        }
        new = upsert(_SEARCHES).values(row).on_conflict_do_nothing().returning(_SEARCHES.c.id)
        with transaction(self._engine) as connection:
            found = connection.execute(_searches().where(own, _SEARCHES.c.name == name)).mappings().one_or_none()
            if found is None:
                check_room(connection.scalar(select(func.count()).select_from(_SEARCHES).where(own)) or 0)
                number = connection.scalar(new)
                if number is not None:
                    search = Search(id=number, **row)
                    append(connection, created_event(search))
                    return search
        return check_same(self.get(campaign_id, name), owner=owner, is_shared=is_shared, method=method)

    def list(self, campaign_id: int) -> Sequence[Search]:
        """Return a campaign's searches, newest first."""
        wanted = _searches().where(_SEARCHES.c.campaign_id == campaign_id).order_by(_SEARCHES.c.id.desc())
        with transaction(self._engine) as connection:
            return [Search(**row) for row in connection.execute(wanted).mappings()]

    def get(self, campaign_id: int, name: str) -> Search:
        """Return one; raises `NotFound`."""
        wanted = _searches().where(_SEARCHES.c.campaign_id == campaign_id, _SEARCHES.c.name == name)
        with transaction(self._engine) as connection:
            row = connection.execute(wanted).mappings().one_or_none()
        if row is None:
            raise unknown(name)
        return Search(**row)

    def rate(self, search_id: int, ratings: Mapping[str, float | None], *, rater: str) -> None:
        """Keep what a person says of galaxies, all or nothing; what was reserved of these is free again."""
        now = self._clock()
        rows = [
            {"search_id": search_id, "galaxy_id": galaxy_id, "rater": rater, "rating": rating, "at": now}
            for galaxy_id, rating in ratings.items()
        ]
        with transaction(self._engine) as connection:
            _lock(connection, search_id)
            check_lines(_history(connection, search_id), ratings)
            connection.execute(insert(_RATINGS), rows)
            own = _RESERVED.c.search_id == search_id, _RESERVED.c.galaxy_id.in_(list(ratings))
            connection.execute(delete(_RESERVED).where(*own))

    def history(self, search_id: int) -> Sequence[Rating]:
        """Return every rating that was given, in order."""
        with transaction(self._engine) as connection:
            return _history(connection, search_id)

    def reserve(self, search_id: int, galaxy_ids: Sequence[str], *, rater: str) -> Sequence[str]:
        """Reserve galaxies for a person, those that nobody else has; return these."""
        now = self._clock()
        with transaction(self._engine) as connection:
            _lock(connection, search_id)
            own = _RESERVED.c.search_id == search_id
            connection.execute(delete(_RESERVED).where(own, _RESERVED.c.until <= now))
            last = connection.scalar(select(func.max(_RESERVED.c.position)).where(own)) or 0
            rows = [
                {
                    "search_id": search_id,
                    "galaxy_id": galaxy_id,
                    "rater": rater,
                    "position": last + place,
                    "until": now + RESERVED_FOR,
                }
                for place, galaxy_id in enumerate(galaxy_ids, start=1)
            ]
            if rows:
                connection.execute(upsert(_RESERVED).values(rows).on_conflict_do_nothing())
            theirs = select(_RESERVED.c.galaxy_id).where(own, _RESERVED.c.rater == rater)
            kept = set(connection.scalars(theirs))
        return [galaxy_id for galaxy_id in galaxy_ids if galaxy_id in kept]

    def reserved(self, search_id: int) -> Mapping[str, str]:
        """Return who has which galaxies, in the order in which they were proposed."""
        own = _RESERVED.c.search_id == search_id, _RESERVED.c.until > self._clock()
        wanted = select(_RESERVED.c.galaxy_id, _RESERVED.c.rater).where(*own).order_by(_RESERVED.c.position)
        with transaction(self._engine) as connection:
            return {row.galaxy_id: row.rater for row in connection.execute(wanted)}


def _searches() -> Any:
    return select(*columns_of(_SEARCHES, Search))


def _lock(connection: Connection, search_id: int) -> None:
    """Let one transaction at a time write to a search."""
    connection.execute(select(_SEARCHES.c.id).where(_SEARCHES.c.id == search_id).with_for_update()).one()


def _history(connection: Connection, search_id: int) -> Sequence[Rating]:
    wanted = select(*columns_of(_RATINGS, Rating)).where(_RATINGS.c.search_id == search_id).order_by(_RATINGS.c.id)
    return [Rating(**row) for row in connection.execute(wanted).mappings()]
