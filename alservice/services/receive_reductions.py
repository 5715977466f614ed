"""A request of Caesar's -> the door's check -> the newest reduction kept."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from alservice.constants import CLOCK_SLACK
from alservice.core.reductions import BadReduction, parse_reduction, split_key
from alservice.errors import NotFound, Terminal
from alservice.ports import Clock, ReductionStore, WebhookStore

NOBODY: Final = "0" * 64
"""What credentials are compared with where there is no door, so that both refusals take the same time."""


class WebhookRefused(Terminal):
    """User name and password are not those of the campaign's webhook."""

    code = "webhook-refused"
    remedy = "Issue new ones with `alservice campaign webhook --campaign C`, and give them to Caesar's effect."


@dataclass(frozen=True, kw_only=True)
class ReceiveReductions:
    """Take reductions in, in any order and however often.

    Parameters
    ----------
    digest
        Keyed hash of user name and password.
    """

    webhooks: WebhookStore
    reductions: ReductionStore
    digest: Callable[[str, str], str]
    clock: Clock

    def run(self, address: str, *, user: str, password: str, body: bytes) -> bool:
        """Keep one reduction; return False for one that came late or again.

        Parameters
        ----------
        address
            Last part of the path: the webhook's key, with the task after it in KaDE's way.

        Raises
        ------
        WebhookRefused
            The credentials are not the webhook's.
        NotFound
            There is no webhook of this key.
        BadReduction
            Naming the field at fault.
        """
        key, task = split_key(address)
        webhook = self.webhooks.find(key)
        known = NOBODY if webhook is None else webhook.digest
        is_right = hmac.compare_digest(self.digest(user, password), known)
        if webhook is None:
            raise NotFound(f"there is no webhook {key[:100]!r}", webhook=key[:100])
        if not is_right:
            raise WebhookRefused(f"user name or password is not that of webhook {key!r}", webhook=key)
        reduction = parse_reduction(_document(body), task=task)
        now = self.clock()
        if reduction.workflow_id != webhook.workflow_id:
            raise BadReduction(
                f"reducible.id is workflow {reduction.workflow_id}, and {key!r} takes those of {webhook.workflow_id}",
                field="reducible.id",
            )
        if reduction.updated_at > now + CLOCK_SLACK:
            raise BadReduction("updated_at is in the future", field="updated_at")
        return self.reductions.save(webhook.campaign_id, reduction, received_at=now)


def _document(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise BadReduction("body is not JSON", field="body") from None
