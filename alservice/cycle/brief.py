"""A brief of a cycle in markdown, for where runs are watched: figures, checks, history, a curve and pictures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from alservice.acquisition.batch import Acquired
from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle
from alservice.cycle.report import learning
from alservice.cycle.stages import Stages
from alservice.cycle.table import CycleTable, CycleView
from alservice.science.information import score_note
from alservice.storage import images

PICTURES = 12
"""Galaxies of the gallery: what fits a screen."""

PICTURE_PX = 96
"""Side of a picture (px): a dozen are some 50 kB of text."""

HISTORY = 15
"""Events told, newest last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Brief:
    """Markdown about the newest cycle of a campaign; pictures are inside, so that it shows without a network.

    Parameters
    ----------
    gallery
        What volunteers are asked about and why; None before the draw.
    history
        What happened, one row per event, newest last.
    """

    number: int
    state: str
    report: str
    gallery: str | None
    history: Sequence[dict[str, str]]


def brief_cycle(stages: Stages, view: CycleView, table: CycleTable) -> Brief:
    """Return the brief of a cycle as it is seen, beside all others."""
    campaign = stages.campaigns.get(view.campaign)
    cycle = next(c for c in stages.cycles.list(campaign.id) if c.number == view.line.cycle)
    acquired = stages.acquisitions.get(cycle.id)
    return Brief(
        number=cycle.number,
        state=str(cycle.state),
        report="\n\n".join(_report(view, table, cycle)),
        gallery=_gallery(stages, campaign.settings, cycle, acquired) if acquired else None,
        history=[
            {"at (UTC)": f"{e.at:%Y-%m-%d %H:%M:%S}", "who": e.actor, "what": e.kind, "detail": _cell(e.detail)}
            for e in view.events[-HISTORY:]
        ],
    )


def page_url(dashboard: str, campaign: str, number: int) -> str:
    """Return the address of a cycle's page in the dashboard that people reach at an address."""
    return f"{dashboard.rstrip('/')}/campaigns/{campaign}/cycles/{number}"


def _report(view: CycleView, table: CycleTable, cycle: Cycle) -> list[str]:
    parts = [f"# Cycle {cycle.number} of {view.campaign}: {cycle.state}"]
    if cycle.left_from is not None:
        parts.append(f"It stopped in **{cycle.left_from}** and resumes there.")
    parts += ["## All cycles", table.markdown()]
    if view.decision is not None:
        rows = [
            f"| {'pass' if check.passed else '**FAIL**'} | {check.name} | {_escaped(check.detail)} |"
            for check in view.decision.checks
        ]
        verdict = f"## Gate: {view.decision.verdict}"
        parts.append("\n".join([verdict, "", "| | check | evidence |", "| --- | --- | --- |", *rows]))
    if sum(line.nll_per_vote is not None for line in table.lines) > 1:
        plot = learning(table)
        parts.append(f"## {plot.title}\n\n![{plot.said}]({_data_url('image/svg+xml', plot.svg())})\n\n{plot.said}")
    return parts


def _gallery(stages: Stages, campaign: Campaign, cycle: Cycle, acquired: Sequence[Acquired]) -> str:
    """Return the most informative galaxies of the batch; those of the first arm where none was scored."""
    ranked = sorted(acquired, key=lambda a: (-(a.score_nats or 0.0), a.arm, a.rank))[:PICTURES]
    rows = []
    for galaxy in stages.catalogues.by_id(cycle.catalogue_id, [a.galaxy_id for a in ranked]):
        data = stages.objects.get(galaxy.image_key)
        small = images.encode_jpeg(images.decode(data, size_px=PICTURE_PX, channels=3))
        rows.append((galaxy.galaxy_id, f"![{_escaped(galaxy.galaxy_id)}]({_data_url('image/jpeg', small)})"))
    pictures = dict(rows)
    lines = [
        f"| {pictures[a.galaxy_id]} | {_escaped(a.galaxy_id)} | {a.arm} | "
        f"{'-' if a.score_nats is None else f'{a.score_nats:.3f}'} | {a.inclusion_probability:.3g} |"
        for a in ranked
    ]
    head = ["| galaxy | id | arm | score [nats] | inclusion probability |", "| --- | --- | --- | --- | --- |"]
    title = f"# Cycle {cycle.number}: {len(ranked)} of {len(acquired)} galaxies asked about"
    scored = any(galaxy.score_nats is not None for galaxy in ranked)
    note = ["", score_note(campaign.prediction.draws)] if scored else []
    return "\n".join([title, "", *head, *lines, *note])


def _data_url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _cell(detail: object) -> str:
    text = str(detail)
    return text if len(text) <= 300 else f"{text[:297]}..."


def _escaped(text: str) -> str:
    """Return text that stays in its cell of a markdown table; ids and messages come from files."""
    for character in "\\`*_[]<>|":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())
