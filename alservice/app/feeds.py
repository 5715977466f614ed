"""Jobs of the feeds beside the listing, and of forgetting: each takes the stores and a campaign's name."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from alservice.access import MAX_NAME, Scope, Token
from alservice.app.access import create_token
from alservice.app.stores import Stores
from alservice.campaigns.policies import check_webhook_key
from alservice.campaigns.store import Event
from alservice.ids import hash_user
from alservice.science.tree import load_tree
from alservice.votes.caesar import CompareFeeds, ReceiveReductions
from alservice.votes.classification import Quarantine
from alservice.votes.counting import FeedComparison
from alservice.votes.privacy import ForgetPeople


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookLogin:
    """What Caesar's effect is configured with; the password, the token's secret, is shown once and stored nowhere.

    Parameters
    ----------
    user
        What the effect sends beside it: the service does not look at it.
    """

    path: str
    user: str
    token: Token
    password: str = field(repr=False)


def receive_reductions(stores: Stores) -> ReceiveReductions:
    """Return the service behind the webhook."""
    return ReceiveReductions(
        webhooks=stores.webhooks,
        reductions=stores.reductions,
        clock=stores.clock,
    )


def issue_webhook(stores: Stores, name: str, *, key: str | None, expires_days: int, actor: str) -> WebhookLogin:
    """Open a campaign's webhook under a key, its name by default, with a token of scope ingest for it alone.

    Tokens that were made for the campaign before end: `rotate_token` is the change with an overlap.
    """
    row = stores.campaigns.get(name)
    key = check_webhook_key(key or name)
    stores.webhooks.save(row.id, key=key)
    ending = f"-{secrets.token_hex(3)}"
    token, secret = create_token(
        stores,
        scope=Scope.INGEST,
        expires_days=expires_days,
        name=f"caesar-{name}"[: MAX_NAME - len(ending)] + ending,
        campaign=name,
        ends_others=True,
    )
    login = WebhookLogin(path=f"/caesar/reductions/{key}", user="caesar", token=token, password=secret)
    stores.events.record(
        Event(
            campaign_id=row.id,
            cycle_id=None,
            at=stores.clock(),
            actor=actor,
            kind="webhook.issued",
            detail={"key": key, "token": token.name},
        )
    )
    return login


def compare_feeds(stores: Stores, name: str) -> FeedComparison:
    """Return where a campaign's classifications and reductions differ."""
    row = stores.campaigns.get(name)
    return CompareFeeds(classifications=stores.classifications, feed=stores.reduced(row.campaign)).run(row)


def quarantined(stores: Stores, name: str, *, limit: int) -> Quarantine:
    """Return what of a campaign's feeds has no meaning yet: counts by reason, and the first rows."""
    row = stores.campaigns.get(name)
    unread = stores.reduced(row.campaign).read(row.id).unread
    return replace(stores.classifications.quarantined(row.id, limit=limit), reductions=unread)


def tally_faults(stores: Stores, name: str) -> Mapping[str, tuple[str, ...]]:
    """Return galaxies whose votes no walks through the tree give, with the names of the questions at fault."""
    row = stores.campaigns.get(name)
    questions = load_tree(row.campaign.tree).questions
    faults = stores.classifications.tally_faults(row.id)
    return {galaxy: tuple(questions[place].name for place in places) for galaxy, places in faults.items()}


def hash_of_user(stores: Stores, user_id: int) -> str:
    """Return the pseudonym of a Zooniverse user id."""
    return hash_user(str(user_id), stores.user_hash_key())


def forget_user(stores: Stores, name: str | None, user_hash: str, *, actor: str) -> Mapping[str, int]:
    """Forget a person in one campaign, or in all; return classifications that became anonymous by campaign."""
    rows = stores.campaigns.list() if name is None else [stores.campaigns.get(name)]
    forget = _forget(stores, actor)
    return {row.campaign.name: forget.user(row, user_hash) for row in rows}


def forget_expired(stores: Stores, name: str | None, *, actor: str) -> Mapping[str, int]:
    """Forget everybody in what is older than each campaign keeps; return classifications by campaign."""
    rows = stores.campaigns.list() if name is None else [stores.campaigns.get(name)]
    forget = _forget(stores, actor)
    return {row.campaign.name: forget.expired(row) for row in rows}


def _forget(stores: Stores, actor: str) -> ForgetPeople:
    return ForgetPeople(classifications=stores.classifications, events=stores.events, clock=stores.clock, actor=actor)
