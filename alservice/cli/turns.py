"""Turns of the loop."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from alservice.cli.shell import AsJson, CampaignName, Workdir, opened, print_json, use

cycles = typer.Typer(help="Turns of the loop.", no_args_is_help=True)


@cycles.command("start")
def start_cycle(campaign: CampaignName, workdir: Workdir = None, as_json: AsJson = False) -> None:
    """Start a cycle and take it as far as it goes without waiting."""
    use(workdir, prefect=True)
    from flows.cycle import start_cycle as run

    run(campaign)
    _show_cycles(campaign, as_json, newest=True)


@cycles.command("resume")
def resume_cycle(campaign: CampaignName, workdir: Workdir = None, as_json: AsJson = False) -> None:
    """Go on with the open cycle, from the step it stopped or waits in."""
    use(workdir, prefect=True)
    from flows.cycle import resume_cycle as run

    run(campaign)
    _show_cycles(campaign, as_json, newest=True)


@cycles.command("list")
def list_cycles(campaign: CampaignName, workdir: Workdir = None, as_json: AsJson = False) -> None:
    """List the cycles of a campaign."""
    use(workdir)
    _show_cycles(campaign, as_json, newest=False)


@cycles.command("show")
def show_cycle(
    campaign: CampaignName,
    number: Annotated[int | None, typer.Option("--number", min=0, help="Cycle; the newest when left out.")] = None,
    workdir: Workdir = None,
    as_json: AsJson = False,
) -> None:
    """Show one cycle: its figures, the gate's checks and its history."""
    use(workdir)
    with opened() as factory:
        view = factory.cycle_view(campaign, number)
    if as_json:
        print_json([view.document()])
    else:
        typer.echo(view.text())


@cycles.command("forecast")
def forecast_budget(
    campaign: CampaignName,
    days: Annotated[
        float | None, typer.Option("--days", help="Days to forecast; the deadline's when left out.")
    ] = None,
    workdir: Workdir = None,
    as_json: AsJson = False,
) -> None:
    """Propose a cycle's budget and deadline from what volunteers gave per day."""
    use(workdir)
    with opened() as factory:
        from alservice.app.forecasts import propose_budget

        proposal = propose_budget(factory, campaign, days)
    if as_json:
        print_json([asdict(proposal)])
    else:
        typer.echo(proposal.text())


def _show_cycles(campaign: str, as_json: bool, *, newest: bool) -> None:
    with opened() as factory:
        table = factory.cycle_table(campaign)
    if newest:
        table = table.newest()
    if as_json:
        print_json(table.documents())
    else:
        typer.echo(table.text())
