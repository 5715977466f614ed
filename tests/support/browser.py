"""Debian's Chromium driven by Playwright, or a skip with a reason; CI fails instead."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

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
    return _refuse("no Chromium is found: apt-get install chromium")


def _refuse(reason: str) -> NoReturn:
    refuse = pytest.fail if os.environ.get("CI") else pytest.skip
    refuse(reason)


@contextmanager
def driver() -> Iterator[Playwright]:
    """Run Playwright's driver, or skip the test that asked; CI fails instead."""
    manager = sync_playwright()
    try:
        playwright = manager.start()
    except Exception as error:
        if "Connection closed" not in str(error):  # the driver ended at once; Playwright has no type for it
            raise
        _refuse("the browser's driver does not start: apt-get install libatomic1")
    try:
        yield playwright
    finally:
        playwright.stop()


@contextmanager
def launched() -> Iterator[Browser]:
    """Run a browser without a window."""
    path = chromium()
    with driver() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        try:
            yield browser
        finally:
            browser.close()
