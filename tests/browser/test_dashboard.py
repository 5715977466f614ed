"""The dashboard in a real browser: every page and act, populated, empty and after a failure; offline and accessible."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, expect
from sqlalchemy import Engine

from alservice.access import Scope
from alservice.app import App
from alservice.campaigns.cycle import CycleState
from alservice.web.application import create_app
from tests.browser.conftest import Visit
from tests.support.dashboards import EARLY, World, ask_again, ask_early, fail_cycle, moving_factory
from tests.support.web_server import served
from tests.support.worlds import import_rows, make_campaign, make_row
from tests.web.conftest import secret_of

HOME = "/campaigns/gz-demo"
PAGES = (
    "/",
    HOME,
    *(f"{HOME}/{tab}" for tab in ("cycles", "cycles/2", "votes", "subjects", "models", "gallery", "events")),
)
OTHERS = tuple(
    f"/campaigns/{campaign}{tab}"
    for campaign, cycles in (("gz-moves", (0, 1, 2)), ("gz-tiers", (0,)))
    for tab in (
        *("", "/cycles", "/votes", "/subjects", "/models", "/gallery", "/events"),
        *(f"/cycles/{number}" for number in cycles),
    )
)
ACTS = tuple(
    f"{HOME}/act/{act}" for act in ("approve?cycle=2", "reject?cycle=2", "roll-back?model=1", "pause", "resume")
)
LAPTOP, PHONE = 1280, 390


@contextmanager
def visiting(
    browser: Browser, factory: App, *, scope: Scope = Scope.OPERATE, width: int = LAPTOP, dark: bool = False
) -> Iterator[Visit]:
    """Serve a factory and log a person in; at the end nothing was asked of another host, and no script failed."""
    secret = secret_of(factory, scope, name="anna")
    scheme = "dark" if dark else "light"
    with served(create_app(factory, figures_life_s=0, prefect_ui="http://127.0.0.1:4200")) as base:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        visit = Visit(context.new_page(), base)
        visit.log_in(secret)
        yield visit
        context.close()
    assert visit.outside == []
    assert visit.faults == []


def assert_accessible(visit: Visit) -> None:
    """Fail on serious findings, and on a page that is wider than the screen."""
    found = Axe().run(visit.page).response["violations"]
    serious = [
        f"{f['id']}: {n['html'][:200]}" for f in found if f["impact"] in {"serious", "critical"} for n in f["nodes"]
    ]
    assert not serious, (visit.page.url, serious)
    width = visit.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert width <= 0, (visit.page.url, width)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [LAPTOP, PHONE])
def test_every_page_is_accessible_and_fits(browser: Browser, world: World, width: int, *, dark: bool) -> None:
    """Axe finds nothing serious on any page or form, light and dark, on a laptop and a phone."""
    with visiting(browser, world.factory, width=width, dark=dark) as visit:
        for path in (*PAGES, *ACTS, "/login", f"{HOME}/cycles/99"):
            visit.go(path)
            assert_accessible(visit)


def test_campaigns_of_every_kind_are_shown(browser: Browser, world: World) -> None:
    """Kind: what only some campaigns have. Moves, tiers, stops, a shadow and training alone break no page."""
    with visiting(browser, world.factory) as visit:
        for path in OTHERS:
            visit.go(path)
            expect(visit.page.get_by_role("navigation", name="Campaign")).to_be_visible()
            assert_accessible(visit)
        visit.go("/campaigns/gz-moves")
        expect(
            visit.page.get_by_role("heading", name="Cycle 2 was cancelled in collecting", exact=True)
        ).to_be_visible()
        visit.go("/campaigns/gz-tiers")
        expect(visit.page.get_by_role("heading", name="Cycle 0 failed in collecting", exact=True)).to_be_visible()
        visit.go(f"{HOME}/models")
        expect(visit.page.get_by_role("img", name="Arms of the batch").get_by_text("easy arm")).to_be_visible()


def test_what_an_operator_looks_for_is_there(browser: Browser, world: World) -> None:
    """State, steps, retries, votes, ledger, checks, curves, galaxies with reasons, links into Prefect."""
    with visiting(browser, world.factory) as visit:
        page = visit.page
        expect(page.get_by_text("The gate could not tell: a person decides.")).to_be_visible()
        page.get_by_role("article").get_by_role("link", name="gz-demo").click()
        expect(page.get_by_role("heading", name="The gate could not tell")).to_be_visible()
        expect(page.get_by_role("img", name="Learning curve")).to_be_visible()
        visit.go(f"{HOME}/cycles/1")
        expect(page.get_by_text("Zooniverse answered 503 five times").first).to_be_visible()
        expect(page.get_by_text("resumed 1 time")).to_be_visible()
        link = page.get_by_role("link", name="gz-demo cycle 1: weekly-cycle")
        assert (link.get_attribute("href") or "").startswith("http://127.0.0.1:4200/runs/flow-run/")
        expect(page.get_by_role("link", name="gz-demo cycle 1: ingest")).to_have_count(5)
        expect(page.get_by_text("2 earlier runs are not listed.")).to_be_visible()
        visit.go(f"{HOME}/cycles/2")
        expect(page.get_by_role("img", name="Calibration")).to_be_visible()
        drift = page.get_by_role("region", name="Drift against the first cycles")
        expect(drift.get_by_role("row", name="vote rate").get_by_role("img", name="an alarm")).to_be_visible()
        expect(drift.get_by_role("img")).to_have_count(5)
        visit.go(f"{HOME}/cycles/0")
        expect(page.get_by_text("Later cycles are compared with this one.")).to_be_visible()
        page.get_by_role("navigation", name="Campaign").get_by_role("link", name="Votes").click()
        expect(page.get_by_role("img", name="Classifications per hour")).to_be_visible()
        expect(page.get_by_role("region", name="Sources").get_by_text("api")).to_be_visible()
        page.get_by_text("The first rows").click()
        expect(page.get_by_text("is not JSON: <script>alert(1)</script>").first).to_be_visible()
        page.get_by_role("link", name="Subjects").click()
        expect(page.get_by_role("img", name="Subjects by state")).to_be_visible()
        expect(page.get_by_text("image refused: <script>alert(1)</script>")).to_be_visible()
        page.get_by_role("link", name="Models").click()
        for chart in ("Learning curve", "Arms of the batch", "Calibration", "Drift"):
            expect(page.get_by_role("img", name=chart)).to_be_visible()
        page.get_by_role("link", name="Gallery").click()
        expect(page.get_by_text("expected from 40 votes").first).to_be_visible()
        expect(page.get_by_text("at most ln 30 = 3.40")).to_be_visible()
        pictures = page.locator(".galaxy img")
        assert pictures.count() == 9
        for picture in pictures.all():
            picture.scroll_into_view_if_needed()  # they are fetched when they come into view
        page.wait_for_function(
            "[...document.querySelectorAll('.galaxy img')].every(i => i.complete && i.naturalWidth > 0)"
        )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [LAPTOP, PHONE])
def test_a_galaxys_card_says_what_is_known_and_why_asking_stops(
    browser: Browser, world: World, width: int, *, dark: bool
) -> None:
    """Votes so far, three posteriors per question, the rule and the model; of a galaxy that is known and one that is not."""
    known, unknown = ask_early(world)
    with visiting(browser, world.factory, scope=Scope.READ, width=width, dark=dark) as visit:
        page = visit.page
        visit.go(f"/campaigns/{EARLY}/gallery")
        page.get_by_role("link", name=known, exact=True).click()
        expect(page.get_by_role("heading", name="Why asking stopped")).to_be_visible()
        expect(page.locator("p.why", has_text="asking ends after 18 votes: known")).to_be_visible()
        expect(page.get_by_text("18 of 40")).to_be_visible()
        expect(page.get_by_text("fused with the votes")).to_be_visible()
        root = page.get_by_role("region", name="smooth or featured")
        artifact = root.get_by_role("row", name="artifact").get_by_role("cell")
        said = artifact.all_inner_texts()
        assert said[3] == "1.00 (18)"
        assert float(said[1]) < float(said[2].split(" ")[0]) < 1
        assert float(said[4]) > 0.95
        picture = artifact.get_by_role("img").get_attribute("aria-label") or artifact.get_by_role("img").inner_text()
        assert "volunteers 1.00" in picture
        assert_accessible(visit)
        visit.go(f"/campaigns/{EARLY}/galaxies/{unknown}")
        expect(page.get_by_role("heading", name="Why asking goes on")).to_be_visible()
        expect(page.locator("p.why", has_text="asking goes on after 10 votes: not yet known")).to_be_visible()
        assert_accessible(visit)
        visit.go(f"{HOME}/galaxies/{known}")
        expect(page.get_by_text("asks the full number of votes of every galaxy")).to_be_visible()
        assert_accessible(visit)


def decide(visit: Visit, button: str, confirm: str, reason: str) -> None:
    """Press a button of the page, give a reason and confirm."""
    visit.page.get_by_role("link", name=button).first.click()
    visit.page.get_by_label("Reason").fill(reason)
    visit.page.get_by_role("button", name=confirm).click()


@pytest.mark.parametrize(
    ("button", "confirm", "state"),
    [
        ("Approve…", "Approve and promote", CycleState.PROMOTED),
        ("Reject…", "Reject candidate", CycleState.KEPT),
    ],
)
def test_deciding_at_the_gate(browser: Browser, world: World, button: str, confirm: str, state: CycleState) -> None:
    """A held cycle is decided with a reason, which stands in the audit."""
    with visiting(browser, world.factory) as visit:
        visit.go(HOME)
        decide(visit, button, confirm, "the bars look right")
        expect(visit.page.get_by_role("status")).to_contain_text("Done.")
        assert world.factory.cycles.get(world.held.id).state is state
        visit.go(f"{HOME}/events")
        expect(visit.page.get_by_text("token:anna").first).to_be_visible()
        visit.go(f"{HOME}/cycles/2")
        expect(visit.page.get_by_text("the bars look right").first).to_be_visible()


def test_rolling_back(browser: Browser, world: World) -> None:
    """An earlier champion is brought back from the registry."""
    with visiting(browser, world.factory) as visit:
        visit.go(f"{HOME}/models")
        first = world.models[0].id
        decide(visit, f"Roll back to model {first}…", "Roll back", "new images broke it")
        expect(visit.page.get_by_role("status")).to_contain_text("live again")
        champion = world.factory.models.champion(world.campaign.id)
        assert champion is not None
        assert champion.id == first


def test_pausing_and_resuming(browser: Browser, world: World) -> None:
    """A pause shows on every page of the campaign until it is ended."""
    with visiting(browser, world.factory) as visit:
        visit.go(f"{HOME}/votes")
        decide(visit, "Pause", "Pause campaign", "storage is moved")
        expect(visit.page.get_by_text("storage is moved")).to_be_visible()
        assert world.factory.ops.paused(world.campaign) is not None
        visit.go(f"{HOME}/cycles")
        decide(visit, "Resume", "Resume campaign", "done")
        expect(visit.page.get_by_role("link", name="Pause")).to_be_visible()
        assert world.factory.ops.paused(world.campaign) is None


def test_while_votes_come_in(browser: Browser, world: World) -> None:
    """A collecting cycle says how many classifications it has, when they will be enough, and when it ends anyway."""
    cycle = ask_again(world)
    with visiting(browser, world.factory) as visit:
        visit.go(f"{HOME}/votes")
        assert_accessible(visit)
        told = visit.page.get_by_text("Cycle 3 collects: 0 of 480 classifications, at the rate of the last 24 h all by")
        expect(told).to_contain_text(f"Collecting ends at the latest {cycle.deadline:%Y-%m-%d %H:%M} UTC.")
        expect(visit.page.get_by_role("progressbar", name="Classifications of cycle 3")).to_be_visible()
        visit.go(HOME)
        expect(visit.page.get_by_text("Collecting ends at the latest")).to_be_visible()


def test_after_a_failure(browser: Browser, world: World) -> None:
    """A failed cycle says in which step and why, and is resumed from the page; markup in the error is text."""
    fail_cycle(world)
    with visiting(browser, world.factory) as visit:
        for path in (*PAGES, f"{HOME}/cycles/3"):
            visit.go(path)
            assert_accessible(visit)
        visit.go(HOME)
        expect(visit.page.get_by_role("heading", name="Cycle 3 failed in planned", exact=True)).to_be_visible()
        expect(visit.page.get_by_text("disk is gone <script>alert(1)</script>")).to_be_visible()
        decide(visit, "Resume…", "Resume campaign", "disk replaced")
        expect(visit.page.get_by_role("status")).to_be_visible()
        cycle = world.factory.cycles.open(world.campaign.id)
        assert cycle is not None
        assert cycle.state is CycleState.PLANNED


def test_refusals_keep_what_was_typed(browser: Browser, world: World) -> None:
    """Somebody else was faster: the form says so and keeps the reason."""
    with visiting(browser, world.factory) as visit:
        visit.go(f"{HOME}/act/approve?cycle=2")
        world.factory.models.keep(world.held, actor="token:ben", reason="faster")
        visit.page.get_by_label("Reason").fill("mine")
        visit.page.get_by_role("button", name="Approve").click()
        expect(visit.page.get_by_role("alert")).to_contain_text("not held")
        assert visit.page.get_by_label("Reason").input_value() == "mine"


@pytest.mark.parametrize("width", [LAPTOP, PHONE])
def test_the_keyboard_starts_at_the_top(browser: Browser, world: World, width: int) -> None:
    """On every page the first stop skips to the content, and the next stop is there.

    Kind: what a page does when it opens (bringing something into view, giving it the keyboard) moves the point
    that the first Tab starts from. Some releases of Chromium move it for an element that is scrolled into view,
    others do not; so that every release tells, the page is watched for such calls too.
    """
    with visiting(browser, world.factory, width=width) as visit:
        visit.page.add_init_script(WATCH)
        for path in (*PAGES, *ACTS, f"{HOME}/cycles/99", "/login"):
            visit.go(path)
            assert visit.page.evaluate("[window.called, document.activeElement.localName]") == [[], "body"], path
            visit.page.keyboard.press("Tab")
            assert visit.page.evaluate("document.activeElement.textContent") == "Skip to content", path
            expect(visit.page.locator(":focus")).to_be_in_viewport()
            visit.page.keyboard.press("Enter")
            visit.page.keyboard.press("Tab")
            inside = visit.page.evaluate("document.querySelector('main').contains(document.activeElement)")
            assert inside == (visit.page.locator(f"main :is({STOPS})").count() > 0), path


STOPS = "a[href], button, input:not([type=hidden]), textarea, summary, [tabindex='0']"
WATCH = """
window.called = [];
for (const name of ["scrollIntoView", "focus"]) {
  const real = HTMLElement.prototype[name];
  HTMLElement.prototype[name] = function (...given) { window.called.push(name); return real.apply(this, given); };
}
"""
"""Notes every call of a page that may move the point from which the keyboard starts."""


def test_on_a_phone_the_open_tab_is_in_view(browser: Browser, world: World) -> None:
    """The bar of tabs is wider than a phone: it opens at the tab that one is at, and the page stays at its top."""
    with visiting(browser, world.factory, width=PHONE) as visit:
        for path in PAGES[1:]:
            visit.go(path)
            expect(visit.page.locator(".tabs [aria-current]")).to_be_in_viewport(ratio=0.99)
            assert visit.page.evaluate("window.scrollY") == 0


def walk(visit: Visit, goal: Locator) -> None:
    """Press Tab until something has the keyboard; a page has fewer than forty stops."""
    for _ in range(40):
        visit.page.keyboard.press("Tab")
        if goal.evaluate("goal => goal === document.activeElement"):
            expect(goal).to_be_in_viewport()
            return
    pytest.fail(f"no stop on {visit.page.url} is {goal}")


def test_by_keyboard_alone(browser: Browser, world: World) -> None:
    """From the address through the log-in to a decision, by Tab, Enter and typing."""
    secret = secret_of(world.factory, Scope.OPERATE, name="ben")
    with visiting(browser, world.factory) as visit:
        page, keys = visit.page, visit.page.keyboard
        page.context.clear_cookies()
        visit.go(HOME)
        walk(visit, page.get_by_label("Token"))
        keys.type(secret)
        keys.press("Enter")
        expect(page.get_by_role("heading", name="The gate could not tell")).to_be_visible()
        walk(visit, page.get_by_role("link", name="Approve…"))
        keys.press("Enter")
        expect(page.get_by_role("heading", name="Approve the candidate")).to_be_visible()
        walk(visit, page.get_by_label("Reason"))
        keys.type("by keys")
        walk(visit, page.get_by_role("button", name="Approve and promote"))
        keys.press("Enter")
        expect(page.get_by_role("status")).to_be_visible()
    assert world.factory.cycles.get(world.held.id).state is CycleState.PROMOTED


def test_empty_pages(browser: Browser, engine: Engine, tmp_path: Path) -> None:
    """Without a campaign, and with one that has no cycle, every page says so and is accessible."""
    factory, _ = moving_factory(engine, tmp_path)
    with visiting(browser, factory) as visit:
        expect(visit.page.get_by_text("No campaign yet.")).to_be_visible()
        assert_accessible(visit)
        import_rows(factory, make_campaign(name="gz-demo"), [make_row(1)])
        for tab in ("", "/cycles", "/votes", "/subjects", "/models", "/gallery", "/events"):
            visit.go(HOME + tab)
            assert_accessible(visit)
        visit.go(f"{HOME}/cycles/0")
        expect(visit.page.get_by_role("heading", name="This did not work")).to_be_visible()


def test_readers_decide_nothing(browser: Browser, world: World) -> None:
    """With a token of scope read there is no button, and the page says what is missing; logging out ends it."""
    with visiting(browser, world.factory, scope=Scope.READ) as visit:
        visit.go(HOME)
        expect(visit.page.get_by_text("Log in with a token of scope operate to decide.")).to_be_visible()
        assert visit.page.locator("a[href*='/act/']").count() == 0
        visit.page.get_by_role("button", name="Log out").click()
        visit.go(HOME)
        expect(visit.page.get_by_role("heading", name="Log in")).to_be_visible()


def test_the_overview_says_what_is_wrong_since_when_what_it_costs_and_what_to_do(
    browser: Browser, world: World, tmp_path: Path
) -> None:
    """Alarms of several campaigns, the gravest first; each leads to its page, and to its entry among all alarms."""
    fail_cycle(world)
    world.hands.forward(days=9)
    with visiting(browser, world.factory) as visit:
        for width, scheme in ((LAPTOP, "light"), (PHONE, "dark")):
            visit.page.set_viewport_size({"width": width, "height": 900})
            visit.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            visit.go("/")
            wrong = visit.page.get_by_role("region", name="What is wrong")
            expect(wrong.get_by_text("failed in planned")).to_be_visible()
            expect(wrong.get_by_role("link", name="CycleLate").first).to_be_visible()
            for label in ("Since", "Costs", "Do"):
                expect(wrong.get_by_text(label, exact=True).first).to_be_visible()
            assert_accessible(visit)
            visit.page.screenshot(path=screens(tmp_path) / f"overview-in-trouble-{scheme}.png", full_page=True)
            wrong.get_by_role("link", name="CycleFailed").first.click()
            expect(visit.page.locator("#cyclefailed")).to_contain_text("Do")
            assert_accessible(visit)
            visit.page.screenshot(path=screens(tmp_path) / f"alarms-{scheme}.png")
            visit.go("/")
            wrong.get_by_role("link", name="gz-demo").first.click()
            expect(wrong).to_be_visible()
            assert_accessible(visit)


def screens(folder: Path) -> Path:
    """Return where pictures for people go: the folder that the environment names, else a test's own."""
    return Path(os.environ.get("ALSERVICE_SCREENS", folder))
