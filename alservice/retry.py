"""When to try again, how long to wait, and when to stop; sleeping and chance are arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from alservice.errors import BadConfig, Retriable

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """Attempts at one call that is safe to repeat, and the growing waits between them.

    Parameters
    ----------
    attempts
        Calls in all, the first included.
    first_s, factor, longest_s
        Wait after the first failure (seconds), its growth per failure, and its bound (seconds).
    """

    attempts: int = 5
    first_s: float = 1.0
    factor: float = 2.0
    longest_s: float = 30.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first_s < 0 or self.factor < 1 or self.longest_s < self.first_s:
            raise BadConfig(f"not a retry policy: {self}")

    def delay_s(self, failures: int, chance: float) -> float:
        """Return the wait (seconds) after that many failures.

        Parameters
        ----------
        failures
            At least 1.
        chance
            A number in [0, 1), uniform, that spreads callers which failed together over half the wait.
        """
        full = min(self.first_s * self.factor ** (failures - 1), self.longest_s)
        return full * (0.5 + 0.5 * chance)


def patiently(
    call: Callable[[], T],
    *,
    policy: RetryPolicy,
    on: type[Retriable],
    sleep: Callable[[float], None],
    chance: Callable[[], float],
) -> T:
    """Return what a repeatable call returns, tried again after one type of error; the last one is raised."""
    for failures in range(1, policy.attempts):
        try:
            return call()
        except on:
            sleep(policy.delay_s(failures, chance()))
    return call()


@dataclass(frozen=True, kw_only=True, slots=True)
class Breaker:
    """A count of failures in a row; at its limit the circuit opens and nothing more is sent.

    Parameters
    ----------
    limit
        Failures in a row that open it.
    """

    limit: int
    failures: int = 0

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise BadConfig(f"a breaker opens after at least one failure, not {self.limit}")

    def after(self, *, failed: bool) -> Breaker:
        """Return the breaker after one more outcome."""
        return replace(self, failures=self.failures + 1 if failed else 0)

    @property
    def is_open(self) -> bool:
        """Whether to stop sending."""
        return self.failures >= self.limit
