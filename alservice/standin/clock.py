"""Time in the stand-in: an injected UTC clock, an offset for tests, and the two ways Panoptes writes it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the present as an aware datetime in UTC."""


def system_clock() -> datetime:
    """Return the present of this machine in UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """Return `moment` as JSON carries it, milliseconds and a Z; sorts as text in order of time."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def parse_stamp(text: str) -> datetime:
    """Return the moment written by `stamp`."""
    return datetime.fromisoformat(text)


def csv_stamp(text: str | None) -> str:
    """Return a stamp as the exports write it, ``2021-08-06 11:08:53 UTC``; blank for none."""
    return "" if text is None else f"{parse_stamp(text):%Y-%m-%d %H:%M:%S} UTC"


def http_date(text: str) -> str:
    """Return a stamp as HTTP headers carry it."""
    return f"{parse_stamp(text):%a, %d %b %Y %H:%M:%S} GMT"
