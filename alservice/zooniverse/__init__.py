"""Zooniverse as services need it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from alservice.zooniverse.accounts import Account, Rights
from alservice.zooniverse.records import CreatedSubject, RawClassification, RemoteSubject, SubjectDraft, SubjectStatus
from alservice.zooniverse.workflow import RetirementRule, Workflow

__all__ = [
    "Account",
    "RawClassification",
    "RetirementRule",
    "SubjectDraft",
    "Workflow",
    "Zooniverse",
]


class Zooniverse(Protocol):
    """Zooniverse as the publisher and the ingester need it; every call has a timeout.

    Errors: `ZooniverseUnavailable` when nothing changed and a retry may help, `OutcomeUnknown` when a create may or
    may not have happened, `ZooniverseRefused` when a person must act, `AllowanceExhausted` when no upload is left.
    An empty answer where content is due is a refusal, never success.
    """

    def account(self) -> Account:
        """Log in and return the account, with the uploads it has left; raises what is wrong."""

    def rights(self, user_id: int) -> Rights:
        """Return what an account is to the campaign's project, and whose the campaign's workflow is."""

    def workflow(self) -> Workflow:
        """Return the campaign's workflow as it is now."""

    def retirement(self) -> RetirementRule:
        """Return the workflow's own rule."""

    def define_workflow(self, tasks: Mapping[str, Any], first_task: str, rule: RetirementRule) -> Workflow:
        """Give an empty workflow its tasks and its rule; raises `ZooniverseRefused` when it has other tasks already."""

    def ensure_subject_set(self, name: str) -> int:
        """Return the id of the named set, created and linked to the workflow if need be."""

    def find_subject_set(self, name: str) -> int:
        """Return the id of the named set as it is; raises `NotFound`."""

    def create_subject(self, draft: SubjectDraft, media_type: str) -> CreatedSubject:
        """Create one subject, sent exactly once."""

    def upload_image(self, upload_url: str, data: bytes, media_type: str) -> None:
        """PUT the image; repeating it is harmless."""

    def image_url(self, zooniverse_id: int) -> str:
        """Return the public address of a subject's image."""

    def fetch_image(self, url: str) -> bytes | None:
        """Return the stored image, None when there is none."""

    def subjects_above(self, zooniverse_id: int) -> Iterator[RemoteSubject]:
        """Yield the project's subjects with a higher id, linked or not, from the last page back."""

    def delete_subject(self, zooniverse_id: int) -> None:
        """Remove a surplus subject; absent is fine."""

    def link(self, set_id: int, zooniverse_ids: Sequence[int]) -> None:
        """Link subjects to a set; idempotent, all or nothing; one caller per set at a time."""

    def unlink(self, set_id: int, zooniverse_ids: Sequence[int]) -> None:
        """Take subjects out of a set, their votes stay; absent ones are fine; one caller per set at a time."""

    def linked(self, set_id: int, *, above: int = 0) -> frozenset[int]:
        """Return the ids linked to a set that are higher than `above`; costs what is above, not what is in the set."""

    def survey_ids(self, set_id: int, field: str) -> Iterator[tuple[int, str]]:
        """Yield Zooniverse id and survey id of a set's subjects that have one in a metadata field."""

    def retire(self, zooniverse_ids: Sequence[int], reason: str) -> None:
        """Ask the workflow to show subjects to nobody else; done later, and repeating it changes nothing."""

    def unretire(self, zooniverse_ids: Sequence[int]) -> None:
        """Ask the workflow to show retired subjects again; done later, and repeating it changes nothing."""

    def statuses(self, zooniverse_ids: Sequence[int]) -> Mapping[int, SubjectStatus]:
        """Return what the workflow's counters say by Zooniverse id; a subject it has no row of yet is left out."""

    def classifications(self, last_id: int) -> Iterator[Sequence[RawClassification]]:
        """Yield pages of the project's classifications with higher ids, ascending."""

    def gold_standard(self) -> Iterator[Sequence[int]]:
        """Yield pages of ids of the workflow's gold-standard classifications, which no other listing tells."""
