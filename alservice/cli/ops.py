"""Commands of operation: the web service and its tokens, the database, Prefect, metrics, and the check of all parts."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from alservice.access import Scope, Token
from alservice.cli.shell import EXIT_ERROR, AsJson, Workdir, opened, print_json, print_table, use
from alservice.documents import document_of

tokens = typer.Typer(help="Tokens of the web service.", no_args_is_help=True)
sessions = typer.Typer(help="Who is logged in at the dashboard.", no_args_is_help=True)

ExpiresDays = Annotated[int, typer.Option("--expires-days", help="Days until it ends; 0 for never.")]
TokenName = Annotated[str, typer.Argument(help="Name of the token.")]


def serve(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 for any free one.")] = 8080,
    workdir: Workdir = None,
) -> None:
    """Serve the dashboard, the REST API, health and metrics until Ctrl-C."""
    use(workdir, count_repeats=True)
    from alservice.web.application import serve as run

    run(host, port, started=lambda name, number: typer.echo(f"serving on http://{name}:{number}", err=True))


@tokens.command("create")
def create_token(
    scope: Annotated[Scope, typer.Option("--scope", help="read looks, operate decides too, ingest only brings votes.")],
    expires_days: ExpiresDays = 90,
    name: Annotated[str | None, typer.Option("--name", help="Who acts, in the audit; made up when left out.")] = None,
    campaign: Annotated[
        str | None, typer.Option("--campaign", help="With scope ingest: the only campaign it brings votes to.")
    ] = None,
    workdir: Workdir = None,
) -> None:
    """Make a token and print it once; it is kept as a hash only."""
    use(workdir)

    with opened() as factory:
        token, secret = factory.access.create(scope=scope, expires_days=expires_days, name=name, campaign=campaign)
    _show_secret(token, secret)


@tokens.command("rotate")
def rotate_token(
    name: TokenName,
    overlap_hours: Annotated[
        int, typer.Option("--overlap-hours", help="Hours for which the secret before still opens; 0 ends sessions too.")
    ] = 24,
    expires_days: ExpiresDays = 90,
    workdir: Workdir = None,
) -> None:
    """Give a token another secret and print it once; the one before is good for the overlap."""
    use(workdir)

    with opened() as factory:
        token, secret = factory.access.rotate(name, overlap_hours=overlap_hours, expires_days=expires_days)
    until = token.previous_until
    said = f"is good until {_minute(until)}" if until else "opens nothing any more"
    typer.echo(f"the secret before {said}", err=True)
    _show_secret(token, secret)


@tokens.command("list")
def list_tokens(workdir: Workdir = None, as_json: AsJson = False) -> None:
    """List tokens, newest first; their secrets are not kept."""
    use(workdir)

    with opened() as factory:
        now, found = factory.clock(), factory.access.list()
    if as_json:
        print_json({**document_of(token), "state": token.state(now)} for token in found)
        return
    print_table(
        (t.name, t.scope, t.state(now), f"ends {_minute(t.expires_at)}", f"last used {_minute(t.last_used_at)}")
        for t in found
    )
    if not found:
        typer.echo("there is no token: `alservice token create --scope read` makes one")


@tokens.command("revoke")
def revoke_token(name: TokenName, workdir: Workdir = None) -> None:
    """End a token now, and every session that was opened with it."""
    use(workdir)

    with opened() as factory:
        token = factory.access.revoke(name)
    typer.echo(f"token {token.name} is revoked")


@sessions.command("list")
def list_sessions(workdir: Workdir = None, as_json: AsJson = False) -> None:
    """List who is logged in, newest first."""
    use(workdir)

    with opened() as factory:
        found = factory.access.list_sessions()
    if as_json:
        print_json(document_of(session) for session in found)
        return
    rows = [
        (
            f"{s.id}",
            s.token_name,
            f"ends {_minute(s.expires_at)}",
            f"last seen {_minute(s.last_seen_at)}",
            s.address,
            s.user_agent,
        )
        for s in found
    ]
    print_table(rows, right={0})
    if not found:
        typer.echo("nobody is logged in")


@sessions.command("end")
def end_session(
    number: Annotated[int | None, typer.Argument(help="Number of the session.", min=1)] = None,
    token: Annotated[str | None, typer.Option("--token", help="Every session of this token.")] = None,
    everywhere: Annotated[bool, typer.Option("--all", help="Every session.")] = False,
    workdir: Workdir = None,
) -> None:
    """Log people out now: one session, a token's, or all; tokens go on."""
    if (number is not None) + (token is not None) + everywhere != 1:
        raise typer.BadParameter("give a session's number, --token or --all")
    use(workdir)

    with opened() as factory:
        if number is not None:
            factory.access.end_session(number)
            ended = 1
        else:
            ended = factory.access.end_sessions(token_name=token)
    typer.echo(f"{ended} sessions ended")


def _show_secret(token: Token, secret: str) -> None:
    end = f"until {_minute(token.expires_at)}" if token.expires_at else "without end"
    typer.echo(f"token {token.name}, scope {token.scope}, valid {end}; it is not shown again:", err=True)
    typer.echo(secret)


def _minute(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "never"


database = typer.Typer(help="The database schema.", no_args_is_help=True)


def doctor(workdir: Workdir = None) -> None:
    """Check every part this process needs; say what to do about each failure."""
    use(workdir)
    from alservice.app import diagnose

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
    from alservice.ops.machine import upgrade_schema

    typer.echo(f"schema is at revision {upgrade_schema()}")


@database.command("backup")
def backup(
    out: Annotated[Path, typer.Option("--out", help="File to write; it appears once it is complete.")],
    workdir: Workdir = None,
) -> None:
    """Write the whole database to a file, in one snapshot, while everything goes on."""
    use(workdir)
    from alservice.ops.machine import backup_database

    typer.echo(f"{out}: {backup_database(out):,} bytes")


@database.command("restore")
def restore(
    file: Annotated[Path, typer.Argument(help="What `alservice db backup` wrote.", exists=True, dir_okay=False)],
    workdir: Workdir = None,
) -> None:
    """Bring a backup into an empty database; one that has tables is refused."""
    use(workdir)
    from alservice.ops.machine import restore_backup

    revision, needed = restore_backup(file)
    typer.echo(f"restored at revision {revision}")
    if revision != needed:
        typer.echo(f"this release needs {needed}: run `alservice db upgrade`", err=True)


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
    from flows.deployments import register_automations

    late_after = None if late_hours is None else timedelta(hours=late_hours)
    for name in register_automations(notify=notify, late_after=late_after):
        typer.echo(name)


@prefect.command("serve")
def serve_all(
    runs: Annotated[int, typer.Option("--runs", min=2, max=64, help="Runs at once.")] = 4, workdir: Workdir = None
) -> None:
    """Serve every deployment from this process until interrupted: one machine, no pools, no workers."""
    use(workdir)
    from flows.deployments import serve_deployments

    serve_deployments(runs=runs)


def metrics(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="File for a textfile collector; replaced in one go. Else standard output."),
    ] = None,
    workdir: Workdir = None,
) -> None:
    """Print the metrics that the database holds, in Prometheus' text format."""
    use(workdir)

    with opened() as factory:
        text = factory.ops.metrics_text()
    if out is None:
        typer.echo(text.decode(), nl=False)
        return
    part = out.with_name(f"{out.name}.part")
    part.write_bytes(text)
    part.chmod(0o644)  # the collector is another user, and these are counts
    part.replace(out)
