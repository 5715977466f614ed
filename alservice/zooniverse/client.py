"""Zooniverse behind its port: one project, one workflow, every call judged and repeated only where that is safe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from alservice.checks import is_shallow
from alservice.constants import INGEST_PAGE, LINK_BATCH, ZOONIVERSE_ALLOWANCE
from alservice.errors import BadConfig, NotFound, OutcomeUnknown, ZooniverseRefused, ZooniverseUnavailable
from alservice.ids import hash_user
from alservice.retry import RetryPolicy
from alservice.zooniverse.accounts import Account, Rights
from alservice.zooniverse.endpoint import check_endpoint
from alservice.zooniverse.http import (
    Call,
    ClientConnection,
    Credentials,
    Document,
    Missing,
    NoAnswer,
    PanoptesApi,
    Timeouts,
    Unreadable,
    document,
    only,
    page_count,
    resources,
)
from alservice.zooniverse.records import (
    KEY_FIELD,
    CreatedSubject,
    RawClassification,
    RemoteSubject,
    SubjectDraft,
    SubjectStatus,
)
from alservice.zooniverse.workflow import RetirementRule, Workflow

MAX_METADATA_CHARS: Final = 200
"""Longest session, version or time that a front end writes."""

TOO_DEEP: Final = "(nested too deep to be read)"


def workflow_of(entry: Document) -> Workflow:
    """Return a workflow as served; `Unreadable` when id, version or tasks are absent."""
    try:
        return Workflow(
            workflow_id=int(entry["id"]),
            version=str(entry["version"]),
            tasks=dict(entry["tasks"]),
            first_task=str(entry["first_task"]) if entry.get("first_task") else None,
        )
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
    return {
        key: (task.get("type"), task.get("question"), task.get("next"), _steps(task)) for key, task in tasks.items()
    }


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


_LIST_PAGE: Final = 200
"""Subjects or sets asked for per page: production's cap; more is silently clipped."""


class PanoptesZooniverse:
    """A `Zooniverse` port on one project and one workflow; threads may share it.

    Calls that are safe to repeat are repeated; a create never is.

    Parameters
    ----------
    endpoint
        Base URL without a trailing slash.
    user_hash_key
        1 to 64 secret bytes that turn user ids into pseudonyms.
    sleep, chance
        Wait some seconds; draw a number in [0, 1) that spreads retries.

    Raises
    ------
    BadConfig
        For an unusable endpoint or key.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        credentials: Credentials,
        project_id: int,
        workflow_id: int,
        user_hash_key: bytes,
        timeouts: Timeouts,
        retry: RetryPolicy,
        sleep: Callable[[float], None],
        chance: Callable[[], float],
    ) -> None:
        check_endpoint(endpoint)
        if not 1 <= len(user_hash_key) <= 64:
            raise BadConfig(f"the user hash key must have 1 to 64 bytes, not {len(user_hash_key)}")
        self._project_id = project_id
        self._workflow_id = workflow_id
        self._user_hash_key = user_hash_key
        connect = partial(ClientConnection, endpoint, credentials, timeouts)
        self._api = PanoptesApi(connect, retry=retry, sleep=sleep, chance=chance)

    def account(self) -> Account:
        """Log in and return the account; see `Zooniverse.account`."""
        return account_of(only(self._api.listing("/me", "users", {}), "GET /me"))

    def rights(self, user_id: int) -> Rights:
        """Return an account's roles on the project and the workflow's project; see `Zooniverse.rights`."""
        where = {"project_id": self._project_id, "page_size": _LIST_PAGE}
        roles = [roles_of(entry, user_id) for entry in self._api.pages("/project_roles", "project_roles", where)]
        return Rights(
            project_id=self._project_id,
            roles=frozenset[str]().union(*roles),
            workflow_id=self._workflow_id,
            workflow_project_id=project_of(self._api.one("workflows", self._workflow_id)),
        )

    def workflow(self) -> Workflow:
        """Return the workflow as it is now; see `Zooniverse.workflow`."""
        return workflow_of(self._api.one("workflows", self._workflow_id))

    def retirement(self) -> RetirementRule:
        """Return the workflow's own rule; see `Zooniverse.retirement`."""
        return rule_of(self._api.one("workflows", self._workflow_id))

    def define_workflow(self, tasks: Mapping[str, Any], first_task: str, rule: RetirementRule) -> Workflow:
        """Give an empty workflow its tasks and its rule; see `Zooniverse.define_workflow`."""
        self._api.retried(lambda: self._fill_workflow(tasks, first_task, rule))
        found = self.workflow()
        if questions_of(found.tasks) != questions_of(tasks):
            raise ZooniverseRefused(
                f"workflow {found.workflow_id} version {found.version} has other tasks already",
                workflow=found.workflow_id,
                version=found.version,
            )
        return found

    def ensure_subject_set(self, name: str) -> int:
        """Return the id of the named set; see `Zooniverse.ensure_subject_set`.

        The name is unique in a project, so it is the key that makes creating repeatable.
        """
        set_id = self._find_set(name) or self._api.retried(lambda: self._create_set(name))
        links = self._api.one("workflows", self._workflow_id).get("links", {})
        if str(set_id) not in map(str, links.get("subject_sets") or ()):
            path = f"/workflows/{self._workflow_id}/links/subject_sets"
            self._api.retried(lambda: self._api.post(path, "workflows", {"subject_sets": [str(set_id)]}))
        return set_id

    def find_subject_set(self, name: str) -> int:
        """Return the id of the named set; see `Zooniverse.find_subject_set`."""
        found = self._find_set(name)
        if found is None:
            raise NotFound(f"project {self._project_id} has no subject set {name!r}", subject_set=name)
        return found

    def create_subject(self, draft: SubjectDraft, media_type: str) -> CreatedSubject:
        """Create one subject, sent once; see `Zooniverse.create_subject`."""
        sent = {
            "locations": [media_type],
            "metadata": dict(draft.metadata),
            "links": {"project": self._project_id},
        }
        try:
            entry = self._api.post("/subjects", "subjects", {"subjects": sent})
            return CreatedSubject(zooniverse_id=int(entry["id"]), upload_url=first_location(entry))
        except (NoAnswer, Unreadable, KeyError, TypeError, ValueError) as error:
            raise OutcomeUnknown(f"galaxy {draft.galaxy_id}: {error}", galaxy_id=draft.galaxy_id) from error

    def upload_image(self, upload_url: str, data: bytes, media_type: str) -> None:
        """PUT the image; see `Zooniverse.upload_image`."""
        self._api.retried(lambda: self._api.media.put(upload_url, data, media_type))

    def image_url(self, zooniverse_id: int) -> str:
        """Return the public address of a subject's image; `NotFound` when Zooniverse has no such subject."""
        try:
            return remote_subject(self._api.one("subjects", zooniverse_id)).image_url
        except Missing as error:
            raise NotFound(f"Zooniverse has no subject {zooniverse_id}", subject=zooniverse_id) from error

    def fetch_image(self, url: str) -> bytes | None:
        """Return the stored image, None when there is none; see `Zooniverse.fetch_image`."""
        return self._api.retried(lambda: self._api.media.get(url))

    def subjects_above(self, zooniverse_id: int) -> Iterator[RemoteSubject]:
        """Yield the project's subjects with a higher id, highest first; see `Zooniverse.subjects_above`."""
        return self._newest({"project_id": self._project_id}, zooniverse_id)

    def delete_subject(self, zooniverse_id: int) -> None:
        """Remove a subject; absent is fine; see `Zooniverse.delete_subject`."""
        self._api.retried(lambda: self._delete_subject(f"/subjects/{zooniverse_id}"))

    def link(self, set_id: int, zooniverse_ids: Sequence[int]) -> None:
        """Link subjects to a set; see `Zooniverse.link`."""
        path = f"/subject_sets/{set_id}/links/subjects"
        body = {"subjects": [str(identity) for identity in zooniverse_ids]}
        self._api.retried(lambda: self._api.post(path, "subject_sets", body))

    def unlink(self, set_id: int, zooniverse_ids: Sequence[int]) -> None:
        """Take subjects out of a set; see `Zooniverse.unlink`."""
        path = f"/subject_sets/{set_id}/links/subjects/{_joined(zooniverse_ids)}"
        self._api.retried(lambda: self._api.act(Call(method="DELETE", path=path)))

    def linked(self, set_id: int, *, above: int = 0) -> frozenset[int]:
        """Return the ids linked to a set; see `Zooniverse.linked`."""
        return frozenset(subject.zooniverse_id for subject in self._newest({"subject_set_id": set_id}, above))

    def survey_ids(self, set_id: int, field: str) -> Iterator[tuple[int, str]]:
        """Yield Zooniverse id and survey id of a set's subjects; see `Zooniverse.survey_ids`."""
        where = {"subject_set_id": set_id, "page_size": _LIST_PAGE}
        for entry in self._api.pages("/subjects", "subjects", where):
            survey_id = survey_id_of(entry, field)
            if survey_id is not None:
                yield remote_subject(entry).zooniverse_id, survey_id

    def retire(self, zooniverse_ids: Sequence[int], reason: str) -> None:
        """Retire subjects in the workflow; see `Zooniverse.retire`."""
        self._tell_workflow("retired_subjects", zooniverse_ids, {"retirement_reason": reason})

    def unretire(self, zooniverse_ids: Sequence[int]) -> None:
        """Bring retired subjects back; see `Zooniverse.unretire`."""
        self._tell_workflow("unretire_subjects", zooniverse_ids, {})

    def statuses(self, zooniverse_ids: Sequence[int]) -> Mapping[int, SubjectStatus]:
        """Return the workflow's status rows of subjects; see `Zooniverse.statuses`.

        Asked for in hundreds: each subject has at most one row, so a page is never cut.
        """
        kind = "subject_workflow_statuses"
        found: dict[int, SubjectStatus] = {}
        for first in range(0, len(zooniverse_ids), LINK_BATCH):
            asked = _joined(zooniverse_ids[first : first + LINK_BATCH])
            where = {"workflow_id": self._workflow_id, "subject_ids": asked, "page_size": _LIST_PAGE}
            found.update(map(status_of, self._api.listing(f"/{kind}", kind, where)))
        return found

    def classifications(self, last_id: int) -> Iterator[Sequence[RawClassification]]:
        """Yield pages of classifications with higher ids; see `Zooniverse.classifications`.

        The cursor is the largest id as a number: the server's own next page takes the largest as text, which
        repeats rows where ids gain a digit.
        """
        path = "/classifications/project"
        where = {"project_id": self._project_id, "page_size": INGEST_PAGE}
        while entries := self._api.listing(path, "classifications", {**where, "last_id": last_id}):
            found = (classification_of(entry, self._user_hash_key) for entry in entries)
            rows = sorted(found, key=lambda row: row.classification_id)
            if rows[0].classification_id <= last_id:
                raise Unreadable(f"GET {path}: id {rows[0].classification_id} is not above {last_id}")
            yield rows
            last_id = rows[-1].classification_id

    def gold_standard(self) -> Iterator[Sequence[int]]:
        """Yield pages of ids of gold-standard classifications; see `Zooniverse.gold_standard`.

        Pages are asked for until one is empty: the listing has no count. They have no order, so it is read whole.
        """
        path, number = "/classifications/gold_standard", 1
        where = {"workflow_id": self._workflow_id, "page_size": INGEST_PAGE}
        while entries := self._api.listing(path, "classifications", {**where, "page": number}):
            yield [identity_of(entry) for entry in entries]
            number += 1

    def _newest(self, where: Mapping[str, int], above: int) -> Iterator[RemoteSubject]:
        """Yield subjects from the last page back to the one that holds no higher id.

        Those created or linked meanwhile lie behind the reader, and one removed only makes it see another twice.
        """
        query = {**where, "page_size": _LIST_PAGE}
        last = page_count(self._api.read("/subjects", query), "subjects", "GET /subjects")
        for number in range(last, 0, -1):
            entries = self._api.listing("/subjects", "subjects", {**query, "page": number})
            found = sorted(map(remote_subject, entries), key=lambda subject: -subject.zooniverse_id)
            yield from (subject for subject in found if subject.zooniverse_id > above)
            if found and found[-1].zooniverse_id <= above:
                return

    def _fill_workflow(self, tasks: Mapping[str, Any], first_task: str, rule: RetirementRule) -> None:
        """Send tasks to a workflow that has none, on condition that it still has none."""
        call = Call(method="GET", path=f"/workflows/{self._workflow_id}")
        response = self._api.send(call)
        found = only(resources(document(response, str(call)), "workflows", str(call)), str(call))
        if not workflow_of(found).tasks:
            retirement = retirement_document(rule)
            body = {"workflows": {"tasks": dict(tasks), "first_task": first_task, "retirement": retirement}}
            self._api.send(Call(method="PUT", path=call.path, body=body, etag=response.headers.get("ETag")))

    def _tell_workflow(self, what: str, zooniverse_ids: Sequence[int], more: Mapping[str, str]) -> None:
        path = f"/workflows/{self._workflow_id}/{what}"
        body = {"subject_ids": [str(identity) for identity in zooniverse_ids], **more}
        self._api.retried(lambda: self._api.act(Call(method="POST", path=path, body=body)))

    def _find_set(self, name: str) -> int | None:
        where = {"project_id": self._project_id, "page_size": _LIST_PAGE}
        sets = self._api.pages("/subject_sets", "subject_sets", where)
        return next((int(entry["id"]) for entry in sets if entry.get("display_name") == name), None)

    def _create_set(self, name: str) -> int:
        sent = {"display_name": name, "metadata": {}, "links": {"project": self._project_id}}
        try:
            return int(self._api.post("/subject_sets", "subject_sets", {"subject_sets": sent})["id"])
        except ZooniverseRefused as error:
            if "already been taken" not in error.message:
                raise
            # An earlier call of ours created it and its answer was lost.
            found = self._find_set(name)
            if found is None:
                raise ZooniverseUnavailable(f"subject set {name!r} exists but is not listed yet") from error
            return found

    def _delete_subject(self, path: str) -> None:
        try:
            etag = self._api.send(Call(method="GET", path=path)).headers.get("ETag")
            self._api.act(Call(method="DELETE", path=path, etag=etag))
        except Missing:
            return


def _joined(zooniverse_ids: Sequence[int]) -> str:
    return ",".join(map(str, zooniverse_ids))
