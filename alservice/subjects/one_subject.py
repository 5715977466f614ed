"""One row of the upload ledger and its subject: create, upload the image, fetch it back, link."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from alservice.campaigns.cycle_store import SubjectLedger
from alservice.constants import LINK_BATCH, MAX_IMAGE_BYTES
from alservice.errors import (
    AllowanceExhausted,
    AlserviceError,
    BadImage,
    BadInput,
    DigestMismatch,
    NotFound,
    OutcomeUnknown,
    ZooniverseRefused,
    ZooniverseUnavailable,
)
from alservice.ids import digest_of_bytes
from alservice.objects import digest_of_key
from alservice.states import SubjectState
from alservice.storage import ObjectStore
from alservice.subjects.subject import Subject, SubjectDraft
from alservice.zooniverse import Zooniverse

T = TypeVar("T")

EXISTING: Final = frozenset(
    {
        SubjectState.CREATED,
        SubjectState.VERIFIED,
        SubjectState.LIVE,
        SubjectState.RETIRED,
        SubjectState.WITHDRAWN,
    }
)
"""States whose Zooniverse id counts; a planned or failed row may still carry the id of a deleted subject."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Where one step left a row.

    Parameters
    ----------
    fault
        What Zooniverse failed to do, None when it did what was asked.
    done
        Whether the image was uploaded, or fetched back and found to be the right one.
    """

    row: Subject
    fault: AlserviceError | None = None
    done: bool = False


@dataclass(frozen=True, kw_only=True)
class OneSubject:
    """The steps that workers take, each safe from any thread; the ledger knows before and after."""

    ledger: SubjectLedger
    objects: ObjectStore
    zooniverse: Zooniverse
    media_type: Callable[[bytes], str]

    def send(self, row: Subject, draft: SubjectDraft) -> Outcome:
        """Create the subject of a planned row and upload its image, which only this frame holds.

        Raises
        ------
        AllowanceExhausted, ZooniverseRefused
            Zooniverse takes no more, from us or of this kind; the row is planned again.
        ObjectStoreUnavailable
            The image could not be read; nothing was sent.
        """
        try:
            data = self.objects.get(row.image_key)
            media_type = self.media_type(data)
            if len(data) > MAX_IMAGE_BYTES:
                raise BadImage(f"{len(data)} bytes, and Zooniverse takes {MAX_IMAGE_BYTES}")
        except (BadInput, NotFound, DigestMismatch) as error:
            text = f"image of galaxy {row.galaxy_id}: {error}"
            return Outcome(row=self._mark(row, SubjectState.FAILED, error=text))
        row = self._mark(row, SubjectState.CREATING)
        try:
            created = self.zooniverse.create_subject(draft, media_type)
        except OutcomeUnknown as error:
            return Outcome(row=row, fault=error)
        except ZooniverseUnavailable as error:
            return Outcome(row=self._mark(row, SubjectState.PLANNED, error=str(error)), fault=error)
        except (AllowanceExhausted, ZooniverseRefused) as error:
            self._mark(row, SubjectState.PLANNED, error=str(error))
            raise
        row = self._mark(row, SubjectState.CREATED, zooniverse_ids={row.id: created.zooniverse_id})
        try:
            self.zooniverse.upload_image(created.upload_url, data, media_type)
        except (ZooniverseUnavailable, ZooniverseRefused) as error:
            return Outcome(row=row, fault=error)
        return Outcome(row=row, done=True)

    def check(self, row: Subject, url: str | None, *, uploaded: bool) -> Outcome:
        """Fetch the image of a created row back; delete the subject and plan again unless it is ours.

        Parameters
        ----------
        url
            Address of the image, None to ask for it.
        uploaded
            Whether this run sent it: then its absence is a failure of Zooniverse.
        """
        zooniverse_id = zooniverse_id_of(row)
        try:
            image = self.zooniverse.fetch_image(url or self.zooniverse.image_url(zooniverse_id))
            if image is not None and is_image_of(row, image):
                return Outcome(row=row, done=True)
            self.zooniverse.delete_subject(zooniverse_id)
        except NotFound as error:
            return Outcome(row=self._mark(row, SubjectState.PLANNED, error=str(error)))
        except ZooniverseUnavailable as error:
            return Outcome(row=row, fault=error)
        text = f"subject {zooniverse_id} had {'no' if image is None else 'another'} image and was deleted"
        fault = ZooniverseUnavailable(text, subject=zooniverse_id) if uploaded else None
        return Outcome(row=self._mark(row, SubjectState.PLANNED, error=text), fault=fault)

    def _mark(
        self,
        row: Subject,
        to: SubjectState,
        *,
        zooniverse_ids: Mapping[int, int] | None = None,
        error: str | None = None,
    ) -> Subject:
        return self.ledger.mark([row], to, zooniverse_ids=zooniverse_ids, error=error)[0]


def zooniverse_id_of(row: Subject) -> int:
    """Return the id that a created row must have; `NotFound` names the galaxy of one that has none."""
    if row.zooniverse_id is None:
        raise NotFound(f"galaxy {row.galaxy_id} is {row.state} without a Zooniverse id", galaxy=row.galaxy_id)
    return row.zooniverse_id


def is_image_of(row: Subject, data: bytes) -> bool:
    """Return whether bytes are the image that a row promises."""
    return digest_of_bytes(data) == digest_of_key(row.image_key)


def hundreds(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield items in the portions that one call takes."""
    return (items[first : first + LINK_BATCH] for first in range(0, len(items), LINK_BATCH))


def ensure_linked(zooniverse: Zooniverse, set_id: int, zooniverse_ids: Iterable[int]) -> None:
    """Link in hundreds what a set does not hold yet, and look again.

    Raises
    ------
    ZooniverseUnavailable
        A link was accepted and is not there.
    """
    wanted = frozenset(zooniverse_ids)
    above = min(wanted, default=1) - 1
    absent = sorted(wanted - zooniverse.linked(set_id, above=above))
    for batch in hundreds(absent):
        zooniverse.link(set_id, batch)
    lost = sorted(wanted - zooniverse.linked(set_id, above=above)) if absent else []
    if lost:
        text = f"set {set_id} does not hold {len(lost)} subjects linked to it, such as {lost[0]}"
        raise ZooniverseUnavailable(text, set=set_id, lost=lost[:100])
