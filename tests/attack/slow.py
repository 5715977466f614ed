"""Clients that take their time, many at once, before the same application with short bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from alservice.web.connections import ConnectionLimits
from tests.attack.target import Finding, Target
from tests.support.slow_clients import answers, held
from tests.support.web_server import served

WITHIN_S = 60
"""Longest wait for health; how long it took is no part of the outcome."""

SENT: Mapping[str, bytes] = {
    "nothing": b"",
    "half a head": b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    "half a body": b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ntoken",
    "half a chunk": b"POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n64\r\ntoken",
    "idle after an answer": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "a request, unread": b"GET /static/style.css HTTP/1.1\r\nHost: x\r\n\r\n" * 20,
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


def slow_clients(target: Target) -> Iterator[Finding]:
    """Hold more connections than there is room for, and ask for health meanwhile."""
    n = 40 if target.quick else 200
    limits = ConnectionLimits(total=32, per_address=24, reserve=4, head_s=2, body_s=2, stall_s=2, idle_s=5)
    for what, sent in SENT.items():
        with served(target.app, limits) as address, held(address, sent, n=n):
            told = "answers" if answers(address, within_s=WITHIN_S) else "is silent"
        yield Finding(
            attack="slow clients", target=f"{n} x {what}", who="none", expected=frozenset({"answers"}), seen=told
        )
