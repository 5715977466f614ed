"""Files and quarantine: exports into classifications, versions into meanings, and tallies counted anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from alservice.campaigns.cycle_store import SubjectLedger
from alservice.campaigns.records import CampaignRow
from alservice.constants import EXPORT
from alservice.errors import BadInput
from alservice.process import Clock, Progress
from alservice.science.tree import Tree
from alservice.votes.classification import Classification, RawClassification, Verdict
from alservice.votes.codebooks import Codebook
from alservice.votes.counting import judge_of
from alservice.votes.ingest import ClassificationStore, ExportBatch, Landing, WorkflowStore
from alservice.votes.land_classifications import land, recount
from alservice.workers import one_ahead
from alservice.zooniverse.workflow import Workflow

REPLAY_ROWS: Final = 5_000
"""Rows read anew per transaction: some MB, and short enough a lock for others to wait for."""

RECOUNT_GALAXIES: Final = 500
"""Galaxies counted anew per transaction: some ten thousand rows."""


class ForeignExport(BadInput):
    """A file holds nothing of the campaign's workflow."""

    code = "foreign-export"
    remedy = "Name the export of the campaign's own workflow, or correct zooniverse.workflow_id."


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestReport:
    """What became of the rows of one reading: ``requested = landed + quarantined + excluded``.

    Parameters
    ----------
    landed
        Rows that count.
    quarantined
        Rows whose answers have no meaning yet, and rows of a file that are no classifications.
    excluded
        Rows that do not count, by verdict.
    new
        Rows that were not known before.
    inconsistent
        Galaxies of the campaign whose votes no walks through the tree give.
    warnings
        What is suspicious about the source as a whole; each begins with its name.
    """

    requested: int
    landed: int
    quarantined: int
    excluded: Mapping[str, int]
    new: int
    inconsistent: int = 0
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, verdicts: Counter[Verdict], *, new: int, broken: int, inconsistent: int) -> IngestReport:
        """Return the report of these verdicts and of rows that could not be read at all."""
        others = {str(v): n for v, n in sorted(verdicts.items()) if v not in {Verdict.COUNTED, Verdict.QUARANTINED}}
        return cls(
            requested=verdicts.total() + broken,
            landed=verdicts[Verdict.COUNTED],
            quarantined=verdicts[Verdict.QUARANTINED] + broken,
            excluded=others,
            new=new,
            inconsistent=inconsistent,
        )

    def document(self) -> dict[str, Any]:
        """Return the record as a JSON document."""
        return asdict(self)

    def text(self) -> str:
        """Return the report as people read it."""
        excluded = ", ".join(f"{name} {n}" for name, n in self.excluded.items())
        summary = (
            f"{self.requested} rows: {self.landed} landed, {self.quarantined} quarantined, "
            f"{sum(self.excluded.values())} excluded{f' ({excluded})' if excluded else ''}; {self.new} new"
        )
        odd = [f"{self.inconsistent} galaxies have votes that no walks through the tree give"] * bool(self.inconsistent)
        return "\n".join([summary, *odd, *(f"warning: {warning}" for warning in self.warnings)])


@dataclass(frozen=True, kw_only=True)
class Ingest:
    """Everything that brings classifications in but the API listing."""

    classifications: ClassificationStore
    workflows: WorkflowStore
    ledger: SubjectLedger
    clock: Clock
    progress: Progress

    def codebook(self, campaign: CampaignRow, tree: Tree) -> Codebook:
        """Return the known versions, read with the campaign's rules."""
        return Codebook(campaign.campaign, tree, self.workflows.list(campaign.id))

    def land(
        self,
        landing: Landing,
        campaign: CampaignRow,
        tree: Tree,
        codebook: Codebook,
        page: Iterable[RawClassification],
        *,
        source: str,
    ) -> tuple[int, Counter[Verdict]]:
        """Decode and land raw rows; return how many were new, and their verdicts."""
        rows = self.decode(campaign, codebook, list(page))
        return land(landing, judge_of(campaign.campaign, tree), rows, source=source, received_at=self.clock())

    def decode(
        self, campaign: CampaignRow, codebook: Codebook, raws: Sequence[RawClassification]
    ) -> list[Classification]:
        """Return rows with their galaxies and what their answers meant."""
        galaxy_of = self._galaxies(campaign, raws)
        return [codebook.decode(raw, _galaxy(raw, galaxy_of)) for raw in raws]

    def export(self, campaign: CampaignRow, tree: Tree, batches: Iterable[ExportBatch], *, name: str) -> IngestReport:
        """Ingest an export; each batch lands whole or not at all, and the same file again changes nothing.

        Rows of other workflows of the project are not kept.

        Raises
        ------
        ForeignExport
            No row is of the campaign's workflow, so no classification has landed.
        """
        self.replay(campaign, tree)
        codebook, judge = self.codebook(campaign, tree), judge_of(campaign.campaign, tree)
        foreign: Counter[int] = Counter()
        verdicts: Counter[Verdict] = Counter()
        new = broken = 0
        self.progress.start("read export", None)
        decoded = ((batch, self.decode(campaign, codebook, batch.rows)) for batch in batches)
        for batch, rows in one_ahead(decoded):
            with self.classifications.landing(campaign.id) as landing:
                landing.quarantine(batch.faults, source=name, received_at=self.clock())
                landed = land(landing, judge, rows, source=EXPORT, received_at=self.clock())
            foreign.update(batch.foreign)
            broken += len(batch.faults)
            new += landed[0]
            verdicts += landed[1]
            self.progress.advance(len(batch.rows) + len(batch.faults) + sum(batch.foreign.values()))
        self.progress.finish()
        if foreign and not verdicts:
            raise _foreign(campaign, name, f"{foreign.total()} rows", foreign)
        verdicts[Verdict.WRONG_WORKFLOW] += foreign.total()
        inconsistent = len(self.classifications.tally_faults(campaign.id))
        return IngestReport.of(+verdicts, new=new, broken=broken, inconsistent=inconsistent)

    def learn(
        self, campaign: CampaignRow, tree: Tree, workflows: Sequence[Workflow], *, source: str
    ) -> tuple[int, int]:
        """Store workflow versions and read what waited for them; return new versions and rows set free.

        Raises
        ------
        ForeignExport
            No version is of the campaign's workflow, so none is stored.
        """
        given = Counter(workflow.workflow_id for workflow in workflows)
        if not given.keys() & campaign.campaign.zooniverse.workflow_ids:
            raise _foreign(campaign, source, f"{given.total()} versions", given)
        new = self.workflows.save(campaign.id, workflows, source=source)
        return new, self.replay(campaign, tree)

    def replay(self, campaign: CampaignRow, tree: Tree) -> int:
        """Read rows again that had no meaning or no galaxy; return how many have one now."""
        codebook = self.codebook(campaign, tree)
        judge = judge_of(campaign.campaign, tree)
        freed = after = 0
        while True:
            with self.classifications.landing(campaign.id) as landing:
                waiting = landing.waiting(after_id=after, limit=REPLAY_ROWS)
                if not waiting:
                    return freed
                after = waiting[-1].raw.classification_id
                galaxy_of = self._galaxies(campaign, [row.raw for row in waiting])
                changed = [
                    again for row in waiting if (again := _anew(codebook, row, _galaxy(row.raw, galaxy_of))) != row
                ]
                landing.save_readings(changed)
                landing.save_verdicts({r.raw.classification_id: _UNPLACED for r in changed if r.galaxy_id is None})
                recount(landing, judge, sorted({row.galaxy_id for row in changed if row.galaxy_id is not None}))
            freed += sum(row.fault is None and row.galaxy_id is not None for row in changed)

    def recount(self, campaign: CampaignRow, tree: Tree) -> int:
        """Read, judge and count every galaxy anew under the rules of now; return how many galaxies."""
        codebook = self.codebook(campaign, tree)
        judge = judge_of(campaign.campaign, tree)
        n, after = 0, ""
        while galaxy_ids := self.classifications.galaxies(campaign.id, after=after, limit=RECOUNT_GALAXIES):
            after = galaxy_ids[-1]
            with self.classifications.landing(campaign.id) as landing:
                old = [row for rows in landing.rows_of(galaxy_ids).values() for row in rows]
                again = [_anew(codebook, row, row.galaxy_id) for row in old]
                # What was read stays read: a rule taken away takes no vote back.
                landing.save_readings([n for n, o in zip(again, old, strict=True) if n != o and n.fault is None])
                recount(landing, judge, galaxy_ids)
            n += len(galaxy_ids)
        return n

    def _galaxies(self, campaign: CampaignRow, raws: Iterable[RawClassification]) -> Mapping[int, str]:
        subjects = sorted({raw.zooniverse_subject_id for raw in raws if raw.zooniverse_subject_id is not None})
        return self.ledger.galaxies_of(campaign.id, subjects)


def _foreign(campaign: CampaignRow, name: str, what: str, found: Counter[int]) -> ForeignExport:
    named = ", ".join(str(workflow_id) for workflow_id, _ in found.most_common(5))
    wanted = ", ".join(map(str, sorted(campaign.campaign.zooniverse.workflow_ids)))
    return ForeignExport(f"{name}: {what} of workflow {named}, none of workflow {wanted}", workflow=wanted)


def _anew(codebook: Codebook, row: Classification, galaxy_id: str | None) -> Classification:
    return codebook.decode(row.raw, galaxy_id)._replace(kept=row.kept)


def _galaxy(raw: RawClassification, galaxy_of: Mapping[int, str]) -> str | None:
    return None if raw.zooniverse_subject_id is None else galaxy_of.get(raw.zooniverse_subject_id)


_UNPLACED: Final = Verdict.UNKNOWN_SUBJECT
