"""The command line: every job without a Prefect server, every error one line with its remedy.

Heavy imports happen inside commands, so that ``alservice --help`` answers at once.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import Annotated

import typer

from alservice.cli import campaigns, explore, models, offline, ops, selections, trees, votes
from alservice.cli.shell import OneLineErrors

app = typer.Typer(
    name="alservice",
    cls=OneLineErrors,
    help="The weekly human-machine loop of a galaxy survey on Zooniverse.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help in a third of the time
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        from alservice.telemetry import code_revision

        typer.echo(f"alservice {code_revision()}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print version and revision, and end.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Run the weekly human-machine loop of a galaxy survey on Zooniverse."""


app.command()(campaigns.rehearse)
app.command()(offline.train)
app.command()(offline.predict)
app.command()(offline.evaluate)
app.command()(offline.compare)
app.command()(offline.backfill)
app.command()(offline.backfill_votes)
app.command()(ops.doctor)
app.add_typer(offline.releases, name="data")
app.command()(ops.metrics)
app.add_typer(ops.database, name="db")
app.add_typer(ops.prefect, name="prefect")
app.add_typer(trees.trees, name="tree")
app.add_typer(campaigns.campaigns, name="campaign")
app.add_typer(campaigns.catalogues, name="catalogue")
app.add_typer(campaigns.cycles, name="cycle")
app.add_typer(explore.explore, name="explore")
app.add_typer(selections.selections, name="selection")
app.add_typer(models.models, name="model")
app.add_typer(models.gate, name="gate")
app.add_typer(votes.ingest, name="ingest")
app.add_typer(votes.quarantine, name="quarantine")
app.add_typer(votes.tallies, name="tally")
app.add_typer(votes.subjects, name="subject")
app.command()(votes.reconcile)
app.command()(votes.forget_user)
app.command()(votes.forget_expired)
app.command()(campaigns.standin)
app.command()(ops.serve)
app.add_typer(ops.tokens, name="token")
app.add_typer(ops.sessions, name="session")


def main() -> None:
    """Run the command line."""
    # Waiting threads sleep instead of spinning: the database and Prefect's server share the same few cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Batches hold many thousand records and no cycles: looking for cycles less often saves a tenth of ingest.
    gc.set_threshold(20_000, 20, 20)
    os.umask(0o077)  # what we write holds secrets and what volunteers said: it is our user's alone
    for told in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(told) is signal.SIG_DFL:  # else whoever started us, such as nohup, wants it ignored
            signal.signal(told, _end)
    app()


def _end(told: int, _frame: object) -> None:
    """End in order: by default a signal ends a process past its exits, and the database it started would run on."""
    signal.signal(told, signal.SIG_IGN)  # once: a second one would cut the exits short
    sys.exit(128 + told)
