"""Commands of the registry of models, and of a person's decision at the gate."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alservice.cli.shell import AsJson, CampaignName, Workdir, opened, print_json, print_table, use
from alservice.documents import document_of

if TYPE_CHECKING:
    from alservice.learning.gate import PersonVerdict
    from alservice.registry.records import Promotion


models = typer.Typer(help="The registry of models.", no_args_is_help=True)
gate = typer.Typer(help="What the gate decided, and a person's decision on a hold.", no_args_is_help=True)

Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the audit.")]
Actor = Annotated[str | None, typer.Option("--actor", help="Who decides; your login name when left out.")]
CycleNumber = Annotated[int | None, typer.Option("--number", min=0, help="Cycle; the newest when left out.")]


@models.command("list")
def list_models(campaign: CampaignName, workdir: Workdir = None, as_json: AsJson = False) -> None:
    """List a campaign's models, oldest first, and every change of the live one."""
    use(workdir)
    from alservice.learning.lineage import model_documents

    with opened() as factory:
        found, promotions = factory.registry.history(campaign)
    if as_json:
        print_json(model_documents(found, promotions))
        return
    if not found:
        typer.echo(f"campaign {campaign} has no model yet")
    rows = [
        (f"{m.id}", m.state, f"cycle {m.cycle_number}", f"{m.card['n_votes']:,} votes", m.digest[:16]) for m in found
    ]
    print_table(rows, right={0, 3})
    print_table([_change(promotion) for promotion in promotions])


def _change(made: Promotion) -> tuple[str, str, str]:
    over = "" if made.replaced_id is None else f" over {made.replaced_id}"
    said = f"{made.kind} by {made.actor}: {made.reason}"
    return f"{made.at:%Y-%m-%d %H:%M} UTC", f"model {made.model_id}{over}", said


@models.command("promote")
def promote(
    campaign: CampaignName,
    model: Annotated[int, typer.Option("--model", help="Its number in `model list`.")],
    reason: Reason,
    actor: Actor = None,
    workdir: Workdir = None,
) -> None:
    """Make a model the champion, past the gate; the next predictions use it."""
    use(workdir)

    with opened() as factory:
        live = factory.registry.promote(campaign, model, actor=_actor(actor), reason=reason)
    typer.echo(f"model {live.id} of cycle {live.cycle_number} is the champion of {campaign}")


@models.command("rollback")
def roll_back(campaign: CampaignName, reason: Reason, actor: Actor = None, workdir: Workdir = None) -> None:
    """Bring back the model that the champion replaced; the next predictions use it."""
    use(workdir)

    with opened() as factory:
        live = factory.registry.roll_back(campaign, actor=_actor(actor), reason=reason)
    typer.echo(f"model {live.id} of cycle {live.cycle_number} is the champion of {campaign} again")


@models.command("shadow")
def shadow(
    campaign: CampaignName,
    model: Annotated[int, typer.Option("--model", help="Model that predicts beside the champion.")],
    workdir: Workdir = None,
    as_json: AsJson = False,
) -> None:
    """Let a model predict beside the champion, and compare what the two would ask about; nothing live changes."""
    use(workdir)
    from dataclasses import asdict

    with opened() as factory:
        overlap = factory.learning.shadow(campaign, model, actor=_actor(None))
    if as_json:
        print_json([{"campaign": campaign, "shadow": model, **asdict(overlap)}])
    else:
        typer.echo(overlap.text())


@models.command("bias")
def bias(
    campaign: CampaignName,
    out: Annotated[Path, typer.Option("--out", help="HTML file to write.")],
    workdir: Workdir = None,
) -> None:
    """Explain the champion's surprise by properties of galaxies (needs the extra `bias`)."""
    use(workdir)

    with opened() as factory:
        report = factory.learning.write_bias_report(campaign, out)
    found = report.explanation
    typer.echo(f"{found.explained:.1%} of the surprise explained on {found.n_galaxies:,} galaxies")
    print_table([(f"  {term.importance:.4f} nats per vote", term.name) for term in found.terms])
    typer.echo(f"report: {out}")


@models.command("lineage")
def lineage(
    campaign: CampaignName,
    model: Annotated[int | None, typer.Option("--model", help="Model; the champion when left out.")] = None,
    galaxy: Annotated[str | None, typer.Option("--galaxy", help="Id of a galaxy that it predicted.")] = None,
    workdir: Workdir = None,
    as_json: AsJson = False,
) -> None:
    """Trace a model, or its prediction of a galaxy, to votes, data, seed and code; every digest is recomputed."""
    use(workdir)

    with opened() as factory:
        traced = factory.learning.trace(campaign, model_id=model, galaxy_id=galaxy)
    if as_json:
        print_json([document_of(traced)])
    else:
        typer.echo(traced.text())


@gate.command("show")
def show_gate(
    campaign: CampaignName, number: CycleNumber = None, workdir: Workdir = None, as_json: AsJson = False
) -> None:
    """Show the newest decision: every check with its number, interval and margin."""
    use(workdir)
    from alservice.cycle.table import check_lines

    with opened() as factory:
        cycle, decision = factory.learning.newest_decision(campaign, number)
    if as_json:
        print_json([{"campaign": campaign, "cycle": cycle.number, "state": cycle.state, **document_of(decision)}])
        return
    typer.echo(f"cycle {cycle.number} is {cycle.state}; verdict: {decision.verdict}")
    typer.echo(f"judged on {decision.n_galaxies:,} galaxies with {decision.n_votes:,} votes")
    for line in check_lines(decision):
        typer.echo(line)


@gate.command("approve")
def approve(
    campaign: CampaignName,
    reason: Reason,
    actor: Actor = None,
    number: CycleNumber = None,
    workdir: Workdir = None,
) -> None:
    """Promote the candidate of a held cycle."""
    _decide(campaign, "approve", reason, actor, number, workdir)


@gate.command("reject")
def reject(
    campaign: CampaignName,
    reason: Reason,
    actor: Actor = None,
    number: CycleNumber = None,
    workdir: Workdir = None,
) -> None:
    """Reject the candidate of a held cycle: the champion stays."""
    _decide(campaign, "reject", reason, actor, number, workdir)


def _decide(
    campaign: str, word: PersonVerdict, reason: str, actor: str | None, number: int | None, workdir: Workdir
) -> None:
    use(workdir)

    with opened() as factory:
        cycle = factory.learning.decide_held(campaign, word, actor=_actor(actor), reason=reason, number=number)
    typer.echo(f"cycle {cycle.number} of {campaign} is {cycle.state}")


def _actor(name: str | None) -> str:
    return name or getpass.getuser()
