"""The report: one file, escaped, the same for the same data."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args

import numpy as np
import pytest

from alservice.campaigns.cycle import CycleKind, CycleState
from alservice.campaigns.policies import Arm, GatePolicy
from alservice.campaigns.store import StatisticsKind
from alservice.cycle.report import AnswerBar, GalleryItem, ReportData, render_report
from alservice.cycle.table import Change, CycleLine, CycleTable, CycleView
from alservice.registry.records import Check, CycleStatistics, GateDecision, Verdict
from alservice.storage.images import encode_png


def line(cycle: int, **changes: object) -> CycleLine:
    """Return a finished cycle."""
    made = CycleLine(
        cycle=cycle,
        kind="active" if cycle else "bootstrap",
        state="done",
        votes=10_000 * (cycle + 1),
        galaxies_labelled=250 * (cycle + 1),
        galaxies_evaluated=300,
        nll_per_vote=0.5 - 0.02 * cycle,
        nll_low=0.48 - 0.02 * cycle,
        nll_high=0.52 - 0.02 * cycle,
        champion_nll_per_vote=None if cycle == 0 else 0.52 - 0.02 * cycle,
        rmse_smooth=0.2 - 0.01 * cycle,
        rmse_bar=None if cycle == 0 else 0.25,
        coverage_error=0.1,
        verdict="promote",
    )
    return replace(made, **changes)


def item(name: str) -> GalleryItem:
    """Return a galaxy of a gallery."""
    image = encode_png(np.linspace(0, 255, 32 * 32).reshape(1, 32, 32).astype(np.uint8))
    bars = [AnswerBar(answer="smooth", mean=0.6, low=0.2, high=0.9, observed=0.55)]
    bars.append(AnswerBar(answer="featured-or-disk", mean=0.4, low=0.1, high=0.8, observed=None))
    return GalleryItem(
        galaxy_id=name,
        image=image,
        media_type="image/png",
        information_nats=1.25,
        questions={"smooth-or-featured": bars},
    )


def test_every_member_is_in_report_and_tables_and_one_of_a_newer_version_by_name() -> None:
    """Kind: lists of members written out beside the type. Plots drew two arms of four, and left the others out."""
    newer = "from-a-newer-version"
    arms = [*map(str, Arm), newer]
    values = {cycle: {arm: [0.2, 0.3 + 0.1 * cycle] for arm in arms} for cycle in range(2)}
    page = render_report(report_data(scores_by_cycle=values, smooth_by_cycle=values))
    assert page.count(f"beside {' arm beside '.join(arms[1:])} arm") == 4
    for kind, members in {
        "state": CycleState,
        "kind": CycleKind,
        "verdict": get_args(Verdict),
    }.items():
        for member in (*members, newer):
            table = CycleTable(campaign="gz", lines=(line(1, **{kind: member}),), change=None)
            assert member in table.text()
            assert member in table.markdown()
            assert member in render_report(report_data(table=table))
    for member in (*get_args(StatisticsKind), newer):
        measured = CycleStatistics(cycle_id=1, cycle_number=1, kind=member, document={})
        view = CycleView(campaign="gz", line=line(1), decision=None, events=(), statistics=(measured,))
        assert member in view.document()


def test_the_bound_stands_beside_every_score() -> None:
    """Kind: figures named for what they are not. A score says how much there is to know at most."""
    page = render_report(report_data(n_draws=12))
    assert page.count("at most ln 12 = 2.48") >= 2


def report_data(**changes: object) -> ReportData:
    """Return a campaign of three cycles."""
    rng = np.random.default_rng(1)
    check = Check(name="nll-per-vote", value=-0.01, low=-0.02, high=0.0, margin=0.002, passed=True, detail="")
    first = Check(name="first-model", value=None, low=None, high=None, margin=None, passed=True, detail="")
    decisions = {
        0: GateDecision(verdict="promote", n_galaxies=300, n_votes=9000, checks=(first,), policy=GatePolicy()),
        1: GateDecision(verdict="promote", n_galaxies=300, n_votes=9000, checks=(check,), policy=GatePolicy()),
    }
    arms = {c: {"informative": rng.gamma(3, 0.4, 80), "random": rng.gamma(2, 0.2, 12)} for c in (1, 2)}
    made = ReportData(
        campaign="rehearsal",
        n_draws=30,
        generated_at=datetime(2026, 1, 1, 12, tzinfo=UTC),
        table=CycleTable(
            campaign="rehearsal",
            lines=(line(0), line(1), line(2, rmse_bar=None)),
            change=Change(first_cycle=0, last_cycle=2, first=0.5, last=0.46, difference=-0.04, low=-0.05, high=-0.03),
        ),
        facts={"catalogue": "synthetic sky, 1500 galaxies, seed 0", "seed": "0"},
        decisions=decisions,
        scores_by_cycle={0: {}, **arms},
        smooth_by_cycle={c: {arm: np.clip(v / 3, 0, 1) for arm, v in values.items()} for c, values in arms.items()},
        history_by_cycle={
            c: [{"step": s, "train": 9 / (1 + s / 90), "hold_out": 10 / (1 + s / 99)} for s in range(0, 600, 50)]
            for c in range(3)
        },
        coverage={0.02: 0.15, 0.05: 0.1, 0.1: 0.05, 0.2: 0.02},
        answer="smooth-or-featured_smooth",
        most=[item(f"most-{i}") for i in range(4)],
        least=[item(f"least-{i}") for i in range(4)],
    )
    return replace(made, **changes)


def test_everything_is_inside() -> None:
    """No script, and no address but data URLs and places on the page."""
    page = render_report(report_data())
    assert "<script" not in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert not re.findall(r"url\((?!#)", page)
    assert page.count("<svg") == 6
    assert page.count("<article") == 8


def test_the_same_data_give_the_same_page() -> None:
    """Nothing in it depends on the moment or on chance."""
    assert render_report(report_data()) == render_report(report_data())


def test_text_from_outside_is_escaped() -> None:
    """A galaxy may be called anything."""
    page = render_report(report_data(most=[item("<img src=x onerror=alert(1)>")]))
    assert "<img src=x" not in page


def test_the_change_is_said_as_it_is() -> None:
    """A rise is called a rise, and an interval that holds 0 is no change."""
    table = report_data().table
    assert table.change is not None
    assert "fell" in render_report(report_data())
    risen = replace(table, change=replace(table.change, difference=0.04, low=0.03, high=0.05))
    assert "rose" in render_report(report_data(table=risen))
    unclear = replace(table, change=replace(table.change, low=-0.05, high=0.03))
    assert "did not change beyond its interval" in render_report(report_data(table=unclear))


@pytest.mark.parametrize("empty", ["scores_by_cycle", "smooth_by_cycle", "history_by_cycle", "coverage", "decisions"])
def test_a_campaign_without_some_figures_has_a_report(empty: str) -> None:
    """What is not there yet is left out."""
    assert "<table" in render_report(report_data(**{empty: {}}))


def test_a_campaign_that_just_began_has_a_report() -> None:
    """One open cycle without figures is shown with dashes."""
    none = dict.fromkeys(
        ("votes", "galaxies_labelled", "galaxies_evaluated", "nll_per_vote", "nll_low", "nll_high", "rmse_smooth")
    )
    table = CycleTable(campaign="rehearsal", lines=(line(0, **none, state="planned"),), change=None)
    page = render_report(report_data(table=table, most=(), least=()))
    assert "planned" in page
