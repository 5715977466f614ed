"""The transition tables: complete, guarded, and the source of the diagram."""

import itertools

import pytest

from alservice.campaigns.cycle import CYCLES, WORKING, CycleState
from alservice.errors import IllegalTransition
from alservice.states import MODELS, SUBJECTS, ModelState, StateMachine, SubjectState

MACHINES = [(CYCLES, CycleState), (SUBJECTS, SubjectState), (MODELS, ModelState)]


@pytest.mark.parametrize(("machine", "states"), MACHINES)
def test_every_state_has_a_row(machine: StateMachine, states: type) -> None:
    """A new state cannot dodge the table."""
    assert set(machine.transitions) == set(states)


@pytest.mark.parametrize(("machine", "states"), MACHINES)
def test_every_state_but_the_first_is_reached(machine: StateMachine, states: type) -> None:
    """No state is an orphan."""
    reached = set(itertools.chain.from_iterable(machine.transitions.values()))
    assert set(states) - reached <= {next(iter(states))}


def test_a_whole_cycle_is_legal() -> None:
    """The design's path through a cycle is in the table."""
    path = [
        "planned",
        "predicting",
        "acquiring",
        "publishing",
        "collecting",
        "training",
        "evaluating",
        "gated",
        "promoted",
        "done",
    ]
    for before, after in itertools.pairwise(map(CycleState, path)):
        CYCLES.check(before, after, what="1")


def test_a_first_cycle_skips_prediction() -> None:
    """Without a champion there is nothing to predict with."""
    assert CYCLES.can(CycleState.PLANNED, CycleState.ACQUIRING)


@pytest.mark.parametrize("state", sorted(WORKING))
def test_every_working_state_can_fail_and_be_resumed(state: CycleState) -> None:
    """Whatever stops a cycle, it goes back to its step."""
    assert CYCLES.can(state, CycleState.FAILED)
    assert CYCLES.can(CycleState.FAILED, state)
    assert CYCLES.can(CycleState.CANCELLED, state)


def test_an_illegal_step_names_the_thing_and_both_states() -> None:
    """The error tells what was tried, on what."""
    with pytest.raises(IllegalTransition, match="cycle 7 cannot go from done to planned"):
        CYCLES.check(CycleState.DONE, CycleState.PLANNED, what="7")


def test_the_diagram_has_every_transition() -> None:
    """The picture derives from the table."""
    lines = CYCLES.diagram().splitlines()[1:]
    assert len(lines) == sum(map(len, CYCLES.transitions.values()))
