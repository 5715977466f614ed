"""How figures read on a page: times in UTC, durations, counts, and numbers with the digits they deserve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from markupsafe import Markup

from alservice.cycle.table import StepState
from alservice.texts import visible

NONE = "–"


def utc(moment: datetime | None) -> str | Markup:
    """Return a moment to the minute, in UTC, as a time element."""
    if moment is None:
        return NONE
    return Markup('<time datetime="{}">{}</time>').format(
        moment.isoformat(timespec="seconds"), f"{moment:%Y-%m-%d %H:%M} UTC"
    )


def day(moment: datetime | None) -> str | Markup:
    """Return the day of a moment, in UTC, as a time element."""
    if moment is None:
        return NONE
    return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(timespec="seconds"), f"{moment:%Y-%m-%d}")


def duration(span: timedelta | None) -> str:
    """Return a span in its two largest units."""
    if span is None:
        return NONE
    seconds = int(span.total_seconds())
    sign, seconds = ("−", -seconds) if seconds < 0 else ("", seconds)
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    if days:
        return f"{sign}{days} d {hours} h"
    if hours:
        return f"{sign}{hours} h {minutes} min"
    return f"{sign}{minutes} min {seconds} s" if minutes else f"{sign}{seconds} s"


def count(value: float | None) -> str:
    """Return a count with thousands set apart."""
    return NONE if value is None else f"{value:,.0f}"


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with fixed digits."""
    return NONE if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 4) -> str:
    """Return a number with its sign."""
    return NONE if value is None else f"{value:+.{digits}f}".replace("-", "−")


def percent(value: float | None) -> str:
    """Return a share in percent."""
    return NONE if value is None else f"{100 * value:.1f} %"


def words(text: object) -> str:
    """Return a machine's name as words."""
    return str(text).replace("_", " ").replace("-", " ")


_STANDS: Mapping[str, str] = {
    StepState.NOW: "at work or waiting",
    StepState.WAITING: "not yet",
    StepState.SKIPPED: "not needed",
}


def stands(state: StepState) -> str:
    """Return where a step stands as people say it, by its own name unless there is a better one."""
    return _STANDS.get(state, words(state))


def details(values: Mapping[str, Any]) -> str:
    """Return an event's detail as one line, cut where it becomes unreadable."""
    text = visible(", ".join(f"{words(name)} {_short(value)}" for name, value in values.items()), one_line=True)
    return text if len(text) <= 300 else f"{text[:297]}…"


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | dict):
        return f"({len(value)})" if value else "none"
    return str(value)


FILTERS: Mapping[str, Callable[..., object]] = {
    "utc": utc,
    "day": day,
    "duration": duration,
    "count": count,
    "number": number,
    "signed": signed,
    "percent": percent,
    "words": words,
    "stands": stands,
    "details": details,
}
