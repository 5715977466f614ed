"""Frozen tallies: the votes that a cycle trains on and is evaluated with, kept as they were when collecting ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.store import CampaignRow
from alservice.errors import BadVotes, NotFound
from alservice.registry.records import TrainingSnapshot
from alservice.registry.store import SnapshotStore
from alservice.science.tree import Tree, load_tree
from alservice.science.votes import TallySet, inconsistent
from alservice.storage import ObjectStore, arrays
from alservice.subjects.subject import TallySource
from alservice.votes.counting import reducer_version


@dataclass(frozen=True, kw_only=True)
class FrozenTallies:
    """Tallies as they are when collecting ends: a vote that comes later counts for the next cycle."""

    votes: Callable[[Campaign], TallySource]
    snapshots: SnapshotStore
    objects: ObjectStore

    def freeze(self, campaign: CampaignRow, cycle: Cycle) -> TrainingSnapshot:
        """Return the cycle's snapshot, made now if it has none yet."""
        existing = self.snapshots.of_cycle(cycle.id)
        if existing is not None:
            return existing
        tree = load_tree(campaign.settings.tree)
        tallies = self.votes(campaign.settings).tallies(campaign.id, tree.n_answers)
        data = arrays.encode_counts(tallies.galaxy_ids, tallies.counts, tree.columns)
        stored = self.objects.put(data, kind="tallies", suffix=".parquet")
        return self.snapshots.save(
            cycle,
            key=stored.key,
            tallies=tallies,
            reducer=reducer_version(campaign.settings, tree),
            n_inconsistent=int(inconsistent(tree, tallies.counts).any(axis=-1).sum()),
        )

    def read(self, cycle: Cycle, tree: Tree) -> TallySet:
        """Return the tallies that the cycle trains on and is evaluated with.

        Raises
        ------
        NotFound
            The cycle has not ended collecting.
        BadVotes
            The snapshot follows another tree.
        """
        snapshot = self.snapshots.of_cycle(cycle.id)
        if snapshot is None:
            raise NotFound(f"cycle {cycle.number} has no tally snapshot yet", cycle=cycle.number)
        ids, counts, columns = arrays.decode_counts(self.objects.get(snapshot.key))
        if columns != tree.columns or counts.dtype.kind != "i":
            raise BadVotes(f"the tally snapshot of cycle {cycle.number} does not hold votes on tree {tree.name}")
        return TallySet(galaxy_ids=ids, counts=counts.astype(np.int64))
