"""A galaxy on its way to volunteers: the draft we write, and the subject Zooniverse makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from alservice.catalogue.galaxies import Galaxy
from alservice.errors import BadInput
from alservice.ids import subject_key
from alservice.states import SubjectState

KEY_FIELD = "#alservice_key"
"""Hidden metadata field of the deterministic key; ``#`` keeps it off every page that volunteers see."""


STALE = "stale"
"""How the reason begins when a subject is withdrawn only because a later cycle chose others."""


VotesAsked: TypeAlias = int | Mapping[str, int]
"""Volunteers to be shown a galaxy: one number for all, or one per galaxy id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectDraft:
    """What is sent to Zooniverse for one galaxy.

    Parameters
    ----------
    key
        Deterministic in campaign and galaxy: after an unknown outcome, it finds what was already created.
    image_key
        Object key of the original image bytes.
    """

    galaxy_id: str
    key: str
    metadata: Mapping[str, str]
    image_key: str


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


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteSubject:
    """A subject as Zooniverse lists it.

    Parameters
    ----------
    key
        Our deterministic key, None where the metadata has none.
    image_url
        Public address of its first image; it exists whether or not the upload arrived.
    """

    zooniverse_id: int
    key: str | None
    image_url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CreatedSubject:
    """Answer to a create: the id, and where to PUT the image within minutes."""

    zooniverse_id: int
    upload_url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectStatus:
    """What a workflow's counters say of a subject; they lag behind, and count by Panoptes' own rules."""

    classifications: int
    is_retired: bool
    reason: str | None


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
