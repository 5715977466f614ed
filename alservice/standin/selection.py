"""Which subjects a volunteer gets: unseen and unretired ones in random order, anything when none are left."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from alservice.standin.errors import api_error, not_found
from alservice.standin.listing import ids_in, marks, page_of, rows_by_id
from alservice.standin.membership import SHUFFLE_SPAN
from alservice.standin.replies import API_TYPE, Reply, dump_json
from alservice.standin.state import Row, sql
from alservice.standin.subjects import KIND, resources
from alservice.standin.wire import Call, envelope, one_page
from alservice.standin.workflows import attributes_of

QUEUE_SIZE = 10


def _open_sets(call: Call, workflow: Row, *, grouped: bool) -> list[int]:
    """Return the sets to draw from, or raise the 422 or 404 of a queue that cannot be."""
    linked = call.tx.all("SELECT subject_set_id FROM workflow_subject_sets WHERE workflow_id = ?", workflow["id"])
    sets = [row["subject_set_id"] for row in linked]
    asked = call.request.query.get("subject_set_id")
    if grouped:
        if asked is None:
            raise api_error(422, "subject_set_id parameter missing for grouped workflow")
        sets = [set_id for set_id in sets if set_id in ids_in(asked)]
    if not sets:
        raise api_error(404, "No subject set is associated with this workflow")
    statement = sql("SELECT 1 FROM set_member_subjects WHERE active = 1 AND subject_set_id IN", marks(sets), "LIMIT 1")
    if call.tx.value(statement, *sets) is None:
        raise api_error(404, "No data available for selection")
    return sets


_STILL_OPEN = (
    "AND NOT EXISTS (SELECT 1 FROM subject_workflow_statuses t WHERE t.subject_id = m.subject_id "
    "AND t.workflow_id = ? AND t.retired_at IS NOT NULL) "
    "AND NOT EXISTS (SELECT 1 FROM seen_subjects v WHERE v.user_id = ? AND v.workflow_id = ? "
    "AND v.subject_id = m.subject_id)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Order:
    """An order of subjects that an index walks: a column, and the spans of it to walk one after the other."""

    column: str
    spans: tuple[tuple[str, tuple[object, ...]], ...]
    key: Callable[[Any], float]


def _random_order(pivot: int) -> _Order:
    """Return the sets' random order, begun at `pivot` and wrapped around."""
    return _Order(
        column="m.shuffle",
        spans=(("m.shuffle >= ?", (pivot,)), ("m.shuffle < ?", (pivot,))),
        key=lambda shuffle: float((shuffle - pivot) % SHUFFLE_SPAN),
    )


_PRIORITY_ORDER = _Order(
    column="m.priority",
    spans=(("m.priority IS NOT NULL", ()), ("m.priority IS NULL", ())),
    key=lambda priority: math.inf if priority is None else priority,
)


def _draw(call: Call, workflow_id: int, sets: list[int], order: _Order, *, size: int, anything: bool) -> list[int]:
    """Return up to `size` subjects of these sets, the first in `order`; with `anything` also spent ones."""
    condition = "" if anything else _STILL_OPEN
    values = () if anything else (workflow_id, call.viewer.user_id, workflow_id)
    found: list[Row] = []
    for set_id in sets:
        missing = size
        for span, bounds in order.spans:
            statement = sql(
                "SELECT m.subject_id,",
                order.column,
                "AS place FROM set_member_subjects m",
                "WHERE m.active = 1 AND m.subject_set_id = ? AND",
                span,
                condition,
                "ORDER BY",
                order.column,
                ", m.subject_id LIMIT ?",
            )
            rows = call.tx.all(statement, set_id, *bounds, *values, missing)
            found += rows
            missing -= len(rows)
    found.sort(key=lambda row: (order.key(row["place"]), row["subject_id"]))
    return list(dict.fromkeys(row["subject_id"] for row in found))[:size]


def index(call: Call) -> Reply:
    """Answer GET /subjects/queued.

    Raises
    ------
    RefusalError
        422 without ``workflow_id``, 404 when the workflow has no sets or no subjects.
    """
    query = call.request.query
    if "workflow_id" not in query:
        raise api_error(422, "workflow_id parameter missing")
    workflow_id = ids_in(query["workflow_id"])[0]
    workflow = call.tx.one("SELECT * FROM workflows WHERE id = ? AND NOT deleted", workflow_id)
    if workflow is None:
        raise not_found("workflow", query["workflow_id"])
    given = attributes_of(workflow)
    sets = _open_sets(call, workflow, grouped=given["grouped"])
    size = page_of(call, default=QUEUE_SIZE).size
    state = "normal"
    at_random = _random_order(call.tx.draw(SHUFFLE_SPAN))
    order = _PRIORITY_ORDER if given["prioritized"] else at_random
    ids = _draw(call, workflow_id, sets, order, size=size, anything=False)
    if not ids:
        state = "failover_fallback"
        ids = _draw(call, workflow_id, sets, at_random, size=size, anything=True)
    rows = {row["id"]: row for row in rows_by_id(call.tx, KIND, ids)}
    entries = resources(call, [rows[subject_id] for subject_id in ids])
    flags = [_selection(call, workflow_id, subject_id, state) for subject_id in ids]
    merged = [{**entry, **flag} for entry, flag in zip(entries, flags, strict=True)]
    body = dump_json(envelope(KIND, merged, one_page(KIND, len(merged), size)))
    return Reply(status=200, body=body, headers={"Content-Type": API_TYPE})


def _selection(call: Call, workflow_id: int, subject_id: int, state: str) -> dict[str, Any]:
    tx = call.tx
    retired = tx.value(
        "SELECT retired_at FROM subject_workflow_statuses WHERE subject_id = ? AND workflow_id = ?",
        subject_id,
        workflow_id,
    )
    seen = tx.value(
        "SELECT 1 FROM seen_subjects WHERE user_id = ? AND workflow_id = ? AND subject_id = ?",
        call.viewer.user_id,
        workflow_id,
        subject_id,
    )
    return {
        "retired": retired is not None,
        "already_seen": seen is not None,
        "finished_workflow": state != "normal",
        "user_has_finished_workflow": state != "normal" and call.viewer.user_id is not None,
        "favorite": False,
        "selection_state": state,
        "selected_at": tx.stamp,
    }
