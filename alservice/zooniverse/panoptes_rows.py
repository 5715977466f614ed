"""Resources of the Panoptes API -> records of ours; no name and no address of a volunteer passes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from alservice.checks import is_shallow
from alservice.constants import ZOONIVERSE_ALLOWANCE
from alservice.ids import hash_user
from alservice.subjects.subject import KEY_FIELD, RemoteSubject, SubjectStatus
from alservice.votes.classification import RawClassification
from alservice.zooniverse.accounts import Account
from alservice.zooniverse.http import Document, Unreadable
from alservice.zooniverse.workflow import RetirementRule, Workflow

MAX_METADATA_CHARS: Final = 200
"""Longest session, version or time that a front end writes."""

TOO_DEEP: Final = "(nested too deep to be read)"


def workflow_of(entry: Document) -> Workflow:
    """Return a workflow as served; `Unreadable` when id, version or tasks are absent."""
    try:
        return Workflow(workflow_id=int(entry["id"]), version=str(entry["version"]), tasks=dict(entry["tasks"]))
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"workflow {entry.get('id')!r}: no version or no tasks") from error


def account_of(entry: Document) -> Account:
    """Return one's own account as served; `Unreadable` when it does not say what may be uploaded.

    Who is on the upload list, and administrators, upload without a bound.
    """
    try:
        unbounded = bool(entry.get("upload_whitelist")) or bool(entry.get("admin"))
        allowance = entry["max_subjects"]
        return Account(
            user_id=int(entry["id"]),
            login=str(entry["login"]),
            uploaded=int(entry["uploaded_subjects_count"]),
            allowance=None if unbounded else ZOONIVERSE_ALLOWANCE if allowance is None else int(allowance),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable("GET /me: the account does not say what it uploaded and may upload") from error


def roles_of(entry: Document, user_id: int) -> frozenset[str]:
    """Return the roles that an entry of a project's people gives a user, none if it is another's; a group's count."""
    try:
        owner = entry["links"]["owner"]
        is_ours = owner["type"] != "users" or int(owner["id"]) == user_id
        return frozenset(map(str, entry["roles"])) if is_ours else frozenset()
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"project role {entry.get('id')!r} cannot be read") from error


def project_of(entry: Document) -> int:
    """Return the project that a workflow belongs to; `Unreadable` when it does not say."""
    try:
        return int(entry["links"]["project"])
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"workflow {entry.get('id')!r}: no project") from error


def rule_of(entry: Document) -> RetirementRule:
    """Return the retirement rule of a workflow as served; `Unreadable` when it is none that is known."""
    rule = entry.get("retirement") or {}
    options = rule.get("options") or {}
    if rule.get("criteria") == "never_retire":
        return RetirementRule(count=None)
    try:
        if rule["criteria"] == "classification_count":
            return RetirementRule(count=int(options["count"]))
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"workflow {entry.get('id')!r}: retirement rule {rule!r}") from error
    raise Unreadable(f"workflow {entry.get('id')!r}: retirement rule {rule!r}")


def retirement_document(rule: RetirementRule) -> Document:
    """Return a rule in Panoptes' form."""
    if rule.count is None:
        return {"criteria": "never_retire", "options": {}}
    return {"criteria": "classification_count", "options": {"count": rule.count}}


def questions_of(tasks: Mapping[str, Any]) -> dict[str, object]:
    """Return what tasks ask and where answers lead, without the decoration the server may add."""
    return {key: (task.get("type"), task.get("question"), _steps(task)) for key, task in tasks.items()}


def _steps(task: Mapping[str, Any]) -> list[tuple[object, object]]:
    return [(answer.get("label"), answer.get("next")) for answer in task.get("answers", ())]


def remote_subject(entry: Document) -> RemoteSubject:
    """Return a subject as listed; its image address is empty where it has no file at all."""
    try:
        metadata = entry["metadata"]
        key = metadata.get(KEY_FIELD) if isinstance(metadata, dict) else None
        return RemoteSubject(
            zooniverse_id=int(entry["id"]),
            key=key if isinstance(key, str) else None,
            image_url=first_location(entry),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"subject {entry.get('id')!r} cannot be read") from error


def survey_id_of(entry: Document, field: str) -> str | None:
    """Return what a metadata field of a subject names, None where it is absent or empty; numbers become text."""
    metadata = entry.get("metadata")
    value = metadata.get(field) if isinstance(metadata, dict) else None
    return str(value) if isinstance(value, str | int) and value != "" else None


def status_of(entry: Document) -> tuple[int, SubjectStatus]:
    """Return a subject's id and its status in a workflow; `Unreadable` when one of them is absent."""
    try:
        status = SubjectStatus(
            classifications=int(entry["classifications_count"]),
            is_retired=entry["retired_at"] is not None,
            reason=entry["retirement_reason"],
        )
        return int(entry["links"]["subject"]), status
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"subject workflow status {entry.get('id')!r} cannot be read") from error


def first_location(entry: Document) -> str:
    """Return the address of a subject's first file, empty when there is none."""
    return next((str(url) for location in entry["locations"] for url in location.values()), "")


def classification_of(entry: Document, user_hash_key: bytes) -> RawClassification:
    """Return one classification as served.

    What Panoptes itself writes must be there. What a front end writes may be absent and is never made up:
    texts that are absent or cannot be kept are None, such a version is empty. ``live_project`` comes from a later
    worker, so a row without it is taken as live; the overlap that ingest re-reads corrects it.

    Raises
    ------
    Unreadable
        Naming the classification that lacks its id, date, workflow or annotations.
    """
    try:
        links, metadata = entry["links"], entry["metadata"]
        if not isinstance(metadata, dict):
            metadata = {}
        user, subjects = links.get("user"), links.get("subjects") or []
        return RawClassification(
            classification_id=int(entry["id"]),
            workflow_id=int(links["workflow"]),
            workflow_version=_text(metadata, "workflow_version") or "",
            zooniverse_subject_id=int(subjects[0]) if len(subjects) == 1 else None,
            user_hash=None if user is None else hash_user(str(user), user_hash_key),
            session=_text(metadata, "session"),
            started_at=_text(metadata, "started_at"),
            finished_at=_text(metadata, "finished_at"),
            seen_before=metadata.get("seen_before") is True,
            live_project=metadata.get("live_project") is not False,
            created_at=datetime.fromisoformat(entry["created_at"]).astimezone(UTC),
            annotations=tuple(_annotation(annotation) for annotation in entry["annotations"]),
            after_retirement=_was_retired(metadata),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"classification {entry.get('id')!r} cannot be read: {error!r}") from error


def identity_of(entry: Document) -> int:
    """Return the id of a resource; `Unreadable` when there is none."""
    try:
        return int(entry["id"])
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"resource {entry.get('id')!r} has no id") from error


def _was_retired(metadata: Mapping[str, Any]) -> bool:
    selection = metadata.get("subject_selection_state")
    return isinstance(selection, dict) and selection.get("retired") is True


def _text(metadata: Mapping[str, Any], field: str) -> str | None:
    """Return what a front end wrote, None for what is no text that can be kept: browsers may send anything."""
    value = metadata.get(field)
    is_kept = isinstance(value, str) and len(value) <= MAX_METADATA_CHARS and value.isprintable()
    return value if is_kept else None


def _annotation(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an annotation; one nested too deep to be read has a value that no answer has, and waits in quarantine."""
    annotation = dict(given)
    return annotation if is_shallow(annotation) else {"task": str(annotation.get("task"))[:40], "value": TOO_DEEP}
