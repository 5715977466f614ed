"""What runs are called and how they are tagged: by campaign, cycle and step, linked with the cycle's page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect import tags
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

from alservice.app import open_app
from alservice.campaigns.store import CycleRun
from flows.tasks import CycleSummary


def run_name(campaign: str, number: int | None, what: str) -> str:
    """Return what a run is called, such as ``gz2 cycle 7: train``; ``gz2: train`` while no cycle is known."""
    return f"{campaign}: {what}" if number is None else f"{campaign} cycle {number}: {what}"


def tags_of(campaign: str, number: int | None = None) -> list[str]:
    """Return the tags by which runs of a campaign, and of one cycle of it, are found."""
    return [f"campaign:{campaign}"] if number is None else [f"campaign:{campaign}", f"cycle:{number}"]


def first_name() -> str:
    """Return how the run of a flow with a campaign is called when it starts: by its cycle if who started it knew it."""
    campaign, flow = str(flow_run.get_parameters()["campaign"]), flow_run.get_flow_name() or ""
    now = flow_run.get_name() or ""
    return now if now.startswith(f"{campaign} cycle ") and now.endswith(f": {flow}") else run_name(campaign, None, flow)


@contextmanager
def labelled(campaign: str) -> Iterator[None]:
    """Tag the run and the tasks inside by campaign."""
    label(tags_of(campaign))
    with tags(*tags_of(campaign)):
        yield


@contextmanager
def working_for(cycle: CycleSummary) -> Iterator[None]:
    """Name and tag the run, and the tasks inside, by the cycle that it works on, whose page lists it from now on."""
    what, own_tags = flow_run.get_flow_name() or "local", tags_of(cycle.campaign, cycle.number)
    name, run_id = run_name(cycle.campaign, cycle.number, what), flow_run.get_id()
    label(own_tags, name=name)
    if run_id is not None:
        with open_app() as factory:
            run = CycleRun(cycle_id=cycle.cycle_id, run_id=run_id, flow=what, name=name, began_at=factory.clock())
            factory.runs.note(run)
    with tags(*own_tags):
        yield


def label(more: list[str], *, name: str | None = None) -> None:
    """Give the run more tags, and a name; nothing to do where nobody keeps runs."""
    run_id = flow_run.get_id()
    if run_id is not None:
        with get_client(sync_client=True) as client:
            client.update_flow_run(UUID(run_id), name=name, tags=sorted({*flow_run.get_tags(), *more}))


def run_url() -> str | None:
    """Return the address of this run's page in Prefect; None where its UI has none."""
    run_id = flow_run.get_id()
    return None if run_id is None else url_for("flow-run", run_id)
