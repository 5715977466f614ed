"""How errors become retries: their type says it, nothing here decides anew."""

from __future__ import annotations

import logging
from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from alservice.errors import Retriable

_log = logging.getLogger(__name__)

RETRIES = 3
RETRY_DELAYS_S: list[float] = [10, 60, 300]
"""Seconds before each retry: a hiccup, a restart, an outage."""


def if_retriable(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Retry what may succeed later, and say so; anything else, unknown errors included, needs a person."""
    error = state.data
    if isinstance(error, Retriable):
        _log.warning("%s; it is tried again in a while", error)
        return True
    return False
