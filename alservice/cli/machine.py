"""The parts a process needs, and the database schema."""

from __future__ import annotations

import typer

from alservice.cli.shell import EXIT_ERROR, Workdir, use

database = typer.Typer(help="The database schema.", no_args_is_help=True)


def doctor(workdir: Workdir = None) -> None:
    """Check every part this process needs; say what to do about each failure."""
    use(workdir)
    from alservice.factory import diagnose

    failed = 0
    for finding in diagnose():
        typer.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.part:<16} {finding.message}")
        if not finding.ok:
            failed += 1
            typer.echo(f"      -> {finding.remedy}")
    if failed:
        raise typer.Exit(EXIT_ERROR)


@database.command("upgrade")
def upgrade_database(workdir: Workdir = None) -> None:
    """Bring the database schema to this release's; data stay in place."""
    use(workdir)
    from alservice.factory import upgrade_schema

    typer.echo(f"schema is at revision {upgrade_schema()}")
