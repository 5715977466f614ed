"""A galaxy on its way to volunteers: the draft we write, and the subject Zooniverse makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from alservice.campaigns.cycle import Cycle
from alservice.catalogue.galaxies import Galaxy
from alservice.errors import BadInput
from alservice.ids import subject_key
from alservice.science.votes import TallySet
from alservice.states import SubjectState
from alservice.zooniverse.records import KEY_FIELD, SubjectDraft

STALE = "stale"
"""How the reason begins when a subject is withdrawn only because a later cycle chose others."""


VotesAsked: TypeAlias = int | Mapping[str, int]
"""Volunteers to be shown a galaxy: one number for all, or one per galaxy id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """One row of the upload ledger.

    Parameters
    ----------
    zooniverse_id
        None until Zooniverse's answer, or a reconcile, has told it.
    n_votes
        Volunteers this galaxy is to be shown to.
    attempts
        Creates sent so far.
    """

    id: int
    campaign_id: int
    cycle_id: int
    galaxy_id: str
    key: str
    image_key: str
    state: SubjectState
    zooniverse_id: int | None
    n_votes: int
    attempts: int
    error: str | None

    @property
    def may_return(self) -> bool:
        """Whether a later cycle may choose the galaxy again."""
        return self.state is SubjectState.WITHDRAWN and (self.error or "").startswith(STALE)


def votes_of(asked: VotesAsked, galaxy_id: str) -> int:
    """Return the votes asked of one galaxy; raises `BadInput` if it is not among those named."""
    if isinstance(asked, int):
        return asked
    if galaxy_id not in asked:
        raise BadInput(f"no votes are named for galaxy {galaxy_id!r}", galaxy=galaxy_id)
    return asked[galaxy_id]


def draft_subject(campaign: str, cycle: int, galaxy: Galaxy) -> SubjectDraft:
    """Return the draft of one galaxy: key, survey id, position and cycle in metadata that pages hide."""
    key = subject_key(campaign, galaxy.galaxy_id)
    metadata = {KEY_FIELD: key, "#survey_id": galaxy.galaxy_id, "#campaign": campaign, "#cycle": str(cycle)}
    if galaxy.ra_deg is not None and galaxy.dec_deg is not None:
        metadata |= {"#ra_deg": f"{galaxy.ra_deg:.7f}", "#dec_deg": f"{galaxy.dec_deg:.7f}"}
    return SubjectDraft(galaxy_id=galaxy.galaxy_id, key=key, metadata=metadata, image_key=galaxy.image_key)


class TallySource(Protocol):
    """Votes per galaxy, from one feed."""

    def tallies(self, campaign_id: int, n_answers: int) -> TallySet:
        """Return the tallies of all galaxies with votes."""

    def tallies_of(self, campaign_id: int, galaxy_ids: Sequence[str], n_answers: int) -> TallySet:
        """Return the tallies of those of some galaxies that have votes."""

    def counted(self, campaign_id: int, cycle_id: int | None = None) -> int:
        """Return counted classifications, of all cycles or of the subjects of one."""

    def counted_of_galaxies(self, campaign_id: int) -> Mapping[str, int]:
        """Return counted classifications by galaxy id, for galaxies that have any row."""


class SubjectLedger(Protocol):
    """Upload intents and what became of them; one row per campaign and galaxy, by constraint."""

    def intend(self, cycle: Cycle, drafts: Sequence[SubjectDraft], *, n_votes: VotesAsked) -> None:
        """Insert intent rows in one transaction; a galaxy that has one keeps it."""

    def plan(self, cycle: Cycle, drafts: Sequence[SubjectDraft], *, n_votes: VotesAsked) -> Sequence[Subject]:
        """Insert intent rows as `intend` does, and return the rows of these drafts by galaxy id."""

    def of_cycle(self, cycle_id: int, states: Sequence[SubjectState] = ()) -> Sequence[Subject]:
        """Return a cycle's rows by galaxy id, all states when none is named."""

    def of_campaign(self, campaign_id: int) -> Iterator[Subject]:
        """Yield every row of a campaign by galaxy id, streamed."""

    def of_galaxies(self, campaign_id: int, galaxy_ids: Sequence[str]) -> Sequence[Subject]:
        """Return the rows of named galaxies by galaxy id, of those that have one."""

    def of_galaxy(self, campaign_id: int, galaxy_id: str) -> Subject | None:
        """Return the row of a galaxy, if it has one."""

    def mark(
        self,
        subjects: Sequence[Subject],
        to: SubjectState,
        *,
        zooniverse_ids: Mapping[int, int] | None = None,
        error: str | None = None,
    ) -> Sequence[Subject]:
        """Move rows in one transaction; `zooniverse_ids` maps ledger id to Zooniverse id.

        Entering ``creating`` adds an attempt. Raises `IllegalTransition`; a row already there is left as it is.
        """

    def ask(self, subjects: Sequence[Subject], *, cycle_id: int, n_votes: VotesAsked) -> Sequence[Subject]:
        """Give rows to a cycle of their campaign, and ask for so many votes of each."""

    def creates(self, campaign_id: int) -> int:
        """Return how many creates a campaign has sent, those of deleted subjects included."""

    def watermark(self, campaign_id: int) -> int:
        """Return the highest Zooniverse subject id known to the ledger, 0 when there is none."""

    def galaxies_of(self, campaign_id: int, zooniverse_ids: Sequence[int]) -> Mapping[int, str]:
        """Return Zooniverse id to galaxy id, for those that are ours."""
