"""A campaign's ledger against Zooniverse, for people: compare, repair on request, record it, compare again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from alservice.campaigns.cycle_store import EventLog
from alservice.campaigns.records import CampaignRow, Event
from alservice.process import Clock
from alservice.subjects.reconcile import ReconcileReport, ReconcileSubjects, Repairs
from alservice.subjects.subject import Subject
from alservice.zooniverse import Zooniverse


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
        name = campaign.campaign.name
        set_id = self.zooniverse.ensure_subject_set(campaign.campaign.zooniverse.subject_set)
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
