"""Steps that run elsewhere: their rows, and the orchestrator that runs them."""

from __future__ import annotations

from typing import Protocol

from alservice.campaigns.cycle import Cycle, CycleState
from alservice.cycle.sent_steps import RunState, SentStep


class SentStepStore(Protocol):
    """At most one sent step per campaign; every call is one transaction, and the database's clock decides."""

    def send(self, cycle: Cycle, token: str, attempt: int) -> SentStep:
        """Record that the cycle's step is sent; whatever was sent before can write no more."""

    def report(self, campaign_id: int, token: str, *, worker: str, place: str) -> SentStep:
        """Record a sign of life of the run that has the step; raises `LeaseLost` when it was taken back."""

    def get(self, campaign_id: int) -> SentStep | None:
        """Return what is sent at the moment."""

    def take_back(self, sent: SentStep, cycle: Cycle, *, actor: str, reason: str) -> None:
        """Take a step back, with its event; the run that has it can write no more. Done already, nothing changes."""


class Runs(Protocol):
    """Runs of a cycle's steps in an orchestrator; every call returns within seconds, also where nobody answers."""

    def start(self, step: CycleState, token: str) -> str:
        """Start the run of a step and return its id; the same token again starts no second one.

        Raises
        ------
        PrefectUnavailable
            No answer: it may have been started all the same.
        """

    def state(self, run: str) -> RunState:
        """Return where a run stands; `RunState.UNKNOWN` without an answer."""

    def name(self, run: str) -> str:
        """Return what people know a run by."""

    def give_up(self, run: str, reason: str) -> bool:
        """Mark a run as crashed; return whether the orchestrator heard it."""
