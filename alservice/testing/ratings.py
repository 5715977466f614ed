"""Searches for interesting galaxies in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from alservice.campaigns.store import Event
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
from alservice.progress import utc_now


@dataclass
class MemoryRatings:
    """Searches, ratings and reservations: every rating is a line that stays.

    Parameters
    ----------
    clock
        Tells the time (UTC).
    """

    clock: Callable[[], datetime] = utc_now
    searches: list[Search] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    _lines: list[tuple[int, Rating]] = field(default_factory=list)
    _reserved: dict[int, dict[str, tuple[str, datetime]]] = field(default_factory=dict)

    def create(self, campaign_id: int, name: str, *, owner: str, is_shared: bool, method: Method, seed: int) -> Search:
        """Begin a search, with an event; the same again by the same person is the one that there is."""
        own = self.list(campaign_id)
        for search in own:
            if search.name == name:
                return check_same(search, owner=owner, is_shared=is_shared, method=method)
        check_room(len(own))
        search = Search(
            id=len(self.searches) + 1,
            campaign_id=campaign_id,
            name=name,
            owner=owner,
            is_shared=is_shared,
            method=method,
            seed=seed,
            created_at=self.clock(),
        )
        self.searches.append(search)
        self.events.append(created_event(search))
        return search

    def list(self, campaign_id: int) -> Sequence[Search]:
        """Return a campaign's searches, newest first."""
        return [search for search in reversed(self.searches) if search.campaign_id == campaign_id]

    def get(self, campaign_id: int, name: str) -> Search:
        """Return one; raises `NotFound`."""
        for search in self.list(campaign_id):
            if search.name == name:
                return search
        raise unknown(name)

    def rate(self, search_id: int, ratings: Mapping[str, float | None], *, rater: str) -> None:
        """Keep what a person says of galaxies, all or nothing; what was reserved of these is free again."""
        check_lines(self.history(search_id), ratings)
        now = self.clock()
        for galaxy_id, rating in ratings.items():
            line = Rating(id=len(self._lines) + 1, galaxy_id=galaxy_id, rater=rater, rating=rating, at=now)
            self._lines.append((search_id, line))
            self._reserved.get(search_id, {}).pop(galaxy_id, None)

    def history(self, search_id: int) -> Sequence[Rating]:
        """Return every rating that was given, in order."""
        return [line for search, line in self._lines if search == search_id]

    def reserve(self, search_id: int, galaxy_ids: Sequence[str], *, rater: str) -> Sequence[str]:
        """Reserve galaxies for a person, those that nobody else has; return these."""
        now, before = self.clock(), self._reserved.get(search_id, {})
        own = self._reserved[search_id] = {name: kept for name, kept in before.items() if kept[1] > now}
        for galaxy_id in galaxy_ids:
            own.setdefault(galaxy_id, (rater, now + RESERVED_FOR))
        return [galaxy_id for galaxy_id in galaxy_ids if own[galaxy_id][0] == rater]

    def reserved(self, search_id: int) -> Mapping[str, str]:
        """Return who has which galaxies, in the order in which they were proposed."""
        now = self.clock()
        return {name: who for name, (who, until) in self._reserved.get(search_id, {}).items() if until > now}
