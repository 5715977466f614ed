"""Pages of the explorer at a million galaxies, in a browser: first pixel of the map, weight of a page, choices by HTTP.

``python -m tests.benchmarks.explore_pages`` serves a small campaign whose table of the index is replaced by a made-up one
of `--galaxies` rows (positions on the map are two directions of their embeddings, without a layout), opens map and
explorer in Chromium, and asks the API for choices of five conditions. It prints a table. Made-up galaxies have no pictures.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
from playwright.sync_api import Browser

from alservice.access import Scope
from alservice.explore.index import TABLE
from alservice.shapes import FloatArray
from alservice.storage.postgres import make_engine
from alservice.web.application import create_app
from tests.benchmarks.explore import SHARD, choices, parts, write_table
from tests.support.browser import launched
from tests.support.dashboards import EXPLORED, explored, moving_factory
from tests.support.postgres import migrated_database
from tests.support.web_server import served

SPREAD = 8.0
"""Standard deviations of made-up positions across the map."""


def places(n: int) -> FloatArray:
    """Return made-up places (n, 2) on the map: two directions of the embeddings."""
    shards = parts(n, range((n - 1) // SHARD + 1))
    at = np.concatenate([part.prediction.embeddings[:, :2].astype(np.float32) for part in shards])
    scaled: FloatArray = np.clip(0.5 + (at - at.mean(axis=0)) / at.std(axis=0) / SPREAD, 0.001, 0.999)
    return scaled


def looked_at(browser: Browser, base: str, secret: str, visits: int) -> Iterator[tuple[str, str]]:
    """Open both pages several times, each time as somebody new; yield seconds and bytes."""
    firsts: list[float] = []
    weights: dict[str, float] = {}
    loads: list[float] = []
    for _ in range(visits):
        context = browser.new_context(viewport={"width": 1280, "height": 900}, bypass_csp=True)
        page = context.new_page()
        page.goto(f"{base}/login")
        page.get_by_label("Token").fill(secret)
        page.get_by_role("button", name="Log in").click()
        for name in ("map", "explore"):
            start = time.perf_counter()
            page.goto(f"{base}/campaigns/{EXPLORED}/{name}", wait_until="domcontentloaded")
            loads.append(time.perf_counter() - start)
            if name == "map":
                page.wait_for_function("document.querySelector('.map img').naturalWidth > 0")
                firsts.append(time.perf_counter() - start)
            page.wait_for_load_state("networkidle")
            sizes = "['resource', 'navigation'].flatMap((kind) => performance.getEntriesByType(kind))"
            weights[name] = page.evaluate(f"{sizes}.reduce((sum, each) => sum + each.transferSize, 0)") / 1e3
        context.close()
    yield (
        "first pixel of the map: first visit / median of the others",
        f"{firsts[0]:.2f} / {np.median(firsts[1:]):.2f} s",
    )
    yield "explorer's page, median", f"{np.median(loads[1::2]):.2f} s"
    yield "weight of map / explorer, with all they load", f"{weights['map']:.0f} / {weights['explore']:.0f} kB"


def by_http(base: str, secret: str, questions: int) -> tuple[str, str]:
    """Ask the API for choices of five conditions; return what the table says of it."""
    times = []
    with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {secret}"}, timeout=60) as client:
        for choice in choices(np.random.default_rng(5), questions):
            asked = [*(("where", each.text) for each in choice.conditions), ("sort", choice.sort)]
            start = time.perf_counter()
            client.get(f"/api/v1/campaigns/{EXPLORED}/explore", params=asked).raise_for_status()
            times.append(time.perf_counter() - start)
    found = f"{np.median(times) * 1e3:.0f} / {np.quantile(times, 0.95) * 1e3:.0f} ms"
    return f"choice of five conditions by the API, {questions} of them: median / p95", found


def main() -> None:
    """Serve, look and ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--galaxies", type=int, default=1_000_000)
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--visits", type=int, default=5)
    given = parser.parse_args()
    logging.disable(logging.WARNING)  # pictures that are not there
    with tempfile.TemporaryDirectory() as scratch, migrated_database() as url:
        engine = make_engine(url)
        app, hands = moving_factory(engine, Path(scratch))
        explored(app, hands)
        write_table(app.explore.opened(EXPLORED).folder / TABLE, given.galaxies, places(given.galaxies))
        app = moving_factory(engine, Path(scratch))[0]  # which opens the table anew
        secret = app.access.create(scope=Scope.READ, expires_days=1, name="benchmark")[1]
        print("| what | found |\n|---|---|")
        with served(create_app(app, figures_life_s=0)) as base, launched() as browser:
            for what, found in (
                *looked_at(browser, base, secret, given.visits),
                by_http(base, secret, given.questions),
            ):
                print(f"| {what} | {found} |", flush=True)
        engine.dispose()


if __name__ == "__main__":
    main()
