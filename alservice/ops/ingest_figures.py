"""Classifications coming in, as figures: sums kept by a trigger, and counts bounded by an index or a limit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, Integer, cast, func, select

from alservice.ops.operations import IngestFigures, Source
from alservice.storage import schema
from alservice.votes.classification import Verdict

RECENT_ROWS: Final = 20_000
"""Newest classifications whose verdicts are counted: some milliseconds by primary key."""

WEEK_HOURS: Final = 24 * 7

DAYS: Final = 3
"""Days of the ingest rate that a page shows."""

WAITING: Final = (Verdict.QUARANTINED, Verdict.UNKNOWN_SUBJECT)
"""Verdicts of rows in quarantine."""


def ingest_figures(connection: Connection, campaign_id: int, now: datetime) -> IngestFigures:
    """Return what came in: by hour, by source, what waits, and the verdicts of the newest rows."""
    this_hour = hour_of(now)
    span = [this_hour - timedelta(hours=h) for h in reversed(range(24 * DAYS))]
    by_hour = _by_hour(connection, campaign_id, span[0])
    recent = _recent_verdicts(connection, campaign_id)
    return IngestFigures(
        hours={hour: by_hour.get(hour, 0) for hour in span},
        sources=_sources(connection, campaign_id, this_hour),
        waiting=_waiting(connection, campaign_id),
        recent=recent,
        recent_rows=sum(recent.values()),
    )


def hour_of(now: datetime) -> datetime:
    """Return the hour (UTC) that a moment is in."""
    return now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _by_hour(connection: Connection, campaign_id: int, since: datetime) -> Mapping[datetime, int]:
    table = schema.ingest_hours
    wanted = select(table.c.hour, cast(func.sum(table.c.classifications), Integer).label("n"))
    wanted = wanted.where(table.c.campaign_id == campaign_id, table.c.hour >= since).group_by(table.c.hour)
    return {row.hour: row.n for row in connection.execute(wanted)}


def _sources(connection: Connection, campaign_id: int, hour: datetime) -> list[Source]:
    table, totals, cursors = schema.ingest_hours, schema.ingest_totals, schema.ingest_cursors

    def since(hours: int) -> ColumnElement[int]:
        recent = func.sum(table.c.classifications).filter(table.c.hour > hour - timedelta(hours=hours))
        return func.coalesce(recent, 0)

    counted = select(table.c.source, since(24).label("day"), since(WEEK_HOURS).label("week"))
    recent = table.c.campaign_id == campaign_id, table.c.hour > hour - timedelta(hours=WEEK_HOURS)
    arrived = {row.source: row for row in connection.execute(counted.where(*recent).group_by(table.c.source))}
    read = select(cursors.c.source, cursors.c.last_id, cursors.c.updated_at)
    known = {row.source: row for row in connection.execute(read.where(cursors.c.campaign_id == campaign_id))}
    ever = connection.scalars(select(totals.c.source).where(totals.c.campaign_id == campaign_id))
    return [
        Source(
            name=name,
            last_id=known[name].last_id if name in known else None,
            updated_at=known[name].updated_at if name in known else None,
            day=int(arrived[name].day) if name in arrived else 0,
            week=int(arrived[name].week) if name in arrived else 0,
        )
        for name in sorted({*ever, *known})
    ]


def _waiting(connection: Connection, campaign_id: int) -> Mapping[str, int]:
    rows, files = schema.classifications, schema.quarantined_rows
    n = func.count().label("n")
    waits = select(rows.c.verdict, rows.c.fault, n).where(
        rows.c.campaign_id == campaign_id, rows.c.verdict.in_(WAITING)
    )
    found: dict[str, int] = {}
    for row in connection.execute(waits.group_by(rows.c.verdict, rows.c.fault)):
        found[str(row.fault or row.verdict)] = row.n
    broken = select(files.c.field, n).where(files.c.campaign_id == campaign_id).group_by(files.c.field)
    found |= {f"row of a file: {row.field}": row.n for row in connection.execute(broken)}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _recent_verdicts(connection: Connection, campaign_id: int) -> Mapping[str, int]:
    table = schema.classifications
    newest = select(table.c.verdict).where(table.c.campaign_id == campaign_id)
    newest_rows = newest.order_by(table.c.classification_id.desc()).limit(RECENT_ROWS).subquery()
    counted = select(newest_rows.c.verdict, func.count().label("n")).group_by(newest_rows.c.verdict)
    found = {str(row.verdict or "not judged"): row.n for row in connection.execute(counted)}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
