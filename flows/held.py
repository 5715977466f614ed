"""A held candidate in Prefect: the form that a person fills in, and what becomes of it."""

from __future__ import annotations

from prefect import task
from prefect.input import RunInput
from pydantic import Field

from alservice.app import open_app
from alservice.cycle.table import check_lines
from alservice.learning.gate import PersonVerdict
from flows.tasks import CycleSummary, actor

GRACE_S = 3600
"""How much longer than the deadline a run stays suspended (s): ingest ends the hold, not Prefect's timeout."""


class HeldDecision(RunInput):
    """Whether a candidate that the gate could not tell from the champion goes live."""

    decision: PersonVerdict = Field(
        default="reject", description="approve: the candidate becomes the champion; reject: the champion stays."
    )
    reason: str = Field(min_length=1, description="Why; it is kept in the audit.")
    actor: str = Field(default="", description="Who decides; the run's name when left empty.")


def held_text(cycle: CycleSummary) -> str:
    """Return what a person should know before deciding, as markdown."""
    with open_app() as factory:
        _, decision = factory.learning.newest_decision(cycle.campaign, cycle.number)
    checks = "\n".join(check_lines(decision))
    return (
        f"Cycle {cycle.number} of {cycle.campaign} is held on {decision.n_galaxies:,} galaxies.\n\n```\n{checks}\n```"
    )


def seconds_to_decide(cycle: CycleSummary) -> int:
    """Return how long the cycle waits for a person (s)."""
    with open_app() as factory:
        return factory.learning.seconds_to_decide(cycle.cycle_id)


@task(task_run_name="{cycle.campaign} cycle {cycle.number}: {word} the candidate")
def decide_held(cycle: CycleSummary, word: PersonVerdict, person: str, reason: str) -> CycleSummary:
    """Carry out what a person decided; decided the same way meanwhile, nothing changes."""
    with open_app() as factory:
        by = person.strip() or actor()
        decided = factory.learning.decide_held(cycle.campaign, word, actor=by, reason=reason, number=cycle.number)
        return CycleSummary.of(cycle.campaign, decided)
