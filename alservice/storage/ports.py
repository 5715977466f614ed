"""alservice.storage.ports."""

from __future__ import annotations
