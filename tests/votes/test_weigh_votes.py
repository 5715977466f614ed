"""Weighted tallies from stored classifications: raw ones are the stored ones, and people are told apart rightly."""

import csv
from pathlib import Path

import pytest

from alservice.app import App
from alservice.votes.ingest import WeighVotes
from tests.support.worlds import TREE
from tests.votes.test_classification import raw
from tests.votes.test_collect_classifications import START, World

SMOOTH = ({"task": "T0", "value": 0}, {"task": "T5", "value": 1})
FEATURED = ({"task": "T0", "value": 1}, {"task": "T5", "value": 1})


@pytest.fixture
def world(factory: App) -> World:
    """Four galaxies, each seen smooth by five people, and featured by one who always disagrees."""
    world = World(factory)
    number = START
    for subject in range(100, 104):
        for person in range(6):
            number += 1
            world.listing.rows.append(
                raw(
                    number,
                    zooniverse_subject_id=subject,
                    user_hash=f"u{person}" if person else None,
                    session="s0" if person == 0 else f"s{number}",
                    started_at=str(number),
                    annotations=FEATURED if person == 5 else SMOOTH,
                )
            )
    world.run()
    return world


def test_raw_tallies_are_the_stored_ones_and_the_contrary_volunteer_counts_little(world: World) -> None:
    """Who always disagrees has a weight of (kappa / 0.6) ** 8.5, by hand nearly nothing; the others keep theirs."""
    found = WeighVotes(classifications=world.factory.classifications).run(world.campaign, TREE)
    stored = world.factory.classifications.tallies(world.campaign.id, TREE.n_answers)
    assert found.raw.digest == stored.digest
    smooth, featured = TREE.column("smooth-or-featured_smooth"), TREE.column("smooth-or-featured_featured-or-disk")
    assert found.raw.counts[:, [smooth, featured]].tolist() == [[5, 1]] * 4
    assert found.weighted[:, smooth].tolist() == [5.0] * 4
    assert (found.weighted[:, featured] > 0).all()
    assert (found.weighted <= found.raw.counts).all()
    # One anonymous session is one volunteer.
    assert (found.sensitivity.volunteers, found.sensitivity.votes) == (6, 48)


def test_a_volunteer_without_account_and_session_is_nobody_known(world: World) -> None:
    """Such classifications are volunteers of their own: they share no weight."""
    world.listing.rows = [
        raw(START + 1000 + i, zooniverse_subject_id=100, user_hash=None, session=None, annotations=SMOOTH)
        for i in range(3)
    ]
    world.run()
    voters = [sitting.voter for sitting in world.factory.classifications.sittings(world.campaign.id)]
    assert len(set(voters)) == 6 + 3


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_both_tallies_are_written_side_by_side(world: World, tmp_path: Path, suffix: str) -> None:
    """Each column comes raw and weighted; no file of another kind is written."""
    out = tmp_path / f"weights{suffix}"
    report = world.factory.votes.export_weighted_tallies("test", out)
    assert (report.galaxies, report.changed) == (4, 0)
    if suffix == ".csv":
        with out.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows[0]) == 2 + 2 * (TREE.n_answers + TREE.n_questions)
        assert (rows[0]["galaxy_id"], rows[0]["smooth-or-featured_smooth"]) == ("g00", "5")
        assert float(rows[0]["smooth-or-featured_smooth_weighted"]) == 5
        assert 5 < float(rows[0]["smooth-or-featured_total-votes_weighted"]) <= 6


def test_training_counts_are_untouched(world: World, tmp_path: Path) -> None:
    """Weighing stores nothing: the tallies that training reads are whole numbers as before."""
    before = world.factory.classifications.tallies(world.campaign.id, TREE.n_answers).digest
    world.factory.votes.export_weighted_tallies("test", tmp_path / "weights.csv")
    assert world.factory.classifications.tallies(world.campaign.id, TREE.n_answers).digest == before
