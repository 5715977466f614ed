"""The table of steps: what flows, checks and pages take from it, and what one step asks of which service."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from alservice.campaigns.campaign import ZooniverseTarget
from alservice.campaigns.cycle import CYCLES, WORKING, CycleKind, CycleState
from alservice.campaigns.store import CampaignRow
from alservice.cycle.steps import BY_STATE, STEPS, Phase, collect, cycle_diagram, path_of, states_of
from alservice.votes.ingest import CollectReport
from tests.support.fake_ledger import a_cycle
from tests.support.publishing import CAMPAIGN


def test_every_working_state_has_one_step_and_every_phase_its_own() -> None:
    """Kind: a state added later without a step would stop every cycle that reaches it."""
    assert set(BY_STATE) == WORKING
    assert len(STEPS) == len(BY_STATE)
    assert states_of() == tuple(state for phase in Phase for state in states_of(phase))
    assert states_of(Phase.COLLECT) == (CycleState.COLLECTING,)
    assert states_of(Phase.CLOSE) == (CycleState.HELD, CycleState.PROMOTED, CycleState.KEPT)
    assert [step.state for step in STEPS if step.needs_gpu] == [CycleState.PREDICTING, CycleState.TRAINING]


def test_a_cycle_that_only_trains_asks_nobody() -> None:
    """It packs, trains and is decided on."""
    assert path_of(CycleKind.FULL) == states_of()
    retraining = path_of(CycleKind.RETRAIN)
    assert retraining == (CycleState.PLANNED, *states_of(Phase.LEARN, Phase.CLOSE))


def test_the_diagram_has_every_legal_transition_of_the_loop() -> None:
    """It is made from the table and the legal transitions, and names each once."""
    lines = [line.split(" --> ") for line in cycle_diagram().splitlines()[1:]]
    drawn = {(before.strip().partition("(")[0], state) for before, after in lines for state in after.split(" & ")}
    stopped = {CycleState.FAILED, CycleState.CANCELLED}
    assert drawn == {(str(step.state), str(to)) for step in STEPS for to in CYCLES.transitions[step.state] - stopped}


@pytest.mark.parametrize(("retirement", "told"), [("own", ["collected", 1]), ("panoptes", ["collected"])])
def test_after_each_ingest_our_tallies_retire_where_they_decide(retirement: Any, told: list[object]) -> None:
    """Collecting is not over, and yet what has its votes retires; the workflow's own rule is left alone."""
    done: list[object] = []

    def read(*_: object) -> CollectReport:
        done.append("collected")
        return CollectReport(read=0, new=0, requested=1, counted=0, is_over=False)

    def retire(campaign: CampaignRow, *, actor: str) -> None:
        assert actor == "test"
        done.append(campaign.id)

    stages: Any = SimpleNamespace(votes=SimpleNamespace(collect=read), subjects=SimpleNamespace(retire=retire))
    campaign = replace(CAMPAIGN, zooniverse=ZooniverseTarget(retirement=retirement))
    assert collect(stages, CampaignRow(id=1, version=1, settings=campaign), a_cycle(), "test") is None
    assert done == told
