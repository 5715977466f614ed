"""Deployments and automations from their files: in one process for one machine, and onto a Prefect server."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow, serve
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import ConcurrencyLimitConfig, StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.events.actions import ChangeFlowRunState, DoNothing, SendNotification
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.schedules import Schedule

from alservice.errors import BadInput, Conflict, NotFound

HEARTBEAT_S = 30
"""Seconds between two heartbeats of a run here; in pools `deploy/prefect.yaml` says it."""

DEPLOYMENTS = Path(__file__).resolve().parents[1] / "deploy" / "prefect.yaml"
"""Their only source, here as for `prefect deploy`."""


def read_deployments(path: Path = DEPLOYMENTS) -> list[RunnerDeployment]:
    """Return the deployments of a file: the same names, parameters, schedules and limits as in a work pool."""
    return [_deployment(document) for document in yaml.safe_load(path.read_text(encoding="utf-8"))["deployments"]]


def serve_deployments(*, runs: int = 4) -> None:
    """Register all deployments and run what is scheduled or triggered, until interrupted.

    Parameters
    ----------
    runs
        Runs at once: `weekly-cycle` waits for `predict`, while `ingest` ticks.

    Raises
    ------
    Conflict
        The server has these deployments in work pools, for workers.
    """
    deployments = read_deployments()
    _refuse_pooled(deployments)
    # Not paused at the end: a restart of this process must not lose the week's run.
    serve(*deployments, pause_on_shutdown=False, limit=runs, heartbeat_seconds=HEARTBEAT_S)


def _refuse_pooled(deployments: Sequence[RunnerDeployment]) -> None:
    """Raise `Conflict` where the server has one in a work pool: Prefect would keep the pool and lose its pull steps."""
    with get_client(sync_client=True) as client:
        for deployment in deployments:
            name = f"{deployment.flow_name}/{deployment.name}"
            with suppress(ObjectNotFound):
                pool = client.read_deployment_by_name(name).work_pool_name
                if pool is not None:
                    raise Conflict(
                        f"{name} is in work pool {pool} of this server: start workers, or delete its deployments"
                    )


def flow_at(entrypoint: str) -> Flow[..., Any]:
    """Return the flow that a deployment's entrypoint names, such as ``flows/cycle.py:ingest``."""
    file, _, name = entrypoint.partition(":")
    found: Flow[..., Any] = getattr(import_module(file.removesuffix(".py").replace("/", ".")), name)
    return found


def _deployment(document: dict[str, Any]) -> RunnerDeployment:
    flow = flow_at(document["entrypoint"])
    limit = document.get("concurrency_limit")
    return RunnerDeployment.from_flow(
        flow,
        name=document["name"],
        description=document["description"],
        parameters=document.get("parameters", {}),
        schedules=[_schedule(one) for one in document.get("schedules", [])],
        tags=document["tags"],
        concurrency_limit=None if limit is None else ConcurrencyLimitConfig.model_validate(limit),
    )


def _schedule(document: dict[str, Any]) -> Schedule:
    checked = CronSchedule(cron=document["cron"], timezone=document["timezone"])
    return Schedule(cron=checked.cron, timezone=checked.timezone, active=document.get("active", True))


AUTOMATIONS = Path(__file__).resolve().parents[1] / "deploy" / "automations.yaml"
"""Their only source."""

SOONEST = timedelta(seconds=10)
"""Shortest time that Prefect accepts for what should happen and does not."""


def read_automations(
    path: Path = AUTOMATIONS, *, block_id: str | None = None, late_after: timedelta | None = None
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
