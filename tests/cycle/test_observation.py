"""What is measured of a cycle beside its models: drift, the loss on what was selected, a shadow's choice."""

from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from alservice.campaigns.campaign import AcquisitionPolicy, StoppingRule, TrainingPolicy, ZooniverseTarget
from alservice.campaigns.cycle import CycleState
from alservice.campaigns.policies import DriftPolicy
from alservice.errors import BadInput, NotFound
from alservice.learning import evaluation
from alservice.learning.bias import Explanation, ReportBias
from alservice.learning.evaluation import Judged, JudgeModel
from alservice.ops.metrics import SqlMeasures
from alservice.science.evaluation import Assessment, assess
from alservice.science.image_properties import MEASURED
from alservice.science.posterior import Posterior
from alservice.science.tree import Tree
from alservice.shapes import IntArray
from alservice.storage.postgres import make_engine
from tests.cycle.test_cycle import Loop
from tests.support.postgres import scratch_database
from tests.support.worlds import TREE

ASKING = AcquisitionPolicy(initial_galaxies=6, initial_evaluation_galaxies=4, batch_galaxies=9, votes_per_galaxy=3)

JUDGE = JudgeModel.run


def make_loop(engine: Engine, folder: Path, **changes: object) -> Loop:
    """Return a campaign that compares every cycle with its first, and a shadow with every champion."""
    drift = DriftPolicy(reference_cycles=1)
    return Loop(engine, folder, **{"drift": drift, "shadow": True, "acquisition": ASKING, **changes})


def statistics(loop: Loop) -> dict[tuple[int, str], dict]:
    """Return what was measured, by cycle and kind."""
    found = loop.factory.snapshots.statistics(loop.campaign.id)
    return {(s.cycle_number, s.kind): dict(s.document) for s in found}


@pytest.fixture
def assessed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Digests of the models that were assessed, in order."""
    digests: list[str] = []

    def counting(tree: Tree, posterior: Posterior, counts: IntArray) -> Assessment:
        digests.append(posterior.model)
        return assess(tree, posterior, counts)

    monkeypatch.setattr(evaluation, "assess", counting)
    return digests


def test_every_model_is_assessed_once_in_a_cycle(assessed: list[str], engine: Engine, tmp_path: Path) -> None:
    """The gate reads what the evaluation kept; a step that runs again does too. A later champion is assessed then."""
    loop = run_two_cycles(engine, tmp_path)
    first, second = loop.factory.models.list(loop.campaign.id)
    assert assessed == [first.digest, second.digest, first.digest]
    cycle = loop.factory.cycles.list(loop.campaign.id)[-1]
    service = loop.factory.learning.evaluation
    again = service.run(loop.campaign, cycle)
    kept = service.assessment(loop.campaign, cycle, second.id)
    assert len(assessed) == 3
    assert kept.n_galaxies == again[0].n_galaxies
    service.assessment(loop.campaign, loop.factory.cycles.list(loop.campaign.id)[0], second.id)
    assert assessed[3:] == [second.digest]


def run_two_cycles(engine: Engine, folder: Path) -> Loop:
    """Return a campaign with two cycles done."""
    loop = make_loop(engine, folder)
    loop.run(loop.start())
    loop.run(loop.start())
    return loop


@pytest.fixture(scope="module")
def observed(
    postgres_url: str, postgres_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Loop]]:
    """Two cycles done, and the name of their database, for copies."""
    databases = scratch_database(postgres_url, postgres_template)
    engine = make_engine(url := next(databases))
    loop = run_two_cycles(engine, tmp_path_factory.mktemp("observed"))
    engine.dispose()
    yield make_url(url).database or "", loop
    next(databases, None)


@pytest.fixture
def loop(postgres_url: str, observed: tuple[str, Loop]) -> Iterator[Loop]:
    """The two cycles in a database of this test's own; objects never change and are shared."""
    template, made = observed
    for url in scratch_database(postgres_url, template):
        engine = make_engine(url)
        loop = copy(made)
        loop.factory = replace(made.factory, engine=engine)
        yield loop
        engine.dispose()


def test_a_cycle_is_measured_once(loop: Loop) -> None:
    """The first cycle has no champion to shadow or to estimate; the second has everything, and shows it."""
    found = statistics(loop)
    assert set(found) == {(0, "drift"), (1, "drift"), (1, "selected"), (1, "shadow")}
    assert found[0, "drift"]["figures"] == []
    names = {figure["name"] for figure in found[1, "drift"]["figures"]}
    assert {"ks brightness", "ks expected information [nats]", "abstention"} <= names
    selected = found[1, "selected"]
    assert selected["low"] < selected["weighted"] < selected["high"]
    assert 5 <= selected["voted"] <= selected["drawn"]
    assert found[1, "shadow"]["top"] == ASKING.batch_galaxies
    text = loop.factory.cycle.view("test", 1).text()
    assert "drift ok    ks brightness" in text
    assert "shadow 2 beside 1" in text
    assert "on their pool" in text


def test_the_same_images_do_not_drift(loop: Loop) -> None:
    """The catalogue is the same, so are the sampled images: the distance is 0."""
    figures = {f["name"]: f["value"] for f in statistics(loop)[1, "drift"]["figures"]}
    assert figures["ks brightness"] == figures["ks axis ratio"] == 0.0


def test_measuring_again_changes_nothing(loop: Loop) -> None:
    """A step that runs twice leaves one record and no second alarm."""
    before = (statistics(loop), loop.factory.events.list(loop.campaign.id))
    cycle = loop.factory.cycles.list(loop.campaign.id)[-1]
    loop.factory.learning.watch_drift(loop.campaign, cycle, actor="again")
    loop.factory.learning.estimate_selected(loop.campaign, cycle)
    loop.factory.learning.shadow("test", 1 if loop.factory.models.champion(1).id == 2 else 2, actor="again")
    assert (statistics(loop), loop.factory.events.list(loop.campaign.id)) == before


def test_a_slow_crowd_is_an_alarm(engine: Engine, tmp_path: Path) -> None:
    """Votes that take a hundred times as long raise one alarm of a stable kind, in a cycle kept for want of votes too."""
    loop = make_loop(engine, tmp_path, shadow=False)
    clock = loop.factory.clock
    for hours in (1, 100, 100):
        cycle = loop.run(loop.start(), until=CycleState.COLLECTING)
        loop.ask(cycle)
        loop.factory = replace(loop.factory, clock=_later(loop, hours))
        loop.run(cycle)
        loop.campaign = loop.factory.campaigns.save(
            replace(loop.campaign.settings, training=TrainingPolicy(steps=2, batch_galaxies=4, min_new_votes=10**6))
            if hours == 100
            else loop.campaign.settings
        )
        loop.factory = replace(loop.factory, clock=clock)
    alarms = [e for e in loop.factory.events.list(loop.campaign.id) if e.kind == "drift.alarm"]
    assert {e.detail["name"] for e in alarms if e.detail["name"] == "vote-rate"} == {"vote-rate"}
    cycles = {c.id: c for c in loop.factory.cycles.list(loop.campaign.id)}
    slow = [cycles[e.cycle_id] for e in alarms if e.detail["name"] == "vote-rate"]
    assert sorted(c.number for c in slow) == [1, 2]
    assert [c.candidate_id is None for c in sorted(slow, key=lambda c: c.number)] == [False, True]
    assert "drift ALARM vote-rate" in loop.factory.cycle.view("test", 1).text()


def _later(loop: Loop, hours: float):
    """Return a clock that stands some hours after the campaign's."""
    now = loop.factory.clock  # of the factory that the clock replaces, or it would ask itself
    return lambda: now() + timedelta(hours=hours)


def test_a_shadow_is_another_model_beside_a_champion(loop: Loop) -> None:
    """The champion is not its own shadow; a campaign without one has nothing to compare."""
    champion = loop.factory.models.champion(loop.campaign.id)
    with pytest.raises(BadInput, match="shadow"):
        loop.factory.learning.shadow("test", champion.id, actor="ann")
    loop.factory.campaigns.save(replace(loop.campaign.settings, name="other"))
    with pytest.raises(NotFound, match="no champion"):
        loop.factory.learning.shadow("other", champion.id, actor="ann")


def test_a_bias_report_is_about_the_champion_and_the_newest_votes(loop: Loop) -> None:
    """One surprise per voted member, beside its properties; their vote-weighted mean is the recorded metric."""
    asked = {}

    def explain(properties, surprise, *, seed):
        asked.update(properties=properties, surprise=surprise)
        return Explanation(explained=0.0, mean=float(surprise.mean()), n_galaxies=len(surprise), terms=())

    factory = loop.factory
    report = ReportBias(
        cycles=factory.cycles,
        models=factory.models,
        snapshots=factory.snapshots,
        judge=factory.learning.judge,
        catalogue=factory.catalogue,
        explain=explain,
    ).run(loop.campaign)
    champion = factory.models.champion(loop.campaign.id)
    recorded = next(
        e.evaluation
        for e in factory.snapshots.evaluations(loop.campaign.id)
        if (e.cycle_number, e.model_id) == (1, champion.id)
    )
    assert (report.model, report.cycle) == (champion.digest, 1)
    assert report.explanation.n_galaxies == recorded.n_galaxies
    assert {len(values) for values in asked["properties"].values()} == {recorded.n_galaxies}
    assert set(MEASURED) < set(asked["properties"])
    assert asked["surprise"].min() <= recorded.nll_per_vote.value <= asked["surprise"].max()
    assert [(s.name, s.n_galaxies) for s in report.slices] == [(s.name, s.n_galaxies) for s in recorded.slices]


def test_a_shadow_changes_nothing_that_is_live(engine: Engine, tmp_path: Path) -> None:
    """Weights, decisions and batches are those of the campaign without a shadow."""
    made = []
    for shadow in (True, False):
        loop = make_loop(engine, tmp_path, name=f"shadow-{shadow}".lower(), shadow=shadow)
        loop.run(loop.start())
        loop.run(loop.start())
        models = [(m.digest, m.state) for m in loop.factory.models.list(loop.campaign.id)]
        cycles = loop.factory.cycles.list(loop.campaign.id)
        made.append((models, [loop.factory.models.decision(c.id) for c in cycles]))
    assert made[0] == made[1]


def against_the_crowd(judge: JudgeModel, *args: Any) -> Judged:
    """Return the votes with a posterior that is sure of the answer that fewest people gave to each question."""
    judged = JUDGE(judge, *args)
    alpha = np.full((len(judged.tallies.counts), 2, TREE.n_answers), 0.01, dtype=np.float32)
    for answers in TREE.slices:
        fewest = judged.tallies.counts[:, answers].argmin(axis=1)
        alpha[np.arange(len(alpha)), :, answers.start + fewest] = 50
    return replace(judged, posterior=replace(judged.posterior, concentrations=alpha))


@pytest.mark.parametrize("wrong", [False, True])
def test_a_wrong_champion_is_an_alarm_within_its_cycle(
    wrong: bool, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels of a model that contradicts the crowd differ from those of votes; page, metric and audit know it.

    There are no first cycles to compare with yet, and what a model of two steps says of a dozen galaxies is chance.
    """
    if wrong:
        monkeypatch.setattr(JudgeModel, "run", against_the_crowd)
    asking = replace(ASKING, initial_evaluation_galaxies=12)
    target = ZooniverseTarget(
        endpoint="http://127.0.0.1:9", retirement="posterior", stopping=StoppingRule(rule="label", min_votes=1)
    )
    loop = make_loop(
        engine, tmp_path, shadow=False, acquisition=asking, zooniverse=target, drift=DriftPolicy(reference_cycles=9)
    )
    loop.run(loop.start())
    assert statistics(loop)[0, "drift"]["figures"] == []
    loop.run(loop.start())
    fused = loop.factory.stops.fused(loop.factory.cycles.list(loop.campaign.id)[1].id)
    assert fused is not None
    assert fused.why is None
    selected = statistics(loop)[1, "selected"]
    assert 5 <= selected["voted"] <= selected["drawn"]
    figures = {f["name"]: f for f in statistics(loop)[1, "drift"]["figures"]}
    root = figures["disagreement smooth-or-featured"]
    assert root["alarm"] == (root["value"] > root["threshold"]) == wrong
    alarms = {e.detail["name"] for e in loop.factory.events.list(loop.campaign.id) if e.kind == "drift.alarm"}
    assert ("disagreement all" in alarms) == wrong
    ratio = SqlMeasures(engine).read().disagreement["test"]
    assert (ratio > 1) == wrong
    assert ratio == pytest.approx(max(max(f["value"], 0) / f["threshold"] for f in figures.values()))
