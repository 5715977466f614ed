"""Jobs that schedules ask for: each finds the campaign and calls one service."""

from __future__ import annotations

from alservice.app.jobs import Factory
from alservice.campaigns.cycle import Cycle, CycleKind, CycleState
from alservice.cycle.sent_step_store import SqlSentStepStore
from alservice.errors import Conflict, NotFound
from alservice.prediction.service import Scope


def find_collecting(factory: Factory, name: str, *, actor: str) -> Cycle | None:
    """Return the open cycle for a tick that only collects; None without one.

    What failed while it collected is brought back: Zooniverse was away. What failed elsewhere, or what a person
    cancelled, is left for a person, or for the week's own run.
    """
    cycle = factory.cycles.open(factory.campaigns.get(name).id)
    if cycle is None or cycle.state is not CycleState.FAILED or cycle.left_from is not CycleState.COLLECTING:
        return cycle
    return factory.advance_cycle(actor).resume(cycle.id)


def start_retraining(factory: Factory, name: str, *, actor: str) -> Cycle:
    """Return the open cycle that only trains, brought back to its step if it had stopped; without one, start it.

    Raises
    ------
    Conflict
        Another cycle is open: its own training will use the votes.
    """
    row = factory.campaigns.get(name)
    cycle = factory.cycles.open(row.id)
    if cycle is None:
        return factory.start_cycle().run(row, actor=actor, kind=CycleKind.RETRAIN)
    if cycle.kind is not CycleKind.RETRAIN:
        raise Conflict(
            f"cycle {cycle.number} of {name} is open ({cycle.state}) and will train by itself", cycle=cycle.number
        )
    return factory.advance_cycle(actor).resume(cycle.id)


def predict_newest(factory: Factory, name: str) -> tuple[int, int]:
    """Predict every galaxy of the newest catalogue with the champion; return how many were done, and failed.

    No cycle is touched, and shards that exist are kept: the next cycle finds them.
    """
    row = factory.campaigns.get(name)
    champion, catalogue = factory.models.champion(row.id), factory.catalogues.newest(row.id)
    if champion is None or catalogue is None:
        missing = "champion" if catalogue is not None else "catalogue"
        raise NotFound(f"campaign {name} has no {missing} yet", campaign=name)
    factory.pack_images().run(catalogue, row.campaign.images)
    shards = factory.predict().run(row.campaign, catalogue.id, champion, Scope.CATALOGUE)
    return sum(s.n_galaxies for s in shards), sum(s.n_failed for s in shards)


def cancel_open(factory: Factory, name: str, *, actor: str, reason: str) -> Cycle | None:
    """Stop the open cycle, so that it resumes into its step; None if there is none or it has stopped already.

    What another pool was sent of it stops at its next sign of life, and writes nothing more.
    """
    cycle = factory.cycles.open(factory.campaigns.get(name).id)
    if cycle is None or cycle.left_from is not None:
        return None
    cancelled = factory.advance_cycle(actor).cancel(cycle.id, reason=reason)
    SqlSentStepStore(factory.engine).withdraw(cycle.campaign_id)
    return cancelled
