"""The quick form of the tour holds, and it can fail."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.attack.doors import Door, endpoints, outcome
from tests.attack.ids import STORED, judge
from tests.attack.target import Finding, Target, target
from tests.attack.tour import ATTACKS, table
from tests.support.postgres import scratch_database


@pytest.fixture(scope="module")
def attacked(postgres_url: str, postgres_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Serve one target for all attacks: none of them changes anything."""
    for url in scratch_database(postgres_url, postgres_template):
        with target(url, tmp_path_factory.mktemp("attacked"), odd=STORED, quick=True) as found:
            yield found


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_finds_nothing(attacked: Target, name: str) -> None:
    """Whatever is tried, the outcome is the expected one."""
    findings = list(ATTACKS[name](attacked))
    assert findings
    assert all(one.held for one in findings), table(findings)


def test_every_endpoint_has_a_door(attacked: Target) -> None:
    """Something of each door is served, so that no row of the table is idle."""
    assert {door for _, _, door in endpoints(attacked)} == set(Door)


def test_what_should_not_be_is_seen() -> None:
    """The judges of the tour refuse what they are for."""
    bad = [
        ("text/html", "<p><script>alert(1)</script>"),
        ("text/html", '<a href="javascript:alert(1)">'),
        ("text/csv", "a,b\r\n1,=HYPERLINK(1)\r\n"),
        ("text/plain", "Traceback (most recent call last)"),
    ]
    for kind, text in bad:
        assert judge(httpx.Response(200, headers={"content-type": kind}, text=text)) != "held"
    assert judge(httpx.Response(500)) == "500"
    assert judge(httpx.Response(200, headers={"content-type": "text/csv"}, text="a\r\n-1.5\r\n")) == "held"
    assert outcome(httpx.Response(303, headers={"location": "/login?next=x"})) == "login"
    assert outcome(httpx.Response(500)) == "500"
    broken = Finding(attack="x", target="GET /", who="none", expected=frozenset({"401"}), seen="in")
    assert "1 tried, 1 not as expected" in table([broken])
