"""alservice.rehearsal."""

from __future__ import annotations
