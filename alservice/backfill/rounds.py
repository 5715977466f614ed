"""Where a backfill keeps what it has done."""

from __future__ import annotations

from typing import Protocol

from alservice.backfill.plan import Round


class RoundStore(Protocol):
    """Rounds of a backfill's runs, each whole or not there; several processes may write, none the same run."""

    def get(self, policy: str, seed: int, number: int) -> Round | None:
        """Return a finished round."""

    def save(self, done: Round, model: bytes) -> None:
        """Keep a round and its model."""

    def model(self, policy: str, seed: int, number: int) -> bytes:
        """Return the model of a round; raises `NotFound`."""
