"""Votes by a campaign's name: read from files, the API and Caesar, counted, compared, exported and forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.store import CampaignRow, CampaignStore, EventLog
from alservice.constants import CLOCK_SLACK
from alservice.errors import BadInput
from alservice.ids import hash_user
from alservice.progress import Clock, Progress
from alservice.science.tree import load_tree
from alservice.science.votes import inconsistent
from alservice.shapes import IntArray
from alservice.subjects.ledger import SqlSubjectLedger
from alservice.subjects.stops import StoppedSubjects
from alservice.subjects.subject import TallySource
from alservice.votes.caesar import CompareFeeds, ReceiveReductions, ReducedFeed, ReductionStore, WebhookStore
from alservice.votes.classification import Quarantine
from alservice.votes.counting import FeedComparison
from alservice.votes.decoding import read_workflows
from alservice.votes.export_store import ExportStore
from alservice.votes.exports import ExportFile, read_export
from alservice.votes.ingest import (
    CollectClassifications,
    CollectReport,
    ExportWatch,
    Ingest,
    IngestReport,
    JudgeExport,
    WeighVotes,
)
from alservice.votes.privacy import ForgetPeople
from alservice.votes.store import ClassificationStore, WorkflowStore
from alservice.votes.weights import Sensitivity

if TYPE_CHECKING:
    from alservice.subjects.site import Sites  # its client is loaded by who talks to Zooniverse, not by who reads files

TallyColumns: TypeAlias = Literal["tree", "zoobot"]
"""How the columns of a table of tallies are named."""


@dataclass(frozen=True, kw_only=True)
class VoteService:
    """What volunteers said: every way in, every way out; it loads neither torch nor pages, which a test holds.

    Parameters
    ----------
    sites
        Returns where campaigns' volunteers are, when they are first asked for.
    user_hash_key
        Returns the secret that turns user ids into pseudonyms.
    """

    campaigns: CampaignStore
    classifications: ClassificationStore
    workflows: WorkflowStore
    webhooks: WebhookStore
    reductions: ReductionStore
    exports: ExportStore
    ledger: SqlSubjectLedger
    stops: StoppedSubjects
    events: EventLog
    sites: Callable[[], Sites]
    user_hash_key: Callable[[], bytes]
    clock: Clock
    progress: Progress

    def source(self, campaign: Campaign) -> TallySource:
        """Return the feed that a campaign's tallies come from; the other one is never added."""
        from_classifications = campaign.ingest.tallies_from == "classifications"
        return self.classifications if from_classifications else self.reduced(campaign)

    def reduced(self, campaign: Campaign) -> ReducedFeed:
        """Return a campaign's reductions as tallies."""
        return ReducedFeed(campaign=campaign, reductions=self.reductions, workflows=self.workflows, ledger=self.ledger)

    def votes_of(self, campaign: CampaignRow) -> Callable[[Sequence[str]], IntArray]:
        """Return what tells the votes (N, A) of named galaxies, 0 where there are none, by a campaign's own feed.

        Reductions are read once, when this is called; classifications as often as votes are asked for.
        """
        n_answers = load_tree(campaign.settings.tree).n_answers
        feed = self.source(campaign.settings)
        whole = None if feed is self.classifications else feed.tallies(campaign.id, n_answers)

        def votes(ids: Sequence[str]) -> IntArray:
            tallies = feed.tallies_of(campaign.id, ids, n_answers) if whole is None else whole
            own = dict(zip(tallies.galaxy_ids, tallies.counts, strict=True))
            nobody = np.zeros(n_answers, dtype=np.int64)
            return np.array([own.get(name, nobody) for name in ids]).reshape(-1, n_answers)

        return votes

    @cached_property
    def ingest(self) -> Ingest:
        """Classifications of files, and rows that wait for a meaning."""
        return Ingest(
            classifications=self.classifications,
            workflows=self.workflows,
            ledger=self.ledger,
            clock=self.clock,
            progress=self.progress,
        )

    def ingest_export(self, name: str, path: Path) -> IngestReport:
        """Read an export file into a campaign."""
        row = self.campaigns.get(name)
        export = ExportFile(
            path=path,
            workflow_ids=row.settings.zooniverse.workflow_ids,
            user_hash_key=self.user_hash_key(),
            latest=self.clock() + CLOCK_SLACK,
        )
        watch = ExportWatch(batches=read_export(export))
        with ThreadPoolExecutor(1) as pool:
            digest = pool.submit(export.digest)  # beside the landing, which leaves time: it waits for Postgres
            report = self.ingest.export(row, load_tree(row.settings.tree), watch, name=path.name)
        return JudgeExport(exports=self.exports).run(row.id, watch.receipt(path.name, digest.result()), report)

    def ingest_workflows(self, name: str, path: Path) -> tuple[int, int, int]:
        """Learn the workflow versions of a file; return those in it, new ones, and rows that waited for them."""
        row = self.campaigns.get(name)
        versions = read_workflows(path)
        new, freed = self.ingest.learn(row, load_tree(row.settings.tree), versions, source=path.name)
        return len(versions), new, freed

    def ingest_api(self, name: str) -> IngestReport:
        """Read the classifications of a campaign's project, from the cursor on."""
        row = self.campaigns.get(name)
        with self.sites().opened(name):
            return self._collector(row.settings).read(row, load_tree(row.settings.tree))

    def collect(self, campaign: CampaignRow, cycle: Cycle) -> CollectReport:
        """Read what volunteers sent since the last time, and say whether the cycle has enough."""
        return self._collector(campaign.settings).run(campaign, cycle, load_tree(campaign.settings.tree))

    def recount_asked(self, campaign: CampaignRow, cycle: Cycle, report: CollectReport) -> CollectReport:
        """Return where a cycle stands once asking has stopped about some of its galaxies; nothing is read."""
        return self._collector(campaign.settings).standing(campaign, cycle, read=report.read, new=report.new)

    def replay_quarantine(self, name: str) -> int:
        """Read again what waited for a meaning; return how many have one now."""
        row = self.campaigns.get(name)
        return self.ingest.replay(row, load_tree(row.settings.tree))

    def recount_tallies(self, name: str) -> int:
        """Count every galaxy of a campaign anew; return how many."""
        row = self.campaigns.get(name)
        return self.ingest.recount(row, load_tree(row.settings.tree))

    def receive(self) -> ReceiveReductions:
        """Return what takes Caesar's reductions in."""
        return ReceiveReductions(webhooks=self.webhooks, reductions=self.reductions, clock=self.clock)

    def compare_feeds(self, name: str) -> FeedComparison:
        """Return where a campaign's classifications and reductions differ."""
        row = self.campaigns.get(name)
        return CompareFeeds(classifications=self.classifications, feed=self.reduced(row.settings)).run(row)

    def quarantined(self, name: str, *, limit: int) -> Quarantine:
        """Return what of a campaign's feeds has no meaning yet: counts by reason, and the first rows."""
        row = self.campaigns.get(name)
        unread = self.reduced(row.settings).read(row.id).unread
        return replace(self.classifications.quarantined(row.id, limit=limit), reductions=unread)

    def tally_faults(self, name: str) -> Mapping[str, tuple[str, ...]]:
        """Return galaxies whose votes no walks through the tree give, with the names of the questions at fault."""
        row = self.campaigns.get(name)
        questions = load_tree(row.settings.tree).questions
        faults = self.classifications.tally_faults(row.id)
        return {galaxy: tuple(questions[place].name for place in places) for galaxy, places in faults.items()}

    def export_tallies(
        self, name: str, path: Path, *, columns: TallyColumns = "tree", images: str | None = None
    ) -> tuple[int, int]:
        """Write a campaign's tallies; return galaxies, and those whose votes no walks through the tree give.

        Parameters
        ----------
        columns
            Names of columns: those of the tree, or of galaxy-datasets and Zoobot.
        images
            Folder of images that a table for Zoobot names.

        Raises
        ------
        BadInput
            As `write_tallies`; or the columns are neither, or a folder of images is named for those of the tree.
        """
        # Its Parquet is memory that reading has no use for.
        from alservice.votes.tables import write_tallies, write_zoobot_tallies

        row = self.campaigns.get(name)
        tree = load_tree(row.settings.tree)
        tallies = self.source(row.settings).tallies(row.id, tree.n_answers)
        subjects = self.ledger.subjects_of(row.id, tallies.galaxy_ids)
        if columns == "zoobot":
            write_zoobot_tallies(path, tree, tallies, subjects, images=images)
        elif columns == "tree" and images is None:
            write_tallies(path, tree, tallies, subjects)
        else:
            raise BadInput(f"columns are 'tree', or 'zoobot' with or without images, not {columns!r}", columns=columns)
        return len(tallies.galaxy_ids), int(inconsistent(tree, tallies.counts).any(axis=-1).sum())

    def export_weighted_tallies(self, name: str, path: Path) -> Sensitivity:
        """Write a campaign's tallies raw and weighted by agreement; return how much they differ."""
        from alservice.votes.tables import write_weighted_tallies

        row = self.campaigns.get(name)
        tree = load_tree(row.settings.tree)
        found = WeighVotes(classifications=self.classifications).run(row, tree)
        subjects = self.ledger.subjects_of(row.id, found.raw.galaxy_ids)
        write_weighted_tallies(path, tree, found.raw, found.weighted, subjects)
        return found.sensitivity

    def hash_of_user(self, user_id: int) -> str:
        """Return the pseudonym of a Zooniverse user id."""
        return hash_user(str(user_id), self.user_hash_key())

    def forget_user(self, name: str | None, user_hash: str, *, actor: str) -> Mapping[str, int]:
        """Forget a person in one campaign, or in all; return classifications that became anonymous by campaign."""
        forget = self._forget(actor)
        return {row.settings.name: forget.user(row, user_hash) for row in self._rows(name)}

    def forget_expired(self, name: str | None, *, actor: str) -> Mapping[str, int]:
        """Forget everybody in what is older than each campaign keeps; return classifications by campaign."""
        forget = self._forget(actor)
        return {row.settings.name: forget.expired(row) for row in self._rows(name)}

    def _collector(self, campaign: Campaign) -> CollectClassifications:
        sites = self.sites()
        first, *others = (sites.zooniverse(tier) for tier in campaign.by_tier().values())
        return CollectClassifications(
            classifications=self.classifications,
            votes=self.source,
            workflows=self.workflows,
            ledger=self.ledger,
            stops=self.stops,
            zooniverse=first,
            others=others,
            clock=self.clock,
            progress=self.progress,
        )

    def _rows(self, name: str | None) -> list[CampaignRow]:
        return list(self.campaigns.list()) if name is None else [self.campaigns.get(name)]

    def _forget(self, actor: str) -> ForgetPeople:
        return ForgetPeople(classifications=self.classifications, events=self.events, clock=self.clock, actor=actor)
