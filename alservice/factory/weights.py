"""Volunteers' weights by a campaign's name."""

from __future__ import annotations

from pathlib import Path

from alservice.adapters.tally_files import write_weighted_tallies
from alservice.core.tree import load_tree
from alservice.core.volunteer_weights import Sensitivity
from alservice.factory.jobs import Factory
from alservice.services.weigh_votes import WeighVotes

__all__ = ["Sensitivity", "export_weighted_tallies"]


def export_weighted_tallies(factory: Factory, name: str, path: Path) -> Sensitivity:
    """Write a campaign's raw and weighted tallies; return how much they differ."""
    row = factory.campaigns.get(name)
    tree = load_tree(row.campaign.tree)
    found = WeighVotes(classifications=factory.classifications).run(row, tree)
    subjects = factory.ledger.subjects_of(row.id, found.raw.galaxy_ids)
    write_weighted_tallies(path, tree, found.raw, found.weighted, subjects)
    return found.sensitivity
