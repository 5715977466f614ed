"""Who is in which set: rows are exact at once, the counters and copies that follow them are not."""

from __future__ import annotations

import json
from collections.abc import Sequence

from alservice.standin.listing import marks
from alservice.standin.state import Transaction, sql

SHUFFLE_SPAN = 2**32
"""The random order of a set is by a number below this one per member."""


def _shuffle(tx: Transaction, subject_set_id: int, subject_id: int) -> int:
    """Return where a subject stands in the random order of its set."""
    return int(tx.derive("shuffle", subject_set_id, subject_id)[:8], 16) % SHUFFLE_SPAN


def add_members(tx: Transaction, subject_set_id: int, subject_ids: Sequence[int]) -> list[int]:
    """Put subjects into a set, pass over those already there, and return the ones that are new."""
    ids = list(subject_ids)
    statement = sql("SELECT subject_id FROM set_member_subjects WHERE subject_set_id = ? AND subject_id IN", marks(ids))
    present = {row[0] for row in tx.all(statement, subject_set_id, *ids)}
    fresh = [subject_id for subject_id in ids if subject_id not in present]
    tx.run_many(
        "INSERT INTO set_member_subjects (subject_set_id, subject_id, shuffle, created_at, updated_at) "
        "VALUES (?, ?, ?, ?, ?)",
        [(subject_set_id, one, _shuffle(tx, subject_set_id, one), tx.stamp, tx.stamp) for one in fresh],
    )
    _add_to_counts(tx, subject_set_id, len(fresh), len(fresh))
    return fresh


def remove_members(tx: Transaction, subject_set_id: int, subject_ids: Sequence[int]) -> None:
    """Take subjects out of a set; those not in it are ignored."""
    ids = list(subject_ids)
    found = tx.all(
        sql(
            "SELECT count(*), coalesce(sum(active), 0) FROM set_member_subjects",
            "WHERE subject_set_id = ? AND subject_id IN",
            marks(ids),
        ),
        subject_set_id,
        *ids,
    )[0]
    tx.run(
        sql("DELETE FROM set_member_subjects WHERE subject_set_id = ? AND subject_id IN", marks(ids)),
        subject_set_id,
        *ids,
    )
    _add_to_counts(tx, subject_set_id, -found[0], -found[1])


def _add_to_counts(tx: Transaction, subject_set_id: int, members: int, active: int) -> None:
    tx.run(
        "UPDATE subject_sets SET members = members + ?, active_members = active_members + ? WHERE id = ?",
        members,
        active,
        subject_set_id,
    )


def follow_up(tx: Transaction, subject_set_id: int, fresh: Sequence[int] = ()) -> None:
    """Queue what workers do after a link call: the counter, the priorities and the status rows."""
    tx.defer("count_set", subject_set_id=subject_set_id)
    if fresh:
        tx.defer("welcome_members", subject_set_id=subject_set_id, subject_ids=list(fresh))


def count_set(tx: Transaction, subject_set_id: int) -> None:
    """Copy the size of a set into its served counter, and make earlier ETags stale whether it changed or not."""
    tx.run(
        "UPDATE subject_sets SET counted_members = members, updated_at = ?, revision = revision + 1 WHERE id = ?",
        tx.stamp,
        subject_set_id,
    )


def welcome_members(tx: Transaction, subject_set_id: int, subject_ids: Sequence[int]) -> None:
    """Copy ``#priority`` to the memberships of new members and give them status rows in every workflow."""
    ids = list(subject_ids)
    statement = sql("SELECT id, metadata FROM subjects WHERE id IN", marks(ids))
    priorities = [(row["id"], json.loads(row["metadata"]).get("#priority")) for row in tx.all(statement, *ids)]
    tx.run_many(
        "UPDATE set_member_subjects SET priority = ? WHERE subject_set_id = ? AND subject_id = ?",
        [(_number(value), subject_set_id, one) for one, value in priorities if _number(value) is not None],
    )
    workflows = tx.all("SELECT workflow_id FROM workflow_subject_sets WHERE subject_set_id = ?", subject_set_id)
    for workflow in workflows:
        add_statuses(tx, workflow["workflow_id"], ids)


def _number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


def add_statuses(tx: Transaction, workflow_id: int, subject_ids: Sequence[int]) -> None:
    """Write the status rows that these subjects lack in a workflow."""
    tx.run_many(
        "INSERT OR IGNORE INTO subject_workflow_statuses (workflow_id, subject_id, created_at, updated_at) "
        "VALUES (?, ?, ?, ?)",
        [(workflow_id, one, tx.stamp, tx.stamp) for one in subject_ids],
    )


def welcome_set(tx: Transaction, workflow_id: int, subject_set_id: int) -> None:
    """Write the status rows of a whole set that was linked to a workflow."""
    tx.run(
        "INSERT OR IGNORE INTO subject_workflow_statuses (workflow_id, subject_id, created_at, updated_at) "
        "SELECT ?, subject_id, ?, ? FROM set_member_subjects WHERE subject_set_id = ?",
        workflow_id,
        tx.stamp,
        tx.stamp,
        subject_set_id,
    )
