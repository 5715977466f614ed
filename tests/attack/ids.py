"""Hostile ids: stored and shown on every page and in every export, and asked for in every address and query."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote

import httpx

from tests.attack.doors import VALUES, described, pages
from tests.attack.target import CAMPAIGN, Finding, Kind, Target

SCRIPT = "<script>alert(1)</script>"

STORED: Mapping[int, str] = {
    2: "a'\"`;--",
    3: "'); DROP TABLE tallies; --",
    4: f'"><img src=x onerror=alert(1)>{SCRIPT}',
    5: "=HYPERLINK(1)",
    6: "@SUM(1)",
    7: "survey/field 7",
    8: "../../etc/passwd",
    9: "%2e%2e%2fx{{7*7}}${7*7}",
    10: "long" * 50,
    11: "javascript:alert(1)",
}
"""Row of the catalogue to its galaxy's id."""

ASKED = (
    *STORED.values(),
    "\0",
    "a\0b",
    "\u202eevil\u2066",
    "\ud7ff\uffff",
    "-1",
    "9" * 400,
    "1e999",
    "\r\nSet-Cookie: a=b",
    "x" * 5000,
    "\uff1d1+1",
)
"""What is asked for, beside what is stored."""

QUERIES = ("after", "before", "limit", "state", "q", "next", "galaxy", "arm", "kind", "page", "galaxy_id", "cycle")
FORMULA = re.compile(r"^[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")
HELD = frozenset({"held"})


def shown(target: Target) -> Iterator[Finding]:
    """Look at every page and export of a campaign whose galaxies have hostile ids."""
    with target.client(Kind.OPERATE, session=True) as people, target.client(Kind.OPERATE) as programs:
        for method, path in sorted({*described(target), *pages(target)}):
            if method != "GET" or path.startswith("/caesar"):
                continue
            client = programs if path.startswith("/api/") or path == "/metrics" else people
            for address in _addresses(path):
                yield _finding("ids shown", address, client.get(address))


def asked(target: Target) -> Iterator[Finding]:
    """Ask for hostile ids in each part of each address, and in each query."""
    values = ASKED[:: 5 if target.quick else 1]
    with target.client(Kind.OPERATE, session=True) as people, target.client(Kind.OPERATE) as programs:
        for method, path in sorted({*described(target), *pages(target)}):
            if method != "GET":
                continue
            client = programs if path.startswith("/api/") or path == "/metrics" else people
            for value in values:
                hostile = quote(value, safe="")
                for name in re.findall(r"\{(\w+)", path):
                    address = _filled(path, {**VALUES, name: hostile})
                    yield _finding("ids asked", f"{path} {name}={value[:20]!r}", client.get(address))
                query = "&".join(f"{name}={hostile}" for name in QUERIES)
                yield _finding(
                    "ids asked", f"{path}?...={value[:20]!r}", client.get(f"{_filled(path, VALUES)}?{query}")
                )


def _addresses(path: str) -> Iterator[str]:
    """Yield a path's addresses: one, or one for each stored id, cycle or table."""
    if "{galaxy_id" in path:
        yield from (_filled(path, {**VALUES, "galaxy_id": quote(value, safe="")}) for value in STORED.values())
    elif "{number}" in path:
        yield from (_filled(path, {**VALUES, "number": str(number)}) for number in range(3))
    elif "{table}" in path:
        yield from (_filled(path, {**VALUES, "table": table}) for table in ("tallies", "subjects"))
    else:
        yield _filled(path, VALUES)


def _filled(path: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)(:path)?\}", lambda match: values[match[1]], path)


def _finding(attack: str, asked_for: str, answer: httpx.Response) -> Finding:
    return Finding(attack=attack, target=asked_for, who="operate", expected=HELD, seen=judge(answer))


def judge(answer: httpx.Response) -> str:
    """Return ``held``, or what an answer gives away or lets run."""
    kind = answer.headers.get("content-type", "")
    if answer.status_code >= 500:
        return f"{answer.status_code}"
    if "set-cookie" in answer.headers and "a=b" in answer.headers["set-cookie"]:
        return "a header of the client's"
    if "Traceback" in answer.text or "root:x:" in answer.text:
        return "a look inside"
    if kind.startswith("text/html") and (SCRIPT in answer.text or "<img src=x" in answer.text):
        return "markup that runs"
    if kind.startswith("text/html") and re.search(r"""href=["']?javascript:""", answer.text):
        return "a link that runs"
    if kind.startswith("text/csv"):
        cells = [cell for row in csv.reader(io.StringIO(answer.text)) for cell in row]
        if any(FORMULA.match(cell) and not _is_number(cell) for cell in cells):
            return "a cell that runs"
    return "held"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


__all__ = ["ASKED", "CAMPAIGN", "STORED", "asked", "judge", "shown"]
