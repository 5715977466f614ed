"""One wave of a batch, from intent to live: create, verify, link, and settle whatever was left in doubt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import chain
from typing import Final, TypeVar

from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle
from alservice.constants import LINK_BATCH, MAX_IMAGE_BYTES, ZOONIVERSE_ALLOWANCE
from alservice.errors import (
    AllowanceExhausted,
    AlserviceError,
    BadConfig,
    BadImage,
    BadInput,
    DigestMismatch,
    NotFound,
    OutcomeUnknown,
    ZooniverseRefused,
    ZooniverseUnavailable,
)
from alservice.ids import digest_of_bytes, digest_of_key
from alservice.progress import Progress
from alservice.retry import Circuit, Workers
from alservice.states import SubjectState
from alservice.storage import ObjectStore
from alservice.subjects.subject import Subject, SubjectLedger, VotesAsked
from alservice.zooniverse import Zooniverse
from alservice.zooniverse.records import SubjectDraft

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


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishPolicy:
    """How hard to try, and when to stop.

    Parameters
    ----------
    connections
        Connections to Zooniverse at a time, the linker's included; 2 to 24.
    creates
        Creates per galaxy and run before it is given up as failed.
    settle_s
        Wait (seconds) after failures, before a listing is believed about a create in doubt: its request may still
        be running.
    failures
        Failures in a row after which nothing more is sent. Above `connections`, so that one restarted proxy,
        which fails every call in flight, does not end a run.
    wave
        Galaxies taken from intent to live before the next are looked at, so that memory does not grow with the batch.
    allowance
        Creates this campaign may ever send, those of deleted subjects included; None leaves it to Zooniverse.
    """

    connections: int = 24
    creates: int = 3
    settle_s: float = 60.0
    failures: int = 30
    wave: int = 1_000
    allowance: int | None = ZOONIVERSE_ALLOWANCE

    def __post_init__(self) -> None:
        too_small = min(self.creates, self.failures, self.wave) < 1 or self.settle_s < 0
        if too_small or not 2 <= self.connections <= 24:
            raise BadConfig(f"not a publish policy: {self}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishReport:
    """What became of the drafts; `requested` = `live` + `failed`.

    Parameters
    ----------
    live
        Linked to the set, in this run or an earlier one; retired ones count, volunteers have seen them.
    failed
        Not shown to anyone; each row's error says why.
    sent
        Creates sent by this run.
    adopted
        Rows whose subject was found by its key after an outcome in doubt.
    surplus_removed
        Zooniverse ids of duplicates that were deleted.
    """

    requested: int
    live: int
    failed: int
    sent: int
    adopted: int
    surplus_removed: tuple[int, ...]


def total(reports: Sequence[PublishReport]) -> PublishReport:
    """Return the report of several waves or tiers together."""
    return PublishReport(
        requested=sum(r.requested for r in reports),
        live=sum(r.live for r in reports),
        failed=sum(r.failed for r in reports),
        sent=sum(r.sent for r in reports),
        adopted=sum(r.adopted for r in reports),
        surplus_removed=tuple(chain.from_iterable(r.surplus_removed for r in reports)),
    )


@dataclass(frozen=True)
class Publishing:
    """What a batch is published with.

    Parameters
    ----------
    media_type
        Tells the media type of image bytes, or raises `BadImage`.
    sleep
        Waits some seconds.
    """

    ledger: SubjectLedger
    objects: ObjectStore
    zooniverse: Zooniverse
    _: KW_ONLY
    policy: PublishPolicy
    media_type: Callable[[bytes], str]
    sleep: Callable[[float], None]
    progress: Progress

    def spend(self, campaign_id: int, needed: int) -> None:
        """Raise `AllowanceExhausted` if Zooniverse does not take so many creates more."""
        allowance = self.policy.allowance
        if allowance is None:
            return
        used = self.ledger.creates(campaign_id)
        if used + needed > allowance:
            text = f"{needed} uploads are due, and {used} of {allowance} are used"
            raise AllowanceExhausted(text, due=needed, used=used, allowance=allowance)


@dataclass(frozen=True)
class PublishSubjects(Publishing):
    """Upload a batch; calling it again with the same drafts finishes what is unfinished."""

    def publish(
        self, cycle: Cycle, campaign: Campaign, drafts: Sequence[SubjectDraft], n_votes: VotesAsked
    ) -> PublishReport:
        """Make every draft a live subject, or record why it cannot be one.

        Raises
        ------
        ZooniverseUnavailable, ObjectStoreUnavailable
            The outside failed too often; rows keep their place and the same call continues.
        AllowanceExhausted, ZooniverseRefused
            A person must act first; then the same call continues.
        """
        self.ledger.intend(cycle, drafts, n_votes=n_votes)  # all are intended before the first is sent
        self._check_allowance(cycle.campaign_id, drafts)
        set_id = self.zooniverse.ensure_subject_set(campaign.zooniverse.subject_set)
        reports = []
        self.progress.start("publish subjects", len(drafts))
        try:
            with Workers(self.policy.connections - 1) as workers:
                for first in range(0, len(drafts), self.policy.wave):
                    wave = drafts[first : first + self.policy.wave]
                    run = Wave(self, wave, self.ledger.plan(cycle, wave, n_votes=n_votes), workers)
                    run.create(cycle.campaign_id, set_id)
                    run.confirm(set_id)
                    reports.append(run.report())
        finally:
            self.progress.finish()
        return total(reports)

    def _check_allowance(self, campaign_id: int, drafts: Sequence[SubjectDraft]) -> None:
        """Refuse a batch that cannot be finished before its first create is sent."""
        due = {draft.galaxy_id for draft in drafts}
        due -= {row.galaxy_id for row in self.ledger.of_campaign(campaign_id) if row.state in EXISTING}
        self.spend(campaign_id, len(due))


class Wave:
    """Drafts on their way, and where the row of each stands."""

    def __init__(
        self,
        parts: Publishing,
        drafts: Sequence[SubjectDraft],
        rows: Sequence[Subject],
        workers: Workers,
    ) -> None:
        self._ledger, self._zooniverse, self._policy = parts.ledger, parts.zooniverse, parts.policy
        self._sleep, self._progress, self._workers = parts.sleep, parts.progress, workers
        self._spend = parts.spend
        self._one = OneSubject(
            ledger=parts.ledger,
            objects=parts.objects,
            zooniverse=parts.zooniverse,
            media_type=parts.media_type,
        )
        self._drafts = {draft.galaxy_id: draft for draft in drafts}
        self._rows = {row.id: row for row in rows}
        self._attempts_before = {row.id: row.attempts for row in rows}
        self._uploaded: set[int] = set()
        self._circuit = Circuit(parts.policy.failures)
        self._in_trouble = False
        self._adopted = 0
        self._removed: list[int] = []

    def create(self, campaign_id: int, set_id: int) -> None:
        """Take every row to verified and linked, as far as it goes."""
        self._move(self._in(SubjectState.FAILED), SubjectState.PLANNED)
        self._settle(campaign_id, set_id)
        while planned := [row for row in self._in(SubjectState.PLANNED) if self._sent(row) < self._policy.creates]:
            self._spend(campaign_id, len(planned))
            self._send(planned)
            self._settle(campaign_id, set_id)

    def confirm(self, set_id: int) -> None:
        """Mark live what the set is seen to hold, and failed what was sent often enough.

        Raises
        ------
        ZooniverseUnavailable
            Not one galaxy came through, so the fault is not theirs; or some images could not be fetched back. The
            rows wait for another run.
        """
        given_up = self._in(SubjectState.PLANNED)
        if given_up and not self._in(SubjectState.VERIFIED, SubjectState.LIVE):
            text = f"none of {len(given_up)} galaxies came through, the last: {given_up[-1].error}"
            raise ZooniverseUnavailable(text, planned=len(given_up))
        for row in given_up:
            self._move([row], SubjectState.FAILED, error=row.error)
        if verified := self._in(SubjectState.VERIFIED):
            ensure_linked(self._zooniverse, set_id, map(zooniverse_id_of, verified))
            self._move(verified, SubjectState.LIVE)
        if unverified := self._in(SubjectState.CREATED):
            n = len(unverified)
            raise ZooniverseUnavailable(f"{n} images could not be fetched back", unverified=n)

    def report(self) -> PublishReport:
        """Count what became of the rows."""
        live = len(self._in(SubjectState.LIVE, SubjectState.RETIRED))
        return PublishReport(
            requested=len(self._rows),
            live=live,
            failed=len(self._rows) - live,
            sent=sum(map(self._sent, self._rows.values())),
            adopted=self._adopted,
            surplus_removed=tuple(self._removed),
        )

    def _send(self, planned: Sequence[Subject]) -> None:
        waiting = iter(planned)
        for row in waiting:
            state = self._note_upload(self._send_one(row)).state
            if state is SubjectState.CREATING:
                return  # in doubt: settle before another id is drawn
            if state is SubjectState.CREATED:
                break
        for outcome in self._workers.each(self._send_one, waiting):
            self._note_upload(outcome)

    def _send_one(self, row: Subject) -> Outcome:
        self._circuit.check()
        return self._judged(self._one.send(row, self._drafts[row.galaxy_id]))

    def _note_upload(self, outcome: Outcome) -> Subject:
        if outcome.done:
            self._uploaded.add(outcome.row.id)
        else:
            self._uploaded.discard(outcome.row.id)
        return self._note(outcome)

    def _settle(self, campaign_id: int, set_id: int) -> None:
        """Leave no row in doubt, none created without its image, and no duplicate in sight."""
        if self._in_trouble or self._in(SubjectState.CREATING):
            self._sleep(self._policy.settle_s)
            self._in_trouble = False
        if not self._in(SubjectState.CREATING, SubjectState.CREATED):
            return
        seen = self._look(campaign_id)
        self._adopt(seen)
        self._remove_surplus(seen)
        self._verify(set_id, {identity: url for found in seen.values() for identity, url in found.items()})

    def _look(self, campaign_id: int) -> Mapping[int, Mapping[int, str]]:
        """Return ledger id to Zooniverse id to image address, of all subjects that carry keys of this run."""
        recorded = self._in(SubjectState.CREATED, SubjectState.VERIFIED)
        above = min(map(zooniverse_id_of, recorded)) - 1 if recorded else self._ledger.watermark(campaign_id)
        ours = {row.key: row.id for row in self._rows.values()}
        seen: defaultdict[int, dict[int, str]] = defaultdict(dict)
        for subject in self._zooniverse.subjects_above(above):
            if subject.key in ours:
                seen[ours[subject.key]][subject.zooniverse_id] = subject.image_url
        return seen

    def _adopt(self, seen: Mapping[int, Mapping[int, str]]) -> None:
        doubtful = self._in(SubjectState.CREATING)
        found = [row for row in doubtful if row.id in seen]
        ids = {row.id: min(seen[row.id]) for row in found}
        self._move(found, SubjectState.CREATED, zooniverse_ids=ids)
        self._adopted += len(found)
        absent = [row for row in doubtful if row.id not in seen]
        self._move(absent, SubjectState.PLANNED, error="a create got no answer, and no subject has its key")

    def _remove_surplus(self, seen: Mapping[int, Mapping[int, str]]) -> None:
        for ledger_id, found in seen.items():
            row = self._rows[ledger_id]
            kept = {row.zooniverse_id} if row.state in EXISTING else set()
            for zooniverse_id in sorted(found.keys() - kept):
                self._zooniverse.delete_subject(zooniverse_id)
                self._removed.append(zooniverse_id)

    def _verify(self, set_id: int, urls: Mapping[int, str]) -> None:
        """Fetch every image back; link what is verified as soon as a hundred are."""
        verified: list[Subject] = []
        created = self._in(SubjectState.CREATED)
        for outcome in self._workers.each(lambda row: self._check_one(row, urls), created):
            self._note(outcome)
            if outcome.done:
                verified.append(outcome.row)
                self._progress.advance()
            if len(verified) == LINK_BATCH:
                self._link(set_id, verified)
                verified = []
        self._link(set_id, verified)

    def _check_one(self, row: Subject, urls: Mapping[int, str]) -> Outcome:
        self._circuit.check()
        url = urls.get(zooniverse_id_of(row))
        return self._judged(self._one.check(row, url, uploaded=row.id in self._uploaded))

    def _judged(self, outcome: Outcome) -> Outcome:
        """Count a success or a failure of Zooniverse where it happened; another outcome says nothing of it."""
        if outcome.fault is not None or outcome.done:
            self._circuit.note(outcome.fault)
        return outcome

    def _link(self, set_id: int, verified: Sequence[Subject]) -> None:
        if verified:
            self._move(verified, SubjectState.VERIFIED)
            self._zooniverse.link(set_id, [zooniverse_id_of(row) for row in verified])

    def _sent(self, row: Subject) -> int:
        return row.attempts - self._attempts_before[row.id]

    def _note(self, outcome: Outcome) -> Subject:
        """Note where a row stands now; stop after too many failures of Zooniverse in a row."""
        self._rows[outcome.row.id] = outcome.row
        if outcome.fault is not None:
            self._in_trouble = True
            self._circuit.check()
        return outcome.row

    def _in(self, *states: SubjectState) -> list[Subject]:
        return [row for row in self._rows.values() if row.state in states]

    def _move(
        self,
        rows: Sequence[Subject],
        to: SubjectState,
        *,
        zooniverse_ids: Mapping[int, int] | None = None,
        error: str | None = None,
    ) -> None:
        if rows:
            moved = self._ledger.mark(rows, to, zooniverse_ids=zooniverse_ids, error=error)
            self._rows.update((row.id, row) for row in moved)
