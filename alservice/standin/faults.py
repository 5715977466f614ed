"""Fault rules: which calls go wrong, how, how often, and on which side of the commit."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, cast

from alservice.errors import BadInput
from alservice.standin.replies import JSON_TYPE, Reply, dump_json

Kind = Literal["status", "reset", "close", "hang", "latency"]
When = Literal["before", "after"]
Body = Literal["json", "html", "empty"]

_LONGEST_S = 86_400
"""A day: no test waits longer, and a thread cannot wait for ever by number."""

_KINDS = ("status", "reset", "close", "hang", "latency")


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultRule:
    """One rule; see the package docstring for what each field does."""

    path: str
    kind: Kind
    method: str | None = None
    status: int | None = None
    when: When = "before"
    body: Body = "json"
    seconds: float | None = None
    count: int | None = None
    skip: int = 0
    probability: float | None = None
    seed: int | None = None

    @classmethod
    def parse(cls, given: object, index: int) -> FaultRule:
        """Return the rule written in `given`, entry `index` of a request.

        Raises
        ------
        BadInput
            For a field that is unknown, missing or out of range; the message names entry and field.
        """
        if not isinstance(given, dict):
            raise BadInput(f"fault rule {index} is not an object")
        unknown = sorted(given.keys() - set(_FIELDS))
        if unknown:
            raise BadInput(f"fault rule {index} has an unknown field {unknown[0]!r}")
        _check(given, index)
        method = given.get("method")
        return cls(**{**given, "method": method and method.upper()})


_FIELDS = tuple(field.name for field in fields(FaultRule))


def _check(given: Mapping[str, Any], index: int) -> None:
    def require(field_name: str, is_good: object) -> None:
        if not is_good:
            raise BadInput(f"fault rule {index}: {field_name} is {given.get(field_name)!r}, which it cannot be")

    kind = given.get("kind")
    require("kind", kind in _KINDS)
    require("when", given.get("when", "before") in ("before", "after"))
    require("body", given.get("body", "json") in ("json", "html", "empty"))
    require("method", isinstance(given.get("method", ""), str))
    require("skip", isinstance(given.get("skip", 0), int) and given.get("skip", 0) >= 0)
    require("count", isinstance(given.get("count", 1), int) and given.get("count", 1) >= 1)
    require("seed", isinstance(given.get("seed", 0), int))
    status = given.get("status")
    require("status", (isinstance(status, int) and 400 <= status < 600) if kind == "status" else status is None)
    seconds = given.get("seconds")
    is_time = isinstance(seconds, int | float) and 0 <= seconds <= _LONGEST_S
    require("seconds", is_time if kind == "latency" else seconds is None or (kind == "hang" and is_time))
    probability = given.get("probability")
    require("probability", probability is None or (isinstance(probability, int | float) and 0 < probability <= 1))
    require("seed", probability is None or "seed" in given)
    path = given.get("path")
    require("path", isinstance(path, str))
    try:
        re.compile(cast("str", path))
    except re.error as error:
        raise BadInput(f"fault rule {index}: path is not a regular expression: {error}") from error


@dataclass(kw_only=True)
class Fault:
    """A rule in force: how often it was met, how often it struck, and the calls it holds."""

    rule: FaultRule
    pattern: re.Pattern[str]
    dice: random.Random
    met: int = 0
    hits: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    def strikes(self) -> bool:
        """Count one matching call and return whether it goes wrong."""
        self.met += 1
        rule = self.rule
        if self.met <= rule.skip or (rule.count is not None and self.hits >= rule.count):
            return False
        if rule.probability is not None and self.dice.random() >= rule.probability:
            return False
        self.hits += 1
        return True

    def as_json(self) -> dict[str, Any]:
        """Return the rule with its counts."""
        given = {name: getattr(self.rule, name) for name in _FIELDS}
        return {
            **{name: value for name, value in given.items() if value is not None},
            "met": self.met,
            "hits": self.hits,
        }


class Faults:
    """The rules in force, in the order they were posted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, rules: list[FaultRule]) -> None:
        """Put more rules in force."""
        with self._lock:
            self._faults += [
                Fault(rule=rule, pattern=re.compile(rule.path), dice=random.Random(rule.seed)) for rule in rules
            ]

    def clear(self) -> None:
        """Drop every rule and let go of the calls they hold."""
        with self._lock:
            for fault in self._faults:
                fault.released.set()
            self._faults = []

    def listing(self) -> list[dict[str, Any]]:
        """Return the rules with their counts."""
        with self._lock:
            return [fault.as_json() for fault in self._faults]

    def striking(self, method: str, target: str) -> list[Fault]:
        """Return the faults of one call: any latencies, then at most one that decides its outcome.

        Parameters
        ----------
        method, target
            As on the request line; `target` keeps its query.
        """
        chosen: list[Fault] = []
        with self._lock:
            for fault in self._faults:
                if fault.rule.method not in (None, method) or not fault.pattern.search(target):
                    continue
                if fault.strikes():
                    chosen.append(fault)
                    if fault.rule.kind != "latency":
                        break
        return chosen


def fault_reply(rule: FaultRule) -> Reply:
    """Return the answer a ``status`` rule gives in place of the real one."""
    status = rule.status or 500
    if rule.body == "empty":
        return Reply(status=status)
    if rule.body == "html":
        page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>".encode()
        return Reply(status=status, body=page, headers={"Content-Type": "text/html"})
    body = dump_json({"errors": [{"message": f"injected fault: status {status}"}]})
    return Reply(status=status, body=body, headers={"Content-Type": JSON_TYPE})
