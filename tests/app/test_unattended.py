"""What schedules ask for: retraining, predictions out of turn, ticks that leave stopped cycles alone."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from alservice.campaigns.cycle import CycleKind, CycleState
from alservice.errors import Conflict, NotFound, ZooniverseUnavailable
from alservice.prediction.scope import Scope
from tests.cycle.test_cycle import N_GALAXIES, Loop


@pytest.fixture
def loop(engine: Engine, tmp_path: Path) -> Loop:
    """A campaign of forty galaxies."""
    return Loop(engine, tmp_path)


def test_a_retraining_asks_nobody_and_is_gated_like_any_other(loop: Loop) -> None:
    """It trains on all votes there are, even with no new one; nothing is drawn, and its line says what it was."""
    loop.run(loop.start())
    asked = len(loop.zooniverse.subjects)
    cycle = loop.factory.cycle.start_retraining("test", actor="a person")
    assert cycle.kind is CycleKind.RETRAIN
    assert loop.factory.cycle.start_retraining("test", actor="again").id == cycle.id, "a second call goes on with it"
    done = loop.run(cycle)
    assert done.candidate_id is not None
    decision = loop.factory.models.decision(done.id)
    assert decision is not None
    assert "nll-per-vote" in {check.name for check in decision.checks}
    assert loop.factory.acquisitions.get(done.id) is None
    assert len(loop.zooniverse.subjects) == asked
    assert [line.kind for line in loop.factory.cycle.table("test").lines] == ["bootstrap", "retrain"]
    moves = [
        e.detail["to"] for e in loop.factory.events.list(loop.campaign.id) if e.cycle_id == done.id and "to" in e.detail
    ]
    assert moves[::-1][:3] == [CycleState.TRAINING, CycleState.EVALUATING, CycleState.GATED]


def test_a_retraining_is_refused_while_a_cycle_is_open(loop: Loop) -> None:
    """The open cycle will use the votes itself; it is not diverted."""
    cycle = loop.start()
    with pytest.raises(Conflict, match="cycle 0 of test is open"):
        loop.factory.cycle.start_retraining("test", actor="a person")
    assert loop.factory.cycles.get(cycle.id) == cycle


def test_predictions_out_of_turn_are_the_next_cycles(loop: Loop) -> None:
    """No cycle is needed or touched; the shards made are found again, and a campaign without a champion is told so."""
    with pytest.raises(NotFound, match="no champion"):
        loop.factory.prediction.newest("test")
    done = loop.run(loop.start())
    assert loop.factory.prediction.newest("test") == (N_GALAXIES, 0)
    champion = loop.factory.models.champion(loop.campaign.id)
    assert champion is not None
    shards = loop.factory.models.posterior_shards(champion.id, done.catalogue_id, Scope.CATALOGUE)
    assert loop.factory.prediction.newest("test") == (N_GALAXIES, 0)
    assert loop.factory.models.posterior_shards(champion.id, done.catalogue_id, Scope.CATALOGUE) == shards
    assert loop.factory.cycles.open(loop.campaign.id) is None


def test_a_tick_brings_back_only_what_failed_while_it_collected(loop: Loop) -> None:
    """An outage of Zooniverse is over by itself; a person's cancel and other failures are not undone."""
    assert loop.factory.cycle.find_collecting("test", actor="tick") is None
    cycle = loop.run(loop.start(), until=CycleState.PUBLISHING)
    loop.factory.cycle.fail(cycle.id, ValueError("broken"), actor="test")
    found = loop.factory.cycle.find_collecting("test", actor="tick")
    assert found is not None
    assert found.state is CycleState.FAILED
    cycle = loop.run(loop.factory.cycle.resume(cycle.id, actor="test"), until=CycleState.COLLECTING)
    loop.factory.cycle.fail(cycle.id, ZooniverseUnavailable("away"), actor="test")
    found = loop.factory.cycle.find_collecting("test", actor="tick")
    assert found is not None
    assert found.state is CycleState.COLLECTING
    stopped = loop.factory.cycle.cancel_open("test", actor="a person", reason="wrong set")
    assert stopped is not None
    assert stopped.left_from is CycleState.COLLECTING
    assert loop.factory.cycle.cancel_open("test", actor="a person", reason="twice") is None
    found = loop.factory.cycle.find_collecting("test", actor="tick")
    assert found is not None
    assert found.state is CycleState.CANCELLED
    assert loop.factory.cycle.resume(cycle.id, actor="test").state is CycleState.COLLECTING


def test_a_brief_has_checks_pictures_and_history_inside(loop: Loop) -> None:
    """What the pages of runs show needs no network: every picture is a data URI."""
    loop.run(loop.start())
    loop.run(loop.start())
    brief = loop.factory.cycle.brief("test")
    assert (brief.number, brief.state) == (1, "done")
    assert "# Cycle 1 of test: done" in brief.report
    assert "nll-per-vote" in brief.report
    assert "](data:image/svg+xml;base64," in brief.report
    assert brief.gallery is not None
    assert brief.gallery.count("](data:image/jpeg;base64,") == 5
    assert "http" not in brief.report + brief.gallery
    assert brief.history[-1]["what"] == "cycle.moved"
    assert "done" in brief.history[-1]["detail"]
