"""The loop on this machine, and the Zooniverse it talks to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alservice.cli.shell import AsJson, Workdir, opened, print_json, use


def rehearse(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="Galaxies with recorded votes (Parquet, or CSV, gzip or not); without it a synthetic sky."
        ),
    ] = None,
    galaxies: Annotated[int | None, typer.Option("--galaxies", min=20, help="Galaxies to use.")] = None,
    cycle_count: Annotated[
        int, typer.Option("--cycles", min=1, max=100, help="Cycles after cycle 0, which trains the first model.")
    ] = 3,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Root of every random draw.")] = 0,
    workdir: Workdir = None,
    as_json: AsJson = False,
) -> None:
    """Run the whole loop on this machine: real parts, a local Zooniverse and simulated volunteers.

    A work folder that holds the same rehearsal is continued, whatever stopped it.
    """
    use(workdir, prefect=True)
    from alservice.app.rehearsal import REHEARSAL
    from flows.rehearse import RehearsalParameters
    from flows.rehearse import rehearse as run

    report = run(RehearsalParameters(data=data, galaxies=galaxies, cycles=cycle_count, seed=seed))
    with opened() as factory:
        table = factory.cycle_table(REHEARSAL)
    if as_json:
        print_json(table.documents())
    else:
        typer.echo(table.text())
        typer.echo(table.change.text() if table.change else "one champion so far: nothing to compare")
    typer.echo(f"report: {report}", err=as_json)


def standin(
    state: Annotated[Path, typer.Option("--state", help="Folder that keeps its state.")],
    host: Annotated[str, typer.Option("--host", help="Loopback address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    user: Annotated[list[str] | None, typer.Option("--user", help="NAME:PASSWORD; may be repeated.")] = None,
    live_project: Annotated[
        bool, typer.Option("--live-project/--development-project", help="Only a live project counts and retires.")
    ] = False,
    project: Annotated[
        int, typer.Option("--project", min=1, max=10**9, help="Id of the project of a new state folder.")
    ] = 1,
    workflow: Annotated[int, typer.Option("--workflow", min=1, max=10**9, help="Id of its first workflow.")] = 10,
    subject_limit: Annotated[
        int, typer.Option("--subject-limit", min=0, help="Subjects that one account may upload, deleted ones included.")
    ] = 10_000,
    settle_s: Annotated[
        float,
        typer.Option("--settle-s", min=0.0, max=3600.0, help="Seconds until retirement, counters and exports show."),
    ] = 0.0,
) -> None:
    """Serve the local Zooniverse stand-in until interrupted; deploy/docs/standin.md lists its fault hooks."""
    from alservice.app.standin import serve_standin

    serve_standin(
        state,
        host=host,
        port=port,
        users=user or [],
        live_project=live_project,
        project_id=project,
        workflow_id=workflow,
        subject_limit=subject_limit,
        settle_s=settle_s,
        say=typer.echo,
    )
