"""All deployments of deploy/prefect.yaml in one process, for one machine: no work pools, no workers."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow, serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Schedule

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
    """
    # Not paused at the end: a restart of this process must not lose the week's run.
    serve(*read_deployments(), pause_on_shutdown=False, limit=runs)


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
