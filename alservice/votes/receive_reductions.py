"""A request of Caesar's -> the campaign whose door it came to -> the newest reduction kept."""

from __future__ import annotations

import json
from dataclasses import dataclass

from alservice.access import Token
from alservice.constants import CLOCK_SLACK
from alservice.errors import NotFound
from alservice.process import Clock
from alservice.votes.caesar import BadReduction, parse_reduction, split_key
from alservice.votes.reductions_ports import ReductionStore, WebhookStore


@dataclass(frozen=True, kw_only=True)
class ReceiveReductions:
    """Take reductions in, in any order and however often, from who has shown a token for them."""

    webhooks: WebhookStore
    reductions: ReductionStore
    clock: Clock

    def run(self, address: str, *, token: Token, body: bytes) -> bool:
        """Keep one reduction; return False for one that came late or again.

        Parameters
        ----------
        address
            Last part of the path: the webhook's key, with the task after it in KaDE's way.

        Raises
        ------
        NotFound
            The token opens no webhook of this key: there is none, or it is another campaign's.
        BadReduction
            Naming the field at fault.
        """
        key, task = split_key(address)
        webhook = self.webhooks.find(key)
        if webhook is None or token.campaign_id not in {None, webhook.campaign_id}:
            raise NotFound(f"the token {token.name} opens no webhook {key[:100]!r}", webhook=key[:100])
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
