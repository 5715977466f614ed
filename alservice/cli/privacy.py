"""Forgetting volunteers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from alservice.cli.shell import Workdir, opened_for_files, use

Everywhere = Annotated[bool, typer.Option("--all", help="Every campaign.")]
SomeCampaign = Annotated[str | None, typer.Option("--campaign", help="Name of the campaign.")]


def forget_user(
    campaign: SomeCampaign = None,
    everywhere: Everywhere = False,
    user_id: Annotated[int | None, typer.Option("--user-id", min=1, help="Zooniverse user id.")] = None,
    user_hash: Annotated[str | None, typer.Option("--user-hash", help="Pseudonym, where the id is not known.")] = None,
    workdir: Workdir = None,
) -> None:
    """Make a person's classifications anonymous; votes and verdicts stay."""
    _one_of(campaign, everywhere)
    if (user_id is None) == (user_hash is None):
        raise typer.BadParameter("give either --user-id or --user-hash")
    use(workdir)
    from alservice.app import feeds

    with opened_for_files() as factory:
        known = user_hash if user_id is None else feeds.hash_of_user(factory, user_id)
        _show(feeds.forget_user(factory, campaign, str(known), actor="alservice forget-user"))


def forget_expired(campaign: SomeCampaign = None, everywhere: Everywhere = False, workdir: Workdir = None) -> None:
    """Make classifications anonymous that are older than `ingest.retention_days` of their campaign."""
    _one_of(campaign, everywhere)
    use(workdir)
    from alservice.app import feeds

    with opened_for_files() as factory:
        _show(feeds.forget_expired(factory, campaign, actor="alservice forget-expired"))


def _one_of(campaign: str | None, everywhere: bool) -> None:
    if (campaign is None) != everywhere:
        raise typer.BadParameter("give either --campaign or --all")


def _show(forgotten: Mapping[str, int]) -> None:
    for name, n in forgotten.items():
        typer.echo(f"{name}: {n} classifications are anonymous now")
