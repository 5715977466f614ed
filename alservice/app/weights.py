"""Volunteers' weights by a campaign's name."""

from __future__ import annotations

from pathlib import Path

from alservice.app.jobs import Factory
from alservice.science.tree import load_tree
from alservice.votes.service import WeighVotes
from alservice.votes.tables import write_weighted_tallies
from alservice.votes.weights import Sensitivity


def export_weighted_tallies(factory: Factory, name: str, path: Path) -> Sensitivity:
    """Write a campaign's raw and weighted tallies; return how much they differ."""
    row = factory.campaigns.get(name)
    tree = load_tree(row.campaign.tree)
    found = WeighVotes(classifications=factory.classifications).run(row, tree)
    subjects = factory.ledger.subjects_of(row.id, found.raw.galaxy_ids)
    write_weighted_tallies(path, tree, found.raw, found.weighted, subjects)
    return found.sensitivity
