"""Chosen galaxies into the active set out of a pool of subjects that are there already, and stale ones out again.

Nothing is created or deleted. A row walks ``planned -> verified -> live``: found in the pool, then linked. What a
later cycle does not choose is unlinked and ``withdrawn``, keeps its votes, and may come back. Subjects stay in the
pool all the while, so moving back is leaving the active set. Links and unlinks may be repeated, so running again
finishes what is unfinished.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass

from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.store import Event, EventLog
from alservice.errors import BadConfig, ZooniverseUnavailable
from alservice.progress import Clock
from alservice.states import SubjectState
from alservice.subjects.publish import ensure_linked, hundreds, zooniverse_id_of
from alservice.subjects.subject import STALE, Subject, SubjectLedger, TallySource, VotesAsked, votes_of
from alservice.zooniverse import Zooniverse
from alservice.zooniverse.records import SubjectDraft, SubjectStatus

_MOVABLE = (SubjectState.PLANNED, SubjectState.VERIFIED, SubjectState.FAILED, SubjectState.WITHDRAWN)


@dataclass(frozen=True, kw_only=True, slots=True)
class MoveReport:
    """What became of the drafts; `requested` = `live` + `spared` + `failed`.

    Parameters
    ----------
    live
        In the active set now.
    spared
        Retired or labelled already: not shown to anyone again.
    failed
        Not in the pool.
    withdrawn
        Subjects of earlier cycles that left the active set.
    """

    requested: int
    live: int
    spared: int
    failed: int
    withdrawn: int


@dataclass(frozen=True)
class MoveSubjects:
    """Bring a batch in front of volunteers by links alone; the only linker of its set while it runs."""

    ledger: SubjectLedger
    zooniverse: Zooniverse
    tallies: TallySource
    events: EventLog
    clock: Clock
    _: KW_ONLY
    actor: str

    def publish(
        self, cycle: Cycle, campaign: Campaign, drafts: Sequence[SubjectDraft], n_votes: VotesAsked
    ) -> MoveReport:
        """Withdraw what this cycle did not choose, then link what it chose; each with its reason on record.

        Raises
        ------
        BadConfig
            The campaign has no pool.
        NotFound
            Zooniverse has no set of the pool's name.
        ZooniverseUnavailable
            A link or unlink did not hold; the same call continues.
        """
        target = campaign.zooniverse
        if target.pool_subject_set is None:
            raise BadConfig("zooniverse.pool_subject_set is not set, and mode 'move' needs it")
        pool_id = self.zooniverse.find_subject_set(target.pool_subject_set)
        set_id = self.zooniverse.ensure_subject_set(target.subject_set)
        rows = self.ledger.plan(cycle, drafts, n_votes=n_votes)
        counted = self.tallies.counted_of_galaxies(cycle.campaign_id)
        withdrawn = self._withdraw_stale(cycle, set_id, {row.galaxy_id for row in rows}, counted)
        movable = [row for row in rows if row.state in _MOVABLE]
        found = self._find(pool_id, target.pool_id_field, movable)
        self._fail(cycle, [row for row in movable if row.galaxy_id not in found])
        present = [row for row in movable if row.galaxy_id in found and row.state is not SubjectState.VERIFIED]
        spared = self._spare(cycle, present, found, counted, n_votes)
        chosen = [row for row in movable if row.galaxy_id in found and row.id not in spared]
        self._link(cycle, set_id, chosen, found, n_votes)
        live = len(chosen) + sum(row.state is SubjectState.LIVE for row in rows)
        retired = sum(row.state is SubjectState.RETIRED for row in rows)
        return MoveReport(
            requested=len(rows),
            live=live,
            spared=len(spared) + retired,
            failed=len(rows) - live - len(spared) - retired,
            withdrawn=withdrawn,
        )

    def _withdraw_stale(self, cycle: Cycle, set_id: int, chosen: set[str], counted: Mapping[str, int]) -> int:
        """Take out of the active set what an earlier cycle put there; return how many."""
        live = (row for row in self.ledger.of_campaign(cycle.campaign_id) if row.state is SubjectState.LIVE)
        stale = [row for row in live if row.cycle_id != cycle.id and row.galaxy_id not in chosen]
        ids = [zooniverse_id_of(row) for row in stale]
        for batch in hundreds(ids):
            self.zooniverse.unlink(set_id, batch)
        left = self.zooniverse.linked(set_id).intersection(ids) if ids else ()
        if left:
            raise ZooniverseUnavailable(f"set {set_id} still holds {len(left)} subjects taken out of it", set=set_id)
        labelled = {row.id for row in stale if counted.get(row.galaxy_id, 0) >= row.n_votes}
        self._move(cycle, [row for row in stale if row.id in labelled], SubjectState.WITHDRAWN, "labelled")
        why = f"{STALE}: not chosen in cycle {cycle.number}"
        self._move(cycle, [row for row in stale if row.id not in labelled], SubjectState.WITHDRAWN, why)
        return len(stale)

    def _find(self, pool_id: int, field: str, rows: Iterable[Subject]) -> Mapping[str, int]:
        """Return Zooniverse id by galaxy id; of a galaxy's several subjects the oldest, so that it is always one."""
        wanted = {row.galaxy_id for row in rows}
        found: dict[str, int] = {}
        for zooniverse_id, survey_id in self.zooniverse.survey_ids(pool_id, field) if wanted else ():
            if survey_id in wanted:
                found[survey_id] = min(zooniverse_id, found.get(survey_id, zooniverse_id))
        return found

    def _fail(self, cycle: Cycle, absent: Sequence[Subject]) -> None:
        new = [row for row in absent if row.state in (SubjectState.PLANNED, SubjectState.VERIFIED)]
        self._move(cycle, new, SubjectState.FAILED, "no subject of the pool has this survey id")

    def _spare(
        self,
        cycle: Cycle,
        rows: Sequence[Subject],
        found: Mapping[str, int],
        counted: Mapping[str, int],
        n_votes: VotesAsked,
    ) -> set[int]:
        """Withdraw what nobody needs to see again; return the ledger ids."""
        statuses = self.zooniverse.statuses([found[row.galaxy_id] for row in rows])
        reasons = {
            row.id: why
            for row in rows
            if (
                why := _reason_to_spare(
                    statuses.get(found[row.galaxy_id]),
                    counted.get(row.galaxy_id, 0),
                    votes_of(n_votes, row.galaxy_id),
                )
            )
        }
        for why in sorted(set(reasons.values())):
            new = [r for r in rows if reasons.get(r.id) == why and r.state is not SubjectState.WITHDRAWN]
            self._move(cycle, self._planned(new), SubjectState.WITHDRAWN, why)
        return set(reasons)

    def _link(
        self, cycle: Cycle, set_id: int, chosen: Sequence[Subject], found: Mapping[str, int], n_votes: VotesAsked
    ) -> None:
        if not chosen:
            return
        back = [row for row in chosen if row.state is SubjectState.WITHDRAWN]
        new = self._planned([row for row in chosen if row.state is not SubjectState.WITHDRAWN])
        ids = {row.id: found[row.galaxy_id] for row in chosen}
        new = self.ledger.mark(new, SubjectState.VERIFIED, zooniverse_ids=ids)
        if back:
            back = list(self.ledger.ask(back, cycle_id=cycle.id, n_votes=n_votes))
        ensure_linked(self.zooniverse, set_id, ids.values())
        self._move(cycle, [*new, *back], SubjectState.LIVE, f"chosen in cycle {cycle.number}", ids)

    def _planned(self, rows: Sequence[Subject]) -> Sequence[Subject]:
        """Return rows with the failed ones planned again."""
        failed = [row for row in rows if row.state is SubjectState.FAILED]
        again = {row.id: row for row in self.ledger.mark(failed, SubjectState.PLANNED)}
        return [again.get(row.id, row) for row in rows]

    def _move(
        self,
        cycle: Cycle,
        rows: Sequence[Subject],
        to: SubjectState,
        why: str,
        zooniverse_ids: Mapping[int, int] | None = None,
    ) -> None:
        """Tell the audit, then move the rows: after a crash in between it is told twice, never not at all."""
        for batch in hundreds(rows):
            detail = {"reason": why, "galaxies": [row.galaxy_id for row in batch]}
            self.events.record(
                Event(
                    campaign_id=cycle.campaign_id,
                    cycle_id=cycle.id,
                    at=self.clock(),
                    actor=self.actor,
                    kind=f"subjects.{to}",
                    detail=detail,
                )
            )
            error = None if to is SubjectState.LIVE else why
            self.ledger.mark(batch, to, zooniverse_ids=zooniverse_ids, error=error)


def _reason_to_spare(status: SubjectStatus | None, counted: int, n_votes: int) -> str | None:
    if status is not None and status.is_retired:
        return f"retired: {status.reason or 'without a reason'}"
    if max(counted, status.classifications if status is not None else 0) >= n_votes:
        return "labelled"
    return None
