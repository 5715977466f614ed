"""The registry: promotion, its decision and its events are one; there is one champion."""

from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from alservice.campaigns.cycle import CycleState
from alservice.campaigns.policies import GatePolicy
from alservice.catalogue.galaxies import Shard
from alservice.errors import Conflict, IllegalTransition, NotFound
from alservice.registry.records import Check, GateDecision
from alservice.states import ModelState
from alservice.storage.postgres import transaction

CHECK = Check(name="nll-per-vote", value=-0.125, low=-0.2, high=0.1 + 0.2, margin=0.002, passed=True, detail="Better.")


def decision(verdict: str) -> GateDecision:
    """Return a decision with evidence."""
    return GateDecision(verdict=verdict, n_galaxies=120, n_votes=4800, checks=(CHECK,), policy=GatePolicy())


def promoted(stores, campaign, catalogue):
    """Run a cycle to its end with a promotion, and return it."""
    cycle = stores.models.settle(stores.at_gate(campaign, catalogue), decision("promote"), actor="gate")
    return stores.move(cycle, CycleState.DONE)


def states(stores, campaign) -> list[ModelState]:
    """Return the states of all models, oldest first."""
    return [model.state for model in stores.models.list(campaign.id)]


def test_candidate_is_recorded_with_its_cycle(stores, cycle) -> None:
    """The cycle's row names its candidate at once; saving again, even other weights, keeps the first."""
    model = stores.candidate(cycle)
    assert (model.state, model.cycle_number, model.card) == (ModelState.CANDIDATE, 0, {"seed": 7})
    assert stores.cycles.get(cycle.id).candidate_id == model.id
    again = stores.models.save(cycle, key="models/other", digest="0", snapshot_id=model.snapshot_id, card={})
    assert again == model == stores.models.get(model.id)


def test_first_promotion_makes_a_champion(stores, campaign, catalogue) -> None:
    """Model, cycle, decision and events change in one go."""
    cycle = stores.at_gate(campaign, catalogue)
    assert stores.models.champion(campaign.id) is None
    settled = stores.models.settle(cycle, decision("promote"), actor="gate")
    assert settled.state is CycleState.PROMOTED
    assert stores.cycles.get(cycle.id) == settled
    assert stores.models.champion(campaign.id).id == cycle.candidate_id
    assert stores.models.decision(cycle.id) == decision("promote")
    newest = stores.events.list(campaign.id)[:4]
    assert {event.kind for event in newest} == {"cycle.moved", "gate.decided", "model.moved", "model.promoted"}
    assert {event.actor for event in newest} == {"gate"}


def test_next_promotion_retires_the_champion(stores, campaign, catalogue) -> None:
    """There is one champion after each promotion, and the cycle started with the one before."""
    first = promoted(stores, campaign, catalogue)
    second = promoted(stores, campaign, catalogue)
    assert second.champion_id == first.candidate_id
    assert states(stores, campaign) == [ModelState.RETIRED, ModelState.CHAMPION]
    assert stores.models.champion(campaign.id).id == second.candidate_id


def test_rejected_candidate_leaves_the_champion(stores, campaign, catalogue) -> None:
    """After a rejection the cycle is kept and the old model lives on."""
    promoted(stores, campaign, catalogue)
    settled = stores.models.settle(stores.at_gate(campaign, catalogue), decision("reject"), actor="gate")
    assert settled.state is CycleState.KEPT
    assert states(stores, campaign) == [ModelState.CHAMPION, ModelState.REJECTED]


@pytest.mark.parametrize(
    ("verdict", "state", "model"),
    [("promote", CycleState.PROMOTED, ModelState.CHAMPION), ("reject", CycleState.KEPT, ModelState.REJECTED)],
)
def test_a_person_settles_a_held_cycle(stores, campaign, catalogue, verdict, state, model) -> None:
    """A hold changes no model; the later decision replaces it, and the audit has both."""
    held = stores.models.settle(stores.at_gate(campaign, catalogue), decision("hold"), actor="gate")
    assert (held.state, states(stores, campaign)) == (CycleState.HELD, [ModelState.CANDIDATE])
    settled = stores.models.settle(held, decision(verdict), actor="ann")
    assert (settled.state, states(stores, campaign)) == (state, [model])
    assert stores.models.decision(held.id).verdict == verdict
    decided = [e for e in stores.events.list(campaign.id) if e.kind == "gate.decided"]
    assert [(e.actor, e.detail["verdict"]) for e in decided] == [("ann", verdict), ("gate", "hold")]


def test_a_hold_that_nobody_answers_keeps_the_champion(stores, campaign, catalogue) -> None:
    """The candidate is rejected with the reason in the audit; the gate's hold stays its decision."""
    held = stores.models.settle(stores.at_gate(campaign, catalogue), decision("hold"), actor="gate")
    kept = stores.models.keep(held, actor="clock", reason="no answer in time")
    assert (kept.state, states(stores, campaign)) == (CycleState.KEPT, [ModelState.REJECTED])
    assert stores.models.decision(held.id).verdict == "hold"
    assert stores.events.list(campaign.id)[1].detail["reason"] == "no answer in time"


def test_only_a_held_cycle_is_kept(stores, campaign, catalogue) -> None:
    """A cycle at the gate needs the gate's decision."""
    cycle = stores.at_gate(campaign, catalogue)
    with pytest.raises(IllegalTransition, match="gated, not held"):
        stores.models.keep(cycle, actor="clock", reason="")
    assert states(stores, campaign) == [ModelState.CANDIDATE]


def test_settling_twice_settles_once(stores, campaign, catalogue) -> None:
    """A repeat from an old reading is a conflict and leaves decision, models and audit as they are."""
    cycle = stores.at_gate(campaign, catalogue)
    stores.models.settle(cycle, decision("promote"), actor="gate")
    before = stores.events.list(campaign.id)
    with pytest.raises(Conflict):
        stores.models.settle(cycle, decision("reject"), actor="gate")
    assert stores.models.decision(cycle.id).verdict == "promote"
    assert states(stores, campaign) == [ModelState.CHAMPION]
    assert stores.events.list(campaign.id) == before


def test_a_cycle_before_the_gate_is_not_settled(stores, campaign, cycle) -> None:
    """No step may be skipped on the way to a promotion."""
    stores.candidate(cycle)
    with pytest.raises(IllegalTransition, match="planned to promoted"):
        stores.models.settle(cycle, decision("promote"), actor="gate")
    assert states(stores, campaign) == [ModelState.CANDIDATE]


def test_a_cycle_without_candidate_is_not_settled(stores, campaign, catalogue, cycle) -> None:
    """There is nothing to decide on."""
    steps = (CycleState.ACQUIRING, CycleState.PUBLISHING, CycleState.COLLECTING, CycleState.TRAINING)
    cycle = stores.move(cycle, *steps, CycleState.EVALUATING, CycleState.GATED)
    with pytest.raises(Conflict, match="no candidate"):
        stores.models.settle(cycle, decision("promote"), actor="gate")
    assert stores.models.decision(cycle.id) is None


def test_no_promotion_past_a_champion_it_was_not_compared_with(engine: Engine, stores, campaign, catalogue) -> None:
    """A rollback during the cycle makes its comparison stale: nothing changes, and the message says which is live."""
    promoted(stores, campaign, catalogue)
    promoted(stores, campaign, catalogue)
    cycle = stores.at_gate(campaign, catalogue)
    with transaction(engine) as connection:
        connection.execute(text("UPDATE models SET state = 'retired' WHERE state = 'champion'"))
        connection.execute(text("UPDATE models SET state = 'champion' WHERE id = 1"))
    with pytest.raises(Conflict, match="compared with model 2, but 1 is live"):
        stores.models.settle(cycle, decision("promote"), actor="gate")
    assert stores.cycles.get(cycle.id).state is CycleState.GATED
    assert stores.models.decision(cycle.id) is None


def test_half_a_promotion_is_none(engine: Engine, stores, campaign, catalogue) -> None:
    """When the last write of a promotion fails, the first ones are taken back."""
    promoted(stores, campaign, catalogue)
    cycle = stores.at_gate(campaign, catalogue)
    before = stores.events.list(campaign.id)
    with transaction(engine) as connection:
        connection.execute(
            text("ALTER TABLE events ADD CONSTRAINT full_disk CHECK (detail->>'to' <> 'champion') NOT VALID")
        )
    with pytest.raises(Conflict, match="full_disk"):
        stores.models.settle(cycle, decision("promote"), actor="gate")
    assert stores.cycles.get(cycle.id) == cycle
    assert states(stores, campaign) == [ModelState.CHAMPION, ModelState.CANDIDATE]
    assert stores.models.decision(cycle.id) is None
    assert stores.events.list(campaign.id) == before


def test_second_champion_is_refused_by_the_database(engine: Engine, stores, campaign, catalogue) -> None:
    """Even SQL by hand cannot make two champions."""
    promoted(stores, campaign, catalogue)
    stores.at_gate(campaign, catalogue)
    with pytest.raises(Conflict, match="uq_models_champion"), transaction(engine) as connection:
        connection.execute(text("UPDATE models SET state = 'champion'"))


def test_absent_model_is_named(stores, campaign) -> None:
    """An unknown id is not found; an empty registry has no champion."""
    with pytest.raises(NotFound, match="5"):
        stores.models.get(5)
    assert stores.models.champion(campaign.id) is None
    assert stores.models.list(campaign.id) == []


def test_posterior_shards_are_listed_once(stores, catalogue, cycle) -> None:
    """Scopes do not mix, order is by index, and the first of two equal shards is kept."""
    model = stores.candidate(cycle)
    shards = [Shard(index=i, key=f"posteriors/{i}", n_galaxies=5, n_failed=1) for i in (1, 0)]
    for shard in (*shards, replace(shards[0], key="posteriors/other")):
        stores.models.save_posterior_shard(model.id, catalogue.id, "catalogue", shard)
    assert stores.models.posterior_shards(model.id, catalogue.id, "catalogue") == shards[::-1]
    assert stores.models.posterior_shards(model.id, catalogue.id, "evaluation") == []
    with pytest.raises(Conflict, match="ck_posterior_shards_scope"):
        stores.models.save_posterior_shard(model.id, catalogue.id, "everything", shards[0])
