"""The one place where methods and paths map to handlers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from alservice.standin import (
    auth,
    classifications,
    exports,
    media,
    projects,
    retirement,
    selection,
    subject_sets,
    subjects,
    workflows,
)
from alservice.standin.errors import UnknownCallError, api_error
from alservice.standin.replies import Reply
from alservice.standin.state import Transaction
from alservice.standin.wire import Call

Handler = Callable[[Call], Reply]
Area = Literal["api", "login", "storage"]

_PIECES = {"{id}": r"(?P<id>[^/]+)", "{ids}": r"(?P<ids>[^/]+)", "{path}": r"(?P<path>.+)"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One call the stand-in knows.

    Attributes
    ----------
    pattern
        Matches the whole path.
    area
        Which manners apply: the API's headers and envelope, the login pages', or the file storage's.
    needs_login
        Whether an anonymous caller gets the 401 with a JSON body.
    scope
        The scope the token must have, or None where Panoptes checks none.
    lock
        Reads, when the request arrives, the lock version its write will be checked against.
    """

    method: str
    pattern: re.Pattern[str]
    handler: Handler
    area: Area = "api"
    needs_login: bool = False
    scope: str | None = None
    lock: Callable[[Transaction, int], int | None] | None = None


def _route(
    method: str,
    template: str,
    handler: Handler,
    *,
    area: Area = "api",
    scope: str | None = None,
    needs_login: bool = False,
    lock: Callable[[Transaction, int], int | None] | None = None,
) -> Route:
    pattern = template if area != "api" else f"/api{template}"
    for name, piece in _PIECES.items():
        pattern = pattern.replace(name, piece)
    return Route(
        method=method,
        pattern=re.compile(pattern),
        handler=handler,
        area=area,
        needs_login=needs_login,
        scope=scope,
        lock=lock,
    )


def _write(method: str, template: str, handler: Handler, scope: str) -> Route:
    """Return a create, update or destroy: login first, then the scope."""
    return _route(method, template, handler, scope=scope, needs_login=True)


_EXPORT = r"/(?P<resource>projects|workflows|subject_sets)/{id}/(?P<export>[a-z_]+)_export"
_SET_LOCK = subject_sets.lock_version

ROUTES: tuple[Route, ...] = (
    _route("GET", "/users/sign_in", auth.sign_in_form, area="login"),
    _route("POST", "/users/sign_in", auth.sign_in, area="login"),
    _route("POST", "/oauth/token", auth.issue_token, area="login"),
    _route("PUT", f"{media.PUBLIC}/{{path}}", media.put_file, area="storage"),
    _route("GET", f"{media.PUBLIC}/{{path}}", media.get_file, area="storage"),
    _route("GET", f"{media.PRIVATE}/{{path}}", media.get_private_file, area="storage"),
    _route("GET", "/me", projects.show_me),
    _route("GET", "/users/{id}", projects.show_user),
    _route("GET", "/project_roles", projects.index_roles),
    _route("GET", "/projects", projects.index),
    _route("GET", "/projects/{id}", projects.show),
    _route("GET", "/subjects", subjects.index),
    _route("GET", "/subjects/queued", selection.index),
    _route("GET", "/subjects/{id}", subjects.show),
    _write("POST", "/subjects", subjects.create, "subject"),
    _write("PUT", "/subjects/{id}", subjects.update, "subject"),
    _write("DELETE", "/subjects/{id}", subjects.destroy, "subject"),
    _route("GET", "/subject_sets", subject_sets.index),
    _route("GET", "/subject_sets/{id}", subject_sets.show),
    _write("POST", "/subject_sets", subject_sets.create, "project"),
    _write("PUT", "/subject_sets/{id}", subject_sets.update, "project"),
    _write("DELETE", "/subject_sets/{id}", subject_sets.destroy, "project"),
    _route("POST", "/subject_sets/{id}/links/subjects", subject_sets.link_subjects, lock=_SET_LOCK),
    _route("DELETE", "/subject_sets/{id}/links/subjects/{ids}", subject_sets.unlink_subjects, lock=_SET_LOCK),
    _route("GET", "/set_member_subjects", subject_sets.index_members),
    _route("GET", "/set_member_subjects/{id}", subject_sets.show_member),
    _route("GET", "/workflows", workflows.index),
    _route("GET", "/workflows/{id}", workflows.show),
    _write("POST", "/workflows", workflows.create, "project"),
    _write("PUT", "/workflows/{id}", workflows.update, "project"),
    _write("DELETE", "/workflows/{id}", workflows.destroy, "project"),
    _route("POST", "/workflows/{id}/links/subject_sets", workflows.link_subject_sets),
    _route("DELETE", "/workflows/{id}/links/subject_sets/{ids}", workflows.unlink_subject_sets),
    _route("POST", "/workflows/{id}/retired_subjects", retirement.retire, scope="project"),
    _route("POST", "/workflows/{id}/unretire_subjects", retirement.unretire, scope="project"),
    _route("GET", "/subject_workflow_statuses", retirement.index),
    _route("GET", "/subject_workflow_statuses/{id}", retirement.show),
    _route("POST", "/classifications", classifications.create),
    _route("GET", "/classifications", classifications.index, scope="classification"),
    _route("GET", "/classifications/project", classifications.index_project, scope="classification"),
    _route("GET", "/classifications/incomplete", classifications.index_incomplete, scope="classification"),
    _route("GET", "/classifications/gold_standard", classifications.index_gold_standard),
    _route("GET", "/classifications/{id}", classifications.show, scope="classification"),
    _write("PUT", "/classifications/{id}", classifications.update, "classification"),
    _write("DELETE", "/classifications/{id}", classifications.update, "classification"),
    _write("POST", _EXPORT, exports.create, "project"),
    _route("GET", _EXPORT, exports.show),
)

_UNKNOWN_LINK = re.compile(r"/api/(subject_sets|workflows)/[0-9]+/links/[a-z_]+(/[^/]+)?")
_OTHER_LINKS = frozenset({"workflows", "project", "retired_subjects", "tutorial_subject", "collection"})


def find_route(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """Return the route of a call and what its path names.

    Raises
    ------
    RefusalError
        404 for an id that is not a number, and for a relation that Panoptes does not have either.
    UnknownCallError
        For everything this stand-in does not model.
    """
    for route in ROUTES:
        found = route.pattern.fullmatch(path) if route.method == method else None
        if found is not None:
            named = found.groupdict()
            if not named.get("id", "0").isdecimal():
                raise api_error(404, "Not Found")
            return route, named
    link = _UNKNOWN_LINK.fullmatch(path)
    if link is not None and path.split("/")[5] not in _OTHER_LINKS:
        raise api_error(404, "Not Found")
    raise UnknownCallError(f"{method} {path} is not modelled")
