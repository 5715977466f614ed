"""A browser for the session, and people at the dashboard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.support.browser import launched
from tests.web.conftest import populated, world

__all__ = ["browser", "populated", "world"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a file of tests; at its end, so that its event loop is in nobody's way."""
    with launched() as browser:
        yield browser


class Visit:
    """A person at the dashboard, and everything that the page asked of anybody.

    Parameters
    ----------
    outside
        Addresses of other hosts that the browser asked; none is ever right.
    faults
        Errors of scripts and of the content security policy.
    """

    def __init__(self, page: Page, base: str) -> None:
        self.page = page
        self.base = base
        self.outside: list[str] = []
        self.faults: list[str] = []
        page.on("request", lambda r: None if r.url.startswith((base, "data:")) else self.outside.append(r.url))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda message: self._hear(message.type, message.text))

    def go(self, path: str) -> None:
        """Open an address of the service."""
        self.page.goto(self.base + path)

    def log_in(self, secret: str) -> None:
        """Open a session."""
        self.go("/login")
        self.page.get_by_label("Token").fill(secret)
        self.page.get_by_role("button", name="Log in").click()

    def _hear(self, kind: str, text: str) -> None:
        if kind == "error" and "Failed to load resource" not in text:
            self.faults.append(text)
