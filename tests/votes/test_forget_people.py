"""Who classified: never by name, and not for longer than is asked."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from alservice.campaigns.campaign import IngestPolicy
from alservice.ids import hash_user
from alservice.storage.postgres import transaction
from alservice.zooniverse.client import classification_of
from tests.support.exports import export_cells
from tests.support.worlds import NOON, TREE
from tests.votes.test_classification import raw
from tests.votes.test_collect_classifications import START
from tests.votes.test_ingest import TASKS, FileWorld, put, world
from tests.votes.test_reductions import payload

__all__ = ["world"]  # the fixture is shared

NAME, ADDRESS, USER = "Åsa Marked", "203.0.113.77", 4_711_471_147
HEADER = {"user_name": 1, "user_id": 2, "user_ip": 3}


def everything(engine: Engine) -> str:
    """Return every row of every table as text."""
    with transaction(engine) as connection:
        tables = connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        rows = [connection.scalars(text(f'SELECT t::text FROM "{table}" t')).all() for table in tables]
    return "\n".join(row for found in rows for row in found)


def by(user: str, number: int, **changes: object) -> object:
    """Return a classification of a user on the first galaxy."""
    return raw(START + number, user_hash=hash_user(user, b"secret of user-hash-key"), **changes)


def api_entry(number: int) -> dict[str, object]:
    """Return a classification as the API serves it, and more than it does: names and addresses everywhere."""
    return {
        "id": str(START + number),
        "annotations": [{"task": "T0", "value": 0}],
        "metadata": {
            "workflow_version": "1.1",
            "session": "s",
            "started_at": "t",
            "finished_at": "u",
            "user_name": NAME,
            "user_ip": ADDRESS,
            "user_agent": f"{NAME} {ADDRESS}",
            "subject_selection_state": {"retired": False, "user_name": NAME},
        },
        "created_at": "2026-01-01T00:00:00.000Z",
        "user_name": NAME,
        "user_ip": ADDRESS,
        "links": {"project": "1", "workflow": "10", "user": str(USER), "subjects": ["100"], "user_name": NAME},
    }


def marked(number: int) -> list[str]:
    """Return an export row of the marked person."""
    row = export_cells(raw(START + number, zooniverse_subject_id=101), TASKS, user_id=str(USER), name=NAME)
    metadata = json.loads(row[10]) | {"user_agent": f"{NAME} {ADDRESS}", "name": NAME}
    return put(put(row, 3, ADDRESS), 10, json.dumps(metadata))


def test_no_name_and_no_address_is_stored(world: FileWorld, engine: Engine) -> None:
    """From every source, good and broken rows alike: names, addresses and user ids stop at the door."""
    world.listing.rows = [classification_of(api_entry(1), b"key")]
    world.run()
    broken = [
        put(marked(3), 0, NAME),
        put(marked(4), 2, NAME),
        put(marked(5), 2, f"{USER}.0"),
        put(marked(6), 4, NAME),
        put(marked(7), 6, f"{NAME}\u0007"),
        put(marked(8), 7, ADDRESS),
        put(marked(9), 7, f"{NAME} UTC"),
        put(marked(10), 8, NAME),
        put(marked(11), 10, f'{{"{NAME}": '),
        put(marked(12), 11, f'["{NAME}"]'),
        put(marked(13), 13, ADDRESS),
        [*marked(14), NAME],
        put(marked(15), 0, ADDRESS),
    ]
    report = world.ingest(world.file([marked(2), *broken]))
    assert (report.landed, report.quarantined) == (1, len(broken))
    login = world.factory.access.issue_webhook("test", key=None, expires_days=90, actor="test")
    document = payload(user_name=NAME, subject={"id": 100, "metadata": {"user_name": NAME, "ip": ADDRESS}})
    received = world.factory.votes.receive().run("test_t0", token=login.token, body=json.dumps(document).encode())
    assert received
    stored = everything(engine)
    assert stored.count(str(START + 2)) >= 1
    for secret in (NAME, NAME[:3], "Marked", ADDRESS, str(USER), login.password):
        assert secret not in stored


def test_a_forgotten_persons_votes_stay(world: FileWorld, engine: Engine) -> None:
    """Rows become anonymous, verdicts stay as decided, and neither a recount nor the sources bring anything back."""
    one, other = str(USER), "5"
    world.listing.rows = [by(one, 1), by(one, 2), by(other, 3), by(one, 4, session="s1", started_at=f"t{START + 1}")]
    world.listing.rows[3] = world.listing.rows[3]._replace(session=f"s{START + 1}")
    world.run()
    before = world.verdicts
    assert before == {"counted": 2, "repeat": 1, "duplicate-send": 1}
    seen = world.factory.votes.hash_of_user(USER)
    assert world.factory.votes.forget_user("test", seen, actor="test") == {"test": 3}
    assert world.verdicts == before
    assert world.votes() == {"g00": 2}
    world.factory.votes.ingest.recount(world.campaign, TREE)
    world.run()
    assert world.verdicts == before
    stored = everything(engine)
    assert seen not in stored
    assert hash_user(other, b"secret of user-hash-key") in stored
    with transaction(engine) as connection:
        assert connection.scalar(text("SELECT count(*) FROM classifications WHERE session IS NOT NULL")) == 1
        # Per galaxy 8 bytes for the person and 8 for the sending are left: those of the other one.
        assert connection.scalar(text("SELECT length(seen) FROM tallies")) == 16
    (event,) = [e for e in world.factory.events.list(world.campaign.id) if e.kind == "people.forgotten"]
    assert (event.detail, event.actor) == ({"classifications": 3}, "test")


def test_forgetting_is_repeatable_and_of_one_campaign(world: FileWorld) -> None:
    """A second time nothing is left; another campaign's rows are not touched unless all are meant."""
    world.listing.rows = [by("9", 1)]
    world.run()
    world.factory.campaigns.save(replace(world.campaign.settings, name="second"))
    seen = world.factory.votes.hash_of_user(9)
    assert world.factory.votes.forget_user("second", seen, actor="test") == {"second": 0}
    assert world.factory.votes.forget_user(None, seen, actor="test") == {"second": 0, "test": 1}
    assert world.factory.votes.forget_user(None, seen, actor="test") == {"second": 0, "test": 0}


def test_a_kept_verdict_gives_way_to_the_rows_own(world: FileWorld) -> None:
    """What is learnt later about the row itself still excludes it, and what counted before can still be taken back."""
    world.listing.rows = [by("9", 1), by("9", 2)]
    world.run()
    world.factory.votes.forget_user("test", world.factory.votes.hash_of_user(9), actor="test")
    world.listing.rows = [row._replace(seen_before=True) for row in world.listing.rows]
    world.run()
    assert world.verdicts == {"seen-before": 2}
    assert world.votes() == {}


def test_people_expire_by_the_campaigns_rule(world: FileWorld, engine: Engine) -> None:
    """Only what is older than the campaign keeps is forgotten; without a rule nothing is."""
    old, young = NOON - timedelta(days=31), NOON - timedelta(days=29)
    world.listing.rows = [by("9", 1, created_at=old), by("9", 2, created_at=old), by("9", 3, created_at=young)]
    world.run()
    assert world.factory.votes.forget_expired(None, actor="test") == {"test": 0}
    world.decide(ingest=IngestPolicy(retention_days=30))
    assert world.factory.votes.forget_expired("test", actor="test") == {"test": 2}
    assert world.factory.votes.forget_expired("test", actor="test") == {"test": 0}
    assert world.verdicts == {"counted": 1, "repeat": 2}
    with transaction(engine) as connection:
        left = connection.scalars(text("SELECT classification_id FROM classifications WHERE user_hash IS NOT NULL"))
        assert left.all() == [START + 3]
    world.factory.votes.ingest.recount(world.campaign, TREE)
    assert world.verdicts == {"counted": 1, "repeat": 2}
    kinds = [event.kind for event in world.factory.events.list(world.campaign.id)]
    assert kinds.count("people.expired") == 1


@pytest.mark.parametrize("days", [0, -1, float("inf"), float("nan")])
def test_a_retention_that_is_no_time_is_refused(days: float) -> None:
    """Days are positive and finite."""
    with pytest.raises(ValueError, match="retention_days"):
        IngestPolicy(retention_days=days)


def test_many_rows_are_forgotten_in_short_transactions(world: FileWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few rows one takes, all are forgotten, and the verdicts of a galaxy cut in two stay."""
    monkeypatch.setattr("alservice.votes.privacy.FORGET_ROWS", 2)
    world.listing.rows = [by("9", number) for number in range(1, 6)]
    world.run()
    assert world.factory.votes.forget_user("test", world.factory.votes.hash_of_user(9), actor="test") == {"test": 5}
    assert world.verdicts == {"counted": 1, "repeat": 4}
    assert world.votes() == {"g00": 1}
