"""Definitions of workflows, one per version; what a version asks never changes."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert as upsert

from alservice.errors import Conflict
from alservice.process import Clock
from alservice.storage import schema
from alservice.storage.postgres import transaction
from alservice.zooniverse.workflow import Workflow

_TABLE = schema.workflow_versions


class SqlWorkflowStore:
    """Workflow versions in Postgres."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def save(self, campaign_id: int, workflows: Sequence[Workflow], *, source: str) -> int:
        """Store versions; return how many were new; see `WorkflowStore.save`."""
        new = 0
        with transaction(self._engine) as connection:
            for workflow in workflows:
                tasks = json.dumps(workflow.tasks, sort_keys=True)
                insert = upsert(_TABLE).values(
                    campaign_id=campaign_id,
                    workflow_id=workflow.workflow_id,
                    version=workflow.version,
                    tasks=tasks,
                    source=source,
                    received_at=self._clock(),
                )
                new += connection.execute(insert.on_conflict_do_nothing()).rowcount
                known = select(_TABLE.c.tasks, _TABLE.c.source).where(
                    _TABLE.c.campaign_id == campaign_id,
                    _TABLE.c.workflow_id == workflow.workflow_id,
                    _TABLE.c.version == workflow.version,
                )
                found = connection.execute(known).one()
                if found.tasks != tasks:
                    raise Conflict(
                        f"workflow {workflow.workflow_id} version {workflow.version} asks something else in {source} "
                        f"than in {found.source}",
                        workflow=workflow.workflow_id,
                        version=workflow.version,
                    )
        return new

    def list(self, campaign_id: int) -> Sequence[Workflow]:
        """Return all known versions."""
        wanted = select(_TABLE.c.workflow_id, _TABLE.c.version, _TABLE.c.tasks).where(
            _TABLE.c.campaign_id == campaign_id
        )
        with transaction(self._engine) as connection:
            return [
                Workflow(workflow_id=workflow_id, version=version, tasks=json.loads(tasks))
                for workflow_id, version, tasks in connection.execute(wanted.order_by(_TABLE.c.version))
            ]
