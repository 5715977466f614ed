"""Zooniverse through panoptes_client, the only place that imports it.

Of the client we use the login, the tokens and one call, `http_request`. Its objects retry creates, drop
failed uploads, take empty refusals for success and never time out; `panoptes_http` judges replies.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import requests
from panoptes_client.panoptes import Panoptes, PanoptesAPIException
from requests.adapters import HTTPAdapter

from alservice.adapters.panoptes_api import Call, PanoptesApi, only
from alservice.adapters.panoptes_http import (
    Media,
    Missing,
    NoAnswer,
    Timeouts,
    Unreadable,
    as_it_is,
    document,
    judge,
    judge_login,
    never_sent,
    page_count,
    resources,
)
from alservice.adapters.panoptes_rows import (
    classification_of,
    first_location,
    identity_of,
    questions_of,
    remote_subject,
    retirement_document,
    rule_of,
    status_of,
    survey_id_of,
    workflow_of,
)
from alservice.constants import INGEST_PAGE, LINK_BATCH
from alservice.core.classifications import RawClassification
from alservice.core.retry import RetryPolicy
from alservice.core.subjects import CreatedSubject, RemoteSubject, SubjectDraft, SubjectStatus
from alservice.core.workflows import RetirementRule, Workflow
from alservice.errors import BadConfig, NotFound, OutcomeUnknown, ZooniverseRefused, ZooniverseUnavailable

_LIST_PAGE: Final = 200
"""Subjects or sets asked for per page: production's cap; more is silently clipped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """A user's login and password, or an application's id and secret; exactly one pair.

    A user logs in through the client's own application, or the one that ``PANOPTES_CLIENT_ID`` names.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        user = bool(self.username), bool(self.password)
        application = bool(self.client_id), bool(self.client_secret)
        if {user, application} != {(True, True), (False, False)}:
            raise BadConfig("Zooniverse needs a user name and password, or a client id and secret")

    @property
    def login(self) -> str:
        """Who this is, for people."""
        return self.username or f"application {self.client_id}"


class ClientConnection:
    """One thread's client and files; both share a pool, so a thread holds one connection per host."""

    def __init__(self, endpoint: str, credentials: Credentials, timeouts: Timeouts) -> None:
        self._api_root = f"{endpoint}/api/"
        # Empty credentials keep the constructor from the environment, and from a login that cannot time out.
        self._client: Any = Panoptes(endpoint=endpoint, username="", password="")
        self._client.username, self._client.password = credentials.username, credentials.password
        self._client.client_id = credentials.client_id or self._client.client_id
        self._client.client_secret = credentials.client_secret
        session = self._client.session
        session.request = partial(session.request, timeout=(timeouts.connect_s, timeouts.read_s))
        session.hooks["response"].append(self._judge_login)
        files = requests.Session()
        adapter = HTTPAdapter()
        for each in (session, files):
            each.auth = as_it_is
            each.mount("http://", adapter)
            each.mount("https://", adapter)
        self.media = Media(files, timeouts)

    def send(self, call: Call) -> requests.Response:
        """Send one call, once, and return its success; see `Connection.send`."""
        try:
            with self._client:  # else its classes would find an anonymous client of the public site
                response: requests.Response = self._client.http_request(
                    call.method, call.path, dict(call.where), {}, json=call.body, etag=call.etag
                )
        except PanoptesAPIException as error:
            raise NoAnswer(f"{call}: {error}") from error
        except requests.RequestException as error:
            raise self._lost(error, call) from error
        except (KeyError, TypeError, ValueError) as error:
            # The client reads no API reply in this call, only replies to token calls, and those come first.
            raise ZooniverseUnavailable(f"{call}: no token in the answer ({error!r})") from error
        judge(response, str(call))
        return response

    def _judge_login(self, response: requests.Response, **_: object) -> None:
        if not response.url.startswith(self._api_root):
            judge_login(response)

    def _lost(self, error: requests.RequestException, call: Call) -> ZooniverseUnavailable:
        url = error.request.url if error.request is not None else None
        at_login = url is not None and not url.startswith(self._api_root)
        kind = ZooniverseUnavailable if at_login or never_sent(error) else NoAnswer
        return kind(f"{call}: {type(error).__name__}")


class PanoptesZooniverse:
    """A `Zooniverse` port on one project and one workflow; threads may share it.

    Calls that are safe to repeat are repeated; a create never is.

    Parameters
    ----------
    endpoint
        Base URL without a trailing slash; ``PANOPTES_ENDPOINT`` must say the same, so that no client made
        anywhere in this process reaches the public site by default.
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
        if not endpoint.startswith(("http://", "https://")) or endpoint.endswith("/"):
            raise BadConfig(f"Zooniverse endpoint {endpoint!r} must be a URL without a trailing slash")
        if os.environ.get("PANOPTES_ENDPOINT") != endpoint:
            raise BadConfig(f"PANOPTES_ENDPOINT must be {endpoint!r}: the default is the public site")
        if not 1 <= len(user_hash_key) <= 64:
            raise BadConfig(f"the user hash key must have 1 to 64 bytes, not {len(user_hash_key)}")
        self._credentials = credentials
        self._project_id = project_id
        self._workflow_id = workflow_id
        self._user_hash_key = user_hash_key
        connect = partial(ClientConnection, endpoint, credentials, timeouts)
        self._api = PanoptesApi(connect, retry=retry, sleep=sleep, chance=chance)

    def check(self) -> str:
        """Log in, read the project and return the login name; see `Zooniverse.check`."""
        self._api.one("projects", self._project_id)
        return self._credentials.login

    def workflow(self) -> Workflow:
        """Return the workflow as it is now; see `Zooniverse.workflow`."""
        return workflow_of(self._api.one("workflows", self._workflow_id))

    def retirement(self) -> RetirementRule:
        """Return the workflow's own rule; see `Zooniverse.retirement`."""
        return rule_of(self._api.one("workflows", self._workflow_id))

    def define_workflow(self, tasks: Mapping[str, Any], first_task: str, rule: RetirementRule) -> Workflow:
        """Give an empty workflow its tasks and its rule; see `Zooniverse.define_workflow`."""
        self._api.patiently(lambda: self._fill_workflow(tasks, first_task, rule))
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
        set_id = self._find_set(name) or self._api.patiently(lambda: self._create_set(name))
        links = self._api.one("workflows", self._workflow_id).get("links", {})
        if str(set_id) not in map(str, links.get("subject_sets") or ()):
            path = f"/workflows/{self._workflow_id}/links/subject_sets"
            self._api.patiently(lambda: self._api.post(path, "workflows", {"subject_sets": [str(set_id)]}))
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
        self._api.patiently(lambda: self._api.media.put(upload_url, data, media_type))

    def image_url(self, zooniverse_id: int) -> str:
        """Return the public address of a subject's image; `NotFound` when Zooniverse has no such subject."""
        try:
            return remote_subject(self._api.one("subjects", zooniverse_id)).image_url
        except Missing as error:
            raise NotFound(f"Zooniverse has no subject {zooniverse_id}", subject=zooniverse_id) from error

    def fetch_image(self, url: str) -> bytes | None:
        """Return the stored image, None when there is none; see `Zooniverse.fetch_image`."""
        return self._api.patiently(lambda: self._api.media.get(url))

    def subjects_above(self, zooniverse_id: int) -> Iterator[RemoteSubject]:
        """Yield the project's subjects with a higher id, highest first; see `Zooniverse.subjects_above`.

        Subjects created meanwhile lie behind the reader, and one deleted only makes it see another twice.
        """
        where = {"project_id": self._project_id, "page_size": _LIST_PAGE}
        last = page_count(self._api.read("/subjects", where), "subjects", "GET /subjects")
        for number in range(last, 0, -1):
            entries = self._api.listing("/subjects", "subjects", {**where, "page": number})
            found = sorted(map(remote_subject, entries), key=lambda subject: -subject.zooniverse_id)
            yield from (subject for subject in found if subject.zooniverse_id > zooniverse_id)
            if found and found[-1].zooniverse_id <= zooniverse_id:
                return

    def delete_subject(self, zooniverse_id: int) -> None:
        """Remove a subject; absent is fine; see `Zooniverse.delete_subject`."""
        self._api.patiently(lambda: self._delete_subject(f"/subjects/{zooniverse_id}"))

    def link(self, set_id: int, zooniverse_ids: Sequence[int]) -> None:
        """Link subjects to a set; see `Zooniverse.link`."""
        path = f"/subject_sets/{set_id}/links/subjects"
        body = {"subjects": [str(identity) for identity in zooniverse_ids]}
        self._api.patiently(lambda: self._api.post(path, "subject_sets", body))

    def unlink(self, set_id: int, zooniverse_ids: Sequence[int]) -> None:
        """Take subjects out of a set; see `Zooniverse.unlink`."""
        path = f"/subject_sets/{set_id}/links/subjects/{_joined(zooniverse_ids)}"
        self._api.patiently(lambda: self._api.act(Call(method="DELETE", path=path)))

    def linked(self, set_id: int) -> frozenset[int]:
        """Return the ids linked to a set; see `Zooniverse.linked`."""
        where = {"subject_set_id": set_id, "page_size": _LIST_PAGE}
        entries = self._api.pages("/subjects", "subjects", where)
        return frozenset(remote_subject(entry).zooniverse_id for entry in entries)

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
        self._api.patiently(lambda: self._api.act(Call(method="POST", path=path, body=body)))

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
