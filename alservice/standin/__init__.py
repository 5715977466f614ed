"""alservice.standin."""

from __future__ import annotations
