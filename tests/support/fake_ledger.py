"""The upload ledger in memory, with mishaps, and a cycle to give it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from alservice.campaigns.cycle import Cycle, CycleState
from alservice.errors import DatabaseUnavailable
from alservice.states import SubjectState
from alservice.subjects.subject import Subject, VotesAsked
from alservice.testing import MemoryLedger
from alservice.zooniverse.records import SubjectDraft
from tests.support.fake_zooniverse import Weather


class FakeLedger(MemoryLedger):
    """A ledger whose writes may fail, before or after they are done."""

    def __init__(self, weather: Weather | None = None) -> None:
        super().__init__()
        self.weather = weather or Weather()

    def intend(self, cycle: Cycle, drafts: Sequence[SubjectDraft], *, n_votes: VotesAsked) -> None:
        """Insert intent rows; a galaxy that has one keeps it."""
        with self.weather.call("ledger.plan", DatabaseUnavailable):
            super().intend(cycle, drafts, n_votes=n_votes)

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
            return super().mark(subjects, to, zooniverse_ids=zooniverse_ids, error=error)

    def ask(self, subjects: Sequence[Subject], *, cycle_id: int, n_votes: VotesAsked) -> Sequence[Subject]:
        """Give rows to a cycle, and ask for votes."""
        with self.weather.call("ledger.ask", DatabaseUnavailable):
            return super().ask(subjects, cycle_id=cycle_id, n_votes=n_votes)


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
