"""Asking for more votes of galaxies that volunteers know."""

from dataclasses import replace

import pytest

from alservice.campaigns.campaign import ZooniverseTarget
from alservice.campaigns.store import CampaignRow
from alservice.errors import BadConfig, BadInput
from alservice.ids import RoundedId
from alservice.states import SubjectState
from alservice.storage.objects import LocalObjects
from alservice.subjects.retire import AskVotes
from alservice.testing.stores import MemoryStops
from tests.support.publishing import CAMPAIGN, World, drafts_of
from tests.support.worlds import NOON

OWN = CampaignRow(id=1, version=1, settings=replace(CAMPAIGN, zooniverse=ZooniverseTarget(retirement="own")))


class Audit(list):
    """Events, kept."""

    record = list.append


@pytest.fixture
def world(tmp_path):
    """Three live subjects that are to have 40 votes each."""
    world = World(LocalObjects(tmp_path), drafts_of(LocalObjects(tmp_path), 3))
    world.publish()
    return world


def ask(world, audit, galaxies, votes, campaign=OWN, stops=None):
    """Ask for votes."""
    stops = stops or MemoryStops(world.ledger)
    service = AskVotes(world.ledger, stops, audit, lambda: NOON, actor="ada")
    return service.run(campaign, galaxies, votes, reason="a merger")


def test_votes_are_asked_and_recorded_with_who_and_why(world) -> None:
    """Only the galaxies named change, and what they were asked before is on record."""
    audit = Audit()
    (changed,) = ask(world, audit, ["J0001"], 60)
    assert changed.galaxy_id == "J0001"
    assert [row.n_votes for row in world.ledger.of_campaign(1)] == [40, 60, 40]
    (event,) = audit
    assert (event.kind, event.actor) == ("subjects.asked", "ada")
    assert event.detail == {"votes": 60, "before": {"J0001": 40}, "reason": "a merger"}
    assert ask(world, audit, ["J0001"], 60) == []
    assert len(audit) == 1


def test_a_galaxy_nobody_was_shown_is_named(world) -> None:
    """All or none: a wrong name changes nothing."""
    first = next(world.ledger.of_campaign(1))
    world.ledger.mark([first], SubjectState.WITHDRAWN)
    with pytest.raises(BadInput, match="2 galaxies are neither live nor retired: J0000, J9"):
        ask(world, Audit(), ["J9", "J0000", "J0001"], 60)
    assert {row.n_votes for row in world.ledger.of_campaign(1)} == {40}


def test_an_id_that_went_through_floats_is_told_so(world) -> None:
    """Kind: ids rounded before they reach us, as arguments of a command."""
    with pytest.raises(RoundedId, match=r"'5.877e\+17' is a float and no id"):
        ask(world, Audit(), ["5.877e+17"], 60)


@pytest.mark.parametrize("votes", [0, 1001])
def test_votes_out_of_range_are_refused(world, votes) -> None:
    """Nobody can be asked for less than one vote."""
    with pytest.raises(BadInput, match="votes must be 1 to 1000"):
        ask(world, Audit(), ["J0001"], votes)


def test_where_panoptes_retires_there_is_one_number_for_all(world) -> None:
    """Changing ours would change nothing."""
    panoptes = CampaignRow(id=1, version=1, settings=CAMPAIGN)
    with pytest.raises(BadConfig, match="retirement 'own'"):
        ask(world, Audit(), ["J0001"], 60, panoptes)
