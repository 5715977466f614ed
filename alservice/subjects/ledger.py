"""The upload ledger: one row per campaign and galaxy, so that no crash can ask for a second subject."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, Engine, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from alservice.campaigns.cycle import Cycle
from alservice.errors import Conflict
from alservice.progress import Clock
from alservice.states import SUBJECTS, SubjectState
from alservice.storage.postgres import among, columns_of, incoming, transaction
from alservice.subjects import schema
from alservice.subjects.subject import Subject, VotesAsked, votes_of
from alservice.zooniverse.records import SubjectDraft

STREAM_ROWS: Final = 2_000
"""Rows fetched at a time when a whole campaign is read: memory stays flat at a million subjects."""

_TABLE = schema.subjects
_SUBJECTS = select(*columns_of(_TABLE, Subject)).order_by(_TABLE.c.galaxy_id)


class SqlSubjectLedger:
    """Upload intents in Postgres."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def intend(self, cycle: Cycle, drafts: Sequence[SubjectDraft], *, n_votes: VotesAsked) -> None:
        """Insert intent rows in one transaction; a galaxy that has one keeps it."""
        shared = {
            "campaign_id": cycle.campaign_id,
            "cycle_id": cycle.id,
            "state": SubjectState.PLANNED,
            "attempts": 0,
            "created_at": (now := self._clock().isoformat()),
            "updated_at": now,
        }
        own = ("galaxy_id", "key", "image_key")
        names = (*shared, "n_votes", *own)
        with transaction(self._engine) as connection:
            for first in range(0, len(drafts), STREAM_ROWS):
                some = drafts[first : first + STREAM_ROWS]
                rows = [
                    {**shared, "n_votes": votes_of(n_votes, d.galaxy_id), **{name: getattr(d, name) for name in own}}
                    for d in some
                ]
                new = upsert(_TABLE).from_select(names, select(incoming(_TABLE, names, rows)))
                connection.execute(new.on_conflict_do_nothing(index_elements=["campaign_id", "galaxy_id"]))

    def plan(self, cycle: Cycle, drafts: Sequence[SubjectDraft], *, n_votes: VotesAsked) -> Sequence[Subject]:
        """Insert intent rows as `intend` does, and return the drafts' rows by galaxy id."""
        self.intend(cycle, drafts, n_votes=n_votes)
        mine = among(_TABLE.c.galaxy_id, [draft.galaxy_id for draft in drafts])
        with transaction(self._engine) as connection:
            planned = connection.execute(_SUBJECTS.where(_TABLE.c.campaign_id == cycle.campaign_id, mine))
            return [Subject(**row) for row in planned.mappings()]

    def of_cycle(self, cycle_id: int, states: Sequence[SubjectState] = ()) -> Sequence[Subject]:
        """Return a cycle's rows by galaxy id, all states when none is named."""
        wanted = _SUBJECTS.where(_TABLE.c.cycle_id == cycle_id)
        if states:
            wanted = wanted.where(_TABLE.c.state.in_(states))
        with transaction(self._engine) as connection:
            return [Subject(**row) for row in connection.execute(wanted).mappings()]

    def of_campaign(self, campaign_id: int) -> Iterator[Subject]:
        """Yield every row of a campaign by galaxy id, streamed."""
        wanted = _SUBJECTS.where(_TABLE.c.campaign_id == campaign_id).execution_options(yield_per=STREAM_ROWS)
        with transaction(self._engine) as connection:
            for row in connection.execute(wanted).mappings():
                yield Subject(**row)

    def of_galaxy(self, campaign_id: int, galaxy_id: str) -> Subject | None:
        """Return the row of a galaxy, if it has one."""
        wanted = _SUBJECTS.where(_TABLE.c.campaign_id == campaign_id, _TABLE.c.galaxy_id == galaxy_id)
        with transaction(self._engine) as connection:
            row = connection.execute(wanted).mappings().one_or_none()
        return None if row is None else Subject(**row)

    def of_galaxies(self, campaign_id: int, galaxy_ids: Sequence[str]) -> Sequence[Subject]:
        """Return the rows of named galaxies by galaxy id, of those that have one."""
        wanted = _TABLE.c.campaign_id == campaign_id, among(_TABLE.c.galaxy_id, galaxy_ids)
        with transaction(self._engine) as connection:
            return [Subject(**row) for row in connection.execute(_SUBJECTS.where(*wanted)).mappings()]

    def mark(
        self,
        subjects: Sequence[Subject],
        to: SubjectState,
        *,
        zooniverse_ids: Mapping[int, int] | None = None,
        error: str | None = None,
    ) -> Sequence[Subject]:
        """Move rows in one transaction; `zooniverse_ids` maps ledger id to Zooniverse id.

        Entering ``creating`` adds an attempt; a row already there is left as it is.

        Raises
        ------
        IllegalTransition
            The table does not allow the step from where a row is now; then no row moves.
        Conflict
            A row is already there under another Zooniverse id, or the id is another galaxy's.
        """
        ids = [subject.id for subject in subjects]
        told = zooniverse_ids or {}
        with transaction(self._engine) as connection:
            movable = _movable(connection, ids, to, told)
            rows = [{"id": i, "zooniverse_id": told.get(i)} for i in movable]
            told_ids = incoming(_TABLE, ("id", "zooniverse_id"), rows)
            connection.execute(
                update(_TABLE)
                .where(_TABLE.c.id == told_ids.c.id)
                .values(
                    state=to,
                    zooniverse_id=func.coalesce(told_ids.c.zooniverse_id, _TABLE.c.zooniverse_id),
                    attempts=_TABLE.c.attempts + int(to is SubjectState.CREATING),
                    error=error,
                    updated_at=self._clock(),
                )
            )
            after = connection.execute(_SUBJECTS.where(among(_TABLE.c.id, ids))).mappings()
            by_id = {row["id"]: Subject(**row) for row in after}
        return [by_id[i] for i in ids]

    def ask(self, subjects: Sequence[Subject], *, cycle_id: int, n_votes: VotesAsked) -> Sequence[Subject]:
        """Give rows to a cycle of their campaign, and ask for so many votes of each."""
        mine = among(_TABLE.c.id, [subject.id for subject in subjects])
        rows = [{"id": s.id, "n_votes": votes_of(n_votes, s.galaxy_id)} for s in subjects]
        asked = incoming(_TABLE, ("id", "n_votes"), rows)
        changes = {"cycle_id": cycle_id, "n_votes": asked.c.n_votes, "updated_at": self._clock()}
        with transaction(self._engine) as connection:
            connection.execute(update(_TABLE).where(_TABLE.c.id == asked.c.id).values(changes))
            return [Subject(**row) for row in connection.execute(_SUBJECTS.where(mine)).mappings()]

    def creates(self, campaign_id: int) -> int:
        """Return how many creates a campaign has sent, those of deleted subjects included."""
        sent = select(func.sum(_TABLE.c.attempts)).where(_TABLE.c.campaign_id == campaign_id)
        with transaction(self._engine) as connection:
            return connection.scalar(sent) or 0

    def watermark(self, campaign_id: int) -> int:
        """Return the highest Zooniverse subject id known to the ledger, 0 when there is none."""
        highest = select(func.max(_TABLE.c.zooniverse_id)).where(_TABLE.c.campaign_id == campaign_id)
        with transaction(self._engine) as connection:
            return connection.scalar(highest) or 0

    def subjects_of(self, campaign_id: int, galaxy_ids: Sequence[str]) -> Mapping[str, int]:
        """Return galaxy id to Zooniverse id, for those that have one."""
        known = _TABLE.c.campaign_id == campaign_id, _TABLE.c.zooniverse_id.is_not(None)
        with transaction(self._engine) as connection:
            rows = connection.execute(
                select(_TABLE.c.galaxy_id, _TABLE.c.zooniverse_id).where(*known, among(_TABLE.c.galaxy_id, galaxy_ids))
            )
            return {row.galaxy_id: row.zooniverse_id for row in rows}

    def galaxies_of(self, campaign_id: int, zooniverse_ids: Sequence[int]) -> Mapping[int, str]:
        """Return Zooniverse id to galaxy id, for those that are ours."""
        ours = _TABLE.c.campaign_id == campaign_id, among(_TABLE.c.zooniverse_id, zooniverse_ids)
        with transaction(self._engine) as connection:
            rows = connection.execute(select(_TABLE.c.zooniverse_id, _TABLE.c.galaxy_id).where(*ours))
            return {row.zooniverse_id: row.galaxy_id for row in rows}


def _movable(connection: Connection, ids: Sequence[int], to: SubjectState, told: Mapping[int, int]) -> Sequence[int]:
    """Lock rows, in one order so that two callers cannot deadlock, and return those not yet there."""
    columns = _TABLE.c.id, _TABLE.c.galaxy_id, _TABLE.c.state, _TABLE.c.zooniverse_id
    locked = select(*columns).where(among(_TABLE.c.id, ids)).order_by(_TABLE.c.id).with_for_update()
    movable = []
    for row in connection.execute(locked):
        if row.state is not to:
            SUBJECTS.check(row.state, to, what=row.galaxy_id)
            movable.append(row.id)
        elif told.get(row.id, row.zooniverse_id) != row.zooniverse_id:
            raise Conflict(
                f"galaxy {row.galaxy_id} is {to} as subject {row.zooniverse_id} already, not {told[row.id]}",
                galaxy=row.galaxy_id,
                recorded=row.zooniverse_id,
                told=told[row.id],
            )
    return movable
