"""Zooniverse -> classifications -> tallies: rows, verdicts, tallies and cursor land in one transaction a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alservice.constants import INGEST_OVERLAP
from alservice.core.classifications import Classification, RawClassification, Verdict, decode, judge, tally
from alservice.core.cycles import Cycle
from alservice.core.records import CampaignRow
from alservice.core.states import SubjectState
from alservice.core.tree import Tree
from alservice.core.workflows import AnswerMap, map_answers
from alservice.ports import ClassificationStore, Clock, Landing, Progress, SubjectLedger, Zooniverse

SOURCE = "api"


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectReport:
    """What one reading brought, and where the cycle stands.

    Parameters
    ----------
    read, new
        Rows read, the overlap included, and rows not seen before.
    requested, counted
        Classifications asked for by the cycle's live subjects, and counted ones that came.
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
    """Read what volunteers sent since the last time, and some of what came before it."""

    classifications: ClassificationStore
    ledger: SubjectLedger
    zooniverse: Zooniverse
    clock: Clock
    progress: Progress

    def run(self, campaign: CampaignRow, cycle: Cycle, tree: Tree) -> CollectReport:
        """Ingest every new classification of the campaign, then say whether the cycle has enough.

        Reading again is harmless: ids are the key, and verdicts follow from the set of rows alone.

        Raises
        ------
        WorkflowMismatch
            The live workflow does not ask the tree's questions.
        """
        read, new = self._read(campaign, tree)
        live = self.ledger.of_cycle(cycle.id, (SubjectState.LIVE, SubjectState.RETIRED))
        requested = sum(subject.n_votes for subject in live)
        counted = self.classifications.counted(campaign.id, cycle.id)
        enough = counted >= campaign.campaign.collecting.votes_share * requested
        late = cycle.deadline is not None and self.clock() >= cycle.deadline
        return CollectReport(read=read, new=new, requested=requested, counted=counted, is_over=enough or late)

    def _read(self, campaign: CampaignRow, tree: Tree) -> tuple[int, int]:
        answer_map = map_answers(tree, self.zooniverse.workflow())
        first = self.classifications.cursor(campaign.id, SOURCE) - INGEST_OVERLAP
        read = new = 0
        self.progress.start("collect classifications", None)
        for page in self.zooniverse.classifications(max(0, first)):
            new += self._land(campaign, tree, answer_map, page)
            read += len(page)
            self.progress.advance(len(page))
        self.progress.finish()
        return read, new

    def _land(self, campaign: CampaignRow, tree: Tree, answer_map: AnswerMap, page: Sequence[RawClassification]) -> int:
        subjects = sorted({raw.zooniverse_subject_id for raw in page if raw.zooniverse_subject_id is not None})
        galaxy_of = self.ledger.galaxies_of(campaign.id, subjects)
        rows = [_decode(raw, galaxy_of, answer_map) for raw in page]
        with self.classifications.landing(campaign.id) as landing:
            new = landing.insert(rows, source=SOURCE, received_at=self.clock())
            self._judge(landing, campaign, tree, rows)
            landing.move_cursor(SOURCE, max(raw.classification_id for raw in page))
        return new

    def _judge(self, landing: Landing, campaign: CampaignRow, tree: Tree, rows: Sequence[Classification]) -> None:
        verdicts = {r.raw.classification_id: Verdict.UNKNOWN_SUBJECT for r in rows if r.galaxy_id is None}
        touched = sorted({row.galaxy_id for row in rows if row.galaxy_id is not None})
        first_columns = frozenset(range(tree.n_answers)[tree.slices[0]])
        tallies, counted = {}, {}
        for galaxy_id, all_rows in landing.rows_of(touched).items():
            judged = judge(all_rows, workflow_id=campaign.campaign.zooniverse.workflow_id, first_columns=first_columns)
            verdicts |= judged
            tallies[galaxy_id] = tally(all_rows, judged, tree.n_answers)
            counted[galaxy_id] = sum(v is Verdict.COUNTED for v in judged.values())
        landing.save_verdicts(verdicts)
        landing.save_tallies(tallies, counted)


def _decode(raw: RawClassification, galaxy_of: Mapping[int, str], answer_map: AnswerMap) -> Classification:
    known = answer_map if raw.workflow_version == answer_map.version else None
    galaxy_id = None if raw.zooniverse_subject_id is None else galaxy_of.get(raw.zooniverse_subject_id)
    return decode(raw, galaxy_id, known)
