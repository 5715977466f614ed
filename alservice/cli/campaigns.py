"""Commands of campaigns: their catalogues and cycles, the rehearsal of the loop and its stand-in."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from alservice.cli.shell import (
    AsJson,
    CampaignName,
    Column,
    Images,
    VotesAre,
    Workdir,
    opened,
    print_json,
    print_table,
    read_as,
    say_understood,
    use,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alservice.cycle.table import CycleTable


LayoutName = Literal["kaggle", "gz2", "zoobot", "paths"]
RuleName = Literal["label", "precision", "value", "gain"]
ReleaseFormat = Literal["parquet", "fits", "csv", "hats"]
OrderName = Literal["id", "healpix"]

campaigns = typer.Typer(help="Surveys and their decisions.", no_args_is_help=True)
catalogues = typer.Typer(help="Galaxies of a campaign.", no_args_is_help=True)


@campaigns.command("create")
def create_campaign(
    config: Annotated[Path, typer.Option("--config", help="YAML file; see deploy/campaigns.")], workdir: Workdir = None
) -> None:
    """Create a campaign, or add a version to it when its decisions changed."""
    use(workdir)
    from alservice.campaigns.campaign import load_campaign_file

    campaign = load_campaign_file(config)
    with opened() as factory:
        row = factory.sites.save(campaign)
    typer.echo(f"campaign {campaign.name} is at version {row.version}")


@campaigns.command("validate")
def validate_campaign(campaign: CampaignName, workdir: Workdir = None) -> None:
    """Compare the live workflow with the campaign's tree; fail on a mismatch."""
    use(workdir)

    with opened() as factory, factory.sites.opened(campaign):
        answer_maps = factory.subjects.validate(factory.campaigns.get(campaign).settings)
    for answer_map in answer_maps:
        typer.echo(f"workflow version {answer_map.version} asks the tree's {answer_map.n_questions} questions")


@campaigns.command("webhook")
def open_webhook(
    campaign: CampaignName,
    key: Annotated[str | None, typer.Option("--key", help="Name in the address; the campaign's by default.")] = None,
    expires_days: Annotated[int, typer.Option("--expires-days", help="Days until its token ends; 0 for never.")] = 90,
    workdir: Workdir = None,
) -> None:
    """Open the campaign's Caesar webhook with a token of scope ingest, shown once; earlier ones of the campaign end."""
    use(workdir)

    with opened() as factory:
        login = factory.access.issue_webhook(
            campaign, key=key, expires_days=expires_days, actor="alservice campaign webhook"
        )
    end = login.token.expires_at
    path = f"{login.path}_<task>, such as {login.path}_t0"
    print_table([("path", path), ("user", login.user), ("password", login.password)])
    typer.echo(f"token {login.token.name}, {f'until {end:%Y-%m-%d %H:%M} UTC' if end else 'without end'}", err=True)


@catalogues.command("import")
def import_catalogue(
    file: Annotated[
        Path, typer.Argument(help="Table of any format: images or image paths, and votes if there are any.")
    ],
    campaign: CampaignName,
    galaxies: Annotated[int | None, typer.Option("--galaxies", min=1, help="Use a seeded subset.")] = None,
    layout: Annotated[
        LayoutName | None, typer.Option("--layout", help="How votes are written; told by the columns if not given.")
    ] = None,
    images: Annotated[
        str | None,
        typer.Option("--images", help="Folder, https:// or s3:// address of images named after galaxies."),
    ] = None,
    image_name: Annotated[
        str, typer.Option("--image-name", help="File name in that folder, such as '{id:.4}/{id}.png'.")
    ] = "{id}.jpg",
    stretch: Annotated[
        str, typer.Option("--stretch", help="How fluxes of FITS images become grey: plain, sdss, decals, hsc, euclid.")
    ] = "plain",
    order: Annotated[
        OrderName,
        typer.Option("--order", help="How new galaxies are ordered: by id, or near ones together."),
    ] = "id",
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the file's content for galaxies that are there with another.")
    ] = False,
    column: Column = None,
    votes_are: VotesAre = None,
    workdir: Workdir = None,
) -> None:
    """Append galaxies and their images to a campaign's catalogue; every row becomes one or a recorded fault.

    What is there with the same content is counted as known, with other content refused by name. Killed, the same
    command goes on. Published vote tables are known: Galaxy Zoo 2, DECaLS, the Kaggle challenge, and those of
    galaxy-datasets.
    """
    use(workdir)
    from alservice.catalogue.service import ImageFiles, Order
    from alservice.science.stretch import stretch_of

    files = None if images is None else ImageFiles(folder=images, pattern=image_name)
    with opened() as factory:
        imported = factory.catalogue.import_file(
            campaign,
            file,
            galaxies=galaxies,
            layout=layout,
            images=files,
            order=Order(order),
            replace=replace,
            stretch=stretch_of(stretch),
            read_as=read_as(column, votes_are),
            on_understood=say_understood,
        )
    catalogue, record = imported.catalogue, imported.record
    replaced = f"{record.n_replaced} replaced, " if record.n_replaced else ""
    typer.echo(
        f"catalogue {catalogue.id} (layout {imported.layout}): {record.n_added} galaxies added, {replaced}"
        f"{record.n_known} known, {record.n_failed} rows failed of {record.n_requested}; "
        f"{catalogue.n_galaxies} galaxies in all"
    )
    if imported.inconsistent.n:
        typer.echo(
            f"  {imported.inconsistent.n} galaxies have more answers to a question than volunteers led to it, "
            f"the first is {imported.inconsistent.first}",
            err=True,
        )
    if imported.stripped.n:
        typer.echo(
            f"  {imported.stripped.n} image files hold more than pixels, such as metadata or bytes after the end, "
            f"which is not kept; the first is of {imported.stripped.first}",
            err=True,
        )
    for kind, noted in sorted(imported.converted.items()):
        how = f", stretch {stretch}" if kind in {"FITS", "TIFF"} else ""
        typer.echo(
            f"  {noted.n} images were made from {kind}{how}, to be shown to volunteers and network alike; "
            f"the first is of {noted.first}",
            err=True,
        )
    for fault in imported.faults:
        typer.echo(f"  row {fault.row} ({fault.galaxy_id or 'no id'}): {fault.field}: {fault.reason}", err=True)
    if record.n_failed > len(imported.faults):
        typer.echo(f"  all: alservice catalogue faults --campaign {campaign}", err=True)


@catalogues.command("show")
def show_catalogue(campaign: CampaignName, workdir: Workdir = None, as_json: AsJson = False) -> None:
    """Show the newest catalogue: its galaxies, the files they came from, and what of their images is shown to whom."""
    use(workdir)
    with opened() as factory:
        card = factory.catalogue.card(campaign)
    if as_json:
        print_json([card.document()])
    else:
        print_table(card.rows())


@catalogues.command("faults")
def list_faults(campaign: CampaignName, workdir: Workdir = None, as_json: AsJson = False) -> None:
    """List the rows of imported files that became no galaxy, each with its file and reason."""
    use(workdir)
    with opened() as factory:
        found = factory.catalogue.quarantine(campaign)
        rows = ({"file": each.source, **asdict(each.fault)} for each in found)
        if as_json:
            print_json(rows)
        else:
            print_table(map(_shown, rows), head=("file", "row", "galaxy", "field", "reason"), right={1})


def _shown(row: Mapping[str, object]) -> tuple[str, ...]:
    return tuple("no id" if value is None else str(value) for value in row.values())


@catalogues.command("release")
def release_catalogue(
    campaign: CampaignName,
    out: Annotated[Path, typer.Option("--out", help="Folder to make; there when it is whole.")],
    file_format: Annotated[
        ReleaseFormat, typer.Option("--format", help="fits and hats need the extra astro.")
    ] = "parquet",
    replace: Annotated[bool, typer.Option("--replace", help="Let a release that is there give way.")] = False,
    workdir: Workdir = None,
) -> None:
    """Write the newest catalogue for researchers: model, votes and both side by side, with a data dictionary.

    What the champion has not predicted yet is predicted first.
    """
    use(workdir)
    with opened() as factory:
        release = factory.releases.release(campaign, out, file_format, replace=replace)
    typer.echo(
        f"{release.path}: {release.n_galaxies} galaxies, {release.n_predicted} predicted, {release.n_voted} with votes"
    )


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
        view = factory.cycle.view(campaign, number)
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
        proposal = factory.acquisition.propose_budget(campaign, days)
    if as_json:
        print_json([asdict(proposal)])
    else:
        typer.echo(proposal.text())


def _show_cycles(campaign: str, as_json: bool, *, newest: bool) -> None:
    with opened() as factory:
        table = factory.cycle.table(campaign)
    if newest:
        table = table.newest()
    if as_json:
        print_json(table.documents())
    else:
        _print_cycles(table)


def _print_cycles(table: CycleTable) -> None:
    head, rows = table.rows()
    print_table(rows, head=head, right=range(len(head)))


def rehearse(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Galaxies with recorded votes, a table of any format; without it a synthetic sky."),
    ] = None,
    galaxies: Annotated[int | None, typer.Option("--galaxies", min=20, help="Galaxies to use.")] = None,
    cycle_count: Annotated[
        int, typer.Option("--cycles", min=1, max=100, help="Cycles after cycle 0, which trains the first model.")
    ] = 3,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Root of every random draw.")] = 0,
    stopping: Annotated[
        RuleName | None,
        typer.Option("--stopping", help="Stop asking by this rule once enough is known; else all get all votes."),
    ] = None,
    tree: Annotated[str, typer.Option("--tree", help="Question tree by name, or its file (.yaml, .json).")] = "gz2",
    images: Images = None,
    column: Column = None,
    votes_are: VotesAre = None,
    workdir: Workdir = None,
    as_json: AsJson = False,
) -> None:
    """Run the whole loop on this machine: real parts, a local Zooniverse and simulated volunteers.

    A work folder that holds the same rehearsal is continued, whatever stopped it.
    """
    use(workdir, prefect=True)
    from alservice.rehearsal.run import REHEARSAL
    from flows.rehearse import RehearsalParameters
    from flows.rehearse import rehearse as run

    said = read_as(column, votes_are)
    asked = RehearsalParameters(
        data=data,
        images=images,
        columns=dict(said.columns),
        votes_are=said.votes,
        galaxies=galaxies,
        cycles=cycle_count,
        seed=seed,
        stopping=stopping,
        tree=tree,
    )
    report = run(asked)
    with opened() as factory:
        table = factory.cycle.table(REHEARSAL)
    if as_json:
        print_json(table.documents())
    else:
        _print_cycles(table)
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
    from alservice.standin.folder import serve_standin

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
