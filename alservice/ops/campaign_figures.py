"""Where campaigns stand: few statements for all of them, each answered by kept counts or an index."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Select, cast, func, select, true

from alservice.campaigns.cycle import Cycle
from alservice.campaigns.records import Model
from alservice.ops.ingest_figures import WAITING, hour_of
from alservice.ops.operations import CampaignFigures, Pause
from alservice.states import ModelState, SubjectState
from alservice.storage import schema
from alservice.storage.rows import columns_of


def campaign_figures(
    connection: Connection, campaign_ids: Sequence[int], now: datetime
) -> Mapping[int, CampaignFigures]:
    """Return campaign to where it stands."""
    subjects = _ledgers(connection, campaign_ids)
    cycles = _newest_cycles(connection, campaign_ids)
    champions = _champions(connection, campaign_ids)
    pauses = _pauses(connection, campaign_ids)
    arrived = _by_campaign(connection, _summed(schema.ingest_totals.c.classifications, campaign_ids))
    day = _last_day(connection, campaign_ids, now)
    waiting = _waiting(connection, campaign_ids)
    cursors = _cursors(connection, campaign_ids)
    return {
        number: CampaignFigures(
            cycle=cycles.get(number),
            champion=champions.get(number),
            pause=pauses.get(number),
            subjects=subjects[number],
            arrived=arrived.get(number, 0),
            day=day.get(number, 0),
            waiting=waiting.get(number, 0),
            cursors=cursors.get(number, {}),
        )
        for number in campaign_ids
    }


def _ledgers(connection: Connection, campaign_ids: Sequence[int]) -> Mapping[int, Mapping[SubjectState, int]]:
    table = schema.subject_counts
    wanted = select(table.c.campaign_id, table.c.state, cast(func.sum(table.c.subjects), BigInteger).label("n"))
    wanted = wanted.where(table.c.campaign_id.in_(campaign_ids)).group_by(table.c.campaign_id, table.c.state)
    counted: dict[int, dict[SubjectState, int]] = {number: dict.fromkeys(SubjectState, 0) for number in campaign_ids}
    for row in connection.execute(wanted):
        counted[row.campaign_id][row.state] = row.n
    return counted


def _newest_cycles(connection: Connection, campaign_ids: Sequence[int]) -> Mapping[int, Cycle]:
    campaigns, cycles = schema.campaigns, schema.cycles
    of_one = select(*columns_of(cycles, Cycle)).where(cycles.c.campaign_id == campaigns.c.id)
    newest = of_one.order_by(cycles.c.number.desc()).limit(1).lateral()
    wanted = select(newest).select_from(campaigns.join(newest, true())).where(campaigns.c.id.in_(campaign_ids))
    return {row["campaign_id"]: Cycle(**row) for row in connection.execute(wanted).mappings()}


def _champions(connection: Connection, campaign_ids: Sequence[int]) -> Mapping[int, Model]:
    table, cycles = schema.models, schema.cycles
    wanted = select(table, cycles.c.number.label("cycle_number")).join(cycles, table.c.cycle_id == cycles.c.id)
    live = wanted.where(table.c.campaign_id.in_(campaign_ids), table.c.state == ModelState.CHAMPION)
    return {row["campaign_id"]: Model(**row) for row in connection.execute(live).mappings()}


def _pauses(connection: Connection, campaign_ids: Sequence[int]) -> Mapping[int, Pause]:
    table = schema.campaign_pauses
    rows = connection.execute(select(table).where(table.c.campaign_id.in_(campaign_ids)))
    return {row.campaign_id: Pause(reason=row.reason, actor=row.actor, at=row.at) for row in rows}


def _last_day(connection: Connection, campaign_ids: Sequence[int], now: datetime) -> Mapping[int, int]:
    table = schema.ingest_hours
    recent = table.c.hour > hour_of(now) - timedelta(hours=24)
    return _by_campaign(connection, _summed(table.c.classifications, campaign_ids).where(recent))


def _waiting(connection: Connection, campaign_ids: Sequence[int]) -> Mapping[int, int]:
    rows, files = schema.classifications, schema.quarantined_rows
    judged = _counted(rows.c.campaign_id, campaign_ids).where(rows.c.verdict.in_(WAITING))
    found: defaultdict[int, int] = defaultdict(int)
    for wanted in (judged, _counted(files.c.campaign_id, campaign_ids)):
        for number, n in _by_campaign(connection, wanted).items():
            found[number] += n
    return found


def _cursors(connection: Connection, campaign_ids: Sequence[int]) -> Mapping[int, Mapping[str, datetime]]:
    table = schema.ingest_cursors
    found: defaultdict[int, dict[str, datetime]] = defaultdict(dict)
    for row in connection.execute(select(table).where(table.c.campaign_id.in_(campaign_ids)).order_by(table.c.source)):
        found[row.campaign_id][row.source] = row.updated_at
    return found


def _summed(column: Column[Any], campaign_ids: Sequence[int]) -> Select[Any]:
    of = column.table.c.campaign_id
    return select(of, cast(func.sum(column), BigInteger)).where(of.in_(campaign_ids)).group_by(of)


def _counted(of: Column[Any], campaign_ids: Sequence[int]) -> Select[Any]:
    return select(of, func.count()).where(of.in_(campaign_ids)).group_by(of)


def _by_campaign(connection: Connection, wanted: Select[Any]) -> Mapping[int, int]:
    return dict(connection.execute(wanted).tuples().all())
