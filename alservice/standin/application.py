"""From a request to a reply: faults, manners of the API, rights, one transaction, the handler."""

from __future__ import annotations

import logging

from alservice.standin import auth, hooks, projects
from alservice.standin.config import Clock, StandinConfig
from alservice.standin.errors import RefusalError, UnknownCallError, api_error
from alservice.standin.faults import Fault, Faults, fault_reply
from alservice.standin.jobs import run_due_jobs
from alservice.standin.replies import Reply, json_reply
from alservice.standin.routing import Route, find_route
from alservice.standin.state import State, Transaction
from alservice.standin.wire import Call, Request, row_number

logger = logging.getLogger(__name__)

_Found = tuple[Route, dict[str, str]] | RefusalError | UnknownCallError
"""A route with what its path names, or why there is none, to be said after the faults had their turn."""

_BODY_TYPES = ("application/json", "application/vnd.api+json")


class ConnectionBrokenError(Exception):
    """An injected fault wants the connection to end without a reply."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__("reset" if reset else "close")
        self.reset = reset


class Application:
    """The stand-in without its sockets.

    Parameters
    ----------
    config
        What to serve.
    clock
        Returns the present in UTC.
    """

    def __init__(self, config: StandinConfig, clock: Clock) -> None:
        self.config = config
        self.faults = Faults()
        self.state = State(config.state, clock=clock, seed=config.seed, settle_s=config.settle_s)
        try:
            self._install()
        except BaseException:
            self.state.close()
            raise

    def _install(self) -> None:
        with self.state.transaction() as tx:
            self._start_sequences(tx)
            auth.install(tx, self.config)
            projects.install(tx, self.config)

    def _start_sequences(self, tx: Transaction) -> None:
        firsts = {
            "subjects": self.config.first_subject_id,
            "subject_sets": self.config.first_subject_set_id,
            "classifications": self.config.first_classification_id,
        }
        for table, first in firsts.items():
            if tx.one("SELECT 1 FROM sqlite_sequence WHERE name = ?", table) is None:
                tx.run("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", table, first - 1)

    def answer(self, request: Request, target: str) -> Reply:
        """Return the reply to `request`.

        Parameters
        ----------
        target
            The request target with its query, which fault rules are matched against.

        Raises
        ------
        ConnectionBrokenError
            When a fault ends the connection instead.
        """
        if request.path.startswith(hooks.ROOT):
            return hooks.answer(request, self.state, self.faults)
        faults = self.faults.striking(request.method, target)
        run_due_jobs(self.state)
        found = self._find(request)
        seen_lock = None if isinstance(found, Exception) else self._seen_lock(*found)
        reply = _strike(faults, "before")
        if reply is None:
            reply = self._reply(request, found, seen_lock)
            reply = _strike(faults, "after") or reply
        return reply

    def _find(self, request: Request) -> _Found:
        try:
            return find_route(request.method, request.path)
        except (RefusalError, UnknownCallError) as error:
            return error

    def _seen_lock(self, route: Route, parameters: dict[str, str]) -> int | None:
        """Return the lock version as the request finds it, before anything else may commit."""
        if route.lock is None:
            return None
        with self.state.transaction() as tx:
            return route.lock(tx, row_number(parameters["id"]))

    def _reply(self, request: Request, found: _Found, seen_lock: int | None) -> Reply:
        try:
            return self._serve(request, found, seen_lock)
        except RefusalError as refusal:
            return refusal.reply
        except UnknownCallError as unknown:
            return _loud_reply(request, unknown)
        except Exception:
            logger.exception("the Zooniverse stand-in failed on %s %s", request.method, request.path)
            return json_reply(500, {"errors": [{"message": "stand-in: internal error, see its log"}]})

    def _serve(self, request: Request, found: _Found, seen_lock: int | None) -> Reply:
        if isinstance(found, Exception):
            raise found
        route, parameters = found
        _check_manners(request, route)
        with self.state.transaction() as tx:
            viewer = auth.identify(tx, request)
            if route.needs_login and not viewer.token_sent:
                raise api_error(401, "You must be logged in to access this resource.")
            if route.scope is not None:
                auth.check_scope(viewer, route.scope)
            call = Call(
                request=request,
                config=self.config,
                parameters=parameters,
                viewer=viewer,
                tx=tx,
                seen_lock=seen_lock,
            )
            return route.handler(call)

    def close(self) -> None:
        """Close the state."""
        self.state.close()


def _loud_reply(request: Request, unknown: UnknownCallError) -> Reply:
    what = f"{request.method} {request.path}"
    logger.error("the Zooniverse stand-in does not know the call %s: %s", what, unknown)
    return json_reply(501, {"errors": [{"message": f"stand-in: {what}: {unknown}"}]})


def _check_manners(request: Request, route: Route) -> None:
    """Refuse what Panoptes' router and content filter refuse before any controller runs."""
    if route.area != "api":
        return
    accept = request.headers.get("Accept", "").replace(" ", "")
    if "application/vnd.api+json;version=1" not in accept:
        raise api_error(404, "Not Found")
    content_type = request.headers.get("Content-Type", "").partition(";")[0].strip()
    if request.method in ("POST", "PUT") and content_type not in _BODY_TYPES:
        raise api_error(415, "Content-Type must be application/json or application/vnd.api+json")


def _strike(faults: list[Fault], when: str) -> Reply | None:
    """Apply the faults of one side of the commit; return a reply when one replaces the real one."""
    for fault in faults:
        rule = fault.rule
        if rule.when != when:
            continue
        if rule.kind == "status":
            return fault_reply(rule)
        if rule.kind in ("latency", "hang"):
            fault.released.wait(rule.seconds)
        if rule.kind != "latency":
            raise ConnectionBrokenError(reset=rule.kind == "reset")
    return None
