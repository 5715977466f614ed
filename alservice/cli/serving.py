"""The web service, and the tokens that open it."""

from __future__ import annotations

from typing import Annotated

import typer

from alservice.cli.shell import AsJson, Workdir, opened, print_json, use
from alservice.core.access import Scope

tokens = typer.Typer(help="Tokens of the web service.", no_args_is_help=True)


def serve(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 for any free one.")] = 8080,
    workdir: Workdir = None,
) -> None:
    """Serve the dashboard, the REST API, health and metrics until Ctrl-C."""
    use(workdir, count_repeats=True)
    from alservice.web.server import serve as run

    run(host, port, started=lambda name, number: typer.echo(f"serving on http://{name}:{number}", err=True))


@tokens.command("create")
def create_token(
    scope: Annotated[Scope, typer.Option("--scope", help="read looks, operate decides too, ingest only brings votes.")],
    expires_days: Annotated[
        int | None, typer.Option("--expires-days", help="Days until it ends; without, it never does.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Who acts, in the audit; made up when left out.")] = None,
    workdir: Workdir = None,
) -> None:
    """Make a token and print it once; it is kept as a hash only."""
    use(workdir)
    from alservice.factory.access import create_token as create

    with opened() as factory:
        token, secret = create(factory, scope=scope, expires_days=expires_days, name=name)
    end = f"until {token.expires_at:%Y-%m-%d %H:%M} UTC" if token.expires_at else "without end"
    typer.echo(f"token {token.name}, scope {token.scope}, valid {end}; it is not shown again:", err=True)
    typer.echo(secret)


@tokens.command("list")
def list_tokens(workdir: Workdir = None, as_json: AsJson = False) -> None:
    """List tokens, newest first; their secrets are not kept."""
    use(workdir)
    from alservice.factory.access import list_tokens as find

    with opened() as factory:
        now, found = factory.clock(), find(factory)
    if as_json:
        print_json({**token.document(), "state": token.state(now)} for token in found)
        return
    for token in found:
        used = f"{token.last_used_at:%Y-%m-%d %H:%M} UTC" if token.last_used_at else "never"
        typer.echo(f"{token.name:<32} {token.scope:<8} {token.state(now):<8} last used {used}")
    if not found:
        typer.echo("there is no token: `alservice token create --scope read` makes one")


@tokens.command("revoke")
def revoke_token(
    name: Annotated[str, typer.Argument(help="Name of the token.")],
    workdir: Workdir = None,
) -> None:
    """End a token now, and every session that was opened with it."""
    use(workdir)
    from alservice.factory.access import revoke_token as revoke

    with opened() as factory:
        token = revoke(factory, name)
    typer.echo(f"token {token.name} is revoked")
