"""Simulated volunteers: they are shown galaxies, walk the tree, and post what they saw to the stand-in.

Everything about a sitting follows from the seed, the cycle, the galaxy and the volunteer's place in line,
never from the order of arrival: other batches, other threads or a kill -9 in the middle give the same
votes. A sitting's session is its name. Whoever resumes lists the sessions that are already there, and
those sittings are not sent again.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPConnection, HTTPException, HTTPMessage
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt

from alservice.errors import AlserviceError, BadInput, BadVotes, ZooniverseRefused, ZooniverseUnavailable
from alservice.ids import seed_of
from alservice.progress import Clock, Progress
from alservice.rehearsal.sittings import Manners, Sending, Sittings
from alservice.science.tree import Tree
from alservice.science.votes import totals, walk
from alservice.shapes import FloatArray
from alservice.standin.config import PUBLIC_CLIENT_ID
from alservice.zooniverse.endpoint import loopback_address
from alservice.zooniverse.workflow import Workflow

PEOPLE = 2_000
"""People that the volunteers of a galaxy are drawn from, nobody twice; more votes than this are refused."""


class Crowd:
    """People who answer a tree's questions.

    Parameters
    ----------
    tree
        The questions.
    seed
        Of all that the crowd does.
    precision
        Of the Dirichlet draw (votes): two volunteers at one galaxy are correlated by 1 / (precision + 1).
        None: no draw, everybody answers from the probabilities as given.
    bias
        Spread of a person's leanings towards each answer (standard deviation, log-odds); 0: none. Leanings
        pull average probabilities towards the middle, by about bias**2 p (1 - p) (1 - 2 p) for two answers.

    Raises
    ------
    BadInput
        If the precision is below 1 or the bias is negative.
    """

    def __init__(self, tree: Tree, *, seed: int, precision: float | None, bias: float) -> None:
        if precision is not None and not 1 <= precision < math.inf:
            raise BadInput(f"crowd precision must be at least 1 vote and finite, or None; not {precision}")
        if not 0 <= bias < math.inf:
            raise BadInput(f"crowd bias must be at least 0 and finite, not {bias}")
        self._tree = tree
        self._seed = seed
        self._precision = precision
        leanings = np.random.default_rng(seed_of(seed, "people")).normal(0, bias, (PEOPLE, tree.n_answers))
        self._leanings_PA = np.exp(leanings) if bias else None

    def answers(self, galaxy_id: str, probabilities: FloatArray, n: int, cycle: int) -> npt.NDArray[np.int8]:
        """Return what `n` volunteers answer; the first k of them do not depend on `n`.

        Parameters
        ----------
        galaxy_id, cycle
            Seed the answers together with the crowd's seed; nothing else does.
        probabilities
            (A,) of each answer among those asked; all NaN within a question that nothing is known about.
        n
            Number of volunteers.

        Returns
        -------
        numpy.ndarray
            (n, Q) int8: answer index within each question, or -1 where the volunteer was not asked.

        Raises
        ------
        BadVotes
            Naming the galaxy and the question whose probabilities are not a distribution.
        BadInput
            If `n` is negative or more than `PEOPLE`.
        """
        if not 0 <= n <= PEOPLE:
            raise BadInput(f"galaxy {galaxy_id}: volunteers must number 0 to {PEOPLE}, not {n}")
        rng = np.random.default_rng(seed_of(self._seed, "answers", cycle, galaxy_id))
        try:
            walk(self._tree, probabilities, 0, rng)  # judges the probabilities before anything perturbs them
        except BadVotes as error:
            raise BadVotes(f"galaxy {galaxy_id}: {error.message}", galaxy=galaxy_id, **error.evidence) from error
        shared = self._shared(probabilities, rng)
        if self._leanings_PA is None:
            return walk(self._tree, shared, n, rng)
        people = rng.permutation(PEOPLE)[:n]
        walks = [walk(self._tree, self._normalised(shared * leaning), 1, rng) for leaning in self._leanings_PA[people]]
        return np.concatenate([np.empty((0, self._tree.n_questions), np.int8), *walks])

    def _shared(self, probabilities: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return what this crowd makes of the galaxy: one Dirichlet draw per question."""
        if self._precision is None:
            return probabilities
        known = ~np.isnan(probabilities)
        draw = rng.standard_gamma(self._precision * np.where(known, probabilities, 0.0))
        return self._normalised(np.where(known, draw, np.nan))

    def _normalised(self, weights: FloatArray) -> FloatArray:
        shares: FloatArray = weights / totals(self._tree, weights)[self._tree.question_of_answer]
        return shares


API_TYPE = "application/vnd.api+json; version=1"

TRY_AGAIN = frozenset({429, 500, 502, 503, 504})
"""Statuses after which the same call may succeed."""


class VolunteerClient:
    """One connection; not to be shared between threads. Use it as a context manager.

    Parameters
    ----------
    endpoint
        Of the stand-in; anything but loopback raises `RealSiteRefused`.
    timeout_s
        Longest wait for any single answer (s).
    resend_waits_s
        Waits (s) before a failed call is repeated, as the front ends repeat theirs; then the failure is
        raised.
    """

    def __init__(self, endpoint: str, *, timeout_s: float, resend_waits_s: Sequence[float]) -> None:
        host, port = loopback_address(endpoint)
        self._connection = HTTPConnection(host, port, timeout=timeout_s)
        self._resend_waits_s = tuple(resend_waits_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def workflow(self, workflow_id: int) -> Workflow:
        """Return the live workflow, as anybody may read it."""
        path = f"/api/workflows/{workflow_id}"
        data, _ = self._call("GET", path)
        return Workflow(
            workflow_id=workflow_id,
            version=_read(data, path, "workflows", 0, "version"),
            tasks=_read(data, path, "workflows", 0, "tasks"),
        )

    def log_in(self, login: str, password: str) -> str:
        """Return a bearer token by the password flow of panoptes-client."""
        _, form = self._call("GET", "/users/sign_in")
        person = {"login": login, "password": password, "remember_me": True}
        body = json.dumps({"authenticity_token": form["X-CSRF-Token"], "user": person})
        _, session = self._call("POST", "/users/sign_in", body, {"Cookie": _cookie(form)})
        grant = urlencode({"grant_type": "password", "client_id": PUBLIC_CLIENT_ID})
        headers = {"Cookie": _cookie(session), "Content-Type": "application/x-www-form-urlencoded"}
        data, _ = self._call("POST", "/oauth/token", grant, headers)
        return str(_read(data, "/oauth/token", "access_token"))

    def classify(self, classification: Mapping[str, Any], token: str | None) -> None:
        """Send one classification; a send that fails is repeated, which can leave two.

        Panoptes has no idempotency: after a lost answer the same classification may be there twice. Both have
        the same session, start and subject, by which whoever counts them knows.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._call("POST", "/api/classifications", json.dumps({"classifications": classification}), headers)

    def _call(
        self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[bytes, HTTPMessage]:
        """Return body and headers of an answer in the 200s, repeating what a repeat may help."""
        sent = {"Accept": API_TYPE, "Content-Type": "application/json", **(headers or {})}
        for wait_s in self._resend_waits_s:
            try:
                return self._call_once(method, path, body, sent)
            except ZooniverseUnavailable:
                time.sleep(wait_s)
        return self._call_once(method, path, body, sent)

    def _call_once(
        self, method: str, path: str, body: str | None, headers: Mapping[str, str]
    ) -> tuple[bytes, HTTPMessage]:
        where = f"{method} {path}"
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            data = response.read()
        except (OSError, HTTPException) as error:
            self._connection.close()
            raise ZooniverseUnavailable(f"{where}: {type(error).__name__}: {error}", call=where) from error
        status = response.status
        if status in TRY_AGAIN:
            raise ZooniverseUnavailable(f"{where}: status {status}", call=where, status=status)
        if not 200 <= status < 300:
            said = data[:200].decode("utf-8", "replace")
            raise ZooniverseRefused(f"{where}: status {status}: {said}", call=where, status=status)
        return data, response.headers


def _read(data: bytes, path: str, *keys: str | int) -> Any:
    """Return what stands under `keys` in a JSON answer; `ZooniverseRefused` if nothing does."""
    try:
        value = json.loads(data)
        for key in keys:
            value = value[key]
    except (ValueError, LookupError, TypeError) as error:
        raise ZooniverseRefused(f"{path}: {data[:200]!r} is no answer of Zooniverse", path=path) from error
    return value


def _cookie(headers: HTTPMessage) -> str:
    """Return what a browser would send back of a Set-Cookie header."""
    return headers.get("Set-Cookie", "").partition(";")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """A galaxy to be shown to volunteers.

    Parameters
    ----------
    subject_id
        The galaxy on Zooniverse.
    galaxy_id
        The galaxy in the catalogue.
    n_votes
        Number of volunteers who see it.
    probabilities
        (A,) true or recorded probability of each answer among those asked.
    """

    subject_id: int
    galaxy_id: str
    n_votes: int
    probabilities: FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class VolunteerReport:
    """What was sent; sittings asked for = posted + skipped.

    Parameters
    ----------
    posted
        Sittings sent now.
    skipped
        Sittings that were there already.
    extra
        Duplicates and repeats sent now on purpose.
    """

    posted: int
    skipped: int
    extra: int


class Volunteers:
    """A crowd that classifies at one stand-in.

    Parameters
    ----------
    endpoint
        Of the stand-in, on loopback.
    project_id, workflow_id
        Where to classify.
    tree
        What the workflow asks; compared with the live workflow each time.
    seed
        Of all answers and sittings.
    clock
        Says when the sittings are over; read once per `classify`.
    precision, bias
        How far volunteers agree: see `Crowd`. None and 0 replay recorded fractions as they are.
    manners
        How often they duplicate, repeat, skip a question, or use a phone.
    users
        Login and password of those who may be logged in; without any, everybody is anonymous.
    connections
        Volunteers who send at the same time.
    timeout_s, resend_waits_s
        Longest wait for an answer (s), and waits (s) before a failed send is repeated.

    Raises
    ------
    RealSiteRefused
        If the endpoint is not on this machine.
    BadInput
        If the precision or bias is out of range.
    """

    def __init__(
        self,
        endpoint: str,
        project_id: int,
        workflow_id: int,
        tree: Tree,
        *,
        seed: int,
        clock: Clock,
        precision: float | None = 30.0,
        bias: float = 0.2,
        manners: Manners | None = None,
        users: Sequence[tuple[str, str]] = (),
        connections: int = 4,
        timeout_s: float = 30.0,
        resend_waits_s: Sequence[float] = (0.0, 0.5, 2.0),
    ) -> None:
        loopback_address(endpoint)
        self._endpoint = endpoint
        self._project_id = project_id
        self._workflow_id = workflow_id
        self._tree = tree
        self._seed = seed
        self._clock = clock
        self._crowd = Crowd(tree, seed=seed, precision=precision, bias=bias)
        self._manners = manners or Manners()
        self._users = tuple(users)
        self._connections = connections
        self._timeout_s = timeout_s
        self._resend_waits_s = tuple(resend_waits_s)

    def answers(self, galaxy_id: str, probabilities: FloatArray, n: int, cycle: int) -> npt.NDArray[np.int8]:
        """Return what `n` volunteers answer about a galaxy in a cycle: see `Crowd.answers`."""
        return self._crowd.answers(galaxy_id, probabilities, n, cycle)

    def classify(
        self, assignments: Sequence[Assignment], cycle: int, *, progress: Progress, posted: AbstractSet[str]
    ) -> VolunteerReport:
        """Show galaxies to volunteers and post what they saw.

        Parameters
        ----------
        assignments
            Each galaxy once.
        cycle
            Number of the cycle; the same galaxy gets other volunteers in another one.
        posted
            Sessions already at the stand-in; their sittings are skipped, duplicates included.

        Raises
        ------
        BadInput
            If a galaxy is assigned twice.
        BadVotes
            If the probabilities of a galaxy are not distributions.
        WorkflowMismatch
            If the live workflow does not ask the tree's questions.
        ZooniverseUnavailable, ZooniverseRefused
            If a send failed in spite of repeats; the evidence counts what was posted and skipped until then.
            Call again with the sessions that have arrived.
        """
        galaxy_ids = [assignment.galaxy_id for assignment in assignments]
        if len(set(galaxy_ids)) < len(galaxy_ids):
            twice = next(name for name, count in Counter(galaxy_ids).items() if count > 1)
            raise BadInput(f"galaxy {twice} is assigned to volunteers twice in cycle {cycle}", galaxy=twice)
        with self._client() as client:
            workflow = client.workflow(self._workflow_id)
            tokens = [client.log_in(*user) for user in self._users]
        sittings = Sittings(
            self._tree,
            workflow,
            project_id=self._project_id,
            seed=self._seed,
            manners=self._manners,
            n_users=len(tokens),
        )
        shift = _Shift(cycle=cycle, now=self._clock(), sittings=sittings, tokens=tokens, posted=posted)
        progress.start("volunteers classify", sum(assignment.n_votes for assignment in assignments))
        try:
            return self._in_parallel(assignments, shift, progress)
        finally:
            progress.finish()

    def _in_parallel(self, assignments: Sequence[Assignment], shift: _Shift, progress: Progress) -> VolunteerReport:
        """Deal the galaxies out to connections; the first failure stops all of them."""
        hands = [assignments[start :: self._connections] for start in range(self._connections)]
        stop = threading.Event()
        with ThreadPoolExecutor(self._connections, thread_name_prefix="volunteer") as pool:
            try:
                sent = [pool.submit(self._work_through, hand, shift, progress, stop) for hand in hands]
                outcomes = [future.result() for future in sent]
            finally:
                stop.set()
        counts = sum((counts for counts, _ in outcomes), Counter[str]())
        for _, error in outcomes:
            if error is not None:
                error.evidence.update(counts)
                raise error
        return VolunteerReport(posted=counts["posted"], skipped=counts["skipped"], extra=counts["extra"])

    def _work_through(
        self, assignments: Sequence[Assignment], shift: _Shift, progress: Progress, stop: threading.Event
    ) -> tuple[Counter[str], AlserviceError | None]:
        """Send the sittings of some galaxies; return the counts, and the error that ended it early."""
        counts: Counter[str] = Counter()
        try:
            with self._client() as client:
                for assignment in assignments:
                    for sending in self._sendings(assignment, shift):
                        if stop.is_set():
                            return counts, None
                        counts[_send(client, sending, shift)] += 1
                    progress.advance(assignment.n_votes)
        except AlserviceError as error:
            stop.set()
            return counts, error
        return counts, None

    def _sendings(self, assignment: Assignment, shift: _Shift) -> Iterator[Sending]:
        answers = self.answers(assignment.galaxy_id, assignment.probabilities, assignment.n_votes, shift.cycle)
        return shift.sittings.of_galaxy(
            assignment.galaxy_id, assignment.subject_id, answers, cycle=shift.cycle, now=shift.now
        )

    def _client(self) -> VolunteerClient:
        return VolunteerClient(self._endpoint, timeout_s=self._timeout_s, resend_waits_s=self._resend_waits_s)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shift:
    """What one `classify` has in common for all of its galaxies."""

    cycle: int
    now: datetime
    sittings: Sittings
    tokens: Sequence[str]
    posted: AbstractSet[str]


def _send(client: VolunteerClient, sending: Sending, shift: _Shift) -> str:
    """Send what is not there yet; return what it counts as."""
    if sending.session in shift.posted:
        return "extra skipped" if sending.extra else "skipped"
    client.classify(sending.classification, None if sending.user is None else shift.tokens[sending.user])
    return "extra" if sending.extra else "posted"
