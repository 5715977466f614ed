"""The map in a real browser: by pointer, by keys and without a script; offline and accessible."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from alservice.access import Scope
from tests.browser.test_dashboard import LAPTOP, PHONE, assert_accessible, visiting
from tests.support.dashboards import EXPLORED, GALAXIES, World, explored

PAGE = f"/campaigns/{EXPLORED}/map"


@pytest.mark.parametrize(("width", "dark"), [(LAPTOP, False), (PHONE, True)], ids=["laptop", "phone, dark"])
def test_galaxies_are_found_on_the_map(browser: Browser, world: World, width: int, *, dark: bool) -> None:
    """A person colours the map, clicks, goes by keys, and draws around galaxies."""
    explored(world.factory, world.hands)
    with visiting(browser, world.factory, scope=Scope.READ, width=width, dark=dark) as visit:
        page = visit.page
        visit.go(PAGE)
        shown = page.get_by_role("application", name="Map")
        expect(shown).to_have_class(re.compile("live"))
        assert coloured(page) > 0
        assert_accessible(visit)
        page.get_by_label("Colour by").select_option("novelty")
        page.wait_for_url("**colour=novelty**")
        expect(shown).to_have_class(re.compile("live"))
        shown.click()
        expect(page.get_by_role("heading", name="on the map")).to_be_visible()
        expect(page.locator(".galaxy")).to_have_count(24)
        assert_accessible(visit)
        shown.focus()
        for key in ("+", "+", "ArrowLeft", "Enter"):
            page.keyboard.press(key)
        expect(page.get_by_role("status").filter(has_text="4.0 times enlarged")).to_be_attached()
        heading = page.get_by_role("heading", name=re.compile(r"^Nearest to 0\.(?!500)\d+, 0\.500 on the map$"))
        expect(heading).to_be_visible()
        page.get_by_role("button", name="Whole map").click()
        draw_around(page)
        expect(page.get_by_role("heading", name=f"{GALAXIES} galaxies in the lasso")).to_be_visible()
        with page.expect_download() as download:
            page.get_by_role("link", name="CSV").click()
        lines = download.value.path().read_text(encoding="utf-8").splitlines()
        assert sum(1 for line in lines if line and not line.startswith("#")) >= GALAXIES
        assert_accessible(visit)
        visit.go("/campaigns/gz-demo/map")
        expect(page.get_by_role("alert")).to_contain_text("alservice explore build --campaign gz-demo")
        assert_accessible(visit)


def coloured(page: Page) -> int:
    """Return how many pixels of the map are not empty."""
    count = """() => { const c = document.querySelector('.map canvas');
        return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 === 3 && v).length; }"""
    return int(page.evaluate(count))


def draw_around(page: Page) -> None:
    """Draw a lasso along the edge of the map."""
    page.get_by_role("button", name="Lasso").click()
    shown = page.get_by_role("application", name="Map")
    shown.scroll_into_view_if_needed()
    box = shown.bounding_box()
    assert box is not None
    left, top, right, bottom = box["x"] + 2, box["y"] + 2, box["x"] + box["width"] - 2, box["y"] + box["height"] - 2
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom)):
        page.mouse.move(x, y, steps=4)
    page.mouse.up()
