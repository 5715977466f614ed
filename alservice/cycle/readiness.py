"""What the steps of a run need of the world, so that it is checked before it begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from alservice.campaigns.cycle import Cycle, CycleKind, CycleState
from alservice.cycle.steps import STEPS, Need, path_of
from alservice.errors import Retriable, Terminal

NEEDS: Mapping[CycleState, frozenset[Need]] = {step.state: step.needs for step in STEPS}
"""Step to what it needs. Database and schema are not in it: without them nobody knows the step."""

BY_PLACE: Final = frozenset({Need.DISK, Need.DEVICE})
"""What a step needs of the machine it runs on: another's, where it is sent to another pool."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flight:
    """What a run is about to do.

    Parameters
    ----------
    name
        What the run is, for people.
    legs
        Steps that it takes in a row; of several rows it takes the one that the cycle stands in.
    starts
        Kind of cycle that it starts where none is open; None where it then has nothing to do.
    elsewhere
        Steps that it sends to another machine.
    always
        Needs of work outside any cycle.
    """

    name: str
    legs: tuple[tuple[CycleState, ...], ...] = ()
    starts: CycleKind | None = None
    elsewhere: frozenset[CycleState] = frozenset()
    always: frozenset[Need] = frozenset()

    def steps(self, cycle: Cycle | None) -> tuple[CycleState, ...]:
        """Return the steps that remain to this run, from where the open cycle stands; none where it has no work."""
        if cycle is None and self.starts is None:
            return ()
        step = CycleState.PLANNED if cycle is None else cycle.step
        path = path_of(self.starts or CycleKind.FULL if cycle is None else cycle.kind)
        leg = next((leg for leg in self.legs if step in leg), ())
        return tuple(state for state in path[path.index(step) :] if state in leg)

    def needs(self, cycle: Cycle | None, *, uploads: bool, has_champion: bool) -> frozenset[Need]:
        """Return what the remaining steps need of this machine and of the world.

        Parameters
        ----------
        uploads
            Whether galaxies are uploaded; else their subjects are moved from a pool.
        has_champion
            Whether there is a model to predict with.
        """
        found = self.always
        for state in self.steps(cycle):
            found |= NEEDS[state] - (BY_PLACE if state in self.elsewhere else frozenset())
        missing = set() if has_champion else {Need.CHAMPION}
        return found - (missing - self.always) - {Need.POOL if uploads else Need.ALLOWANCE}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One part: whether it works, what was seen, and what to do if it does not.

    Parameters
    ----------
    code
        Of the error, empty where it works.
    may_pass
        Whether the same check may succeed later without anybody's doing.
    """

    part: str
    ok: bool
    message: str
    remedy: str = ""
    code: str = ""
    may_pass: bool = False


class NotReady(Terminal):
    """Something that a run needs is missing: it did not begin, and its cycle was not touched."""

    code = "not-ready"
    remedy = "Do what the message says beside each part, then start the run again: nothing was begun."


class NotReadyYet(Retriable):
    """All that a run misses may come back by itself: a service does not answer."""

    code = "not-ready-yet"
    remedy = "Wait, or see what the services that the message names say of themselves; nothing was begun."


class RightsMissing(Terminal):
    """The Zooniverse account may not change the project, or the workflow is another project's."""

    code = "rights-missing"
    remedy = "Have the project's owner add the account as collaborator, or correct the ids in the campaign."


def require_ready(findings: Sequence[Finding], what: str) -> None:
    """Raise one error that names every part that does not work, each with what to do; pass if all work.

    Raises
    ------
    NotReadyYet
        All that fails may come back by itself.
    NotReady
        A person must act.
    """
    failed = [finding for finding in findings if not finding.ok]
    if not failed:
        return
    kind = NotReadyYet if all(finding.may_pass for finding in failed) else NotReady
    told = "; ".join(f"{f.part}: {f.message.rstrip('.')} ({f.code}: {f.remedy})" for f in failed)
    evidence = [{"part": f.part, "code": f.code, "seen": f.message, "what to do": f.remedy} for f in failed]
    raise kind(f"{what} cannot begin, {len(failed)} of {len(findings)} checks failed: {told}", failed=evidence)
