"""All deployments of deploy/prefect.yaml in one process, for one machine: no work pools, no workers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow, serve
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.schedules import Schedule

from alservice.errors import Conflict

HEARTBEAT_S = 30
"""Seconds between two heartbeats of a run here; in pools `deploy/prefect.yaml` says it."""

FILE = Path(__file__).resolve().parents[1] / "deploy" / "prefect.yaml"
"""Their only source, here as for `prefect deploy`."""


def read_deployments(path: Path = FILE) -> list[RunnerDeployment]:
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
