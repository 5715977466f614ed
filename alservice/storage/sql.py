"""alservice.storage.sql."""

from __future__ import annotations
