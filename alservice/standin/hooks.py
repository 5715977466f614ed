"""The loopback-only calls under /standin: fault rules, counts and the clock."""

from __future__ import annotations

import ipaddress
import json

from alservice.errors import BadInput
from alservice.standin.config import stamp
from alservice.standin.faults import FaultRule, Faults
from alservice.standin.replies import Reply, json_reply
from alservice.standin.state import State
from alservice.standin.wire import Request

ROOT = "/standin/"
_LONGEST_S = 315_576_000

_COUNTS = {
    "subjects": "SELECT count(*) FROM subjects WHERE active",
    "deleted_subjects": "SELECT count(*) FROM subjects WHERE NOT active",
    "orphans": (
        "SELECT count(*) FROM subjects s WHERE s.active AND NOT EXISTS "
        "(SELECT 1 FROM set_member_subjects m WHERE m.subject_id = s.id)"
    ),
    "subject_sets": "SELECT count(*) FROM subject_sets",
    "set_member_subjects": "SELECT count(*) FROM set_member_subjects",
    "workflows": "SELECT count(*) FROM workflows WHERE NOT deleted",
    "retired": "SELECT count(*) FROM subject_workflow_statuses WHERE retired_at IS NOT NULL",
    "classifications": "SELECT count(*) FROM classifications",
    "images": "SELECT count(*) FROM blobs WHERE path LIKE 'subject_location/%'",
    "pending_jobs": "SELECT count(*) FROM jobs",
    "uploaded": "SELECT coalesce(sum(uploaded), 0) FROM users",
}


def answer(request: Request, state: State, faults: Faults) -> Reply:
    """Answer one call under /standin; these calls take no faults and settle nothing."""
    if not ipaddress.ip_address(request.client_ip).is_loopback:
        return json_reply(403, {"error": "the /standin calls are for this machine only"})
    try:
        return _answer(request, state, faults)
    except BadInput as error:
        return json_reply(400, {"error": str(error)})


def _answer(request: Request, state: State, faults: Faults) -> Reply:
    match request.path.removeprefix(ROOT):
        case "faults":
            return _faults(request, faults)
        case "clock":
            return _clock(request, state)
        case "state" if request.method == "GET":
            with state.transaction() as tx:
                return json_reply(200, {name: tx.value(statement) for name, statement in _COUNTS.items()})
    return _unknown(request)


def _unknown(request: Request) -> Reply:
    return json_reply(404, {"error": f"no such hook: {request.method} {request.path}"})


def _faults(request: Request, faults: Faults) -> Reply:
    match request.method:
        case "DELETE":
            faults.clear()
            return Reply(status=204)
        case "POST":
            given = _document(request)
            if not isinstance(given, list):
                raise BadInput("fault rules come as a list")
            faults.add([FaultRule.parse(entry, index) for index, entry in enumerate(given)])
        case method if method != "GET":
            return _unknown(request)
    return json_reply(200, faults.listing())


def _clock(request: Request, state: State) -> Reply:
    if request.method == "POST":
        given = _document(request)
        seconds = given.get("advance_s") if isinstance(given, dict) else None
        if not isinstance(seconds, int | float) or not 0 <= seconds <= _LONGEST_S:
            raise BadInput(f'the clock takes {{"advance_s": seconds}}, from 0 to {_LONGEST_S} (ten years)')
        state.advance(seconds)
    elif request.method != "GET":
        return _unknown(request)
    return json_reply(200, {"now": stamp(state.now())})


def _document(request: Request) -> object:
    try:
        document: object = json.loads(request.body)
    except ValueError as error:
        raise BadInput(f"the body of {request.path} is not JSON: {error}") from error
    return document
