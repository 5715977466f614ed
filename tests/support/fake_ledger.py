"""The upload ledger in memory, with the rules of the table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from alservice.campaigns.cycle import Cycle, CycleState
from alservice.errors import Conflict, DatabaseUnavailable
from alservice.states import SUBJECTS, SubjectState
from alservice.subjects.subject import Subject, VotesAsked, votes_of
from alservice.zooniverse.records import SubjectDraft
from tests.support.fake_zooniverse import Weather

NEEDS_ID = (SubjectState.CREATED, SubjectState.VERIFIED, SubjectState.LIVE, SubjectState.RETIRED)


class FakeLedger:
    """A `SubjectLedger` port; every call is one transaction."""

    def __init__(self, weather: Weather | None = None) -> None:
        self.weather = weather or Weather()
        self.rows: dict[int, Subject] = {}

    def intend(self, cycle: Cycle, drafts: Sequence[SubjectDraft], *, n_votes: VotesAsked) -> None:
        """Insert intent rows; a galaxy that has one keeps it."""
        with self.weather.call("ledger.plan", DatabaseUnavailable):
            known = {(row.campaign_id, row.galaxy_id) for row in self.rows.values()}
            for draft in drafts:
                if (cycle.campaign_id, draft.galaxy_id) not in known:
                    self._insert(cycle, draft, votes_of(n_votes, draft.galaxy_id))

    def plan(self, cycle: Cycle, drafts: Sequence[SubjectDraft], *, n_votes: VotesAsked) -> Sequence[Subject]:
        """Insert intent rows, and return the drafts' rows."""
        self.intend(cycle, drafts, n_votes=n_votes)
        names = {draft.galaxy_id for draft in drafts}
        return [row for row in self.of_campaign(cycle.campaign_id) if row.galaxy_id in names]

    def of_cycle(self, cycle_id: int, states: Sequence[SubjectState] = ()) -> Sequence[Subject]:
        """Return a cycle's rows by galaxy id."""
        rows = [row for row in self.rows.values() if row.cycle_id == cycle_id]
        return sorted((r for r in rows if not states or r.state in states), key=lambda row: row.galaxy_id)

    def of_campaign(self, campaign_id: int) -> Iterator[Subject]:
        """Yield a campaign's rows by galaxy id."""
        rows = [row for row in self.rows.values() if row.campaign_id == campaign_id]
        yield from sorted(rows, key=lambda row: row.galaxy_id)

    def mark(
        self,
        subjects: Sequence[Subject],
        to: SubjectState,
        *,
        zooniverse_ids: Mapping[int, int] | None = None,
        error: str | None = None,
    ) -> Sequence[Subject]:
        """Move rows, all or none; a row already there is left as it is."""
        with self.weather.call(f"ledger.mark {to}", DatabaseUnavailable):
            told = zooniverse_ids or {}
            after = {subject.id: self._moved(self.rows[subject.id], to, told, error) for subject in subjects}
            taken = [r.zooniverse_id for r in (self.rows | after).values() if r.zooniverse_id is not None]
            if len(set(taken)) != len(taken):
                raise Conflict("a Zooniverse id is another galaxy's")
            self.rows |= after
            return [after[subject.id] for subject in subjects]

    def ask(self, subjects: Sequence[Subject], *, cycle_id: int, n_votes: VotesAsked) -> Sequence[Subject]:
        """Give rows to a cycle, and ask for votes."""
        with self.weather.call("ledger.ask", DatabaseUnavailable):
            asked = [
                replace(self.rows[s.id], cycle_id=cycle_id, n_votes=votes_of(n_votes, s.galaxy_id)) for s in subjects
            ]
            self.rows |= {row.id: row for row in asked}
            return asked

    def creates(self, campaign_id: int) -> int:
        """Return how many creates a campaign has sent."""
        return sum(row.attempts for row in self.of_campaign(campaign_id))

    def watermark(self, campaign_id: int) -> int:
        """Return the highest Zooniverse id of a campaign."""
        return max((row.zooniverse_id or 0 for row in self.of_campaign(campaign_id)), default=0)

    def galaxies_of(self, campaign_id: int, zooniverse_ids: Sequence[int]) -> Mapping[int, str]:
        """Return Zooniverse id to galaxy id."""
        rows = (row for row in self.of_campaign(campaign_id) if row.zooniverse_id in zooniverse_ids)
        return {row.zooniverse_id: row.galaxy_id for row in rows if row.zooniverse_id is not None}

    def _insert(self, cycle: Cycle, draft: SubjectDraft, n_votes: int) -> None:
        row_id = len(self.rows) + 1
        self.rows[row_id] = Subject(
            id=row_id,
            campaign_id=cycle.campaign_id,
            cycle_id=cycle.id,
            galaxy_id=draft.galaxy_id,
            key=draft.key,
            image_key=draft.image_key,
            state=SubjectState.PLANNED,
            zooniverse_id=None,
            n_votes=n_votes,
            attempts=0,
            error=None,
        )

    @staticmethod
    def _moved(row: Subject, to: SubjectState, told: Mapping[int, int], error: str | None) -> Subject:
        if row.state is to:
            if told.get(row.id, row.zooniverse_id) != row.zooniverse_id:
                raise Conflict(f"{row.galaxy_id} is {to} under another id")
            return row
        SUBJECTS.check(row.state, to, what=row.galaxy_id)
        zooniverse_id = told.get(row.id, row.zooniverse_id)
        assert zooniverse_id is not None or to not in NEEDS_ID
        attempts = row.attempts + (to is SubjectState.CREATING)
        return replace(row, state=to, zooniverse_id=zooniverse_id, attempts=attempts, error=error)


def a_cycle(*, number: int = 0, campaign_id: int = 1) -> Cycle:
    """Return a cycle that is publishing."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return Cycle(
        id=number + 1,
        campaign_id=campaign_id,
        campaign_version=1,
        catalogue_id=1,
        number=number,
        state=CycleState.PUBLISHING,
        left_from=None,
        champion_id=None,
        candidate_id=None,
        deadline=None,
        created_at=start,
        updated_at=start,
    )
