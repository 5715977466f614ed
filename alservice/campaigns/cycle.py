"""One turn of the loop: its states, which may follow which, and what a cycle is made from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from alservice.states import StateMachine


class CycleState(StrEnum):
    """Coarse state of a cycle, for logic; the events tell people the rest."""

    PLANNED = "planned"
    PREDICTING = "predicting"
    ACQUIRING = "acquiring"
    PUBLISHING = "publishing"
    COLLECTING = "collecting"
    TRAINING = "training"
    EVALUATING = "evaluating"
    GATED = "gated"
    HELD = "held"
    PROMOTED = "promoted"
    KEPT = "kept"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class CycleKind(StrEnum):
    """What a cycle is for."""

    FULL = "full"
    RETRAIN = "retrain"  # trains on the votes there are: nothing is acquired, nobody is asked


WORKING = frozenset(
    {
        CycleState.PLANNED,
        CycleState.PREDICTING,
        CycleState.ACQUIRING,
        CycleState.PUBLISHING,
        CycleState.COLLECTING,
        CycleState.TRAINING,
        CycleState.EVALUATING,
        CycleState.GATED,
        CycleState.HELD,
        CycleState.PROMOTED,
        CycleState.KEPT,
    }
)
"""States with a step to run or to wait for; each may fail or be cancelled, and is resumed into."""

_FORWARD: dict[CycleState, frozenset[CycleState]] = {
    CycleState.PLANNED: frozenset({CycleState.PREDICTING, CycleState.ACQUIRING, CycleState.TRAINING}),
    CycleState.PREDICTING: frozenset({CycleState.ACQUIRING}),
    CycleState.ACQUIRING: frozenset({CycleState.PUBLISHING}),
    CycleState.PUBLISHING: frozenset({CycleState.COLLECTING}),
    CycleState.COLLECTING: frozenset({CycleState.TRAINING, CycleState.KEPT}),
    CycleState.TRAINING: frozenset({CycleState.EVALUATING}),
    CycleState.EVALUATING: frozenset({CycleState.GATED}),
    CycleState.GATED: frozenset({CycleState.PROMOTED, CycleState.KEPT, CycleState.HELD}),
    CycleState.HELD: frozenset({CycleState.PROMOTED, CycleState.KEPT}),
    CycleState.PROMOTED: frozenset({CycleState.DONE}),
    CycleState.KEPT: frozenset({CycleState.DONE}),
    CycleState.DONE: frozenset(),
}
_STOPS = frozenset({CycleState.FAILED, CycleState.CANCELLED})

CYCLES: StateMachine[CycleState] = StateMachine(
    name="cycle",
    transitions={
        **{state: after | (_STOPS if state in WORKING else frozenset()) for state, after in _FORWARD.items()},
        CycleState.FAILED: WORKING | {CycleState.CANCELLED},
        CycleState.CANCELLED: WORKING,
    },
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cycle:
    """One row of the cycle table.

    Parameters
    ----------
    number
        0 for the first, which draws at random because there is no champion yet.
    left_from
        The step a failed or cancelled cycle stopped in and resumes into; None otherwise.
    champion_id
        The live model when the cycle started; None in cycle 0.
    deadline
        End of collecting (UTC); None before it begins.
    kind
        Whether it asks volunteers, or only trains anew.
    """

    id: int
    campaign_id: int
    campaign_version: int
    catalogue_id: int
    number: int
    state: CycleState
    left_from: CycleState | None
    champion_id: int | None
    candidate_id: int | None
    deadline: datetime | None
    created_at: datetime
    updated_at: datetime
    kind: CycleKind = CycleKind.FULL

    @property
    def is_open(self) -> bool:
        """Whether work on it remains; a campaign has at most one open cycle."""
        return self.state is not CycleState.DONE

    @property
    def step(self) -> CycleState:
        """The working state to run next, also for a cycle that failed or was cancelled."""
        return self.left_from if self.left_from is not None else self.state


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """Why nothing of a campaign starts or advances: who stopped it, and when (UTC)."""

    reason: str
    actor: str
    at: datetime
