"""The webhook as Caesar meets it: logins, limits, repeats and overtaking; and the tallies that come of it."""

import base64
import logging
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from alservice.access import Scope
from alservice.app import App
from alservice.campaigns.campaign import IngestPolicy
from alservice.errors import BadInput, Conflict, DatabaseUnavailable
from alservice.ops.access import WebhookLogin
from alservice.storage.postgres import transaction
from alservice.web.application import create_app
from alservice.web.caesar import MAX_BODY_BYTES
from alservice.web.limits import Limits
from tests.support.web_server import served
from tests.support.worlds import TREE, make_factory
from tests.votes.test_collect_classifications import World
from tests.votes.test_reductions import payload
from tests.web.conftest import stopped

PATH = "/caesar/reductions/test_t0"


def issue(factory: App, name: str = "test", key: str | None = None) -> WebhookLogin:
    """Open a campaign's webhook."""
    return factory.access.issue_webhook(name, key=key, expires_days=90, actor="test")


class Site:
    """An application with the webhook of one campaign, whose subjects are 100 to 103."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.world = World(make_factory(engine, folder))
        self.factory = self.world.factory
        self.world.run()  # learns the workflow's version
        self.login: WebhookLogin = issue(self.factory)
        self.application = stopped(create_app(self.factory, limits=Limits(attempts_per_minute=5)))
        self.root = ""

    def send(self, path: str = PATH, **options):
        """Send a request."""
        return requests.post(f"{self.root}{path}", timeout=20, **options)

    def post(self, document: object, path: str = PATH, auth: tuple[str, str] | None = None):
        """Send a reduction."""
        return self.send(path, json=document, auth=auth or (self.login.user, self.login.password))

    def policy(self, **changes: object) -> None:
        """Decide about ingest."""
        decided = replace(self.world.campaign.settings, ingest=IngestPolicy(**changes))
        self.world.campaign = self.factory.campaigns.save(decided)

    def counts(self) -> dict[str, list[int]]:
        """Return first-question votes by galaxy, from the feed that counts."""
        campaign = self.world.campaign
        tallies = self.factory.votes.source(campaign.settings).tallies(campaign.id, TREE.n_answers)
        first = tallies.counts[:, TREE.slices[0]].tolist()
        return dict(zip(tallies.galaxy_ids, first, strict=True))


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Iterator[Site]:
    """A site on a database of this test's own."""
    made = Site(engine, tmp_path)
    with served(made.application) as made.root:
        yield made


def test_a_reduction_is_taken_in_and_again(site: Site) -> None:
    """204 with nothing in it, as often as Caesar likes, also wrapped."""
    for document in (payload(), payload(), {"reduction": payload()}):
        answer = site.post(document)
        assert (answer.status_code, answer.content) == (204, b"")
    site.policy(tallies_from="reductions")
    assert site.counts() == {"g00": [3, 9, 0]}


def test_the_newest_is_kept_whatever_came_last(site: Site) -> None:
    """An overtaken delivery is a success and changes nothing."""
    site.post(payload(updated_at="2026-01-01T11:05:00Z", data={"0": 8}))
    assert site.post(payload(updated_at="2026-01-01T11:04:59.999Z", data={"0": 7})).status_code == 204
    site.policy(tallies_from="reductions")
    assert site.counts() == {"g00": [8, 0, 0]}


@pytest.mark.parametrize("user", ["test", "other", ""])
@pytest.mark.parametrize("password", ["wrong", "", "Ä\u2028"])
def test_a_wrong_login_is_401_and_changes_nothing(site: Site, user: str, password: str) -> None:
    """The answer says how to log in, and not what was wrong; the body is not read."""
    header = base64.b64encode(f"{user}:{password}".encode()).decode()
    answer = site.send(data=b" " * (MAX_BODY_BYTES + 1), headers={"Authorization": f"Basic {header}"})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    assert answer.json()["code"] == "not-authenticated"
    assert list(site.factory.reductions.list(site.world.campaign.id)) == []


@pytest.mark.parametrize("header", [None, "Bearer x", "Basic", "Basic !", "Basic /w==", "Basic bm9jb2xvbg=="])
def test_without_a_login_the_body_is_not_read(site: Site, header: str | None) -> None:
    """No, another or a broken Authorization header is 401, whatever the address."""
    headers = {} if header is None else {"Authorization": header}
    assert site.send("/caesar/reductions/none", data=b"{", headers=headers).status_code == 401


def test_a_token_opens_its_own_campaigns_webhook(site: Site) -> None:
    """Another campaign's key and one that is nobody's are answered alike; a token of no campaign opens every webhook."""
    site.factory.campaigns.save(replace(site.world.campaign.settings, name="second"))
    issue(site.factory, "second")
    answers = [site.post(payload(), path=f"/caesar/reductions/{key}_t0") for key in ("second", "nobody")]
    assert [(a.status_code, a.json()["code"]) for a in answers] == [(404, "not-found")] * 2
    assert answers[0].text.replace("second", "nobody") == answers[1].text
    everywhere = site.factory.access.create(scope=Scope.INGEST)[1]
    assert site.post(payload(), auth=("whoever", everywhere)).status_code == 204
    read = site.factory.access.create(scope=Scope.READ)[1]
    assert site.post(payload(), auth=("caesar", read)).status_code == 403
    for odd in ("a%00b_t0", "%20", "x" * 500):
        assert site.post(payload(), path=f"/caesar/reductions/{odd}").status_code == 422


def test_an_ingest_token_made_by_hand_is_the_password(site: Site) -> None:
    """Kind: documented and not so. `token create --scope ingest` makes what Caesar sends, rotation keeps both going."""
    token, first = site.factory.access.create(scope=Scope.INGEST, campaign="test")
    assert site.post(payload(), auth=("caesar", first)).status_code == 204
    _, second = site.factory.access.rotate(token.name)
    assert [site.post(payload(), auth=("caesar", secret)).status_code for secret in (first, second)] == [204, 204]
    _, third = site.factory.access.rotate(token.name, overlap_hours=0)
    answers = [site.post(payload(), auth=("caesar", secret)).status_code for secret in (second, third)]
    assert answers == [401, 204]


def test_refusals_are_alike_limited_logged_and_counted(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Kind: a door without a limit. Known and unknown keys are refused in the same words, and wrong ones run out."""
    wrong = [("caesar", f"als_{n:043}") for n in range(8)]
    with caplog.at_level(logging.WARNING, logger="alservice.web"):
        known = site.post(payload(), auth=wrong[0])
        unknown = site.post(payload(), path="/caesar/reductions/nobody_t0", auth=wrong[1])
        codes = [site.post(payload(), auth=login).status_code for login in wrong[2:]]
    assert (known.status_code, known.text) == (unknown.status_code, unknown.text)
    assert known.headers["www-authenticate"] == unknown.headers["www-authenticate"]
    assert codes == [401, 401, 401, 429, 429, 429]
    assert caplog.text.count("POST /caesar/reductions/") == 8
    assert wrong[0][1] not in caplog.text
    assert site.post(payload()).status_code == 204, "who has a valid token never waits"
    scraper = site.factory.access.create(scope=Scope.READ)[1]
    scraped = requests.get(f"{site.root}/metrics", auth=("any", scraper), timeout=20).text
    for status, n in (("401", 5), ("429", 3)):
        line = (
            f'alservice_http_requests_total{{method="POST",route="/caesar/reductions/{{key}}",status="{status}"}} {n}.0'
        )
        assert line in scraped


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (payload(data=None), "data"),
        (payload(reducible={"id": 11, "type": "Workflow"}), "reducible.id"),
        (payload(updated_at="2099-01-01T00:00:00Z"), "updated_at"),
        (payload(reducer_key="T1_stats"), "reducer_key"),
        ([], "body"),
    ],
)
def test_what_cannot_be_counted_is_422_with_its_field(site: Site, document: object, field: str) -> None:
    """Another workflow's, one from the future, another task's: named in problem JSON, and not kept."""
    answer = site.post(document)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "bad-reduction", field)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "a.png" not in answer.text


def test_a_body_that_is_no_json_is_422(site: Site) -> None:
    """Also one that is nested beyond reason, or no text."""
    auth = site.login.user, site.login.password
    for body in (b"", b"{", b"\xff", b"[" * 100_000):
        assert site.send(data=body, auth=auth).status_code == 422


def test_a_body_over_the_limit_is_413(site: Site) -> None:
    """Streamed without a length, too; one byte less is read."""
    auth = site.login.user, site.login.password
    parts = (b" " * 1024 for _ in range(MAX_BODY_BYTES // 1024 + 1))
    refused = site.send(data=parts, auth=auth)
    assert (refused.status_code, refused.json()["code"]) == (413, "too-large")
    assert site.send(data=b" " * MAX_BODY_BYTES, auth=auth).status_code == 422


def test_what_may_pass_is_503(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is away makes Caesar try again, and tells nothing of itself."""

    def away(*_: object) -> None:
        raise DatabaseUnavailable("Postgres at secret-host")

    monkeypatch.setattr(site.factory.webhooks.__class__, "find", away)
    answer = site.post(payload())
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    assert "secret-host" not in answer.text


def test_a_new_login_ends_the_old_one(site: Site, engine: Engine) -> None:
    """The password is nowhere in the database; the audit knows that a login was issued."""
    old = site.login
    site.login = issue(site.factory, key="galaxy_zoo")
    assert site.post(payload(), path="/caesar/reductions/galaxy_zoo_t0").status_code == 204
    assert (
        site.post(payload(), path="/caesar/reductions/galaxy_zoo_t0", auth=(old.user, old.password)).status_code == 401
    )
    assert site.post(payload(), path=PATH).status_code == 404
    assert site.login.password not in repr(site.login)
    with transaction(engine) as connection:
        query = "SELECT w::text FROM webhooks w UNION ALL SELECT e::text FROM events e UNION ALL SELECT t::text FROM tokens t"
        stored = connection.scalars(text(query)).all()
    assert not any(site.login.password in row for row in stored)
    assert "webhook.issued" in {event.kind for event in site.factory.events.list(site.world.campaign.id)}


def test_an_external_reducers_counts_are_kept_and_its_companions_are_not(site: Site) -> None:
    """Kind: what stands beside counts. Zooniverse's aggregation sends its version, and users by answer, who are not kept."""
    data = {"0": 4, "1": 1, "user_ids_0": [8123471, None], "aggregation_version": "4.1.0"}
    assert site.post(payload(data=data)).status_code == 204
    unknown = site.post(payload(data=data | {"parameters": {"pairs": True}}))
    assert (unknown.status_code, unknown.json()["field"]) == (422, "data.parameters")
    site.policy(tallies_from="reductions")
    assert site.counts() == {"g00": [4, 1, 0]}
    with transaction(site.factory.engine) as connection:
        (kept,) = connection.scalars(text("SELECT r::text FROM reductions r")).all()
    assert "8123471" not in kept


def test_a_key_is_one_campaigns(site: Site) -> None:
    """Another campaign cannot take it, and a key that looks like an address with a task is refused."""
    other = site.factory.campaigns.save(replace(site.world.campaign.settings, name="second"))
    with pytest.raises(Conflict):
        issue(site.factory, other.settings.name, key="test")
    with pytest.raises(BadInput):
        issue(site.factory, other.settings.name, key="gz_t0")


def test_the_feeds_are_compared_and_never_added(site: Site) -> None:
    """Each feed says its own; differences are told by galaxy and question with both numbers."""
    for number in range(3):
        site.world.send(number, 100)
    site.world.run()
    assert site.counts() == {"g00": [3, 0, 0]}
    site.post(payload(data={"0": 3}))
    for task in ("T5", "T6"):
        site.post(payload(reducer_key=f"{task}_stats", data={"1" if task == "T5" else "0": 3}), f"{PATH[:-2]}{task}")
    assert site.factory.votes.compare_feeds("test").is_equal
    site.post(payload(data={"0": 3, "1": 1}, updated_at="2026-01-01T11:30:00Z"))
    site.post(payload(data={"2": 5}, subject={"id": 101}))
    site.post(payload(data={"2": 5}, subject={"id": 999}))
    assert site.counts() == {"g00": [3, 0, 0]}
    found = site.factory.votes.compare_feeds("test")
    assert [(d.galaxy_id, d.classifications, d.reductions) for d in found.differences] == [
        ("g00", (3, 0, 0), (3, 1, 0)),
        ("g01", (0, 0, 0), (0, 0, 5)),
    ]
    assert {d.question for d in found.differences} == {"smooth-or-featured"}
    assert found.totals["smooth-or-featured"] == (3, 9)
    assert (found.counts_from, found.unread, found.is_equal) == ("classifications", {"unknown subject": 1}, False)


def test_a_campaign_may_count_reductions(site: Site) -> None:
    """Tallies, the cycle's count and the snapshot come from them, stamped with another reducer."""
    site.world.send(1, 102)
    before = site.world.run()
    site.post(payload(data={"0": 4}))
    plain = site.factory.learning.frozen.freeze(site.world.campaign, site.world.cycle)
    site.policy(tallies_from="reductions", reducers=("T0_stats",))
    assert site.counts() == {"g00": [4, 0, 0]}
    assert (before.counted, site.world.run().counted) == (1, 4)
    assert site.factory.votes.source(site.world.campaign.settings).counted(site.world.campaign.id) == 4
    assert plain.n_votes == 3
    with transaction(site.factory.engine) as connection:
        connection.execute(text("DELETE FROM training_snapshots"))
    reduced = site.factory.learning.frozen.freeze(site.world.campaign, site.world.cycle)
    assert reduced.n_votes == 4
    assert plain.reducer.startswith("counts-1:")
    assert plain.reducer != reduced.reducer


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    deliveries=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12
    ),
    data=st.data(),
)
def test_any_order_and_any_repeats_keep_the_same(
    site: Site, deliveries: list[tuple[int, int, int, int]], data: st.DataObject
) -> None:
    """At-least-once and unordered: the same state as the greatest of all."""
    documents = [
        payload(subject={"id": 100 + subject}, updated_at=f"2026-01-01T11:00:0{second}Z", data={"0": a, "1": b})
        for subject, second, a, b in deliveries
    ]
    kept = []
    for order in (documents, data.draw(st.permutations([*documents, *documents]))):
        with transaction(site.factory.engine) as connection:
            connection.execute(text("TRUNCATE reductions"))
        assert {site.post(document).status_code for document in order} == {204}
        kept.append(list(site.factory.reductions.list(site.world.campaign.id)))
    assert kept[0] == kept[1]


def test_simultaneous_deliveries_keep_the_newest(site: Site) -> None:
    """Thirty at once on one subject, from several connections: none overwrites a newer one."""
    documents = [payload(updated_at=f"2026-01-01T11:00:{n:02}Z", data={"0": n}) for n in range(30)]
    random.Random(3).shuffle(documents)
    with ThreadPoolExecutor(6) as pool:
        assert {answer.status_code for answer in pool.map(site.post, documents)} == {204}
    site.policy(tallies_from="reductions")
    assert site.counts() == {"g00": [29, 0, 0]}
