"""Automations from their file onto a Prefect server."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, DoNothing, SendNotification
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound

from alservice.errors import BadInput, NotFound

FILE = Path(__file__).resolve().parents[1] / "deploy" / "automations.yaml"
"""Their only source."""

SOONEST = timedelta(seconds=10)
"""Shortest time that Prefect accepts for what should happen and does not."""


def read_automations(
    path: Path = FILE, *, block_id: str | None = None, late_after: timedelta | None = None
) -> list[AutomationCore]:
    """Return the automations of a file; they notify through a block where one is given, else they only show.

    Parameters
    ----------
    late_after
        When what should have happened is late, in place of the file's time.
    """
    documents = yaml.safe_load(path.read_text(encoding="utf-8"))["automations"]
    return [_automation(document, block_id, late_after) for document in documents]


def register_automations(*, notify: str | None = None, late_after: timedelta | None = None) -> list[str]:
    """Put the file's automations on the server, in place of those with the same names; return the names.

    Parameters
    ----------
    notify
        ``type/name`` of a notification block on the server, such as ``slack-webhook/on-call``.
    late_after
        Time from a cycle's start after which it is late; the file's, for a weekly cycle, when not given.

    Raises
    ------
    NotFound
        The server has no such block.
    BadInput
        The time is shorter than Prefect looks.
    """
    if late_after is not None and late_after < SOONEST:
        raise BadInput(f"a cycle cannot be late within {SOONEST.total_seconds():.0f} s: Prefect looks no oftener")
    with get_client(sync_client=True) as client:
        block_id = None if notify is None else _block_id(client, notify)
        wanted = read_automations(block_id=block_id, late_after=late_after)
        for automation in wanted:
            for old in client.read_automations_by_name(automation.name):
                client.delete_automation(old.id)
            client.create_automation(automation)
    return [automation.name for automation in wanted]


def _automation(document: dict[str, Any], block_id: str | None, late_after: timedelta | None) -> AutomationCore:
    is_about_cycles = document["trigger"]["match"]["prefect.resource.id"].startswith("alservice.campaign.")
    if late_after is not None and is_about_cycles and document["trigger"]["posture"] == "Proactive":
        document["trigger"]["within"] = late_after
    action = _action(document, block_id)
    kept = {name: value for name, value in document.items() if name not in {"subject", "body", "crash"}}
    return AutomationCore.model_validate({**kept, "tags": ["alservice"], "actions": [action]})


def _action(document: dict[str, Any], block_id: str | None) -> ChangeFlowRunState | DoNothing | SendNotification:
    subject, body = document["subject"], document["body"]
    if document.get("crash"):
        return ChangeFlowRunState(state=StateType.CRASHED, message=body)
    if block_id is None:
        return DoNothing()
    return SendNotification.model_validate({"block_document_id": block_id, "subject": subject, "body": body})


def _block_id(client: SyncPrefectClient, notify: str) -> str:
    kind, _, name = notify.partition("/")
    try:
        return str(client.read_block_document_by_name(name, block_type_slug=kind).id)
    except ObjectNotFound:
        raise NotFound(f"this Prefect server has no block {notify}; its page Blocks lists them", block=notify) from None
