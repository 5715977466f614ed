"""The same loop, offline: a local Zooniverse, simulated volunteers, as many cycles as asked."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from prefect import flow, task
from pydantic import BaseModel, ConfigDict, Field

from alservice.app import open_app
from alservice.campaigns.cycle import CycleKind, CycleState
from alservice.catalogue.files import ReadAs
from alservice.cycle.readiness import Flight
from alservice.cycle.steps import states_of
from alservice.errors import Terminal
from alservice.rehearsal.run import REHEARSAL, cycles_done, prepare_rehearsal
from alservice.science.stopping import RuleName
from flows.artifacts import cycle_artifact
from flows.cycle import turn
from flows.leases import working_on
from flows.naming import labelled, working_for
from flows.ready import check_ground, check_work, opened
from flows.tasks import RETRIES, RETRY_DELAYS_S, actor, if_retriable, start_or_resume


class CycleStuck(Terminal):
    """A rehearsal's cycle waits, though its volunteers have answered."""

    code = "cycle-stuck"


class RehearsalParameters(BaseModel):
    """What a rehearsal is made from."""

    model_config = ConfigDict(frozen=True)

    data: Path | None = Field(
        default=None,
        description="Catalogue with recorded votes, a table of any format; empty for the synthetic sky.",
    )
    images: Path | None = Field(default=None, description="Folder of its images, where no column has them.")
    columns: dict[str, str] = Field(
        default_factory=dict, description="What columns of other names are: id, image, ra or dec to a column."
    )
    votes_are: Literal["counts", "fractions"] | None = Field(
        default=None, description="What votes are; empty: told by the numbers."
    )
    galaxies: int | None = Field(default=None, ge=20, description="Galaxies to use; empty takes the default.")
    cycles: int = Field(default=3, ge=1, le=100, description="Cycles after cycle 0, which trains the first model.")
    seed: int = Field(default=0, ge=0, description="Root of every random draw.")
    stopping: RuleName | None = Field(
        default=None,
        description="Rule by which asking stops once enough is known; empty: all votes for all galaxies.",
    )
    tree: str = Field(default="gz2", description="Question tree: a name, or a file where the flow runs.")


@task(
    task_run_name="rehearsal: prepare",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_retriable,
)
def prepare(parameters: RehearsalParameters) -> None:
    """Make the campaign and its catalogue, unless the work folder has them."""
    with open_app() as factory:
        prepare_rehearsal(
            factory,
            data=parameters.data,
            galaxies=parameters.galaxies,
            seed=parameters.seed,
            stopping=parameters.stopping,
            tree=parameters.tree,
            images=parameters.images,
            read_as=ReadAs(columns=parameters.columns, votes=parameters.votes_are),
        )


@task(task_run_name="rehearsal: report")
def report() -> Path:
    """Write the report of all cycles; return its path."""
    with open_app() as factory:
        return factory.cycle.write_report(REHEARSAL)


@flow(name="rehearse", flow_run_name="rehearsal: rehearse")
def rehearse(parameters: RehearsalParameters) -> Path:
    """Run cycles of one campaign on this machine until the asked number are done; return the path of the report.

    A work folder that holds a rehearsal is continued: finished cycles are not run again, and an interrupted one
    goes on with its step.
    """
    with labelled(REHEARSAL), opened() as factory:
        check_ground()
        prepare(parameters)
        with factory.sites.opened(REHEARSAL), working_on(factory, REHEARSAL, actor=actor()):
            check_work(factory, REHEARSAL, Flight(name="rehearse", legs=(states_of(),), starts=CycleKind.FULL))
            while cycles_done(factory) <= parameters.cycles:
                cycle = start_or_resume(REHEARSAL)
                with working_for(cycle):
                    cycle = turn(cycle)
                    cycle_artifact(cycle)
                if cycle.state is not CycleState.DONE:
                    raise CycleStuck(f"cycle {cycle.number} waits in {cycle.state}", state=cycle.state)
        return report()
