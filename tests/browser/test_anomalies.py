"""Rating galaxies by keys in a real browser: offline, accessible, and nothing pressed twice."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect

from alservice.access import Scope
from tests.browser.test_dashboard import LAPTOP, PHONE, assert_accessible, visiting
from tests.support.dashboards import EXPLORED, World, explored


@pytest.mark.parametrize(("width", "dark"), [(LAPTOP, False), (PHONE, True)], ids=["laptop", "phone, dark"])
def test_galaxies_are_rated_by_keys(browser: Browser, world: World, width: int, *, dark: bool) -> None:
    """A person begins a search, rates a batch, goes back and forth, takes one back, and sees what was found."""
    explored(world.factory, world.hands)
    with visiting(browser, world.factory, scope=Scope.OPERATE, width=width, dark=dark) as visit:
        page = visit.page
        visit.go(f"/campaigns/{EXPLORED}/anomalies")
        assert_accessible(visit)
        page.get_by_label("Name").fill("rings")
        page.get_by_label("Name").press("5")  # writing, not rating
        page.get_by_role("button", name="Begin").click()
        expect(page.get_by_text("10 left of this batch; 0 rated by you")).to_be_visible()
        assert page.url.endswith("/anomalies/rings5")
        assert_accessible(visit)
        heading = page.get_by_role("heading", name=re.compile("How interesting is"))
        first = heading.inner_text()
        page.keyboard.press("ArrowRight")
        expect(heading).not_to_have_text(first)
        page.keyboard.press("ArrowLeft")
        expect(heading).to_have_text(first)
        for n in range(1, 11):  # without a look between them, as people type
            page.keyboard.press(str(n % 6))
        expect(page.get_by_text("10 left of this batch; 10 rated by you")).to_be_visible()
        page.keyboard.press("u")
        expect(page.get_by_text("9 rated by you")).to_be_visible()
        page.get_by_role("button", name="4 interesting").click()
        expect(page.get_by_text("10 rated by you")).to_be_visible()
        expect(page.locator(".gallery .galaxy")).to_have_count(24)
        assert_accessible(visit)
        with page.expect_download() as download:
            page.get_by_role("link", name="Download as CSV").click()
        assert download.value.suggested_filename == f"{EXPLORED}-rings5.csv"
