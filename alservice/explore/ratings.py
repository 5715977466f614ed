"""Searches for interesting galaxies as they are kept: whose they are, what was rated, and what is being rated."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

from alservice.campaigns.store import Event
from alservice.errors import BadInput, Conflict, NotAllowed, NotFound
from alservice.ids import check_galaxy_id
from alservice.science.interest import MAX_RATING
from alservice.storage.csv import BOM, cells, open_bytes, plain_cell, records

MAX_SEARCHES: Final = 1_000
"""Searches of one campaign."""

MAX_RATED: Final = 1_000
"""Galaxies that one search learns from."""

MAX_AT_ONCE: Final = 100
"""Ratings of one request."""

MAX_LINES: Final = 20 * MAX_RATED
"""Ratings that one search keeps, those that were changed and taken back included."""

RESERVED_FOR: Final = timedelta(minutes=30)
"""How long a galaxy that was shown to somebody is shown to nobody else."""

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"
"""What a search may be called: it stands in addresses and names of files."""


class Method(StrEnum):
    """How interest is learned and galaxies are chosen."""

    GAUSSIAN_PROCESS = "gaussian-process"
    FORESTS = "forests"


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """A search of one campaign's galaxies for what somebody finds interesting.

    Parameters
    ----------
    owner
        Who began it.
    is_shared
        Whether others may rate in it too; its own owner always may.
    seed
        Root of its random draws.
    """

    id: int
    campaign_id: int
    name: str
    owner: str
    is_shared: bool
    method: Method
    seed: int
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Rating:
    """One rating as it was given: the newest of a person and galaxy counts, the others tell what was before.

    Parameters
    ----------
    rating
        0 to 5; None where the person took the one before back.
    at
        UTC.
    """

    id: int
    galaxy_id: str
    rater: str
    rating: float | None
    at: datetime


class RatingStore(Protocol):
    """Searches, ratings and reservations."""

    def create(self, campaign_id: int, name: str, *, owner: str, is_shared: bool, method: Method, seed: int) -> Search:
        """Begin a search, with an event; the same again by the same person is the one that there is.

        Raises
        ------
        Conflict
            The name stands for another search.
        BadInput
            The campaign has `MAX_SEARCHES` already.
        """

    def list(self, campaign_id: int, /) -> Sequence[Search]:
        """Return a campaign's searches, newest first."""

    def get(self, campaign_id: int, name: str, /) -> Search:
        """Return one; raises `NotFound`."""

    def rate(self, search_id: int, ratings: Mapping[str, float | None], *, rater: str) -> None:
        """Keep what a person says of galaxies, all or nothing; what was reserved of these is free again.

        Raises
        ------
        BadInput
            The search has `MAX_RATED` galaxies or `MAX_LINES` ratings already.
        """

    def history(self, search_id: int, /) -> Sequence[Rating]:
        """Return every rating that was given, in order."""

    def reserve(self, search_id: int, galaxy_ids: Sequence[str], *, rater: str) -> Sequence[str]:
        """Reserve galaxies for a person, those that nobody else has; return these."""

    def reserved(self, search_id: int, /) -> Mapping[str, str]:
        """Return who has which galaxies, in the order in which they were proposed."""


def newest(history: Sequence[Rating]) -> list[Rating]:
    """Return the ratings that count: the last of each person and galaxy, in order of the time."""
    last = {(line.galaxy_id, line.rater): line for line in history}
    return sorted((line for line in last.values() if line.rating is not None), key=lambda line: line.id)


def mean_ratings(history: Sequence[Rating]) -> dict[str, float]:
    """Return the rating of each galaxy, of several people the mean, in the order in which galaxies were first rated."""
    given: dict[str, list[float]] = {}
    for line in newest(history):
        if line.rating is not None:
            given.setdefault(line.galaxy_id, []).append(line.rating)
    return {galaxy_id: sum(values) / len(values) for galaxy_id, values in given.items()}


def check_ratings(ratings: Mapping[str, Any]) -> dict[str, float]:
    """Return ratings by galaxy id; raises `BadInput` naming the first galaxy whose rating is none."""
    if not 1 <= len(ratings) <= MAX_AT_ONCE:
        raise BadInput(f"1 to {MAX_AT_ONCE} ratings may come at once, not {len(ratings):,}", field="ratings")
    return {check_galaxy_id(name, where="ratings"): check_rating(name, value) for name, value in ratings.items()}


def check_rating(galaxy_id: str, value: Any) -> float:
    """Return a rating, a number or its text; raises `BadInput` that names the galaxy."""
    try:
        rating = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        rating = math.nan
    if not 0 <= rating <= MAX_RATING:
        raise BadInput(
            f"galaxy {galaxy_id[:200]}: a rating is a number from 0 to {MAX_RATING:g}, not {str(value)[:40]!r}",
            field="rating",
            galaxy=galaxy_id[:200],
        )
    return rating


def read_ratings(path: Path) -> dict[str, float]:
    """Return the ratings of a CSV file with the columns ``galaxy_id`` and ``rating``.

    Raises
    ------
    BadInput
        It is no such file, or a row is wrong; the row is named, 1 being the head.
    """
    found: dict[str, float] = {}
    places: tuple[int, int] | None = None
    with open_bytes(path) as file:
        for number, (record, fault) in enumerate(records(file), start=1):
            row = _cells(path, number, record.removeprefix(BOM) if number == 1 else record, fault)
            if places is None:
                if not {"galaxy_id", "rating"} <= set(row):
                    raise BadInput(f"{path.name}: needs the columns galaxy_id and rating", path=str(path))
                places = row.index("galaxy_id"), row.index("rating")
            elif row:
                galaxy_id, rating = (row[place] if place < len(row) else "" for place in places)
                galaxy_id = check_galaxy_id(plain_cell(galaxy_id), where=f"{path.name}, row {number}")
                found[galaxy_id] = check_rating(galaxy_id, rating)
    if not found:
        raise BadInput(f"{path.name}: has no ratings", path=str(path))
    return found


def _cells(path: Path, number: int, record: bytes, fault: str | None) -> list[str]:
    if fault is not None:
        raise BadInput(f"{path.name}, row {number}: {fault}", row=number)
    try:
        return cells(record.rstrip(b"\r\n"))
    except ValueError as error:
        raise BadInput(f"{path.name}, row {number}: {error}", row=number) from None


def check_name(name: str) -> None:
    """Raise `BadInput` unless a search may be called so."""
    if re.fullmatch(NAME, name) is None or name.endswith("\n"):
        raise BadInput("a search is named by 1 to 80 of A-Z, a-z, 0-9, '.', '_' and '-'", field="name")


def check_may_rate(search: Search, rater: str) -> None:
    """Raise `NotAllowed` unless a person may rate in a search."""
    if not search.is_shared and search.owner != rater:
        raise NotAllowed(f"search {search.name} is {search.owner}'s own: begin one of yours", search=search.name)


def check_room(n: int) -> None:
    """Raise `BadInput` unless a campaign of n searches may have another one."""
    if n >= MAX_SEARCHES:
        raise BadInput(f"{n} searches are as many as a campaign keeps", field="name")


def check_lines(history: Sequence[Rating], ratings: Mapping[str, float | None]) -> None:
    """Raise `BadInput` unless a search with a history has room for more ratings."""
    rated = {line.galaxy_id for line in newest(history)}
    n = len(rated | {galaxy_id for galaxy_id, rating in ratings.items() if rating is not None})
    if n > MAX_RATED or len(history) + len(ratings) > MAX_LINES:
        raise BadInput(f"a search learns from {MAX_RATED:,} galaxies at most: begin another one", field="ratings")


def check_same(before: Search, *, owner: str, is_shared: bool, method: Method) -> Search:
    """Return a search that is begun again; raises `Conflict` where the name stands for another one."""
    if (before.owner, before.is_shared, before.method) != (owner, is_shared, method):
        raise Conflict(f"search {before.name} is there, of {before.owner}: choose another name", search=before.name)
    return before


def unknown(name: str) -> NotFound:
    """Return the error of a search that is not there."""
    return NotFound(f"there is no search {name[:80]!r}", search=name[:80])


def created_event(search: Search) -> Event:
    """Return the line of the audit about a search that was begun."""
    return Event(
        campaign_id=search.campaign_id,
        cycle_id=None,
        at=search.created_at,
        actor=search.owner,
        kind="anomalies.search_created",
        detail={"name": search.name, "is_shared": search.is_shared, "method": search.method, "seed": search.seed},
    )
