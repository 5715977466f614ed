"""Raw classifications, their verdicts, and the tallies made of those that count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Final

import numpy as np
from sqlalchemy import Date, Engine, Text, cast, func, literal, null, select

from alservice.errors import BadVotes
from alservice.process import Clock
from alservice.science.training_sets import TallySet, tally_set
from alservice.shapes import IntArray
from alservice.storage import schema
from alservice.storage.postgres import transaction
from alservice.storage.rows import CHUNK_ROWS
from alservice.votes.classification import Verdict
from alservice.votes.quarantine import Quarantine, QuarantinedRow
from alservice.votes.store import SqlLanding
from alservice.votes.weights import Sitting

LANDING_LOCK: Final = 7_316_502
"""First half of a landing's advisory lock, the second is the campaign: any constant, the same everywhere."""


class SqlClassificationStore:
    """Classifications in Postgres."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    @contextmanager
    def landing(self, campaign_id: int) -> Iterator[SqlLanding]:
        """Open one transaction.

        Landings of a campaign happen one after the other: each judges all rows of the galaxies it touches,
        and would overwrite the tallies of another that it could not see.
        """
        with transaction(self._engine) as connection:
            connection.execute(select(func.pg_advisory_xact_lock(LANDING_LOCK, campaign_id)))
            landing = SqlLanding(connection, campaign_id, self._clock)
            yield landing
            landing.check_judged()

    def cursor(self, campaign_id: int, source: str) -> int:
        """Return the largest classification id read from a source, 0 at first."""
        table = schema.ingest_cursors
        last = select(table.c.last_id).where(table.c.campaign_id == campaign_id, table.c.source == source)
        with transaction(self._engine) as connection:
            return connection.scalar(last) or 0

    def tallies(self, campaign_id: int, n_answers: int) -> TallySet:
        """Return the tallies of all galaxies with votes; `BadVotes` if one is beyond the tree's answers."""
        table = schema.tallies
        wanted = select(table.c.galaxy_id, table.c.votes).where(table.c.campaign_id == campaign_id)
        with transaction(self._engine) as connection:
            rows = connection.execute(wanted)
            counts = {galaxy: _dense(galaxy, votes, n_answers) for galaxy, votes in rows}
        return tally_set(counts, n_answers)

    def counted(self, campaign_id: int, cycle_id: int | None = None) -> int:
        """Return counted classifications, of all cycles or of the subjects of one."""
        totals, subjects = schema.tallies, schema.subjects
        wanted = select(func.sum(totals.c.classifications)).where(totals.c.campaign_id == campaign_id)
        if cycle_id is not None:
            of_cycle = select(subjects.c.galaxy_id).where(subjects.c.cycle_id == cycle_id)
            wanted = wanted.where(totals.c.galaxy_id.in_(of_cycle))
        with transaction(self._engine) as connection:
            return connection.scalar(wanted) or 0

    def counted_per_day(self, campaign_id: int, *, since: datetime, until: datetime) -> Mapping[date, int]:
        """Return counted classifications by the day (UTC) they were made, from a moment up to another."""
        table = schema.classifications
        day = cast(func.timezone("UTC", table.c.created_at), Date).label("day")
        within = table.c.created_at >= since, table.c.created_at < until
        counted = table.c.campaign_id == campaign_id, table.c.verdict == Verdict.COUNTED
        wanted = select(day, func.count().label("n")).where(*counted, *within).group_by(day)
        with transaction(self._engine) as connection:
            return {row.day: row.n for row in connection.execute(wanted)}

    def counted_of_galaxies(self, campaign_id: int) -> Mapping[str, int]:
        """Return counted classifications by galaxy id, for galaxies that have any row."""
        totals = schema.tallies
        wanted = select(totals.c.galaxy_id, totals.c.classifications).where(totals.c.campaign_id == campaign_id)
        with transaction(self._engine) as connection:
            return {row.galaxy_id: row.classifications for row in connection.execute(wanted)}

    def by_verdict(self, campaign_id: int) -> Mapping[str, int]:
        """Return rows per verdict."""
        table = schema.classifications
        counts = select(table.c.verdict, func.count()).where(table.c.campaign_id == campaign_id)
        with transaction(self._engine) as connection:
            rows = connection.execute(counts.group_by(table.c.verdict))
            return {str(verdict): n for verdict, n in rows}

    def galaxies(self, campaign_id: int, *, after: str, limit: int) -> Sequence[str]:
        """Return ids of galaxies that have classifications, in order."""
        table = schema.tallies
        wanted = select(table.c.galaxy_id).where(table.c.campaign_id == campaign_id, table.c.galaxy_id > after)
        with transaction(self._engine) as connection:
            return list(connection.scalars(wanted.order_by(table.c.galaxy_id).limit(limit)))

    def sittings(self, campaign_id: int) -> Iterator[Sitting]:
        """Yield every counted classification with who gave it; see `ClassificationStore.sittings`."""
        table = schema.classifications
        session = literal("session ") + table.c.source + literal(" ") + table.c.session
        alone = literal("classification ") + cast(table.c.classification_id, Text)
        voter = func.coalesce(table.c.user_hash, session, alone)
        wanted = select(table.c.galaxy_id, voter, table.c.answers).where(
            table.c.campaign_id == campaign_id, table.c.verdict == Verdict.COUNTED
        )
        with transaction(self._engine) as connection:
            for galaxy_id, name, answers in connection.execution_options(yield_per=CHUNK_ROWS).execute(wanted):
                yield Sitting(galaxy_id=galaxy_id, voter=name, answers=answers)

    def tally_faults(self, campaign_id: int) -> Mapping[str, Sequence[int]]:
        """Return galaxies whose votes no walks through the tree give; see `ClassificationStore.tally_faults`."""
        table = schema.tally_faults
        wanted = select(table.c.galaxy_id, table.c.questions).where(table.c.campaign_id == campaign_id)
        with transaction(self._engine) as connection:
            return {row.galaxy_id: tuple(row.questions) for row in connection.execute(wanted.order_by("galaxy_id"))}

    def quarantined(self, campaign_id: int, *, limit: int) -> Quarantine:
        """Return counts by reason, most frequent first, and the first rows."""
        rows, files = schema.classifications, schema.quarantined_rows
        waits = rows.c.campaign_id == campaign_id, rows.c.verdict == Verdict.QUARANTINED
        ours = files.c.campaign_id == campaign_id
        count = func.count().label("n")
        with transaction(self._engine) as connection:
            faults = select(rows.c.fault, count).where(*waits).group_by(rows.c.fault)
            reasons = {str(fault): n for fault, n in connection.execute(faults)}
            kinds = select(files.c.field, count).where(ours).group_by(files.c.field)
            reasons |= {f"row of a file: {field}": n for field, n in connection.execute(kinds)}
            read = select(rows.c.classification_id, rows.c.source, null(), rows.c.fault).where(*waits)
            broken = select(files.c.classification_id, files.c.source, files.c.row, files.c.reason).where(ours)
            read, broken = read.order_by(rows.c.classification_id), broken.order_by(files.c.source, files.c.row)
            found = [*connection.execute(read.limit(limit)), *connection.execute(broken.limit(limit))]
        shown = tuple(
            QuarantinedRow(classification_id=number, source=source, row=row, reason=reason)
            for number, source, row, reason in found[:limit]
        )
        return Quarantine(reasons=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))), rows=shown)


def _dense(galaxy_id: str, votes: list[int], n_answers: int) -> IntArray:
    beyond = [column for column, n in enumerate(votes) if n and column >= n_answers]
    if beyond:
        raise BadVotes(
            f"galaxy {galaxy_id!r} has votes in column {beyond[-1]} of a tree with {n_answers} answers",
            galaxy=galaxy_id,
        )
    counts = np.zeros(n_answers, dtype=np.int64)
    counts[: len(votes)] = votes[:n_answers]
    return counts
