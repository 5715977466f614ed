"""Debian's Chromium driven by Playwright, or a skip with a reason; CI fails instead."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Flags that keep the browser from asking anybody for anything on its own."""


def chromium() -> str:
    """Return the path of Chromium, or skip the test that asked; CI fails instead."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path is not None:
            return path
    refuse = pytest.fail if os.environ.get("CI") else pytest.skip
    return refuse("no Chromium is found: apt-get install chromium")


@contextmanager
def launched() -> Iterator[Browser]:
    """Run a browser without a window."""
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        try:
            yield browser
        finally:
            browser.close()
