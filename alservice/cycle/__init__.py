"""Cycle: the steps of the loop, the lease they work under, and the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.cycle.lease import Lease
    from alservice.cycle.readiness import Finding, NotReady
    from alservice.cycle.service import CycleService
    from alservice.cycle.steps import STEPS, Step, Transition
    from alservice.cycle.table import CycleTable
else:
    __getattr__ = lazily(
        __name__,
        {
            "CycleService": "alservice.cycle.service",
            "CycleTable": "alservice.cycle.table",
            "Finding": "alservice.cycle.readiness",
            "Lease": "alservice.cycle.lease",
            "NotReady": "alservice.cycle.readiness",
            "STEPS": "alservice.cycle.steps",
            "Step": "alservice.cycle.steps",
            "Transition": "alservice.cycle.steps",
        },
    )

__all__ = [
    "STEPS",
    "CycleService",
    "CycleTable",
    "Finding",
    "Lease",
    "NotReady",
    "Step",
    "Transition",
]
