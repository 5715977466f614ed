"""Models by name: promote, roll back, trace; and a person's word on a held candidate."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from alservice.campaigns.campaign import TrainingPolicy
from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.policies import GatePolicy
from alservice.documents import document_of
from alservice.errors import BadInput, Conflict, DigestMismatch, NotFound
from alservice.states import ModelState
from tests.cycle.test_cycle import Loop
from tests.support.worlds import NOON, TREE

HOLD = GatePolicy(min_galaxies=10_000)
"""No evidence is ever enough: the first model bootstraps, every other is held."""


@pytest.fixture
def loop(engine: Engine, tmp_path: Path) -> Loop:
    """A campaign whose gate holds, with two days to decide; models start from the champion."""
    training = TrainingPolicy(steps=2, batch_galaxies=4, min_new_votes=1, threads=1, warm_start=True)
    return Loop(engine, tmp_path, gate=HOLD, hold_hours=48.0, training=training)


def held(loop: Loop) -> Cycle:
    """Bring a campaign with one champion to a held gate."""
    loop.run(loop.start())
    return loop.run(loop.start(), until=CycleState.HELD)


def decide(loop: Loop, word: str, **changes: object) -> Cycle:
    """Let Ann decide."""
    return loop.factory.learning.decide_held("test", word, **{"actor": "ann", "reason": "I looked", **changes})


def states(loop: Loop) -> list[ModelState]:
    """Return the states of all models, oldest first."""
    return [model.state for model in loop.factory.models.list(loop.campaign.id)]


def approved(loop: Loop) -> None:
    """Run one more cycle whose candidate a person approves."""
    cycle = loop.run(loop.start(), until=CycleState.HELD)
    decide(loop, "approve")
    loop.run(cycle)


@pytest.mark.parametrize(
    ("word", "state", "models"),
    [
        ("approve", CycleState.PROMOTED, [ModelState.RETIRED, ModelState.CHAMPION]),
        ("reject", CycleState.KEPT, [ModelState.CHAMPION, ModelState.REJECTED]),
    ],
)
def test_a_persons_word_settles_a_hold_once(loop: Loop, word, state, models) -> None:
    """The decision keeps the gate's checks beside the reason; the same word again changes nothing."""
    held(loop)
    cycle = decide(loop, word)
    assert (cycle.state, states(loop)) == (state, models)
    decision = loop.factory.models.decision(cycle.id)
    assert [check.name for check in decision.checks] == ["evaluation-galaxies", "person"]
    assert decision.person.detail == "ann: I looked"
    before = loop.factory.events.list(loop.campaign.id)
    assert decide(loop, word, actor="bob") == cycle
    assert loop.factory.events.list(loop.campaign.id) == before


def test_the_other_word_afterwards_is_a_conflict(loop: Loop) -> None:
    """It says who decided and why, also when the cycle is closed."""
    cycle = held(loop)
    decide(loop, "reject")
    with pytest.raises(Conflict, match=r"rejected already \(ann: I looked\)"):
        decide(loop, "approve")
    loop.run(cycle)
    with pytest.raises(Conflict, match="rejected already"):
        decide(loop, "approve")


def test_two_people_at_once_one_wins(loop: Loop) -> None:
    """Approve and reject together: one is carried out, the other hears of it."""
    cycle = held(loop)

    def attempt(word: str) -> Cycle | Conflict:
        try:
            return decide(loop, word)
        except Conflict as conflict:
            return conflict

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(attempt, ["approve", "reject"]))
    conflicts = [outcome for outcome in outcomes if isinstance(outcome, Conflict)]
    assert len(conflicts) == 1
    assert "already (ann: I looked)" in str(conflicts[0])
    assert loop.factory.cycles.get(cycle.id).state in {CycleState.PROMOTED, CycleState.KEPT}
    assert states(loop).count(ModelState.CHAMPION) == 1


def test_no_word_without_a_hold_a_reason_or_time(loop: Loop) -> None:
    """Nothing held, an empty reason, a deadline that has passed: each is refused by name."""
    with pytest.raises(NotFound, match="no cycle yet"):
        decide(loop, "approve")
    cycle = held(loop)
    with pytest.raises(NotFound, match="no cycle 7"):
        decide(loop, "approve", number=7)
    with pytest.raises(Conflict, match="is done, not held"):
        decide(loop, "approve", number=0)
    with pytest.raises(BadInput, match="reason"):
        decide(loop, "approve", reason="  ")
    late = replace(loop.factory, clock=lambda: NOON + timedelta(hours=48))
    with pytest.raises(Conflict, match="the champion is kept"):
        late.learning.decide_held("test", "approve", actor="ann", reason="late")
    assert loop.factory.cycles.get(cycle.id).state is CycleState.HELD


def test_a_hold_that_expires_is_kept_and_recorded_as_that(loop: Loop) -> None:
    """Before the deadline the cycle waits; after it the next step keeps the champion."""
    cycle = held(loop)
    assert loop.advance(cycle.id).state is CycleState.HELD
    late = replace(loop.factory, clock=lambda: NOON + timedelta(hours=48)).cycle
    assert late.advance(cycle.id, actor="clock").state is CycleState.KEPT
    assert "gate.expired" in {event.kind for event in loop.factory.events.list(loop.campaign.id)}
    assert states(loop) == [ModelState.CHAMPION, ModelState.REJECTED]


def test_rollback_walks_back_through_the_champions(loop: Loop) -> None:
    """Once to the second, twice to the first, and not further; each leaves its event and reason."""
    loop.run(loop.start())
    approved(loop)
    approved(loop)
    first, second, third = (model.id for model in loop.factory.models.list(loop.campaign.id))
    for expected in (second, first):
        live = loop.factory.registry.roll_back("test", actor="ann", reason="it sees bars everywhere")
        assert (live.id, live.state) == (expected, ModelState.CHAMPION)
    with pytest.raises(NotFound, match="no earlier champion"):
        loop.factory.registry.roll_back("test", actor="ann", reason="once more")
    history = loop.factory.models.promotions(loop.campaign.id)
    kinds = [(p.model_id, p.replaced_id, p.kind) for p in history]
    assert kinds[-2:] == [(second, third, "rollback"), (first, second, "rollback")]
    told = [e for e in loop.factory.events.list(loop.campaign.id) if e.kind == "model.rolled-back"]
    assert {event.detail["reason"] for event in told} == {"it sees bars everywhere"}


def test_the_next_predictions_use_the_new_champion(loop: Loop) -> None:
    """Also in a cycle that is open: before it predicts, and after it did."""
    loop.run(loop.start())
    approved(loop)
    first, second = (model.id for model in loop.factory.models.list(loop.campaign.id))
    cycle = loop.start()
    assert cycle.champion_id == second
    loop.factory.registry.roll_back("test", actor="ann", reason="no")
    assert loop.factory.cycles.get(cycle.id).champion_id == first
    cycle = loop.run(cycle, until=CycleState.ACQUIRING)
    loop.factory.registry.promote("test", second, actor="ann", reason="yes")
    loop.run(cycle, until=CycleState.HELD)
    shards = loop.factory.models.posterior_shards(second, cycle.catalogue_id, "catalogue")
    assert shards
    assert loop.factory.cycles.get(cycle.id).champion_id == second


def test_a_hold_keeps_the_champion_it_was_measured_against(loop: Loop) -> None:
    """After a rollback the comparison is stale: approving it is refused, rejecting it is not."""
    loop.run(loop.start())
    approved(loop)
    loop.run(loop.start(), until=CycleState.HELD)
    loop.factory.registry.roll_back("test", actor="ann", reason="no")
    with pytest.raises(Conflict, match="compared with model"):
        decide(loop, "approve")
    assert decide(loop, "reject").state is CycleState.KEPT


def test_a_candidate_of_an_open_cycle_is_the_gates(loop: Loop) -> None:
    """Promotion by name does not pass a gate that has yet to speak; a rejected model may be promoted."""
    cycle = held(loop)
    with pytest.raises(Conflict, match="the gate decides"):
        loop.factory.registry.promote("test", cycle.candidate_id, actor="ann", reason="now")
    decide(loop, "reject")
    loop.run(cycle)
    live = loop.factory.registry.promote("test", cycle.candidate_id, actor="ann", reason="second look")
    assert live.state is ModelState.CHAMPION
    assert loop.factory.registry.promote("test", live.id, actor="ann", reason="again") == live
    assert len(loop.factory.models.promotions(loop.campaign.id)) == 2
    with pytest.raises(BadInput, match="reason"):
        loop.factory.registry.roll_back("test", actor="ann", reason=" ")
    with pytest.raises(NotFound):
        loop.factory.registry.promote("test", 99, actor="ann", reason="which")


def test_simultaneous_changes_make_one_champion(loop: Loop) -> None:
    """Whoever saw another champion than the live one is told so."""
    loop.run(loop.start())
    approved(loop)
    store = loop.factory.models
    first, second = store.list(loop.campaign.id)

    def attempt(reason: str) -> object:
        try:
            return store.promote(first, over=second.id, actor="ann", reason=reason)
        except Conflict as conflict:
            return conflict

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(attempt, "abcd"))
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 3
    assert states(loop) == [ModelState.CHAMPION, ModelState.RETIRED]


def test_a_prediction_is_traced_to_votes_seed_and_code(loop: Loop) -> None:
    """From a catalogue row to the shard, the model, its parent, the snapshot's digest and the gate."""
    held(loop)
    decide(loop, "approve")
    loop.run(loop.factory.cycles.list(loop.campaign.id)[-1])
    first, second = loop.factory.models.list(loop.campaign.id)
    cycle = loop.factory.cycles.list(loop.campaign.id)[-1]
    tallies = loop.factory.classifications.tallies(loop.campaign.id, TREE.n_answers)
    galaxies = {g.galaxy_id: g for g in loop.factory.catalogues.galaxies(cycle.catalogue_id)}
    for galaxy_id in tallies.galaxy_ids[:6]:
        traced = loop.factory.learning.trace("test", model_id=None, galaxy_id=galaxy_id)
        member = galaxies[galaxy_id].evaluation
        assert traced.galaxy.role == ("evaluation member" if member else "trained on")
        assert traced.galaxy.votes > 0
        assert traced.galaxy.image_key == galaxies[galaxy_id].image_key
        assert (traced.galaxy.posterior_key is not None) == member
    assert [m.model_id for m in traced.models] == [second.id, first.id]
    assert traced.models[0].parent_digest == first.digest
    assert traced.models[0].snapshot_digest == loop.factory.snapshots.of_cycle(cycle.id).digest
    assert traced.models[0].decision.verdict == "promote"
    assert [p.kind for p in traced.models[0].promotions] == ["gate"]
    assert {m.code_revision for m in traced.models} == {second.card["code_revision"]}
    document = document_of(traced)
    assert document["models"][1]["model_id"] == first.id
    assert first.digest in traced.text()
    predicted = loop.factory.learning.trace("test", model_id=first.id, galaxy_id="g01").galaxy
    assert predicted.posterior_key.startswith("predictions/")


def test_lineage_that_does_not_add_up_is_refused(loop: Loop) -> None:
    """A damaged snapshot is not described as if it were whole; an unknown model is named."""
    with pytest.raises(NotFound, match="no champion"):
        loop.factory.learning.trace("test", model_id=None, galaxy_id=None)
    loop.run(loop.start())
    with pytest.raises(NotFound, match="no model 9"):
        loop.factory.learning.trace("test", model_id=9, galaxy_id=None)
    with pytest.raises(NotFound):
        loop.factory.learning.trace("test", model_id=None, galaxy_id="g99")
    snapshot = loop.factory.snapshots.of_cycle(1)
    (loop.factory.settings.folder / "objects" / snapshot.key).chmod(0o600)
    (loop.factory.settings.folder / "objects" / snapshot.key).write_bytes(b"not these")
    with pytest.raises(DigestMismatch):
        loop.factory.learning.trace("test", model_id=None, galaxy_id=None)
