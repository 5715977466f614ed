"""The upload ledger against Zooniverse: what differs, and how it is made right again.

Zooniverse is read first and the ledger last. The ledger knows of every create before it is sent, so whatever
a listing shows, a row read later accounts for: a publisher at work in between is never taken for a fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Final

from alservice.campaigns.store import CampaignRow, Event, EventLog
from alservice.errors import NotFound
from alservice.progress import Clock
from alservice.retry import Workers
from alservice.states import SubjectState
from alservice.subjects.publish import EXISTING, ensure_linked, is_image_of, zooniverse_id_of
from alservice.subjects.subject import Subject, SubjectLedger
from alservice.zooniverse import Zooniverse
from alservice.zooniverse.records import RemoteSubject


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconciled:
    """What was found, what was done about it, and what is left.

    Parameters
    ----------
    repairs
        None when no repair was asked for.
    left
        The comparison after the repairs; `found` itself without any.
    """

    campaign: str
    found: ReconcileReport
    repairs: Repairs | None
    left: ReconcileReport

    @property
    def is_clean(self) -> bool:
        """Whether nothing differs any more."""
        return self.left.is_clean

    def document(self) -> dict[str, Any]:
        """Return it as one JSON document."""
        return {
            "campaign": self.campaign,
            "subject_set": self.found.set_id,
            "rows": self.found.rows,
            "clean": self.is_clean,
            "found": differences(self.found),
            "left": differences(self.left),
            "repairs": None if self.repairs is None else _repairs(self.repairs),
        }

    def text(self) -> str:
        """Return it for a terminal: a line per kind, with counts and names."""
        lines = [f"campaign {self.campaign}: {self.found.rows} rows against subject set {self.found.set_id}"]
        lines += _lines(self.found)
        if self.repairs is not None:
            moved = "".join(f", {n} rows {state}" for state, n in self.repairs.moved.items())
            lines.append(f"repaired: {len(self.repairs.removed)} removed, {self.repairs.linked} linked{moved}; left:")
            lines += _lines(self.left)
        return "\n".join(lines)


@dataclass(frozen=True)
class ReconcileCampaign:
    """Compare and repair one campaign; a repair that changed something leaves an event."""

    zooniverse: Zooniverse
    subjects: ReconcileSubjects
    events: EventLog
    clock: Clock
    _: KW_ONLY
    actor: str

    def run(self, campaign: CampaignRow, *, repair: bool) -> Reconciled:
        """Compare ledger and Zooniverse; set right what a machine may when asked to."""
        name = campaign.settings.name
        set_id = self.zooniverse.ensure_subject_set(campaign.settings.zooniverse.subject_set)
        found = self.subjects.report(campaign.id, set_id)
        if not repair:
            return Reconciled(campaign=name, found=found, repairs=None, left=found)
        repairs = self.subjects.repair(found)
        if repairs.removed or repairs.linked or repairs.moved:
            self._record(campaign, repairs)
        return Reconciled(campaign=name, found=found, repairs=repairs, left=self.subjects.report(campaign.id, set_id))

    def _record(self, campaign: CampaignRow, repairs: Repairs) -> None:
        self.events.record(
            Event(
                campaign_id=campaign.id,
                cycle_id=None,
                at=self.clock(),
                actor=self.actor,
                kind="subjects.repaired",
                detail=_repairs(repairs),
            )
        )


def differences(report: ReconcileReport) -> Mapping[str, tuple[str | int, ...]]:
    """Return what differs by kind: galaxies where the ledger has a row, Zooniverse ids where it has none."""
    return {
        "missing": _galaxies(report.missing),
        "surplus": report.surplus,
        "unlinked": _galaxies(report.unlinked),
        "imageless": _galaxies(report.imageless),
        "wrong_set": report.wrong_set,
        "retired_early": _galaxies(report.retired_early),
        "retired_late": _galaxies(report.retired_late),
        "unsettled": _galaxies(report.unsettled),
    }


def _galaxies(rows: tuple[Subject, ...]) -> tuple[str, ...]:
    return tuple(row.galaxy_id for row in rows)


def _lines(report: ReconcileReport) -> list[str]:
    return [
        f"  {kind.replace('_', ' '):<13} {len(names):>6}  {', '.join(map(str, names))}".rstrip()
        for kind, names in differences(report).items()
    ]


def _repairs(repairs: Repairs) -> dict[str, Any]:
    return {"removed": list(repairs.removed), "linked": repairs.linked, "moved": dict(repairs.moved)}


_SHOWN: Final = (SubjectState.VERIFIED, SubjectState.LIVE)
_UNSETTLED: Final = (SubjectState.CREATING, SubjectState.CREATED)
_GONE: Final = {
    SubjectState.VERIFIED: SubjectState.FAILED,
    SubjectState.LIVE: SubjectState.WITHDRAWN,
    SubjectState.RETIRED: SubjectState.WITHDRAWN,
}
"""What a row becomes when its subject is gone; a failed one is created when it is next published."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReconcileReport:
    """How ledger and Zooniverse differ.

    Parameters
    ----------
    rows
        Rows of the campaign.
    missing
        Rows whose subject does not exist.
    surplus
        Zooniverse ids that carry the key of a row and are not the row's: duplicates and late creates.
    unlinked
        Rows whose verified subject is not in the set.
    imageless
        Rows whose subject shows no image, or not the one that was sent.
    wrong_set
        Zooniverse ids in the set that no row wants there; left to a person.
    retired_early, retired_late
        Rows that Zooniverse has retired and the ledger has not, and the other way round; the next ingest settles them.
    unsettled
        Rows with a create or an image in doubt: a publisher is at work, or the next one settles them.
    """

    campaign_id: int
    set_id: int
    rows: int
    missing: tuple[Subject, ...]
    surplus: tuple[int, ...]
    unlinked: tuple[Subject, ...]
    imageless: tuple[Subject, ...]
    wrong_set: tuple[int, ...]
    retired_early: tuple[Subject, ...]
    retired_late: tuple[Subject, ...]
    unsettled: tuple[Subject, ...]

    @property
    def is_clean(self) -> bool:
        """Whether nothing differs."""
        theirs = self.missing, self.surplus, self.unlinked, self.imageless, self.wrong_set
        return not any((*theirs, self.retired_early, self.retired_late, self.unsettled))


@dataclass(frozen=True, kw_only=True, slots=True)
class Repairs:
    """What a repair did.

    Parameters
    ----------
    removed
        Zooniverse ids of the subjects that were deleted.
    linked
        Subjects that were linked.
    moved
        Rows per state they were moved to.
    """

    removed: tuple[int, ...]
    linked: int
    moved: Mapping[SubjectState, int]


@dataclass(frozen=True)
class ReconcileSubjects:
    """Compare and repair; safe at any time, also while a publisher is at work.

    Parameters
    ----------
    connections
        Connections to Zooniverse at a time; at least 2.
    uploads
        Whether the subjects are the campaign's own uploads. Those of a pool are the survey's: their images are not
        compared, and none is ever deleted.
    retires
        Whether subjects retire by our own tallies; else Panoptes' rule decides, and the ledger does not follow it.
    votes
        Compare only the rows of the tier with so many votes; None for all rows.
    """

    ledger: SubjectLedger
    zooniverse: Zooniverse
    _: KW_ONLY
    connections: int = 24
    uploads: bool = True
    retires: bool = False
    votes: int | None = None

    def report(self, campaign_id: int, set_id: int) -> ReconcileReport:
        """Return every difference; lists the whole project and fetches every image that volunteers see."""
        listed = {s.zooniverse_id: s for s in self.zooniverse.subjects_above(0) if s.key is not None}
        members = self.zooniverse.linked(set_id)
        rows = tuple(row for row in self.ledger.of_campaign(campaign_id) if self.votes in (None, row.n_votes))
        missing = [row for row in rows if row.state in _GONE and self._is_gone(row, listed, members)]
        gone = {row.id for row in missing}
        shown = [row for row in rows if row.state in _SHOWN and row.id not in gone]
        surplus = _surplus(rows, listed.values()) if self.uploads else set()
        wanted = {row.zooniverse_id for row in rows if row.state in (*_SHOWN, SubjectState.RETIRED)}
        early, late = self._retired_otherwise(row for row in rows if row.id not in gone) if self.retires else ((), ())
        return ReconcileReport(
            campaign_id=campaign_id,
            set_id=set_id,
            rows=len(rows),
            missing=tuple(missing),
            surplus=tuple(sorted(surplus)),
            unlinked=tuple(row for row in shown if row.zooniverse_id not in members),
            imageless=self._imageless(shown, listed) if self.uploads else (),
            wrong_set=tuple(sorted(members - wanted - surplus)),
            retired_early=early,
            retired_late=late,
            unsettled=tuple(row for row in rows if row.state in _UNSETTLED),
        )

    def repair(self, report: ReconcileReport) -> Repairs:
        """Set right what a report found and what still is as it was found.

        Surplus and imageless subjects are deleted, unlinked ones linked. A row without a subject fails, so that
        publishing picks it up, or is withdrawn if volunteers had seen it. A row retired here and not there is live
        again, so that the next ingest retires it.
        """
        now = {row.id: row for row in self.ledger.of_campaign(report.campaign_id)}
        kept = {row.zooniverse_id for row in now.values() if row.state in EXISTING}
        missing, imageless, unlinked, late = (
            [row for row in rows if _place(now[row.id]) == _place(row)]
            for rows in (report.missing, report.imageless, report.unlinked, report.retired_late)
        )
        removed = [identity for identity in report.surplus if identity not in kept]
        removed += map(zooniverse_id_of, imageless)
        for identity in removed:
            self.zooniverse.delete_subject(identity)
        moved = self._drop(missing, "subject is gone from Zooniverse")
        moved += self._drop(imageless, "image was not there; subject deleted")
        deleted = {row.id for row in imageless}
        linkable = [row for row in unlinked if row.id not in deleted]
        if linkable:
            ensure_linked(self.zooniverse, report.set_id, map(zooniverse_id_of, linkable))
            verified = [row for row in linkable if row.state is SubjectState.VERIFIED]
            self.ledger.mark(verified, SubjectState.LIVE)
            moved[SubjectState.LIVE] += len(verified)
        self.ledger.mark(late, SubjectState.LIVE)
        moved[SubjectState.LIVE] += len(late)
        return Repairs(removed=tuple(removed), linked=len(linkable), moved=+moved)

    def _is_gone(self, row: Subject, listed: Mapping[int, RemoteSubject], members: frozenset[int]) -> bool:
        if row.zooniverse_id in listed or row.zooniverse_id in members:
            return False
        try:
            self.zooniverse.image_url(zooniverse_id_of(row))
        except NotFound:
            return True
        return False

    def _retired_otherwise(self, rows: Iterable[Subject]) -> tuple[tuple[Subject, ...], tuple[Subject, ...]]:
        ours = [row for row in rows if row.state in (SubjectState.LIVE, SubjectState.RETIRED)]
        statuses = self.zooniverse.statuses([zooniverse_id_of(row) for row in ours])
        retired = {identity for identity, status in statuses.items() if status.is_retired}
        early = (row for row in ours if row.state is SubjectState.LIVE and row.zooniverse_id in retired)
        late = (row for row in ours if row.state is SubjectState.RETIRED and row.zooniverse_id not in retired)
        return tuple(early), tuple(late)

    def _imageless(self, rows: Iterable[Subject], listed: Mapping[int, RemoteSubject]) -> tuple[Subject, ...]:
        def looked_at(row: Subject) -> tuple[Subject, bool]:
            identity = zooniverse_id_of(row)
            url = listed[identity].image_url if identity in listed else self.zooniverse.image_url(identity)
            image = self.zooniverse.fetch_image(url)
            return row, image is not None and is_image_of(row, image)

        with Workers(self.connections - 1) as workers:
            bad = [row for row, good in workers.each(looked_at, rows) if not good]
        return tuple(sorted(bad, key=lambda row: row.galaxy_id))

    def _drop(self, rows: Iterable[Subject], why: str) -> Counter[SubjectState]:
        moved: Counter[SubjectState] = Counter()
        for row in rows:
            self.ledger.mark([row], _GONE[row.state], error=why)
            moved[_GONE[row.state]] += 1
        return moved


def _surplus(rows: Iterable[Subject], listed: Iterable[RemoteSubject]) -> set[int]:
    by_key = {row.key: row for row in rows}
    return {s.zooniverse_id for s in listed if s.key in by_key and _is_surplus(s, by_key[s.key])}


def _is_surplus(subject: RemoteSubject, row: Subject) -> bool:
    """Return whether a subject with the key of a row is not the row's; a row in doubt may yet claim it."""
    if row.state is SubjectState.CREATING:
        return False
    return row.state not in EXISTING or row.zooniverse_id != subject.zooniverse_id


def _place(row: Subject) -> tuple[SubjectState, int | None]:
    return row.state, row.zooniverse_id
