"""Galaxies that people ask for by name: taken up to the operator's budget, and drawn by the next cycle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from alservice.campaigns.store import Event

OVER_BUDGET: Final = "over the budget"
WAITING: Final = "waiting already"

DRAWN: Final = "drawn"
"""Outcome of a request whose galaxy is in the batch."""

ASKED: Final = "asked"
"""Outcome of a request for more votes on a galaxy that volunteers know."""

WITHDRAWN: Final = "withdrawn"
"""Outcome of a request that was taken back before a cycle drew it."""

ABSENT: Final = "not in the catalogue"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """One galaxy that may be asked for.

    Parameters
    ----------
    votes
        Votes that it is to have.
    cost
        Votes of these that are not asked for yet.
    """

    galaxy_id: str
    votes: int
    cost: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Why:
    """Who asks, under what name, and for what reason."""

    selection: str
    reason: str
    actor: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One galaxy that a person asked for, and what became of it.

    Parameters
    ----------
    votes, cost
        As of `Wanted`.
    selection
        Name of the selection that it was in.
    cycle_id, outcome
        The cycle that settled it, and how: `DRAWN`, `ASKED`, or why neither; None while it waits. One that was
        withdrawn has no cycle.
    """

    id: int
    campaign_id: int
    galaxy_id: str
    votes: int
    cost: int
    selection: str
    reason: str
    actor: str
    created_at: datetime
    cycle_id: int | None = None
    outcome: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """What became of galaxies that were asked for: `requested` = accepted and refused ones.

    Parameters
    ----------
    accepted
        Ids in the order in which they were named.
    refused
        Galaxies by reason.
    votes
        What the accepted ones take from the budget.
    left
        What is left of it.
    """

    accepted: tuple[str, ...]
    refused: Mapping[str, int] = field(default_factory=dict)
    votes: int
    left: int

    @property
    def requested(self) -> int:
        """Galaxies that were named."""
        return len(self.accepted) + sum(self.refused.values())

    def text(self) -> str:
        """Return the same in a line."""
        why = "".join(f", {n} {reason}" for reason, n in sorted(self.refused.items()))
        return (
            f"{len(self.accepted)} of {self.requested} galaxies wait for the next cycle{why}; "
            f"they take {self.votes} votes of the budget, which has {self.left} left"
        )


class RequestStore(Protocol):
    """Requests of campaigns; a galaxy waits once."""

    def send(self, campaign_id: int, wanted: Sequence[Wanted], why: Why, *, budget: int, refused: Counter[str]) -> Sent:
        """Take as many as the budget has votes for, first ones first, with an event; two at once share it."""

    def waiting(self, campaign_id: int) -> Sequence[Request]:
        """Return what no cycle has settled yet, first come first."""

    def of_galaxy(self, campaign_id: int, galaxy_id: str) -> Sequence[Request]:
        """Return all requests of one galaxy, oldest first."""

    def of_cycle(self, cycle_id: int) -> Sequence[Request]:
        """Return what a cycle settled, first come first."""

    def withdraw(self, campaign_id: int, selection: str, *, reason: str, actor: str) -> int:
        """Take back what waits of a selection, with an event; return how many."""


def sent_event(campaign_id: int, sent: Sent, why: Why, at: datetime) -> Event:
    """Return the line of the audit about galaxies that were asked for: who, when, why, and what was taken."""
    detail = {
        "selection": why.selection,
        "reason": why.reason,
        "accepted": list(sent.accepted),
        "refused": dict(sent.refused),
        "votes": sent.votes,
    }
    return Event(
        campaign_id=campaign_id, cycle_id=None, at=at, actor=why.actor, kind="galaxies.requested", detail=detail
    )


def withdrawn_event(campaign_id: int, selection: str, n: int, *, reason: str, actor: str, at: datetime) -> Event:
    """Return the line of the audit about requests that were taken back."""
    detail = {"selection": selection, "galaxies": n, "reason": reason}
    return Event(campaign_id=campaign_id, cycle_id=None, at=at, actor=actor, kind="requests.withdrawn", detail=detail)


def share_budget(
    wanted: Sequence[Wanted], waiting: Sequence[Request], *, budget: int, refused: Counter[str]
) -> tuple[Sequence[Wanted], Sent]:
    """Return what a budget of votes takes, first ones first, and what is said of it.

    Parameters
    ----------
    waiting
        Requests that have their share already.
    refused
        Galaxies that were refused before, by reason.
    """
    known = {each.galaxy_id for each in waiting}
    left = budget - sum(each.cost for each in waiting)
    taken: list[Wanted] = []
    refused = Counter(refused)
    for each in wanted:
        if each.galaxy_id in known:
            refused[WAITING] += 1
        elif each.cost > left:
            refused[OVER_BUDGET] += 1
        else:
            known.add(each.galaxy_id)
            left -= each.cost
            taken.append(each)
    sent = Sent(
        accepted=tuple(each.galaxy_id for each in taken),
        refused=dict(sorted(refused.items())),
        votes=sum(each.cost for each in taken),
        left=max(0, left),
    )
    return taken, sent
