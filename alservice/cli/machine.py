"""The parts a process needs, and the database schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alservice.cli.shell import EXIT_ERROR, Workdir, use

database = typer.Typer(help="The database schema.", no_args_is_help=True)


def doctor(workdir: Workdir = None) -> None:
    """Check every part this process needs; say what to do about each failure."""
    use(workdir)
    from alservice.app.doctor import diagnose

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
    from alservice.app.context import upgrade_schema

    typer.echo(f"schema is at revision {upgrade_schema()}")


@database.command("backup")
def backup(
    out: Annotated[Path, typer.Option("--out", help="File to write; it appears once it is complete.")],
    workdir: Workdir = None,
) -> None:
    """Write the whole database to a file, in one snapshot, while everything goes on."""
    use(workdir)
    from alservice.app.context import backup_database

    typer.echo(f"{out}: {backup_database(out):,} bytes")


@database.command("restore")
def restore(
    file: Annotated[Path, typer.Argument(help="What `alservice db backup` wrote.", exists=True, dir_okay=False)],
    workdir: Workdir = None,
) -> None:
    """Bring a backup into an empty database; one that has tables is refused."""
    use(workdir)
    from alservice.app.context import restore_backup

    revision, needed = restore_backup(file)
    typer.echo(f"restored at revision {revision}")
    if revision != needed:
        typer.echo(f"this release needs {needed}: run `alservice db upgrade`", err=True)
