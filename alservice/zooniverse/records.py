"""Records of Zooniverse: subjects and classifications as its API gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple


class RawClassification(NamedTuple):
    """One classification as its source gave it, without name or address of the volunteer.

    A tuple, as no other record is: millions are made and sent between processes, in a tenth of the time.

    Parameters
    ----------
    user_hash
        Keyed hash of the user id; None for an anonymous volunteer.
    started_at, finished_at
        Volunteer's own clock, as text: client clocks are data, not truth.
    created_at
        Zooniverse's clock (UTC).
    annotations
        Task and value of each answer: an index from the API, a label from an export.
    completed
        What an export tells; None from the API, which hides it.
    gold_standard
        What an export tells; False from the API, which hides it.
    after_retirement
        Whether the subject was retired when it was classified.
    """

    classification_id: int
    workflow_id: int
    workflow_version: str
    zooniverse_subject_id: int | None
    user_hash: str | None
    session: str | None
    started_at: str | None
    finished_at: str | None
    seen_before: bool
    live_project: bool
    created_at: datetime
    annotations: Sequence[Mapping[str, Any]]
    completed: bool | None = None
    gold_standard: bool = False
    after_retirement: bool = False


KEY_FIELD = "#alservice_key"
"""Hidden metadata field of the deterministic key; ``#`` keeps it off every page that volunteers see."""


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
