"""Reads of the ops pages: each bounded by an index or a limit, whatever the size of the campaign."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Float,
    Integer,
    Select,
    and_,
    cast,
    func,
    select,
    true,
)

from alservice.acquisition import schema as acquisition_schema
from alservice.campaigns import schema as campaigns_schema
from alservice.campaigns.cycle import Cycle, CycleState, Pause
from alservice.campaigns.policies import Arm
from alservice.campaigns.store import Event
from alservice.catalogue import schema as catalogue_schema
from alservice.catalogue.galaxies import Galaxy
from alservice.learning.drift import CycleDrift, DriftFigure
from alservice.ops import schema
from alservice.progress import Clock
from alservice.registry import schema as registry_schema
from alservice.registry.records import Model
from alservice.shapes import IntArray
from alservice.states import ModelState, SubjectState
from alservice.storage.postgres import among, columns_of, transaction
from alservice.subjects import schema as subjects_schema
from alservice.subjects.subject import Subject
from alservice.votes import schema as votes_schema
from alservice.votes.classification import Verdict


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
    campaigns, cycles = campaigns_schema.campaigns, campaigns_schema.cycles
    of_one = select(*columns_of(cycles, Cycle)).where(cycles.c.campaign_id == campaigns.c.id)
    newest = of_one.order_by(cycles.c.number.desc()).limit(1).lateral()
    wanted = select(newest).select_from(campaigns.join(newest, true())).where(campaigns.c.id.in_(campaign_ids))
    return {row["campaign_id"]: Cycle(**row) for row in connection.execute(wanted).mappings()}


def _champions(connection: Connection, campaign_ids: Sequence[int]) -> Mapping[int, Model]:
    table, cycles = registry_schema.models, campaigns_schema.cycles
    wanted = select(table, cycles.c.number.label("cycle_number")).join(cycles, table.c.cycle_id == cycles.c.id)
    live = wanted.where(table.c.campaign_id.in_(campaign_ids), table.c.state == ModelState.CHAMPION)
    return {row["campaign_id"]: Model(**row) for row in connection.execute(live).mappings()}


def _pauses(connection: Connection, campaign_ids: Sequence[int]) -> Mapping[int, Pause]:
    table = campaigns_schema.campaign_pauses
    rows = connection.execute(select(table).where(table.c.campaign_id.in_(campaign_ids)))
    return {row.campaign_id: Pause(reason=row.reason, actor=row.actor, at=row.at) for row in rows}


def _last_day(connection: Connection, campaign_ids: Sequence[int], now: datetime) -> Mapping[int, int]:
    table = schema.ingest_hours
    recent = table.c.hour > hour_of(now) - timedelta(hours=24)
    return _by_campaign(connection, _summed(table.c.classifications, campaign_ids).where(recent))


def _waiting(connection: Connection, campaign_ids: Sequence[int]) -> Mapping[int, int]:
    rows, files = votes_schema.classifications, votes_schema.quarantined_rows
    judged = _counted(rows.c.campaign_id, campaign_ids).where(rows.c.verdict.in_(WAITING))
    found: defaultdict[int, int] = defaultdict(int)
    for wanted in (judged, _counted(files.c.campaign_id, campaign_ids)):
        for number, n in _by_campaign(connection, wanted).items():
            found[number] += n
    return found


def _cursors(connection: Connection, campaign_ids: Sequence[int]) -> Mapping[int, Mapping[str, datetime]]:
    table = votes_schema.ingest_cursors
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


RECENT_EVENTS: Final = 2_000
"""Newest events among which one of a kind is looked for."""

ARM_GALAXIES: Final = 500
"""Galaxies of one arm and cycle that are compared: its first by rank."""


class SqlFigures:
    """Figures of campaigns in Postgres."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def newest_cycles(
        self, campaign_id: int, *, before: int | None = None, state: CycleState | None = None, limit: int
    ) -> Sequence[Cycle]:
        """Return the newest cycles, newest first, below a number and in a state when one is given."""
        table = campaigns_schema.cycles
        wanted = select(*columns_of(table, Cycle)).where(table.c.campaign_id == campaign_id)
        if before is not None:
            wanted = wanted.where(table.c.number < before)
        if state is not None:
            wanted = wanted.where(table.c.state == state)
        return [Cycle(**row) for row in self._rows(wanted.order_by(table.c.number.desc()).limit(limit))]

    def cycle(self, campaign_id: int, number: int) -> Cycle | None:
        """Return one cycle by number."""
        table = campaigns_schema.cycles
        wanted = select(*columns_of(table, Cycle)).where(table.c.campaign_id == campaign_id, table.c.number == number)
        return next((Cycle(**row) for row in self._rows(wanted)), None)

    def events(self, cycle_id: int, *, limit: int = 500) -> Sequence[Event]:
        """Return the newest events of a cycle, oldest of them first."""
        table = campaigns_schema.events
        wanted = select(*columns_of(table, Event)).where(table.c.cycle_id == cycle_id)
        return [Event(**row) for row in reversed(self._rows(wanted.order_by(table.c.id.desc()).limit(limit)))]

    def models(
        self, campaign_id: int, *, before: int | None = None, state: ModelState | None = None, limit: int
    ) -> Sequence[Model]:
        """Return the newest models, newest first, below an id and in a state when one is given."""
        table, cycles = registry_schema.models, campaigns_schema.cycles
        wanted = select(table, cycles.c.number.label("cycle_number")).join(cycles, table.c.cycle_id == cycles.c.id)
        wanted = wanted.where(table.c.campaign_id == campaign_id)
        if before is not None:
            wanted = wanted.where(table.c.id < before)
        if state is not None:
            wanted = wanted.where(table.c.state == state)
        return [Model(**row) for row in self._rows(wanted.order_by(table.c.id.desc()).limit(limit))]

    def verdicts(self, cycle_ids: Sequence[int]) -> Mapping[int, str]:
        """Return cycle to the gate's verdict, for those that have one."""
        table = registry_schema.gate_decisions
        rows = self._rows(select(table.c.cycle_id, table.c.verdict).where(table.c.cycle_id.in_(cycle_ids)))
        return {row["cycle_id"]: row["verdict"] for row in rows}

    def decided(self, cycle_id: int) -> tuple[str, datetime] | None:
        """Return who decided at the gate of a cycle, and when (UTC)."""
        table = registry_schema.gate_decisions
        rows = self._rows(select(table.c.actor, table.c.decided_at).where(table.c.cycle_id == cycle_id))
        return next(((row["actor"], row["decided_at"]) for row in rows), None)

    def campaigns(self, campaign_ids: Sequence[int]) -> Mapping[int, CampaignFigures]:
        """Return campaign to where it stands."""
        with transaction(self._engine) as connection:
            return campaign_figures(connection, campaign_ids, self._clock())

    def ledger(self, cycle_id: int) -> Mapping[SubjectState, int]:
        """Return the ledger rows of a cycle per state, zeros included."""
        table = subjects_schema.subjects
        wanted = select(table.c.state, func.count().label("n")).where(table.c.cycle_id == cycle_id)
        found = {row["state"]: row["n"] for row in self._rows(wanted.group_by(table.c.state))}
        return dict.fromkeys(SubjectState, 0) | found

    def asked(self, cycle_id: int) -> int:
        """Return the classifications that a cycle's subjects are asked for: of those that are or were shown."""
        table = subjects_schema.subjects
        shown = SubjectState.LIVE, SubjectState.RETIRED
        wanted = select(func.coalesce(func.sum(table.c.n_votes), 0).label("n"))
        return int(self._rows(wanted.where(table.c.cycle_id == cycle_id, table.c.state.in_(shown)))[0]["n"])

    def unsettled(self, campaign_id: int, *, limit: int) -> Sequence[Subject]:
        """Return subjects that need a look, oldest change first: a create without an answer, or failed for good."""
        table = subjects_schema.subjects
        states = SubjectState.CREATING, SubjectState.FAILED
        wanted = select(*columns_of(table, Subject)).where(
            table.c.campaign_id == campaign_id, table.c.state.in_(states)
        )
        return [Subject(**row) for row in self._rows(wanted.order_by(table.c.updated_at).limit(limit))]

    def subjects(
        self, campaign_id: int, *, state: SubjectState | None, after: str, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Return ledger rows by galaxy id, after one."""
        table = subjects_schema.subjects
        names = "galaxy_id", "cycle_id", "state", "zooniverse_id", "n_votes", "attempts", "error", "updated_at"
        wanted = select(*(table.c[name] for name in names)).where(
            table.c.campaign_id == campaign_id, table.c.galaxy_id > after
        )
        if state is not None:
            wanted = wanted.where(table.c.state == state)
        return self._rows(wanted.order_by(table.c.galaxy_id).limit(limit))

    def tallies(self, campaign_id: int, *, after: str, limit: int) -> Sequence[Mapping[str, Any]]:
        """Return tallies by galaxy id, after one."""
        table = votes_schema.tallies
        wanted = select(table.c.galaxy_id, table.c.classifications, table.c.votes)
        wanted = wanted.where(table.c.campaign_id == campaign_id, table.c.galaxy_id > after)
        return self._rows(wanted.order_by(table.c.galaxy_id).limit(limit))

    def votes(self, campaign_id: int, galaxy_ids: Sequence[str]) -> Mapping[str, Sequence[int]]:
        """Return galaxy to its counted votes in tree order, for named galaxies that have any."""
        table = votes_schema.tallies
        wanted = select(table.c.galaxy_id, table.c.votes)
        wanted = wanted.where(table.c.campaign_id == campaign_id, among(table.c.galaxy_id, galaxy_ids))
        return {row["galaxy_id"]: row["votes"] for row in self._rows(wanted)}

    def galaxies(
        self, catalogue_id: int, *, after: str, limit: int, evaluation: bool | None = None
    ) -> Sequence[Galaxy]:
        """Return galaxies by id, after one; only members of the evaluation stream, or only others, when asked."""
        table = catalogue_schema.galaxies
        wanted = select(*columns_of(table, Galaxy)).where(
            catalogue_schema.galaxies_of(catalogue_id), table.c.galaxy_id > after
        )
        if evaluation is not None:
            wanted = wanted.where(table.c.evaluation.is_(evaluation))
        return [Galaxy(**row) for row in self._rows(wanted.order_by(table.c.galaxy_id).limit(limit))]

    def ingest(self, campaign_id: int) -> IngestFigures:
        """Return what came in: by hour, by source, what waits, and the verdicts of the newest rows."""
        with transaction(self._engine) as connection:
            return ingest_figures(connection, campaign_id, self._clock())

    def candidates(self, campaign_id: int, *, limit: int) -> Sequence[CandidateFigures]:
        """Return candidates' NLL per vote of the newest evaluated cycles, oldest first."""
        mine, theirs, cycles = registry_schema.evaluations, registry_schema.evaluations.alias(), campaigns_schema.cycles
        snapshots = registry_schema.training_snapshots
        nll, other = mine.c.metrics["nll_per_vote"], theirs.c.metrics["nll_per_vote"]
        wanted = (
            select(
                cycles.c.number.label("cycle"),
                snapshots.c.n_votes,
                *(cast(nll[name].astext, Float).label(name) for name in ("value", "low", "high")),
                cast(other["value"].astext, Float).label("champion"),
            )
            .select_from(cycles)
            .join(mine, and_(mine.c.cycle_id == cycles.c.id, mine.c.model_id == cycles.c.candidate_id))
            .join(snapshots, snapshots.c.cycle_id == cycles.c.id)
            .outerjoin(theirs, and_(theirs.c.cycle_id == cycles.c.id, theirs.c.model_id == cycles.c.champion_id))
            .where(cycles.c.campaign_id == campaign_id)
            .order_by(cycles.c.number.desc())
            .limit(limit)
        )
        return [CandidateFigures(**row) for row in reversed(self._rows(wanted))]

    def newest_event(self, campaign_id: int, kind: str) -> Event | None:
        """Return the newest event of a kind among a campaign's last thousands."""
        table = campaigns_schema.events
        last = select(*columns_of(table, Event)).where(table.c.campaign_id == campaign_id)
        recent = last.order_by(table.c.id.desc()).limit(RECENT_EVENTS).subquery()
        wanted = select(recent).where(recent.c.kind == kind).order_by(recent.c.at.desc()).limit(1)
        return next((Event(**row) for row in self._rows(wanted)), None)

    def drift(self, campaign_id: int, *, number: int | None = None, limit: int) -> Sequence[CycleDrift]:
        """Return the drift of the newest cycles that measured it, or of one by number, oldest first."""
        table, cycles = registry_schema.cycle_statistics, campaigns_schema.cycles
        wanted = select(cycles.c.number, table.c.document["figures"].label("figures")).join_from(cycles, table)
        wanted = wanted.where(cycles.c.campaign_id == campaign_id, table.c.kind == "drift")
        if number is not None:
            wanted = wanted.where(cycles.c.number == number)
        rows = self._rows(wanted.order_by(cycles.c.number.desc()).limit(limit))
        return [
            CycleDrift(cycle=row["number"], figures=tuple(DriftFigure(**figure) for figure in row["figures"]))
            for row in reversed(rows)
        ]

    def arm_votes(self, cycles: Sequence[Cycle], n_answers: int) -> Sequence[Mapping[str, Any]]:
        """Return votes on the first `n_answers` columns of each arm's first galaxies in some cycles of a campaign."""
        acquired, tallies = acquisition_schema.acquired, votes_schema.tallies
        numbers = {cycle.id: cycle.number for cycle in cycles}
        if not cycles:
            return ()
        votes = func.array_to_json(tallies.c.votes[1:n_answers]).label("votes")
        wanted = select(acquired.c.cycle_id, acquired.c.arm, votes).join(
            tallies,
            and_(tallies.c.campaign_id == cycles[0].campaign_id, tallies.c.galaxy_id == acquired.c.galaxy_id),
        )
        wanted = wanted.where(acquired.c.cycle_id.in_(numbers), acquired.c.rank <= ARM_GALAXIES)
        rows = self._rows(wanted.order_by(acquired.c.cycle_id, acquired.c.arm, acquired.c.rank))
        return [{"cycle": numbers[row["cycle_id"]], "arm": row["arm"], "votes": row["votes"]} for row in rows]

    def acquired(self, cycle_id: int, *, limit: int) -> Sequence[Mapping[str, Any]]:
        """Return galaxies of a batch: by expected information, then by arm, the random one before the others."""
        table = acquisition_schema.acquired
        names = "galaxy_id", "arm", "score_nats", "inclusion_probability", "rank", "n_votes"
        order = table.c.score_nats.desc().nulls_last(), table.c.arm != Arm.RANDOM, table.c.arm, table.c.rank
        wanted = select(*(table.c[name] for name in names)).where(table.c.cycle_id == cycle_id)
        return self._rows(wanted.order_by(*order).limit(limit))

    def batch(self, cycle_id: int) -> Mapping[str, Any] | None:
        """Return how a cycle's batch was drawn: sizes of the pool, policy and seed, and votes asked in all."""
        table, drawn = acquisition_schema.acquisitions, acquisition_schema.acquired
        names = "policy", "seed", "offered", "eligible", "eligible_members", "excluded"
        asked = select(func.sum(drawn.c.n_votes)).where(drawn.c.cycle_id == cycle_id).scalar_subquery()
        columns = (*(table.c[name] for name in names), asked.label("n_votes"))
        rows = self._rows(select(*columns).where(table.c.cycle_id == cycle_id))
        return next(iter(rows), None)

    def snapshot_votes(self, cycle_ids: Sequence[int]) -> Mapping[int, int]:
        """Return cycle to votes frozen at the end of its collecting."""
        table = registry_schema.training_snapshots
        rows = self._rows(select(table.c.cycle_id, table.c.n_votes).where(table.c.cycle_id.in_(cycle_ids)))
        return {row["cycle_id"]: row["n_votes"] for row in rows}

    def _rows(self, wanted: Select[Any]) -> list[Any]:
        with transaction(self._engine) as connection:
            return list(connection.execute(wanted).mappings())


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
        waiting=_waiting_by_reason(connection, campaign_id),
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
    table, totals, cursors = schema.ingest_hours, schema.ingest_totals, votes_schema.ingest_cursors

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


def _waiting_by_reason(connection: Connection, campaign_id: int) -> Mapping[str, int]:
    rows, files = votes_schema.classifications, votes_schema.quarantined_rows
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
    table = votes_schema.classifications
    newest = select(table.c.verdict).where(table.c.campaign_id == campaign_id)
    newest_rows = newest.order_by(table.c.classification_id.desc()).limit(RECENT_ROWS).subquery()
    counted = select(newest_rows.c.verdict, func.count().label("n")).group_by(newest_rows.c.verdict)
    found = {str(row.verdict or "not judged"): row.n for row in connection.execute(counted)}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where classifications come from.

    Parameters
    ----------
    last_id
        Largest classification id read from it.
    updated_at
        When its cursor moved last (UTC): how far behind it may be.
    day, week
        Classifications that arrived from it in the last 24 hours and 7 days.
    """

    name: str
    last_id: int | None
    updated_at: datetime | None
    day: int
    week: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CampaignFigures:
    """Where a campaign stands, at a price that does not grow with it.

    Parameters
    ----------
    cycle
        The newest, None before the first.
    subjects
        Rows of the upload ledger by state, zeros included.
    arrived, day
        Classifications that ever arrived, and in the last 24 hours.
    waiting
        Rows in quarantine.
    cursors
        Source to when its cursor moved last (UTC): how far behind it may be.
    """

    cycle: Cycle | None
    champion: Model | None
    pause: Pause | None
    subjects: Mapping[SubjectState, int]
    arrived: int
    day: int
    waiting: int
    cursors: Mapping[str, datetime]


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestFigures:
    """Classifications coming in.

    Parameters
    ----------
    hours
        Hour (UTC) to classifications that arrived in it, the last days, without gaps.
    waiting
        Rows in quarantine, by reason.
    recent, recent_rows
        Verdicts of the newest rows, and how many those are.
    """

    hours: Mapping[datetime, int]
    sources: Sequence[Source]
    waiting: Mapping[str, int]
    recent: Mapping[str, int]
    recent_rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateFigures:
    """NLL per vote (nats) of one cycle's candidate and champion on the same votes, with 95 % intervals."""

    cycle: int
    n_votes: int
    value: float
    low: float
    high: float
    champion: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmFigures:
    """What volunteers said of one arm's galaxies in one cycle.

    Parameters
    ----------
    galaxies, votes
        Galaxies with counted votes among the first of the arm by rank, and their votes on the first question.
    split_nats
        Mean entropy of a galaxy's votes on the first question (nats): how much its volunteers disagreed.
    low, high
        Its 95 % interval by the normal approximation.
    """

    cycle: int
    arm: Arm
    galaxies: int
    votes: int
    split_nats: float
    low: float
    high: float


def arm_figures(rows: Sequence[Mapping[str, Any]]) -> list[ArmFigures]:
    """Return how volunteers split, by cycle and arm; galaxies without votes on the question are left out.

    Parameters
    ----------
    rows
        One per galaxy: ``cycle``, ``arm`` and ``votes``, its counts on the answers of one question.
    """
    groups: dict[tuple[int, Arm], list[IntArray]] = {}
    for row in rows:
        counts = np.array(row["votes"] or [], dtype=np.int64)
        if counts.sum():
            groups.setdefault((row["cycle"], row["arm"]), []).append(counts)
    return [_arm(cycle, arm, counts) for (cycle, arm), counts in sorted(groups.items())]


def _arm(cycle: int, arm: Arm, galaxies: Sequence[IntArray]) -> ArmFigures:
    splits = np.array([_entropy(counts) for counts in galaxies])
    mean = float(splits.mean())
    half = 1.96 * float(splits.std(ddof=1)) / math.sqrt(len(splits)) if len(splits) > 1 else 0.0
    return ArmFigures(
        cycle=cycle,
        arm=arm,
        galaxies=len(splits),
        votes=int(sum(counts.sum() for counts in galaxies)),
        split_nats=mean,
        low=mean - half,
        high=mean + half,
    )


def _entropy(counts: IntArray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
