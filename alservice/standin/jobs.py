"""The worker of the stand-in: before a request is served, deferred effects that are due are applied."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from alservice.standin import exports, membership, retirement
from alservice.standin.classifications import complete_classification
from alservice.standin.state import Row, State, Transaction

logger = logging.getLogger(__name__)

Job = Callable[..., None]
"""Takes the transaction and the payload it was deferred with."""

JOBS: dict[str, Job] = {
    "complete_classification": complete_classification,
    "count_set": membership.count_set,
    "dump_export": exports.dump,
    "retire": retirement.retire_now,
    "unretire": retirement.unretire_now,
    "welcome_members": membership.welcome_members,
    "welcome_set": membership.welcome_set,
}


def run_due_jobs(state: State) -> None:
    """Apply every deferred effect whose time has come, in one transaction."""
    if not state.job_is_due():
        return
    with state.transaction() as tx:
        for job in tx.all("SELECT * FROM jobs WHERE due_at <= ? ORDER BY due_at, id", tx.stamp):
            _run(tx, job)
            tx.run("DELETE FROM jobs WHERE id = ?", job["id"])
    state.refresh_next_job()


def _run(tx: Transaction, job: Row) -> None:
    """Apply one effect, wholly or not at all: one that fails is logged and buried, and no other call suffers."""
    tx.run("SAVEPOINT job")
    try:
        JOBS[job["kind"]](tx, **json.loads(job["payload"]))
    except Exception:
        tx.run("ROLLBACK TO job")
        logger.exception("the Zooniverse stand-in buried the job %s of %s", job["kind"], job["payload"])
    tx.run("RELEASE job")
