"""Numbers nobody should tune: each with its unit, its reason and what breaks if it changes."""

from __future__ import annotations

from typing import Final

APP_NAME: Final = "alservice"

MAX_IMAGE_BYTES: Final = 1000 * 1024
"""Bytes of an image shown to volunteers: the web uploader's limit for project owners (1000 KiB)."""

MAX_IMAGE_PIXELS: Final = 40_000_000
"""Pixels accepted before decoding: bounds memory to 120 MB and refuses decompression bombs."""

LINK_BATCH: Final = 100
"""Subjects per links call: what the client and the API handle in one request."""

ZOONIVERSE_ALLOWANCE: Final = 10_000
"""Subjects an ordinary Zooniverse account may ever upload, orphans and deleted ones included."""

INGEST_OVERLAP: Final = 2_000
"""Classification ids re-read below the cursor: rows can become visible out of order on a read replica."""

INGEST_PAGE: Final = 200
"""Rows asked for per page of classifications: production's cap; more is silently clipped."""

TALLY_REDUCER: Final = "counts-1"
"""Version of the rule that turns classifications into tallies; a change makes old snapshots incomparable."""
