"""How errors become retries: their type says it, nothing here decides anew."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from alservice.errors import Retriable

RETRIES = 3
RETRY_DELAYS_S: list[float] = [10, 60, 300]
"""Seconds before each retry: a hiccup, a restart, an outage."""


def if_retriable(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Retry what may succeed later; anything else, unknown errors included, needs a person."""
    return isinstance(state.data, Retriable)
