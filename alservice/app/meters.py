"""Metrics of this deployment: figures of the database, with this process's own calls added first."""

from __future__ import annotations

import logging

from sqlalchemy import Engine

from alservice.app.stores import Stores
from alservice.errors import AlserviceError
from alservice.meters import METER
from alservice.ops.metrics import SqlMeasures, expose

_log = logging.getLogger(__name__)


def metrics_text(stores: Stores) -> bytes:
    """Return all metrics that the database holds in Prometheus' text format."""
    write_calls(stores.engine)
    return expose(SqlMeasures(stores.engine).read())


def write_calls(engine: Engine) -> None:
    """Add what this process counted to the totals; where the database is away it is kept for the next time.

    Counting is no part of the work: it fails nothing.
    """
    counts = METER.take()
    if not counts:
        return
    try:
        SqlMeasures(engine).add_calls(counts)
    except AlserviceError as error:
        METER.add(counts)
        _log.debug("calls are not counted yet: %s", error)
