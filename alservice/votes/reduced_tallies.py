"""Reductions -> tallies, for a campaign that counts them or compares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle_store import SubjectLedger
from alservice.campaigns.records import CampaignRow
from alservice.errors import BadVotes
from alservice.science.training_sets import TallySet
from alservice.science.tree import load_tree
from alservice.votes.caesar import ReducedTallies, ReductionReader
from alservice.votes.codebooks import Codebook
from alservice.votes.feeds import FeedComparison, compare_feeds
from alservice.votes.ingest import ClassificationStore, WorkflowStore
from alservice.votes.reductions_ports import ReductionStore


@dataclass(frozen=True, kw_only=True)
class ReducedFeed:
    """A campaign's reductions as a `TallySource`; a classification is an answer to the first question."""

    campaign: Campaign
    reductions: ReductionStore
    workflows: WorkflowStore
    ledger: SubjectLedger

    def read(self, campaign_id: int) -> ReducedTallies:
        """Return the tallies, and how many reductions could not be read for which reason."""
        tree = load_tree(self.campaign.tree)
        codebook = Codebook(self.campaign, tree, self.workflows.list(campaign_id))
        policy = self.campaign.ingest
        reader = ReductionReader(
            tree=tree, maps=codebook.maps(since=policy.reductions_since), reducers=frozenset(policy.reducers)
        )
        return reader.tallies(self.reductions.list(campaign_id))

    def tallies(self, campaign_id: int, n_answers: int) -> TallySet:
        """Return the tallies of all galaxies with votes; `BadVotes` if they are not of a tree of so many answers."""
        tallies = self.read(campaign_id).tallies
        if tallies.counts.shape[1] != n_answers:
            raise BadVotes(f"tree {self.campaign.tree} has {tallies.counts.shape[1]} answers, not {n_answers}")
        return tallies

    def counted(self, campaign_id: int, cycle_id: int | None = None) -> int:
        """Return counted classifications; see `TallySource.counted`."""
        counted = self.counted_of_galaxies(campaign_id)
        if cycle_id is None:
            return sum(counted.values())
        return sum(counted.get(subject.galaxy_id, 0) for subject in self.ledger.of_cycle(cycle_id))

    def counted_of_galaxies(self, campaign_id: int) -> Mapping[str, int]:
        """Return counted classifications by galaxy; see `TallySource.counted_of_galaxies`."""
        tallies = self.read(campaign_id).tallies
        first = load_tree(self.campaign.tree).slices[0]
        return dict(zip(tallies.galaxy_ids, tallies.counts[:, first].sum(axis=1).tolist(), strict=True))


@dataclass(frozen=True, kw_only=True)
class CompareFeeds:
    """Classifications and reductions of one campaign, side by side."""

    classifications: ClassificationStore
    feed: ReducedFeed

    def run(self, campaign: CampaignRow) -> FeedComparison:
        """Return every question of every galaxy on which they differ."""
        tree = load_tree(campaign.campaign.tree)
        reduced = self.feed.read(campaign.id)
        return compare_feeds(
            tree,
            self.classifications.tallies(campaign.id, tree.n_answers),
            reduced.tallies,
            counts_from=campaign.campaign.ingest.tallies_from,
            unread=reduced.unread,
        )
