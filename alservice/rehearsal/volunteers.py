"""Simulated volunteers: they are shown galaxies, walk the tree, and post what they saw to the stand-in.

Everything about a sitting follows from the seed, the cycle, the galaxy and the volunteer's place in line,
never from the order of arrival: other batches, other threads or a kill -9 in the middle give the same
votes. A sitting's session is its name. Whoever resumes lists the sessions that are already there, and
those sittings are not sent again.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from alservice.errors import AlserviceError, BadInput
from alservice.process import Clock, Progress
from alservice.rehearsal.crowd import Crowd
from alservice.rehearsal.sittings import Manners, Sending, Sittings
from alservice.rehearsal.volunteer_client import VolunteerClient, loopback_address
from alservice.science.tree import Tree
from alservice.shapes import FloatArray


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
