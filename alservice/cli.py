"""The command line: every job without a Prefect server, every error one line with its remedy.

Heavy imports happen inside commands, so that ``alservice --help`` answers at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from alservice.errors import AlserviceError

if TYPE_CHECKING:
    from alservice.factory import Factory, IngestReport

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130


class OneLineErrors(TyperGroup):
    """Shows errors raised on purpose as one line with a remedy; anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; turn typed errors and Ctrl-C into exit codes."""
        try:
            return super().invoke(ctx)
        except AlserviceError as error:
            typer.echo(f"error: {error}", err=True)
            if error.remedy != AlserviceError.remedy:
                typer.echo(f"       {error.remedy}", err=True)
            raise typer.Exit(EXIT_ERROR) from None
        except BaseException as error:
            if not _was_interrupted(error):
                raise
            typer.echo("interrupted: nothing is lost; the same command goes on from here", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None


def _was_interrupted(error: BaseException | None) -> bool:
    """Tell whether Ctrl-C or SIGTERM began it: on the way out, Prefect's dying server adds errors of its own."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "TerminationSignal":
            return True
        error = error.__context__
    return False


app = typer.Typer(
    name="alservice",
    cls=OneLineErrors,
    help="The weekly human-machine loop of a galaxy survey on Zooniverse.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help in a third of the time
    pretty_exceptions_enable=False,
)
database = typer.Typer(help="The database schema.", no_args_is_help=True)
campaigns = typer.Typer(help="Surveys and their decisions.", no_args_is_help=True)
catalogues = typer.Typer(help="Galaxies of a campaign.", no_args_is_help=True)
cycles = typer.Typer(help="Turns of the loop.", no_args_is_help=True)
ingest = typer.Typer(help="Classifications in, and what their answers mean.", no_args_is_help=True)
quarantine = typer.Typer(help="Rows that cannot be read yet.", no_args_is_help=True)
tallies = typer.Typer(help="Counted votes.", no_args_is_help=True)
app.add_typer(database, name="db")
app.add_typer(campaigns, name="campaign")
app.add_typer(catalogues, name="catalogue")
app.add_typer(cycles, name="cycle")
app.add_typer(ingest, name="ingest")
app.add_typer(quarantine, name="quarantine")
app.add_typer(tallies, name="tally")

Workdir = Annotated[
    Path | None,
    typer.Option("--workdir", help="Folder of everything that is kept [ALSERVICE_WORKDIR; default alservice-work]."),
]
CampaignName = Annotated[str, typer.Option("--campaign", help="Name of the campaign.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines on standard output, and nothing else there.")]


def main() -> None:
    """Run the command line."""
    # Waiting threads sleep instead of spinning: the database and Prefect's server share the same few cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()


@app.command()
def rehearse(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Galaxies with recorded votes (Parquet or CSV); without it a synthetic sky."),
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
    _use(workdir, prefect=True)
    from alservice.factory.rehearsal import REHEARSAL
    from flows.rehearse import RehearsalParameters
    from flows.rehearse import rehearse as run

    report = run(RehearsalParameters(data=data, galaxies=galaxies, cycles=cycle_count, seed=seed))
    with _factory() as factory:
        table = factory.cycle_table(REHEARSAL)
    if as_json:
        _print_json(table.documents())
    else:
        typer.echo(table.text())
        typer.echo(table.change.text() if table.change else "one champion so far: nothing to compare")
    typer.echo(f"report: {report}", err=as_json)


@app.command()
def doctor(workdir: Workdir = None) -> None:
    """Check every part this process needs; say what to do about each failure."""
    _use(workdir)
    from alservice.factory import diagnose

    failed = 0
    for finding in diagnose():
        typer.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.part:<16} {finding.message}")
        if not finding.ok:
            failed += 1
            typer.echo(f"      -> {finding.remedy}")
    if failed:
        raise typer.Exit(EXIT_ERROR)


@app.command()
def reconcile(
    campaign: CampaignName,
    repair: Annotated[bool, typer.Option("--repair", help="Set right what a machine may.")] = False,
    workdir: Workdir = None,
    as_json: AsJson = False,
) -> None:
    """Compare the upload ledger with Zooniverse; fail if anything is off and stays so. Safe at any time."""
    _use(workdir)
    from alservice.factory.rehearsal import open_zooniverse

    with _factory() as factory, open_zooniverse(factory, campaign):
        outcome = factory.reconcile_campaign(campaign, repair=repair, actor="alservice reconcile")
    if as_json:
        _print_json([outcome.document()])
    else:
        typer.echo(outcome.text())
    if not outcome.is_clean:
        raise typer.Exit(EXIT_ERROR)


@app.command()
def standin(
    state: Annotated[Path, typer.Option("--state", help="Folder that keeps its state.")],
    host: Annotated[str, typer.Option("--host", help="Loopback address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    user: Annotated[list[str] | None, typer.Option("--user", help="NAME:PASSWORD; may be repeated.")] = None,
    live_project: Annotated[
        bool, typer.Option("--live-project/--development-project", help="Only a live project counts and retires.")
    ] = False,
) -> None:
    """Serve the local Zooniverse stand-in until interrupted."""
    from alservice.factory.standin import serve_standin

    serve_standin(state, host=host, port=port, users=user or [], live_project=live_project, say=typer.echo)


@database.command("upgrade")
def upgrade_database(workdir: Workdir = None) -> None:
    """Bring the database schema to this release's; data stay in place."""
    _use(workdir)
    from alservice.factory import upgrade_schema

    typer.echo(f"schema is at revision {upgrade_schema()}")


@campaigns.command("create")
def create_campaign(
    config: Annotated[Path, typer.Option("--config", help="YAML file; see deploy/campaigns.")], workdir: Workdir = None
) -> None:
    """Create a campaign, or add a version to it when its decisions changed."""
    _use(workdir)
    from alservice.campaigns import load_campaign_file

    campaign = load_campaign_file(config)
    with _factory() as factory:
        row = factory.campaigns.save(campaign)
    typer.echo(f"campaign {campaign.name} is at version {row.version}")


@campaigns.command("validate")
def validate_campaign(campaign: CampaignName, workdir: Workdir = None) -> None:
    """Compare the live workflow with the campaign's tree; fail on a mismatch."""
    _use(workdir)
    from alservice.factory.rehearsal import open_zooniverse

    with _factory() as factory, open_zooniverse(factory, campaign):
        answer_map = factory.validate_campaign(campaign)
    typer.echo(f"workflow version {answer_map.version} asks the tree's {len(answer_map.columns)} questions")


@catalogues.command("import")
def import_catalogue(
    file: Annotated[Path, typer.Argument(help="Parquet or CSV: images or image paths, and votes if there are any.")],
    campaign: CampaignName,
    galaxies: Annotated[int | None, typer.Option("--galaxies", min=1, help="Use a seeded subset.")] = None,
    workdir: Workdir = None,
) -> None:
    """Import galaxies and their images; every row becomes a galaxy or a recorded fault."""
    _use(workdir)
    with _factory() as factory:
        catalogue = factory.import_file(campaign, file, galaxies)
        faults = factory.catalogues.faults(catalogue.id)
    typer.echo(
        f"catalogue {catalogue.id}: {catalogue.n_galaxies} galaxies, {catalogue.n_failed} rows failed "
        f"of {catalogue.n_requested}"
    )
    for fault in faults[:20]:
        typer.echo(f"  row {fault.row} ({fault.galaxy_id or 'no id'}): {fault.field}: {fault.reason}", err=True)


@ingest.command("api")
def ingest_api(campaign: CampaignName, workdir: Workdir = None, as_json: AsJson = False) -> None:
    """Read the classifications that Zooniverse lists, from where the last reading ended."""
    _use(workdir)
    with _factory() as factory:
        _show_ingest(factory.ingest_api(campaign), as_json)


@ingest.command("export")
def ingest_export(
    file: Annotated[Path, typer.Argument(help="Classification export (CSV, gzip or not).")],
    campaign: CampaignName,
    workdir: Workdir = None,
    as_json: AsJson = False,
) -> None:
    """Read an export file; every row lands, waits in quarantine or is excluded by name."""
    _use(workdir)
    with _factory() as factory:
        _show_ingest(factory.ingest_export(campaign, file), as_json)


@ingest.command("workflows")
def ingest_workflows(
    file: Annotated[Path, typer.Argument(help="Workflows export (CSV) or workflow versions (JSON).")],
    campaign: CampaignName,
    workdir: Workdir = None,
) -> None:
    """Learn what each workflow version asked, and read the rows that waited for it."""
    _use(workdir)
    with _factory() as factory:
        versions, new, freed = factory.ingest_workflows(campaign, file)
    typer.echo(f"{versions} workflow versions, {new} new; {freed} rows left quarantine")


@quarantine.command("list")
def list_quarantine(
    campaign: CampaignName,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Rows to list.")] = 20,
    workdir: Workdir = None,
    as_json: AsJson = False,
) -> None:
    """Show how many rows wait for which reason, and the first of them."""
    _use(workdir)
    with _factory() as factory:
        waiting = factory.classifications.quarantined(factory.campaigns.get(campaign).id, limit=limit)
    if as_json:
        _print_json([{"reasons": dict(waiting.reasons), "rows": [row.document() for row in waiting.rows]}])
        return
    for reason, n in waiting.reasons.items():
        typer.echo(f"{n:>8}  {reason}")
    for row in waiting.rows:
        place = f"{row.source} row {row.row}" if row.row else row.source
        typer.echo(f"  classification {row.classification_id or '?'} ({place}): {row.reason}")
    if not waiting.reasons:
        typer.echo("quarantine is empty")


@tallies.command("export")
def export_tallies(
    campaign: CampaignName,
    out: Annotated[Path, typer.Option("--out", help="Table to write: .csv or .parquet.")],
    workdir: Workdir = None,
) -> None:
    """Write votes per galaxy, question and answer."""
    _use(workdir)
    with _factory() as factory:
        galaxies, inconsistent = factory.export_tallies(campaign, out)
    typer.echo(f"{out}: {galaxies} galaxies")
    if inconsistent:
        typer.echo(f"  {inconsistent} galaxies have more answers to a question than volunteers led to it", err=True)


@tallies.command("recount")
def recount_tallies(campaign: CampaignName, workdir: Workdir = None) -> None:
    """Read, judge and count all classifications anew, under the campaign's rules of now."""
    _use(workdir)
    with _factory() as factory:
        typer.echo(f"{factory.recount_tallies(campaign)} galaxies counted anew")


@cycles.command("start")
def start_cycle(campaign: CampaignName, workdir: Workdir = None, as_json: AsJson = False) -> None:
    """Start a cycle and take it as far as it goes without waiting."""
    _use(workdir, prefect=True)
    from flows.cycle import start_cycle as run

    run(campaign)
    _show_cycles(campaign, as_json, newest=True)


@cycles.command("resume")
def resume_cycle(campaign: CampaignName, workdir: Workdir = None, as_json: AsJson = False) -> None:
    """Go on with the open cycle, from the step it stopped or waits in."""
    _use(workdir, prefect=True)
    from flows.cycle import resume_cycle as run

    run(campaign)
    _show_cycles(campaign, as_json, newest=True)


@cycles.command("list")
def list_cycles(campaign: CampaignName, workdir: Workdir = None, as_json: AsJson = False) -> None:
    """List the cycles of a campaign."""
    _use(workdir)
    _show_cycles(campaign, as_json, newest=False)


@cycles.command("show")
def show_cycle(
    campaign: CampaignName,
    number: Annotated[int | None, typer.Option("--number", min=0, help="Cycle; the newest when left out.")] = None,
    workdir: Workdir = None,
    as_json: AsJson = False,
) -> None:
    """Show one cycle: its figures, the gate's checks and its history."""
    _use(workdir)
    with _factory() as factory:
        view = factory.cycle_view(campaign, number)
    if as_json:
        _print_json([view.document()])
    else:
        typer.echo(view.text())


def _show_ingest(report: IngestReport, as_json: bool) -> None:
    if as_json:
        _print_json([report.document()])
    else:
        typer.echo(report.text())


def _show_cycles(campaign: str, as_json: bool, *, newest: bool) -> None:
    with _factory() as factory:
        table = factory.cycle_table(campaign)
    if newest:
        table = table.newest()
    if as_json:
        _print_json(table.documents())
    else:
        typer.echo(table.text())


def _use(workdir: Path | None, *, prefect: bool = False) -> None:
    """Fix the settings of this process before anything reads them."""
    from alservice.adapters.telemetry import configure_logging

    configure_logging()
    if workdir is not None:
        os.environ["ALSERVICE_WORKDIR"] = str(workdir.expanduser().resolve())
    if prefect:
        from alservice.factory import prefect_environment

        for name, value in prefect_environment().items():
            os.environ.setdefault(name, value)


@contextmanager
def _factory() -> Iterator[Factory]:
    from alservice.factory import open_factory

    with open_factory() as factory:
        yield factory


def _print_json(documents: Iterable[dict[str, Any]]) -> None:
    import json

    for document in documents:
        typer.echo(json.dumps(document, allow_nan=False))


if __name__ == "__main__":
    main()
