"""alservice.science."""

from __future__ import annotations
