"""A galaxy's history in the loop: which cycles drew it and why, who asked for it, and how asking ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Engine, select

from alservice.acquisition.requests import ASKED, DRAWN
from alservice.acquisition.schema import acquired, acquisitions, requests
from alservice.campaigns.policies import Arm
from alservice.campaigns.schema import cycles
from alservice.states import AskingState, SubjectState
from alservice.storage.postgres import transaction
from alservice.subjects.schema import stops, subjects

MAX_LINES: Final = 200
"""Draws, and requests, that are read of one galaxy: the newest ones."""

_WHY: Final = {
    Arm.INFORMATIVE: "its votes were expected to teach most",
    Arm.RANDOM: "drawn at random, to keep estimates without bias",
    Arm.EVALUATION: "a member of the evaluation stream, which judges the models",
    Arm.EASY: "expected to be easy for volunteers",
    Arm.REQUESTED: "a person asked for it",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryLine:
    """One thing that happened to a galaxy.

    Parameters
    ----------
    at
        When (UTC).
    cycle
        Number of the cycle that it belongs to; None where it waits for one.
    what, why
        In plain words.
    """

    at: datetime
    cycle: int | None
    what: str
    why: str


def galaxy_history(engine: Engine, campaign_id: int, galaxy_id: str) -> Sequence[HistoryLine]:
    """Return what happened to a galaxy, oldest first."""
    with transaction(engine) as connection:
        lines = [
            *_draws(connection, campaign_id, galaxy_id),
            *_requests(connection, campaign_id, galaxy_id),
            *_subject(connection, campaign_id, galaxy_id),
        ]
    return sorted(lines, key=lambda line: line.at)


def _draws(connection: Connection, campaign_id: int, galaxy_id: str) -> Iterator[HistoryLine]:
    wanted = (
        select(cycles.c.number, acquisitions.c.created_at, acquired.c.arm, acquired.c.score_nats)
        .add_columns(acquired.c.rank, acquired.c.n_votes, acquired.c.inclusion_probability)
        .join_from(cycles, acquisitions, acquisitions.c.cycle_id == cycles.c.id)
        .join(acquired, acquired.c.cycle_id == cycles.c.id)
        .where(cycles.c.campaign_id == campaign_id, acquired.c.galaxy_id == galaxy_id)
        .order_by(cycles.c.number.desc())
        .limit(MAX_LINES)
    )
    for row in connection.execute(wanted):
        score = "" if row.score_nats is None else f": {row.score_nats:.3f} nats, place {row.rank} of its arm"
        yield HistoryLine(
            at=row.created_at,
            cycle=row.number,
            what=f"drawn in the {row.arm} arm, for {row.n_votes} votes",
            why=f"{_WHY[row.arm]}{score}; its chance was {row.inclusion_probability:.2g}",
        )


def _requests(connection: Connection, campaign_id: int, galaxy_id: str) -> Iterator[HistoryLine]:
    table = requests
    outcomes = {None: "waits for the next cycle", DRAWN: "drawn", ASKED: "its votes were asked for"}
    wanted = (
        select(table.c.created_at, table.c.selection, table.c.reason, table.c.actor, table.c.votes)
        .add_columns(table.c.outcome, cycles.c.number)
        .join_from(table, cycles, cycles.c.id == table.c.cycle_id, isouter=True)
        .where(table.c.campaign_id == campaign_id, table.c.galaxy_id == galaxy_id)
        .order_by(table.c.id.desc())
        .limit(MAX_LINES)
    )
    for row in connection.execute(wanted):
        outcome = outcomes.get(row.outcome, f"not drawn: {row.outcome}")
        yield HistoryLine(
            at=row.created_at,
            cycle=row.number,
            what=f"{row.actor} asked for {row.votes} votes with selection {row.selection}; {outcome}",
            why=row.reason,
        )


def _subject(connection: Connection, campaign_id: int, galaxy_id: str) -> Iterator[HistoryLine]:
    wanted = (
        select(subjects.c.created_at, subjects.c.updated_at, subjects.c.state, subjects.c.error, subjects.c.n_votes)
        .add_columns(subjects.c.zooniverse_id, cycles.c.number, stops.c.decided_at, stops.c.detail)
        .add_columns(stops.c.state.label("asking"))
        .join_from(subjects, cycles, cycles.c.id == subjects.c.cycle_id)
        .join(stops, stops.c.subject_id == subjects.c.id, isouter=True)
        .where(subjects.c.campaign_id == campaign_id, subjects.c.galaxy_id == galaxy_id)
    )
    row = connection.execute(wanted).one_or_none()
    if row is None:
        return
    named = "" if row.zooniverse_id is None else f" {row.zooniverse_id}"
    yield HistoryLine(at=row.created_at, cycle=None, what="on its way to volunteers", why="a cycle drew it")
    stopped = row.asking is AskingState.STOPPED
    if row.asking is not None:
        what = {AskingState.STOPPED: "asking stopped", AskingState.AGAIN: "asked again"}.get(
            row.asking, "asking goes on"
        )
        yield HistoryLine(at=row.decided_at, cycle=row.number, what=what, why=row.detail.get("text", ""))
    if row.state is not SubjectState.PLANNED:
        why = row.error or ""
        if row.state is SubjectState.RETIRED:
            why = "enough was known of it" if stopped else f"it has the {row.n_votes} votes that were asked for"
        yield HistoryLine(at=row.updated_at, cycle=row.number, what=f"subject{named} {row.state}", why=why)
