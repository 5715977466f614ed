"""Classifications on their way in: what lands together, and what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from alservice.votes.classification import Classification, RawClassification, Verdict
from alservice.votes.counting import GalaxyTally
from alservice.votes.exports_core import ExportReceipt
from alservice.votes.quarantine import Quarantine, RowFault
from alservice.votes.reductions_ports import TallySource
from alservice.votes.weights import Sitting
from alservice.zooniverse.workflow import Workflow


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportBatch:
    """Some rows of an export file.

    Parameters
    ----------
    rows
        Classifications of the campaign's workflow.
    faults
        Rows that cannot be read.
    foreign
        Rows of other workflows, by workflow id.
    """

    rows: Sequence[RawClassification]
    faults: Sequence[RowFault]
    foreign: Mapping[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Inserted:
    """What became of rows that were inserted; those in neither were known and the same.

    Parameters
    ----------
    new
        Ids of the rows that were not there.
    corrected
        Id to galaxy of the rows that were there and changed.
    """

    new: frozenset[int]
    corrected: Mapping[int, str | None]


class Landing(Protocol):
    """One transaction of ingest: rows, verdicts, tallies and the cursor land together or not at all."""

    def insert(
        self,
        rows: Sequence[Classification],
        *,
        source: str,
        received_at: datetime,
        verdicts: Mapping[int, Verdict],
    ) -> Inserted:
        """Insert distinct rows, with the verdicts that are known, or update what a source may still change.

        Sources agree on one row: the API knows the answers as given, an export knows what the API hides.
        """

    def rows_of(self, galaxy_ids: Sequence[str]) -> Mapping[str, Sequence[Classification]]:
        """Return every row of these galaxies, landed earlier or in this transaction."""

    def tallies_of(self, galaxy_ids: Sequence[str]) -> Mapping[str, GalaxyTally]:
        """Return the tallies of these galaxies, where there are any."""

    def verdicts_of(self, classification_ids: Sequence[int]) -> Mapping[int, Verdict]:
        """Return the verdicts of rows that landed earlier."""

    def save_verdicts(self, verdicts: Mapping[int, Verdict]) -> None:
        """Set verdicts by classification id."""

    def waiting(self, *, after_id: int, limit: int) -> Sequence[Classification]:
        """Return rows that could not be read, or whose subject is ours by now, by id."""

    def save_readings(self, rows: Sequence[Classification]) -> None:
        """Replace galaxy and answers of rows that are there, read anew from what their source gave."""

    def save_tallies(self, tallies: Mapping[str, GalaxyTally]) -> None:
        """Replace the tallies of these galaxies."""

    def save_faults(self, galaxy_ids: Sequence[str], faults: Mapping[str, Sequence[int]]) -> None:
        """Replace what is wrong with the tallies of these galaxies: the questions at fault, by place in the tree."""

    def mark_gold(self, classification_ids: Sequence[int]) -> Sequence[str]:
        """Mark rows as gold standard; return the galaxies of those that were not marked."""

    def identified(self, *, user_hash: str | None, before: datetime | None, limit: int) -> Mapping[int, str | None]:
        """Return id to galaxy of the first rows that hold a user hash or session: of one user, or older than a time."""

    def forget(self, classification_ids: Sequence[int]) -> None:
        """Take user hash and session from rows.

        Verdicts of their galaxies' rows that rest on who sat there are kept as decided: a repeat of what is
        forgotten stays one.
        """

    def quarantine(self, faults: Sequence[RowFault], *, source: str, received_at: datetime) -> None:
        """Record rows of a file that cannot be classifications; the same row again is one fault."""

    def move_cursor(self, source: str, last_id: int) -> None:
        """Move the cursor forward; it never goes back."""


class ClassificationStore(TallySource, Protocol):
    """Raw classifications, verdicts and tallies."""

    def landing(self, campaign_id: int) -> AbstractContextManager[Landing]:
        """Open one transaction."""

    def cursor(self, campaign_id: int, source: str) -> int:
        """Return the largest classification id read from a source, 0 at first."""

    def counted_per_day(self, campaign_id: int, *, since: datetime, until: datetime) -> Mapping[date, int]:
        """Return counted classifications by the day (UTC) they were made, from a moment up to another."""

    def by_verdict(self, campaign_id: int) -> Mapping[str, int]:
        """Return rows per verdict."""

    def galaxies(self, campaign_id: int, *, after: str, limit: int) -> Sequence[str]:
        """Return ids of galaxies that have classifications, in order."""

    def sittings(self, campaign_id: int) -> Iterator[Sitting]:
        """Yield every counted classification with who gave it.

        A volunteer without an account is known by the session, inside one source; without that, each
        classification is one of its own.
        """

    def tally_faults(self, campaign_id: int) -> Mapping[str, Sequence[int]]:
        """Return galaxies whose votes no walks through the tree give: the questions at fault, by place in it."""

    def quarantined(self, campaign_id: int, *, limit: int) -> Quarantine:
        """Return what waits in quarantine: counts by reason, and the first rows."""


class ExportStore(Protocol):
    """Export files that were read to their end."""

    def list(self, campaign_id: int) -> Sequence[ExportReceipt]:
        """Return the exports read before, oldest first."""

    def newer(self, campaign_id: int, classification_id: int) -> int:
        """Return how many classifications with higher ids are known."""

    def save(self, campaign_id: int, export: ExportReceipt) -> None:
        """Remember an export; the same bytes again are the same export."""


class WorkflowStore(Protocol):
    """Definitions of a campaign's workflow, one per version; a version never changes."""

    def save(self, campaign_id: int, workflows: Sequence[Workflow], *, source: str) -> int:
        """Store versions; return how many were new. Raises `Conflict` for a known version with other tasks."""

    def list(self, campaign_id: int) -> Sequence[Workflow]:
        """Return all known versions."""
