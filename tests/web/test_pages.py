"""Whatever member of a state, arm, verdict or kind the database holds is shown, one of a newer version by its name."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

import httpx
import pytest
from sqlalchemy import text

from alservice.access import Scope
from alservice.campaigns.cycle import CycleKind, CycleState
from alservice.campaigns.policies import Arm
from alservice.registry.records import PromotionKind
from alservice.registry.records import Verdict as GateVerdict
from alservice.states import ModelState, SubjectState
from alservice.storage.postgres import transaction
from alservice.votes.classification import Verdict
from tests.support.dashboards import World
from tests.web.conftest import log_in, secret_of

NEWER = "from-a-newer-version"
HOME = "/campaigns/gz-demo"
TABS = ("cycles", "cycles/2", "votes", "subjects", "models", "gallery", "events")
PAGES = ("/", HOME, *(f"{HOME}/{tab}" for tab in TABS))
LISTS = ("cycles", "cycles/2", "cycles/2/decision", "models", "subjects", "decisions", "events")
ADDRESSES = (f"/api/v1{HOME}", *(f"/api/v1{HOME}/{name}" for name in LISTS))


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Where a kind is kept, and who shows it.

    Parameters
    ----------
    change
        Statements that make rows of the populated campaign of the member ``:m``.
    page
        Page that shows it.
    """

    members: Iterable[str]
    change: tuple[str, ...]
    page: str | None = None


STOPPED = "CASE WHEN :m IN ('failed', 'cancelled') THEN 'collecting' END"
KINDS = {
    "arm": Kept(members=Arm, change=("UPDATE acquired SET arm = :m",), page=f"{HOME}/models"),
    "arm without scores": Kept(
        members=Arm, change=("UPDATE acquired SET arm = :m, score_nats = NULL",), page=f"{HOME}/gallery"
    ),
    "state of a cycle": Kept(
        members=CycleState,
        change=(f"UPDATE cycles SET state = :m, left_from = {STOPPED} WHERE id = :cycle",),
        page=f"{HOME}/cycles",
    ),
    "state that a cycle left": Kept(
        members=CycleState, change=("UPDATE cycles SET state = 'failed', left_from = :m WHERE id = :cycle",), page=HOME
    ),
    "state in events": Kept(
        members=CycleState,
        change=(
            """UPDATE events SET detail = detail || jsonb_build_object('to', CAST(:m AS text))
            WHERE kind = 'cycle.moved' AND detail->>'from' = 'gated' AND cycle_id = :cycle""",
        ),
        page=f"{HOME}/events",
    ),
    "kind of a cycle": Kept(members=CycleKind, change=("UPDATE cycles SET kind = :m",)),
    "state of a subject": Kept(
        members=SubjectState, change=("UPDATE subjects SET state = :m",), page=f"{HOME}/subjects"
    ),
    "state of a model": Kept(
        members=ModelState,
        change=(
            "UPDATE models SET state = 'retired' WHERE id <> :model",
            "UPDATE models SET state = :m WHERE id = :model",
        ),
        page=f"{HOME}/models",
    ),
    "verdict on a classification": Kept(
        members=Verdict, change=("UPDATE classifications SET verdict = :m",), page=f"{HOME}/votes"
    ),
    "verdict of the gate": Kept(
        members=get_args(GateVerdict),
        change=(
            """UPDATE gate_decisions SET verdict = :m,
            document = document || jsonb_build_object('verdict', CAST(:m AS text))""",
        ),
        page=f"{HOME}/cycles",
    ),
    "kind of a promotion": Kept(members=get_args(PromotionKind), change=("UPDATE promotions SET kind = :m",)),
    "kind of statistics": Kept(members=("drift",), change=("UPDATE cycle_statistics SET kind = :m",)),
}
UNBOUND = """DO $$ DECLARE bound record; BEGIN
FOR bound IN SELECT conrelid::regclass AS place, conname FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND (contype = 'c' OR conname = 'uq_acquired_cycle_id_arm_rank')
LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', bound.place, bound.conname); END LOOP;
ALTER TABLE events DISABLE TRIGGER USER;
END $$"""
"""Takes the checks of this version away: a newer one has others."""


APART = ("arm without scores", "state that a cycle left")
"""Kinds that are kept where another kind is."""


@pytest.mark.parametrize("together", [[kind for kind in KINDS if kind not in APART], APART], ids=["most", "apart"])
def test_every_member_is_shown_and_one_of_a_newer_version_by_name(
    client: httpx.Client, world: World, together: Sequence[str]
) -> None:
    """Kind: lists of members written out beside the type. Every page, answer of the API and scrape has them all.

    Each round gives every kind its next member, until the longest list is through; shorter ones begin again.
    """
    factory = world.factory
    secret = secret_of(factory, Scope.OPERATE)
    log_in(client, secret)
    with transaction(factory.engine) as connection:
        connection.execute(text(UNBOUND))
    members = {kind: [str(member) for member in (*KINDS[kind].members, NEWER)] for kind in together}
    for turn in range(max(map(len, members.values()))):
        now = {kind: names[turn % len(names)] for kind, names in members.items()}
        with transaction(factory.engine) as connection:
            for kind, member in now.items():
                given = {"m": member, "cycle": world.held.id, "model": world.models[-1].id}
                for statement in KINDS[kind].change:
                    named = {name: value for name, value in given.items() if f":{name}" in statement}
                    assert connection.execute(text(statement), named).rowcount > 0, (kind, member)
        for path in PAGES:
            page = client.get(path)
            assert page.status_code == 200, (path, now)
            for kind, member in now.items():
                if path == KINDS[kind].page:
                    assert member.replace("-", " ") in page.text.replace("-", " "), (path, kind, member)
        for path in (*ADDRESSES, "/metrics"):
            answer = client.get(path, headers={"Authorization": f"Bearer {secret}"})
            assert answer.status_code == 200, (path, now, answer.text)
