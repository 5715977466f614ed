"""Rows of the web service in Postgres: votes per hour, answers by key, and last uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, insert, select, text, update

from alservice.access import Scope
from alservice.campaigns.store import CampaignStore
from alservice.errors import Conflict, KeyReused
from alservice.ops import schema as ops_schema
from alservice.ops.tokens import CLAIM_LIFE, Answer, SqlAnswers, SqlTokenStore
from alservice.storage.postgres import transaction
from alservice.votes import schema as votes_schema
from tests.support.dashboards import Hands
from tests.support.worlds import NOON, make_campaign


def row(campaign_id: int, number: int, *, minutes: int, source: str = "api") -> Mapping[str, object]:
    """Return a classification that arrived some minutes after noon."""
    at = NOON + timedelta(minutes=minutes)
    return {
        "campaign_id": campaign_id,
        "classification_id": number,
        "workflow_id": 1,
        "workflow_version": "1.1",
        "seen_before": False,
        "live_project": True,
        "created_at": at,
        "annotations": "[]",
        "answers": [],
        "abstentions": 0,
        "source": source,
        "received_at": at,
        "gold_standard": False,
        "after_retirement": False,
        "answers_from": source,
    }


def test_hours_count_what_arrived_once(engine: Engine) -> None:
    """Rows count in the hour and for the source they arrived by; corrections and known rows do not count again."""
    campaign = CampaignStore(engine, lambda: NOON).save(make_campaign())
    rows = [row(campaign.id, n, minutes=25 * n, source="export" if n == 3 else "api") for n in range(5)]
    table, hours = votes_schema.classifications, ops_schema.ingest_hours
    with transaction(engine) as connection:
        connection.execute(insert(table), rows)
        known = "INSERT INTO classifications SELECT * FROM classifications ON CONFLICT DO NOTHING"
        connection.execute(text(known))
        connection.execute(update(table).values(source="export"))
        found = connection.execute(select(hours.c.hour, hours.c.source, hours.c.classifications)).all()
    late = NOON + timedelta(hours=1)
    assert sorted(map(tuple, found)) == [(NOON, "api", 3), (late, "api", 1), (late, "export", 1)]


def test_a_key_belongs_to_one_request(engine: Engine) -> None:
    """At work: conflict; answered: the same answer; another request: refused; dead: taken over; released: free."""
    hands = Hands()
    token = SqlTokenStore(engine, hands).create(name="a", scope=Scope.OPERATE, digest="d", expires_at=None)
    answers = SqlAnswers(engine, hands)
    assert answers.claim(token.id, "k", "one") is None
    with pytest.raises(Conflict, match="at work"):
        answers.claim(token.id, "k", "one")
    with pytest.raises(KeyReused):
        answers.claim(token.id, "k", "two")
    hands.now += CLAIM_LIFE + timedelta(seconds=1)
    assert answers.claim(token.id, "k", "one") is None
    answers.save(token.id, "k", Answer(status=200, body="{}"))
    hands.now += CLAIM_LIFE * 2
    assert answers.claim(token.id, "k", "one") == Answer(status=200, body="{}")
    answers.claim(token.id, "other", "one")
    answers.release(token.id, "other")
    assert answers.claim(token.id, "other", "two") is None
    answers.release(token.id, "k")
    assert answers.claim(token.id, "k", "one") is not None, "what was answered stays"


def test_last_use_is_known_to_the_minute(engine: Engine) -> None:
    """A busy client does not write with every request."""
    hands = Hands()
    store = SqlTokenStore(engine, hands)
    token = store.create(name="a", scope=Scope.READ, digest="d", expires_at=None)
    store.used(token)
    first = store.find("d")
    assert first is not None
    assert first.last_used_at == NOON
    hands.forward(seconds=30)
    store.used(first)
    assert store.find("d") == first
    hands.forward(seconds=31)
    store.used(first)
    assert store.find("d") == replace(first, last_used_at=hands.now)
