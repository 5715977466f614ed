"""Votes per galaxy: each subject retires when its own counted classifications reach the votes asked for it.

Where the campaign's rule says that enough is known of a galaxy, it retires before. Panoptes retires per workflow, by
its own count, which lags and counts other rows than we do. So our tallies decide and Panoptes is told: retire what has
its votes, bring back what was retired without them (more votes asked for since, votes that no longer count, later votes
that contradict, or a rule of the workflow that was faster). It answers at once and acts later; the ledger follows what
its counters are then seen to say, in this run or the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Final

from alservice.campaigns.store import CampaignRow, Event, EventLog
from alservice.errors import BadConfig, BadInput
from alservice.ids import check_galaxy_id
from alservice.progress import Clock
from alservice.states import AskingState, SubjectState
from alservice.subjects.publish import hundreds, zooniverse_id_of
from alservice.subjects.stops import PERSON, Stop, StopStore
from alservice.subjects.subject import Subject, SubjectLedger, TallySource
from alservice.texts import check_reason
from alservice.zooniverse import Zooniverse
from alservice.zooniverse.records import SubjectStatus

SHOWN: Final = (SubjectState.LIVE, SubjectState.RETIRED)
"""Galaxies that volunteers see, or saw: their votes may be asked for anew."""


@dataclass(frozen=True)
class AskVotes:
    """Change the votes asked for; it takes a campaign whose own tallies retire.

    What a person asks, a posterior does not undo: such a galaxy gets its votes.
    """

    ledger: SubjectLedger
    stops: StopStore
    events: EventLog
    clock: Clock
    _: KW_ONLY
    actor: str

    def run(self, campaign: CampaignRow, galaxy_ids: Sequence[str], votes: int, *, reason: str) -> Sequence[Subject]:
        """Ask for so many votes of each galaxy, all or none; return the rows that changed.

        Raises
        ------
        BadConfig
            Panoptes' rule decides here: one number for all subjects of a workflow.
        BadInput
            The reason cannot stand in the audit, votes are out of range, an id is no galaxy's, or a galaxy was never
            shown to anyone; the message names the first ones.
        """
        check_reason(reason)
        if not campaign.settings.zooniverse.retires:
            text = (
                f"campaign {campaign.settings.name}: votes per galaxy need zooniverse.retirement 'own' or 'posterior'"
            )
            raise BadConfig(text, campaign=campaign.settings.name)
        if not 1 <= votes <= 1000:
            raise BadInput(f"votes must be 1 to 1000, not {votes}", votes=votes)
        wanted = {check_galaxy_id(galaxy_id, where="galaxies") for galaxy_id in galaxy_ids}
        rows = [row for row in self.ledger.of_campaign(campaign.id) if row.galaxy_id in wanted]
        absent = sorted(wanted - {row.galaxy_id for row in rows if row.state in SHOWN})
        if absent:
            named = ", ".join(absent[:5])
            raise BadInput(f"{len(absent)} galaxies are neither live nor retired: {named}", galaxies=absent[:5])
        stopped = self.stops.stopped(campaign.id)
        changed = [row for row in rows if row.n_votes != votes or row.galaxy_id in stopped]
        for cycle_id in sorted({row.cycle_id for row in changed}):
            self._ask(campaign.id, cycle_id, [row for row in changed if row.cycle_id == cycle_id], votes, reason)
        return changed

    def _ask(self, campaign_id: int, cycle_id: int, rows: Sequence[Subject], votes: int, reason: str) -> None:
        before = {row.galaxy_id: row.n_votes for row in rows}
        self.events.record(
            Event(
                campaign_id=campaign_id,
                cycle_id=cycle_id,
                at=self.clock(),
                actor=self.actor,
                kind="subjects.asked",
                detail={"votes": votes, "before": before, "reason": reason},
            )
        )
        self.ledger.ask(rows, cycle_id=cycle_id, n_votes=votes)
        known = self.stops.of_galaxies(campaign_id, list(before))
        self.stops.save([self._by_person(row, votes, reason, known.get(row.galaxy_id)) for row in rows], ())

    def _by_person(self, row: Subject, votes: int, reason: str, known: Stop | None) -> Stop:
        """Return the decision that only the number of votes ends asking about a galaxy."""
        stopped_votes = None if known is None else known.stopped_votes
        return Stop(
            subject_id=row.id,
            galaxy_id=row.galaxy_id,
            cycle_id=row.cycle_id,
            state=AskingState.ASKING if stopped_votes is None else AskingState.AGAIN,
            reason=PERSON,
            votes=0 if known is None else known.votes,
            stopped_votes=stopped_votes,
            mark="",
            model_id=None if known is None else known.model_id,
            detail={
                "full_votes": votes,
                "text": f"the full number of {votes} votes is asked: {self.actor} asked for them, {reason}",
                "figure": None,
                "question": None,
            },
            decided_at=self.clock(),
        )


REASON: Final = "other"
"""Panoptes' word for our rule; its own rule writes ``classification_count``, so the two can be told apart."""

_UNDONE: Final = frozenset({REASON, "classification_count", None})
"""Retirements for want of votes; what a person or a flag retired stays retired."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetireReport:
    """What one run did.

    Parameters
    ----------
    retired, unretired
        Rows that became retired, and rows that are live again or still, seen in Panoptes' counters.
    waiting
        Subjects whose change was asked for and is not seen yet.
    miscounted
        Live subjects that Panoptes counts fewer or more classifications of than we do.
    """

    retired: int
    unretired: int
    waiting: int
    miscounted: int


@dataclass(frozen=True)
class RetireSubjects:
    """Make a workflow's retirements what our tallies say; safe to repeat at any time.

    Parameters
    ----------
    settle_s
        Wait (seconds) between telling Panoptes and looking.
    stopped
        Galaxies of which enough is known, whatever votes they have.
    """

    ledger: SubjectLedger
    zooniverse: Zooniverse
    tallies: TallySource
    events: EventLog
    clock: Clock
    _: KW_ONLY
    settle_s: float
    sleep: Callable[[float], None]
    actor: str
    stopped: Mapping[str, Stop] = field(default_factory=dict)

    def run(self, campaign_id: int) -> RetireReport:
        """Retire and bring back, look, and move the rows; every row that changes has its why and when in the audit."""
        counted = self.tallies.counted_of_galaxies(campaign_id)
        rows = self._rows_to_judge(campaign_id, counted)
        before = self.zooniverse.statuses(list(rows))
        full = {i for i, row in rows.items() if self._has_enough(row, counted) or _is_final(before, i)}
        retire = sorted(i for i in full if not _is_retired(before, i))
        unretire = sorted(i for i in rows.keys() - full if _is_retired(before, i))
        for batch in hundreds(unretire):
            # Told before it is asked for: a live row stays live, so nothing else would tell of it.
            self._record(campaign_id, "subjects.unretired", [rows[i] for i in batch], counted, before)
            self.zooniverse.unretire(batch)
        for batch in hundreds(retire):
            self.zooniverse.retire(batch, REASON)
        asked = [*retire, *unretire]
        if asked:
            self.sleep(self.settle_s)
        after = {**before, **self.zooniverse.statuses(asked)}
        live = (row for row in rows.values() if row.state is SubjectState.LIVE)
        retired = [row for row in live if (i := zooniverse_id_of(row)) in full and _is_retired(after, i)]
        for rows_of_event in hundreds(retired):
            self._record(campaign_id, "subjects.retired", rows_of_event, counted, after)
            self.ledger.mark(rows_of_event, SubjectState.RETIRED)
        back = [rows[i] for i in rows.keys() - full if not _is_retired(after, i)]
        self.ledger.mark([row for row in back if row.state is SubjectState.RETIRED], SubjectState.LIVE)
        return RetireReport(
            retired=len(retired),
            unretired=sum(not _is_retired(after, i) for i in unretire),
            waiting=sum(_is_retired(after, i) != (i in full) for i in asked),
            miscounted=sum(_counts(after, i) != counted.get(row.galaxy_id, 0) for i, row in rows.items()),
        )

    def _rows_to_judge(self, campaign_id: int, counted: Mapping[str, int]) -> Mapping[int, Subject]:
        """Return live rows, and retired ones that lack votes, by Zooniverse id."""
        return {
            zooniverse_id_of(row): row
            for row in self.ledger.of_campaign(campaign_id)
            if row.state is SubjectState.LIVE
            or (row.state is SubjectState.RETIRED and not self._has_enough(row, counted))
        }

    def _has_enough(self, row: Subject, counted: Mapping[str, int]) -> bool:
        return row.galaxy_id in self.stopped or counted.get(row.galaxy_id, 0) >= row.n_votes

    def _record(
        self,
        campaign_id: int,
        kind: str,
        rows: Sequence[Subject],
        counted: Mapping[str, int],
        statuses: Mapping[int, SubjectStatus],
    ) -> None:
        subjects = [
            {
                "galaxy": row.galaxy_id,
                "subject": row.zooniverse_id,
                "counted": counted.get(row.galaxy_id, 0),
                "asked": row.n_votes,
                "panoptes": _counts(statuses, zooniverse_id_of(row)),
                "reason": status.reason if (status := statuses.get(zooniverse_id_of(row))) else None,
                **({} if (stop := self.stopped.get(row.galaxy_id)) is None else {"stopped": stop.detail["text"]}),
            }
            for row in rows
        ]
        self.events.record(
            Event(
                campaign_id=campaign_id,
                cycle_id=None,
                at=self.clock(),
                actor=self.actor,
                kind=kind,
                detail={"subjects": subjects},
            )
        )


def _is_retired(statuses: Mapping[int, SubjectStatus], zooniverse_id: int) -> bool:
    return zooniverse_id in statuses and statuses[zooniverse_id].is_retired


def _is_final(statuses: Mapping[int, SubjectStatus], zooniverse_id: int) -> bool:
    return _is_retired(statuses, zooniverse_id) and statuses[zooniverse_id].reason not in _UNDONE


def _counts(statuses: Mapping[int, SubjectStatus], zooniverse_id: int) -> int:
    return statuses[zooniverse_id].classifications if zooniverse_id in statuses else 0
