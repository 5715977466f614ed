"""Zooniverse -> classifications -> tallies: rows, verdicts, tallies and cursor land in one transaction a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.cycle_store import SubjectLedger
from alservice.campaigns.records import CampaignRow
from alservice.constants import API, INGEST_OVERLAP
from alservice.process import Clock, Progress
from alservice.science.tree import Tree
from alservice.states import SubjectState
from alservice.votes.classification import Verdict
from alservice.votes.counting import judge_of
from alservice.votes.ingest import ClassificationStore, WorkflowStore
from alservice.votes.land_classifications import recount
from alservice.votes.reductions_ports import TallySource
from alservice.votes.service import Ingest, IngestReport
from alservice.zooniverse import Zooniverse
from alservice.zooniverse.workflow import Workflow, map_answers


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
        live = self.ledger.of_cycle(cycle.id, (SubjectState.LIVE, SubjectState.RETIRED))
        requested = sum(subject.n_votes for subject in live)
        counted = self.votes(campaign.campaign).counted(campaign.id, cycle.id)
        enough = counted >= campaign.campaign.collecting.votes_share * requested
        late = cycle.deadline is not None and self.clock() >= cycle.deadline
        return CollectReport(
            read=report.requested, new=report.new, requested=requested, counted=counted, is_over=enough or late
        )

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
        judge = judge_of(campaign.campaign, tree)
        for ids in chain.from_iterable(each.gold_standard() for each in (self.zooniverse, *self.others)):
            with self.classifications.landing(campaign.id) as landing:
                recount(landing, judge, landing.mark_gold(ids))
