"""alservice.storage.adapters."""

from __future__ import annotations
