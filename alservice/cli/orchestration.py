"""Prefect: what is on its server beside the deployments, and all deployments on one machine."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from alservice.cli.shell import Workdir, use

prefect = typer.Typer(help="Deployments and automations on a Prefect server.", no_args_is_help=True)


@prefect.command("automations")
def register(
    notify: Annotated[
        str | None, typer.Option("--notify", help="Notification block to use, TYPE/NAME; without it they only show.")
    ] = None,
    late_hours: Annotated[
        float | None,
        typer.Option("--late-hours", min=0, help="Hours after which an open cycle is late; without it, eight days."),
    ] = None,
) -> None:
    """Put the automations of deploy/automations.yaml on the server, in place of those with the same names."""
    use(None)
    from flows.automations import register_automations

    late_after = None if late_hours is None else timedelta(hours=late_hours)
    for name in register_automations(notify=notify, late_after=late_after):
        typer.echo(name)


@prefect.command("serve")
def serve(
    runs: Annotated[int, typer.Option("--runs", min=2, max=64, help="Runs at once.")] = 4, workdir: Workdir = None
) -> None:
    """Serve every deployment from this process until interrupted: one machine, no pools, no workers."""
    use(workdir)
    from flows.serve import serve_deployments

    serve_deployments(runs=runs)
