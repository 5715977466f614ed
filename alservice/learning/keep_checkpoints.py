"""Checkpoints of one training run as objects: the newest is kept, so that a killed training loses minutes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from alservice.network.training import origin_of
from alservice.process import Clock
from alservice.storage import ObjectStore


@dataclass(frozen=True, kw_only=True)
class KeepCheckpoints:
    """The checkpoints of one run, under a name of its own in the object store.

    The name is the pointer: objects are complete or absent, a newer one is published before the older is deleted, and
    the one with most steps is the newest. A run that dies between the two leaves both, and the next one clears up.

    Parameters
    ----------
    run
        Names the run: lower-case letters, digits and single hyphens.
    """

    objects: ObjectStore
    run: str

    def newest(self) -> bytes | None:
        """Return the checkpoint with most steps behind it, if there is any.

        Raises
        ------
        DigestMismatch
            One is damaged; `forget` starts the run anew.
        """
        found = [self.objects.get(key) for key in self._keys()]
        return max(found, key=lambda checkpoint: origin_of(checkpoint)[0], default=None)

    def keep(self, checkpoint: bytes) -> None:
        """Store a checkpoint, then delete those before it."""
        stored = self.objects.put(checkpoint, kind=self._kind, suffix=".safetensors")
        for key in self._keys():
            if key != stored.key:
                self.objects.delete(key)

    def forget(self) -> None:
        """Delete all: the run is over."""
        for key in self._keys():
            self.objects.delete(key)

    @property
    def _kind(self) -> str:
        return f"checkpoints-{self.run}"

    def _keys(self) -> list[str]:
        return list(self.objects.keys(f"{self._kind}/"))


def due_every(interval: timedelta, clock: Clock) -> Callable[[int], bool]:
    """Return what tells `fit` that a checkpoint is due: this long after the last time that it said so."""
    last = clock()

    def is_due(_step: int) -> bool:
        nonlocal last
        now = clock()
        if now - last < interval:
            return False
        last = now
        return True

    return is_due
