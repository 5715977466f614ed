"""Jobs on the registry and the gate, by a campaign's name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from alservice.acquisition.policies import SelectionOverlap
from alservice.app.wiring import Wiring
from alservice.campaigns.cycle import Cycle
from alservice.errors import NotFound
from alservice.learning import bias as surprise
from alservice.learning.bias import BiasReport, ReportBias, render_bias
from alservice.learning.gate import DecideHeld, Word, hold_deadline
from alservice.learning.lineage import Lineage, TraceLineage
from alservice.learning.training import ReadSnapshot
from alservice.registry.promotion import ChangeChampion, LoadModel
from alservice.registry.records import GateDecision, Model, Promotion
from alservice.storage import arrays as packs


def list_models(wiring: Wiring, name: str) -> tuple[Sequence[Model], Sequence[Promotion]]:
    """Return a campaign's models and the changes of the live one, oldest first."""
    campaign = wiring.campaigns.get(name)
    return wiring.models.list(campaign.id), wiring.models.promotions(campaign.id)


def promote(wiring: Wiring, name: str, model_id: int, *, actor: str, reason: str) -> Model:
    """Make a model the champion."""
    return _change(wiring).promote(wiring.campaigns.get(name), model_id, actor=actor, reason=reason)


def roll_back(wiring: Wiring, name: str, *, actor: str, reason: str) -> Model:
    """Bring back the model that the champion replaced."""
    return _change(wiring).roll_back(wiring.campaigns.get(name), actor=actor, reason=reason)


def trace(wiring: Wiring, name: str, *, model_id: int | None, galaxy_id: str | None) -> Lineage:
    """Return where a model, or its prediction of a galaxy, comes from."""
    service = TraceLineage(
        catalogues=wiring.catalogues,
        cycles=wiring.cycles,
        models=wiring.models,
        snapshots=wiring.snapshots,
        read_snapshot=ReadSnapshot(snapshots=wiring.snapshots, objects=wiring.objects, arrays=packs),
        load_model=LoadModel(objects=wiring.objects),
        predict=wiring.predict(),
    )
    return service.run(wiring.campaigns.get(name), model_id=model_id, galaxy_id=galaxy_id)


def newest_decision(wiring: Wiring, name: str, number: int | None) -> tuple[Cycle, GateDecision]:
    """Return the newest cycle that the gate judged, or the one named, with its decision; raises `NotFound`."""
    cycles = wiring.cycles.list(wiring.campaigns.get(name).id)
    for cycle in reversed(cycles):
        decision = wiring.models.decision(cycle.id) if number in {None, cycle.number} else None
        if decision is not None:
            return cycle, decision
    if number is None:
        raise NotFound(f"the gate has decided nothing yet in campaign {name}")
    there = any(cycle.number == number for cycle in cycles)
    raise NotFound(f"the gate has not judged cycle {number}" if there else f"campaign {name} has no cycle {number}")


def decide_held(wiring: Wiring, name: str, word: Word, *, actor: str, reason: str, number: int | None = None) -> Cycle:
    """Approve or reject a held candidate."""
    service = DecideHeld(campaigns=wiring.campaigns, cycles=wiring.cycles, models=wiring.models, clock=wiring.clock)
    return service.run(wiring.campaigns.get(name), word, actor=actor, reason=reason, number=number)


def seconds_to_decide(wiring: Wiring, cycle_id: int) -> int:
    """Return how long a held cycle waits for a person from now on (s, at least 1)."""
    cycle = wiring.cycles.get(cycle_id)
    campaign = wiring.campaigns.get_version(cycle.campaign_id, cycle.campaign_version)
    left = hold_deadline(campaign, cycle) - wiring.clock()
    return max(1, round(left.total_seconds()))


def shadow(wiring: Wiring, name: str, model_id: int, *, actor: str) -> SelectionOverlap:
    """Compare what a model and the champion would ask about, on the newest cycle's catalogue."""
    campaign = wiring.campaigns.get(name)
    champion = wiring.models.champion(campaign.id)
    cycles = wiring.cycles.list(campaign.id)
    if champion is None or not cycles:
        raise NotFound(f"campaign {name} has no champion to shadow")
    newest = replace(cycles[-1], champion_id=champion.id)
    return wiring.shadow(actor).run(campaign, newest, wiring.models.get(model_id))


def write_bias_report(wiring: Wiring, name: str, path: Path) -> BiasReport:
    """Write what explains the champion's surprise as HTML; return it."""
    service = ReportBias(
        cycles=wiring.cycles,
        models=wiring.models,
        snapshots=wiring.snapshots,
        judge=wiring.judge(),
        measure=wiring.measure(),
        explain=surprise.explain,
    )
    report = service.run(wiring.campaigns.get(name))
    part = path.with_suffix(".part")
    part.write_text(render_bias(report), encoding="utf-8")
    part.replace(path)
    return report


def _change(wiring: Wiring) -> ChangeChampion:
    return ChangeChampion(models=wiring.models, load_model=LoadModel(objects=wiring.objects))
