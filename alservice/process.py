"""Time and progress: what any long work is given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

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
