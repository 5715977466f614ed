"""One wave of a batch, from intent to live: create, verify, link, and settle whatever was left in doubt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from alservice.circuit import Circuit
from alservice.constants import LINK_BATCH
from alservice.errors import ZooniverseUnavailable
from alservice.states import SubjectState
from alservice.subjects.one_subject import EXISTING, OneSubject, Outcome, ensure_linked, zooniverse_id_of
from alservice.subjects.publishing import Publishing, PublishReport
from alservice.subjects.subject import Subject, SubjectDraft
from alservice.workers import Workers


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
