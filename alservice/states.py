"""State machines as tables: the guard, the diagram and the audit derive from the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from alservice.errors import IllegalTransition

S = TypeVar("S", bound=StrEnum)


@dataclass(frozen=True, kw_only=True)
class StateMachine(Generic[S]):
    """The legal transitions of one kind of thing.

    Parameters
    ----------
    name
        What changes state, for messages.
    transitions
        Every state, with the states that may follow it.
    """

    name: str
    transitions: Mapping[S, frozenset[S]]

    def can(self, before: S, after: S) -> bool:
        """Return whether the step is in the table."""
        return after in self.transitions.get(before, ())

    def check(self, before: S, after: S, *, what: str) -> None:
        """Raise `IllegalTransition` that names the thing unless the step is in the table."""
        if not self.can(before, after):
            raise IllegalTransition(
                f"{self.name} {what} cannot go from {before} to {after}",
                thing=what,
                before=str(before),
                after=str(after),
                allowed=sorted(self.transitions.get(before, ())),
            )

    @property
    def terminal(self) -> frozenset[S]:
        """States that nothing follows."""
        return frozenset(state for state, after in self.transitions.items() if not after)

    def diagram(self) -> str:
        """Return the table as a mermaid state diagram."""
        steps = [f"    {a} --> {b}" for a, after in self.transitions.items() for b in sorted(after)]
        return "\n".join(["stateDiagram-v2", *steps])


def named(kind: type[S], name: str) -> S:
    """Return the member of a name; of a name that only a newer version knows, a member that is in no list.

    Such a one is shown by its name, and no table of transitions has it: what is read can be told, and not acted on.
    """
    try:
        return kind(name)
    except ValueError:
        unknown = str.__new__(kind, name)
        unknown._name_, unknown._value_ = name, name
        return unknown


class SubjectState(StrEnum):
    """Where one galaxy stands on its way to volunteers."""

    PLANNED = "planned"
    CREATING = "creating"  # a create was sent; until an id is recorded its outcome is unknown
    CREATED = "created"
    VERIFIED = "verified"  # the image was fetched back and its digest agrees
    LIVE = "live"  # linked to the subject set
    RETIRED = "retired"
    WITHDRAWN = "withdrawn"
    FAILED = "failed"


SUBJECTS: StateMachine[SubjectState] = StateMachine(
    name="subject",
    transitions={
        SubjectState.PLANNED: frozenset(
            # Verified at once: a subject of the survey's own, found in its pool.
            {SubjectState.CREATING, SubjectState.VERIFIED, SubjectState.FAILED, SubjectState.WITHDRAWN}
        ),
        SubjectState.CREATING: frozenset({SubjectState.CREATED, SubjectState.PLANNED, SubjectState.FAILED}),
        SubjectState.CREATED: frozenset({SubjectState.VERIFIED, SubjectState.PLANNED, SubjectState.FAILED}),
        SubjectState.VERIFIED: frozenset({SubjectState.LIVE, SubjectState.FAILED}),
        SubjectState.LIVE: frozenset({SubjectState.RETIRED, SubjectState.WITHDRAWN}),
        SubjectState.RETIRED: frozenset({SubjectState.LIVE, SubjectState.WITHDRAWN}),
        SubjectState.WITHDRAWN: frozenset({SubjectState.LIVE}),
        SubjectState.FAILED: frozenset({SubjectState.PLANNED}),
    },
)


class AskingState(StrEnum):
    """Whether volunteers are still asked about a galaxy that may stop before its full number of votes."""

    ASKING = "asking"
    STOPPED = "stopped"  # enough is known
    AGAIN = "asked-again"  # it was thought to be known, and later votes contradicted


class ModelState(StrEnum):
    """What a model is to its campaign."""

    CANDIDATE = "candidate"
    CHAMPION = "champion"
    REJECTED = "rejected"
    RETIRED = "retired"


MODELS: StateMachine[ModelState] = StateMachine(
    name="model",
    transitions={
        ModelState.CANDIDATE: frozenset({ModelState.CHAMPION, ModelState.REJECTED}),
        ModelState.CHAMPION: frozenset({ModelState.RETIRED}),
        ModelState.REJECTED: frozenset({ModelState.CHAMPION}),  # a person promotes it by name
        ModelState.RETIRED: frozenset({ModelState.CHAMPION}),  # rollback
    },
)
