"""Files and quarantine: exports into classifications, versions into meanings, and tallies counted anew."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from typing import Final

import numpy as np

from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.store import CampaignRow
from alservice.constants import API, EXPORT, INGEST_OVERLAP
from alservice.errors import BadInput
from alservice.progress import Clock, Progress
from alservice.retry import one_ahead
from alservice.science.tree import Tree
from alservice.science.votes import TallySet
from alservice.shapes import FloatArray
from alservice.states import SubjectState
from alservice.subjects.stops import StoppedSubjects
from alservice.subjects.subject import SubjectLedger, TallySource
from alservice.votes.classification import Classification, Verdict
from alservice.votes.counting import GalaxyTally, Judge, judge_of
from alservice.votes.decoding import Codebook
from alservice.votes.export_store import ExportStore
from alservice.votes.exports import ExportBatch, ExportReceipt, suspicions
from alservice.votes.store import ClassificationStore, Landing, WorkflowStore
from alservice.votes.weights import Sensitivity, sensitivity, volunteer_weights, vote_list
from alservice.zooniverse import Zooniverse
from alservice.zooniverse.records import RawClassification
from alservice.zooniverse.workflow import Workflow, map_answers


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectReport:
    """What one reading brought, and where the cycle stands.

    Parameters
    ----------
    read, new
        Rows read, the overlap included, and rows not seen before.
    requested, counted
        Classifications asked for by the cycle's live subjects, and counted ones that came. Where asking stopped early,
        those that came were asked for.
    is_over
        Whether collecting ends: enough votes, or the deadline has passed.
    """

    read: int
    new: int
    requested: int
    counted: int
    is_over: bool


@dataclass(frozen=True, kw_only=True)
class CollectClassifications:
    """Read what volunteers sent since the last time, and some of what came before it.

    Parameters
    ----------
    others
        The same project by the workflows of the campaign's other tiers.
    """

    classifications: ClassificationStore
    votes: Callable[[Campaign], TallySource]
    workflows: WorkflowStore
    ledger: SubjectLedger
    stops: StoppedSubjects
    zooniverse: Zooniverse
    clock: Clock
    progress: Progress
    others: Sequence[Zooniverse] = ()

    def run(self, campaign: CampaignRow, cycle: Cycle, tree: Tree) -> CollectReport:
        """Ingest every new classification of the campaign, then say whether the cycle has enough.

        Raises
        ------
        WorkflowMismatch
            The live workflow does not ask the tree's questions.
        """
        for workflow in self._live_workflows():
            map_answers(tree, workflow)
        report = self.read(campaign, tree)
        return self.standing(campaign, cycle, read=report.requested, new=report.new)

    def standing(self, campaign: CampaignRow, cycle: Cycle, *, read: int, new: int) -> CollectReport:
        """Return where the cycle stands, after so many rows were read and so many of them were new."""
        live = self.ledger.of_cycle(cycle.id, (SubjectState.LIVE, SubjectState.RETIRED))
        feed, asked = self.votes(campaign.settings), {subject.galaxy_id: subject.n_votes for subject in live}
        if campaign.settings.zooniverse.rule is not None:
            stopped, given = self.stops.stopped(campaign.id), feed.counted_of_galaxies(campaign.id)
            asked |= {galaxy_id: given.get(galaxy_id, 0) for galaxy_id in asked.keys() & stopped.keys()}
        requested, counted = sum(asked.values()), feed.counted(campaign.id, cycle.id)
        enough = counted >= campaign.settings.collecting.votes_share * requested
        late = cycle.deadline is not None and self.clock() >= cycle.deadline
        return CollectReport(read=read, new=new, requested=requested, counted=counted, is_over=enough or late)

    def read(self, campaign: CampaignRow, tree: Tree) -> IngestReport:
        """Ingest every new classification of the campaign.

        Reading again is harmless: ids are the key, and verdicts follow from the set of rows alone. The workflow as
        it is now joins the known versions, and rows that waited for it are read.
        """
        ingest = Ingest(
            classifications=self.classifications,
            workflows=self.workflows,
            ledger=self.ledger,
            clock=self.clock,
            progress=self.progress,
        )
        self.workflows.save(campaign.id, [workflow.plain() for workflow in self._live_workflows()], source=API)
        ingest.replay(campaign, tree)
        codebook = ingest.codebook(campaign, tree)
        first = self.classifications.cursor(campaign.id, API) - INGEST_OVERLAP
        new, verdicts = 0, Counter[Verdict]()
        self.progress.start("collect classifications", None)
        for page in self.zooniverse.classifications(max(0, first)):
            with self.classifications.landing(campaign.id) as landing:
                landed = ingest.land(landing, campaign, tree, codebook, page, source=API)
                landing.move_cursor(API, max(raw.classification_id for raw in page))
            new += landed[0]
            verdicts += landed[1]
            self.progress.advance(len(page))
        self.progress.finish()
        self._believe_gold(campaign, tree)
        inconsistent = len(self.classifications.tally_faults(campaign.id))
        return IngestReport.of(verdicts, new=new, broken=0, inconsistent=inconsistent)

    def _live_workflows(self) -> list[Workflow]:
        return [each.workflow() for each in (self.zooniverse, *self.others)]

    def _believe_gold(self, campaign: CampaignRow, tree: Tree) -> None:
        """Take back the votes of rows that only the gold-standard listing tells apart."""
        judge = judge_of(campaign.settings, tree)
        for ids in chain.from_iterable(each.gold_standard() for each in (self.zooniverse, *self.others)):
            with self.classifications.landing(campaign.id) as landing:
                recount(landing, judge, landing.mark_gold(ids))


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
        return Codebook(campaign.settings, tree, self.workflows.list(campaign.id))

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
        return land(landing, judge_of(campaign.settings, tree), rows, source=source, received_at=self.clock())

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
        codebook, judge = self.codebook(campaign, tree), judge_of(campaign.settings, tree)
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
        if not given.keys() & campaign.settings.zooniverse.workflow_ids:
            raise _foreign(campaign, source, f"{given.total()} versions", given)
        new = self.workflows.save(campaign.id, workflows, source=source)
        return new, self.replay(campaign, tree)

    def replay(self, campaign: CampaignRow, tree: Tree) -> int:
        """Read rows again that had no meaning or no galaxy; return how many have one now."""
        codebook = self.codebook(campaign, tree)
        judge = judge_of(campaign.settings, tree)
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
        judge = judge_of(campaign.settings, tree)
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
    wanted = ", ".join(map(str, sorted(campaign.settings.zooniverse.workflow_ids)))
    return ForeignExport(f"{name}: {what} of workflow {named}, none of workflow {wanted}", workflow=wanted)


def _anew(codebook: Codebook, row: Classification, galaxy_id: str | None) -> Classification:
    return codebook.decode(row.raw, galaxy_id)._replace(kept=row.kept)


def _galaxy(raw: RawClassification, galaxy_of: Mapping[int, str]) -> str | None:
    return None if raw.zooniverse_subject_id is None else galaxy_of.get(raw.zooniverse_subject_id)


_UNPLACED: Final = Verdict.UNKNOWN_SUBJECT


def land(
    landing: Landing, judge: Judge, rows: Iterable[Classification], *, source: str, received_at: datetime
) -> tuple[int, Counter[Verdict]]:
    """Land rows of one source; return how many were new, and the verdicts of all by name.

    The result is that of judging every touched galaxy anew; see `alservice.votes.counting`.
    """
    requested = list(rows)
    distinct = {row.raw.classification_id: row for row in requested}  # pages may overlap: the last one is newest
    verdicts, tallies = _judge_new(landing, judge, distinct.values())
    inserted = landing.insert(list(distinct.values()), source=source, received_at=received_at, verdicts=verdicts)
    known = [i for i in distinct if i not in inserted.new and i not in inserted.corrected]
    verdicts |= landing.verdicts_of(known)
    stale = {galaxy for galaxy in inserted.corrected.values() if galaxy is not None}
    stale |= {
        row.galaxy_id
        for number, row in distinct.items()
        if row.galaxy_id is not None and row.galaxy_id not in tallies and number in inserted.new
    }
    verdicts |= recount(landing, judge, sorted(stale))
    _save(landing, judge, {galaxy: tally for galaxy, tally in tallies.items() if galaxy not in stale})
    return len(inserted.new), Counter(verdicts[row.raw.classification_id] for row in requested)


def recount(landing: Landing, judge: Judge, galaxy_ids: Sequence[str]) -> dict[int, Verdict]:
    """Judge and count galaxies from all their rows; return the verdicts."""
    verdicts: dict[int, Verdict] = {}
    tallies: dict[str, GalaxyTally] = {}
    if galaxy_ids:
        for galaxy_id, rows in landing.rows_of(galaxy_ids).items():
            judged, tallies[galaxy_id] = judge.of_galaxy(rows)
            verdicts |= judged
        landing.save_verdicts(verdicts)
        _save(landing, judge, tallies)
    return verdicts


def _save(landing: Landing, judge: Judge, tallies: Mapping[str, GalaxyTally]) -> None:
    """Replace tallies, and what is wrong with them."""
    landing.save_tallies(tallies)
    landing.save_faults(list(tallies), judge.impossible(tallies))


def _judge_new(
    landing: Landing, judge: Judge, rows: Iterable[Classification]
) -> tuple[dict[int, Verdict], Mapping[str, GalaxyTally]]:
    """Judge rows of no galaxy, and those that come after all others of theirs."""
    by_galaxy: defaultdict[str, list[Classification]] = defaultdict(list)
    verdicts: dict[int, Verdict] = {}
    for row in rows:
        if row.galaxy_id is None:
            verdicts[row.raw.classification_id] = Verdict.UNKNOWN_SUBJECT
        else:
            by_galaxy[row.galaxy_id].append(row)
    tallies: dict[str, GalaxyTally] = {}
    before = landing.tallies_of(sorted(by_galaxy))
    for galaxy_id, group in by_galaxy.items():
        judged = judge.added(group, before.get(galaxy_id))
        if judged is not None:
            verdicts |= judged[0]
            tallies[galaxy_id] = judged[1]
    return verdicts, tallies


@dataclass(kw_only=True, slots=True)
class ExportWatch:
    """Counts the rows of one file as they pass."""

    batches: Iterator[ExportBatch]
    _n_rows: int = field(default=0, init=False)
    _newest: RawClassification | None = field(default=None, init=False)

    def __iter__(self) -> Iterator[ExportBatch]:
        """Yield the batches."""
        for batch in self.batches:
            self._n_rows += len(batch.rows) + len(batch.faults)
            rows = batch.rows if self._newest is None else (*batch.rows, self._newest)
            self._newest = max(rows, key=_id_of, default=None)
            yield batch

    def receipt(self, name: str, digest: str) -> ExportReceipt:
        """Return what the file held, once it was read to its end."""
        newest = self._newest
        return ExportReceipt(
            name=name,
            digest=digest,
            n_rows=self._n_rows,
            newest_id=None if newest is None else newest.classification_id,
            newest_at=None if newest is None else newest.created_at,
        )


@dataclass(frozen=True, kw_only=True)
class JudgeExport:
    """Say whether a file that was read can be the newest, and remember it."""

    exports: ExportStore

    def run(self, campaign_id: int, export: ExportReceipt, report: IngestReport) -> IngestReport:
        """Return the report with what is suspicious about the file; its rows are in, and old rows do no harm."""
        newer = 0 if export.newest_id is None else self.exports.newer(campaign_id, export.newest_id)
        warnings = suspicions(export, self.exports.list(campaign_id), newer)
        self.exports.save(campaign_id, export)
        return replace(report, warnings=(*report.warnings, *warnings))


def _id_of(row: RawClassification) -> int:
    return row.classification_id


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WeightedTallies:
    """Votes as counted, and as weighted by agreement.

    Parameters
    ----------
    raw
        (N, A) votes; the stored tallies.
    weighted
        (N, A) float64 sums of weights, at most the votes.
    """

    raw: TallySet
    weighted: FloatArray
    sensitivity: Sensitivity


@dataclass(frozen=True, kw_only=True)
class WeighVotes:
    """Weigh the votes of a campaign by how well their volunteers agree with others."""

    classifications: ClassificationStore

    def run(self, campaign: CampaignRow, tree: Tree) -> WeightedTallies:
        """Return both tallies and how much they differ; nothing is stored."""
        votes = vote_list(self.classifications.sittings(campaign.id), tree)
        found = volunteer_weights(votes, tree)
        return WeightedTallies(
            raw=TallySet(galaxy_ids=votes.galaxy_ids, counts=votes.counts(tree).astype(np.int64)),
            weighted=votes.counts(tree, found.weights),
            sensitivity=sensitivity(tree, votes, found),
        )
