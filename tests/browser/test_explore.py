"""Explore and similar galaxies in a real browser: chosen by sliders, found by likeness and by image; offline and accessible."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from alservice.access import Scope
from tests.browser.test_dashboard import LAPTOP, PHONE, assert_accessible, visiting
from tests.support.dashboards import EXPLORED, World, explored

PAGE = f"/campaigns/{EXPLORED}"


@pytest.mark.parametrize(("width", "dark"), [(LAPTOP, False), (PHONE, True)], ids=["laptop", "phone, dark"])
def test_galaxies_are_chosen_and_others_like_them_found(
    browser: Browser, world: World, tmp_path: Path, width: int, *, dark: bool
) -> None:
    """A person moves sliders, shares the address, goes to a galaxy's like, and brings an image."""
    explored(world.factory, world.hands)
    with visiting(browser, world.factory, scope=Scope.OPERATE, width=width, dark=dark) as visit:
        page = visit.page
        visit.go(f"{PAGE}/explore")
        expect(page.get_by_role("heading", name="60 of 60 galaxies")).to_be_visible()
        assert_accessible(visit)
        page.get_by_label("Condition 1, of").select_option("smooth-or-featured_smooth")
        slider = page.get_by_label("Condition 1, from")
        slider.fill("0.3")
        expect(page.locator("output[for=low1]")).to_have_text("0.3")
        page.get_by_label("Sort by").select_option("confidence")
        page.get_by_role("button", name="Choose").click()
        heading = page.get_by_role("heading", name=re.compile(r"^\d+ of 60 galaxies$"))
        expect(heading).to_be_visible()
        assert "name=smooth-or-featured_smooth&low=0.3" in page.url
        found = heading.inner_text()
        visit.go(page.url.removeprefix(visit.base))
        expect(page.get_by_role("heading", name=found)).to_be_visible()
        page.get_by_role("link", name="As a table").click()
        expect(
            page.get_by_role("region", name="Galaxies").or_(page.get_by_text("No galaxy is like this."))
        ).to_be_visible()
        assert_accessible(visit)
        visit.go(f"{PAGE}/explore")
        first = page.locator(".galaxy").first
        name = first.locator("img").get_attribute("alt") or ""
        first.get_by_role("link", name="Galaxies like").click()
        expect(page.get_by_role("heading", name="Nearest in the embedding")).to_be_visible()
        expect(page.locator(".galaxy")).to_have_count(25)
        assert_accessible(visit)
        picture = world.factory.explore.opened(EXPLORED).index.catalogue_id
        data, _ = world.factory.ops.image_of(picture, name.removeprefix("Galaxy "))
        (tmp_path / "galaxy.png").write_bytes(data)
        page.get_by_label("or an image").set_input_files(tmp_path / "galaxy.png")
        page.get_by_role("button", name="Find similar to the image").click()
        expect(page.locator(".galaxy")).to_have_count(24)
        expect(page.locator(".galaxy img").first).to_have_attribute("alt", name)
        page.locator(".galaxy h3 a").first.click()
        expect(
            page.get_by_role("heading", name="Nearest on the sky")
            .or_(page.get_by_role("heading", name="Nearest in the embedding"))
            .first
        ).to_be_visible()
        assert_accessible(visit)
        expect(page.get_by_role("heading", name="History in the loop")).to_be_visible()
        visit.go(f"{PAGE}/explore")
        page.get_by_label("Condition 1, of").select_option("dec_deg")
        expect(page.locator("output[for=low1]")).to_have_text("-90")
        page.get_by_role("button", name="Choose").click()
        page.get_by_text("Keep as a selection").click()
        page.get_by_label("Name").fill("all of the sky")
        page.get_by_role("button", name=re.compile("Keep these")).click()
        expect(page.get_by_role("heading", name="all of the sky")).to_be_visible()
        assert_accessible(visit)
        page.get_by_label("Reason").fill("a look at everything")
        page.get_by_role("button", name="Ask in the next cycle").click()
        expect(page.get_by_role("status")).to_contain_text("galaxies wait for the next cycle")
        assert_accessible(visit)
        visit.go(f"{PAGE}/selections")
        expect(page.get_by_role("cell", name="a look at everything").first).to_be_visible()
        assert_accessible(visit)
        visit.go("/campaigns/gz-demo/explore")
        expect(page.get_by_role("alert")).to_contain_text("alservice explore build --campaign gz-demo")
        assert_accessible(visit)
