"""Numbers nobody should tune: each with its unit, its reason and what breaks if it changes."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

APP_NAME: Final = "alservice"

VERSION: Final = "0.1.0"
"""Of the package: the only place that says it."""

MAX_IMAGE_BYTES: Final = 1000 * 1024
"""Bytes of an image shown to volunteers: the web uploader's limit for project owners (1000 KiB)."""

MAX_ORIGINAL_BYTES: Final = 32 * 1024 * 1024
"""Bytes of a file that an image is made of: three bands of 1024 x 1024 doubles, with their header; bounds memory."""

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

FIRST_YEAR: Final = 2000
"""Before Zooniverse began: an earlier time is a broken row, and some that databases hold no calendar reads back."""

CLOCK_SLACK: Final = timedelta(days=1)
"""How far Zooniverse's clock may be ahead of ours; classifications from later than that are broken rows."""

API: Final = "api"
"""Name of the API listing as a source of classifications; it gives answers as they were given, by index."""

EXPORT: Final = "export"
"""Name of export files as a source; they give labels, and tell what the API hides."""

TALLY_REDUCER: Final = "counts-1"
"""Version of the rule that turns classifications into tallies; a change makes old snapshots incomparable."""
