"""How far long work is: bars at a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

_LOG_SECONDS = 15.0


class BarProgress:
    """One rich bar per piece of work, on standard error; standard output stays for results."""

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._current: TaskID | None = None
        self._lock = threading.Lock()

    def start(self, what: str, total: int | None) -> None:
        """Begin a bar."""
        with self._lock:
            self._bars.start()
            self._current = self._bars.add_task(what, total=total, note="")

    def advance(self, n: int = 1) -> None:
        """Move the bar."""
        with self._lock:
            if self._current is not None:
                self._bars.advance(self._current, n)

    def note(self, text: str) -> None:
        """Show a live figure at the end of the bar."""
        with self._lock:
            if self._current is not None:
                self._bars.update(self._current, note=text)

    def finish(self) -> None:
        """Fill the bar and leave it on the screen."""
        with self._lock:
            if self._current is not None:
                done = self._bars.tasks[self._current].completed
                self._bars.update(self._current, total=done, completed=done)
                self._current = None
                self._bars.stop()
                for task in self._bars.task_ids:
                    self._bars.remove_task(task)


@dataclass
class LogProgress:
    """A log line when work starts and ends, and every fifteen seconds between."""

    logger: logging.Logger
    _what: str = ""
    _total: int | None = None
    _done: int = 0
    _note: str = ""
    _said_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, what: str, total: int | None) -> None:
        """Begin a piece of work."""
        with self._lock:
            self._what, self._total, self._done, self._note = what, total, 0, ""
            self._said_at = monotonic()

    def advance(self, n: int = 1) -> None:
        """Count, and now and then say so."""
        with self._lock:
            self._done += n
            if monotonic() - self._said_at > _LOG_SECONDS:
                self._say()

    def note(self, text: str) -> None:
        """Keep a live figure for the next line."""
        with self._lock:
            self._note = text

    def finish(self) -> None:
        """Say how much was done."""
        with self._lock:
            self._say()

    def _say(self) -> None:
        self._said_at = monotonic()
        total = "" if self._total is None else f" of {self._total}"
        self.logger.info("%s: %d%s %s", self._what, self._done, total, self._note)


class NoProgress:
    """Says nothing: for tests and machine-readable output."""

    def start(self, what: str, total: int | None) -> None:
        """Say nothing."""

    def advance(self, n: int = 1) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def finish(self) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class CheckedProgress:
    """Progress that stops the work when a check fails: it raises where the work next says how far it is.

    Parameters
    ----------
    shown
        Where progress is shown.
    check
        Raises what ends the work, such as `LeaseLost`.
    """

    shown: Progress
    check: Callable[[], None]

    def start(self, what: str, total: int | None) -> None:
        """Begin, if the work may."""
        self.check()
        self.shown.start(what, total)

    def advance(self, n: int = 1) -> None:
        """Move on, if the work may."""
        self.check()
        self.shown.advance(n)

    def note(self, text: str) -> None:
        """Show a live figure."""
        self.shown.note(text)

    def finish(self) -> None:
        """End."""
        self.shown.finish()


def utc_now() -> datetime:
    """Return the time (UTC)."""
    return datetime.now(tz=UTC)


def process_progress() -> Progress:
    """Return bars at a terminal, log lines elsewhere."""
    if sys.stderr.isatty():
        return BarProgress(Console(stderr=True))
    return LogProgress(logging.getLogger("alservice.progress"))


Clock = Callable[[], datetime]
"""Returns now, in UTC."""


class Progress(Protocol):
    """Where long work says how far it is; must be cheap and safe from any thread."""

    def start(self, what: str, total: int | None) -> None:
        """Begin a bar; `total` is None where it is not known."""

    def advance(self, n: int = 1) -> None:
        """Move the bar by `n`."""

    def note(self, text: str) -> None:
        """Show a short live figure, such as a loss."""

    def finish(self) -> None:
        """End the bar."""
