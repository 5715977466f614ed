"""Everything a campaign recorded -> what its report shows."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import resources
from typing import TYPE_CHECKING, Final

import numpy as np
from jinja2 import Environment, select_autoescape

from alservice.acquisition.batch import Acquired
from alservice.acquisition.store import AcquisitionStore
from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.policies import Arm
from alservice.campaigns.store import CampaignRow
from alservice.catalogue.store import CatalogueStore
from alservice.cycle.table import CampaignRecords, CycleTable, SummariseCampaign
from alservice.plots import (
    Picture,
    Slots,
    bars,
    box,
    curve,
    frame,
    horizontal,
    legend,
    text,
    vertical,
    whiskers,
    x_ticks,
)
from alservice.prediction.scope import Scope
from alservice.progress import Clock
from alservice.registry.records import GateDecision, Model
from alservice.registry.store import ModelStore
from alservice.science.information import score_note
from alservice.science.posterior import Posterior, summaries, take
from alservice.science.tree import Tree, load_tree
from alservice.science.votes import conditional_fractions
from alservice.shapes import FloatArray
from alservice.storage import ObjectStore
from alservice.subjects.subject import TallySource
from alservice.votes.store import ClassificationStore

if TYPE_CHECKING:
    from alservice.prediction.service import PredictionService


def render_report(data: ReportData) -> str:
    """Return the report as HTML; every text from outside is escaped."""
    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True, lstrip_blocks=True)
    environment.filters["data_url"] = _image_url
    source = resources.files("alservice.cycle").joinpath("templates", "report.html").read_text(encoding="utf-8")
    head, rows = data.table.rows()
    return environment.from_string(source).render(
        data=data,
        head=head,
        rows=rows,
        figures=list(figures(data)),
        note=score_note(data.n_draws),
    )


def _image_url(item: GalleryItem) -> str:
    return f"data:{item.media_type};base64,{base64.b64encode(item.image).decode()}"


ARM_KINDS: Final = "abcde"
"""A colour per arm, in the order of `Arm`; arms that only a newer version knows share the last."""


def arm_kinds(arms: Iterable[str]) -> dict[str, str]:
    """Return the colours of arms that are drawn, in the order of `Arm`, those of a newer version last."""
    present, known = set(map(str, arms)), list(map(str, Arm))
    drawn = [*(arm for arm in known if arm in present), *sorted(present.difference(known))]
    return {arm: ARM_KINDS[known.index(arm)] if arm in known else ARM_KINDS[-1] for arm in drawn}


def figures(data: ReportData) -> Iterator[Picture]:
    """Yield the plots that the data allow; an empty one is left out."""
    yield learning(data.table)
    yield _errors(data)
    if any(data.scores_by_cycle.values()):
        scores = _arms("Scores acquired", "score of the galaxies [nats]", data.scores_by_cycle)
        yield replace(scores, said=f"{scores.said} {score_note(data.n_draws)}")
    if any(data.smooth_by_cycle.values()):
        yield _arms("Vote fractions acquired", f"volunteers' fraction {data.answer}", data.smooth_by_cycle)
    if any(data.history_by_cycle.values()):
        yield _training(data)
    if data.coverage:
        yield _coverage(data)


def learning(table: CycleTable) -> Picture:
    """Return the learning curve: what each candidate made of the labels it had."""
    lines = [line for line in table.lines if line.nll_per_vote is not None]
    points = [(float(line.galaxies_labelled or 0), line.nll_per_vote or 0.0) for line in lines]
    ends = [(line.nll_low or v, line.nll_high or v) for line, (_, v) in zip(lines, points, strict=True)]
    x, y = horizontal([px for px, _ in points]), vertical([v for both in ends for v in both])
    marks = [*frame(y, "NLL per vote [nats]"), *x_ticks(x, "galaxies labelled"), *curve(x, y, points, "a", radius=0)]
    for line, (labelled, value), (low, high) in zip(lines, points, ends, strict=True):
        marks += whiskers(x.at(labelled), y, low, value, high, "a")
        marks.append(text(x.at(labelled), y.at(high) - 5, f"cycle {line.cycle}", "tick middle"))
    said = "Negative log-likelihood per vote of each candidate on the evaluation stream, with 95 % intervals."
    return Picture(title="What the votes taught", said=said, marks=tuple(marks))


def _errors(data: ReportData) -> Picture:
    lines = data.table.lines
    smooth = [(float(line.cycle), line.rmse_smooth) for line in lines if line.rmse_smooth is not None]
    bar = [(float(line.cycle), line.rmse_bar) for line in lines if line.rmse_bar is not None]
    series = [("a", data.table.short_answer, smooth), *([("b", "Bar", bar)] if data.table.has_bar else [])]
    x = horizontal([float(line.cycle) for line in lines])
    y = vertical([0.0, *(value for _, _, points in series for _, value in points)])
    marks = [*frame(y, "RMSE of the vote fraction"), *x_ticks(x, "cycle", whole=True)]
    marks += [mark for kind, _, points in series for mark in curve(x, y, points, kind)]
    marks += legend((kind, name) for kind, name, _ in series)
    said = "Root mean square error on the evaluation stream."
    return Picture(title="Error of the vote fractions", said=said, marks=tuple(marks))


def _arms(title: str, label: str, values: Mapping[int, Mapping[str, Sequence[float]]]) -> Picture:
    kinds = arm_kinds(arm for by_arm in values.values() for arm, drawn in by_arm.items() if len(drawn))
    y = vertical([float(v) for by_arm in values.values() for drawn in by_arm.values() for v in drawn])
    slots = Slots(names=[str(cycle) for cycle in sorted(values)])
    marks = [*frame(y, label), *slots.marks("cycle"), *legend((kind, arm) for arm, kind in kinds.items())]
    for place, cycle in enumerate(sorted(values)):
        for number, (arm, kind) in enumerate(kinds.items()):
            if drawn := [float(v) for v in values[cycle].get(arm, ())]:
                at = slots.at(place, 0.5 + 0.68 * ((number + 0.5) / len(kinds) - 0.5))
                marks += box(at, 0.56 * slots.width / len(kinds), y, drawn, kind)
    said = f"Each cycle's batch, {' beside '.join(f'{arm} arm' for arm in kinds)}: {label}."
    return Picture(title=title, said=said, marks=tuple(marks))


def _training(data: ReportData) -> Picture:
    drawn = sorted((cycle, history) for cycle, history in data.history_by_cycle.items() if history)
    curves = [[(point["step"], point["hold_out"]) for point in history] for _, history in drawn]
    x = horizontal([step for points in curves for step, _ in points])
    y = vertical([loss for points in curves for _, loss in points])
    marks = [*frame(y, "hold-out NLL per galaxy [nats]"), *x_ticks(x, "gradient step")]
    marks += [mark for points in curves[:-1] for mark in curve(x, y, points, "d", radius=0)]
    marks += curve(x, y, curves[-1], "a")
    marks += legend((("a", f"cycle {drawn[-1][0]}"), *((("d", "cycles before"),) if len(drawn) > 1 else ())))
    said = "Loss on the training stream's own hold-out, one curve per cycle."
    return Picture(title="Training curves", said=said, marks=tuple(marks))


def _coverage(data: ReportData) -> Picture:
    tolerances = sorted(data.coverage)
    errors = [100 * data.coverage[tolerance] for tolerance in tolerances]
    y, slots = vertical([0.0, *errors]), Slots(names=[f"{tolerance:.2f}" for tolerance in tolerances])
    marks = [*frame(y, "coverage error [%]"), *slots.marks("tolerance on the vote fraction")]
    said = (
        f"Coverage error of the last model for {data.answer} (Walmsley 2020, eq. 11-13): "
        "0 is perfect, above 0 is overconfident."
    )
    return Picture(title="Calibration", said=said, marks=(*marks, *bars(slots, y, [("a", errors)])))


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerBar:
    """Posterior of one answer's vote fraction: mean, 5 % and 95 % quantile, and the volunteers' fraction if known."""

    answer: str
    mean: float
    low: float
    high: float
    observed: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class GalleryItem:
    """One galaxy of a gallery.

    Parameters
    ----------
    image, media_type
        Original bytes as volunteers see them.
    information_nats
        Expected information of its votes about the weights.
    questions
        Question to its answers' posteriors; questions unlikely to be asked are left out.
    """

    galaxy_id: str
    image: bytes
    media_type: str
    information_nats: float
    questions: Mapping[str, Sequence[AnswerBar]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportData:
    """Everything the report of one campaign shows.

    Parameters
    ----------
    n_draws
        Posterior draws behind each score.
    facts
        Name to value, as text: catalogue, seeds, code revision, counts by verdict.
    scores_by_cycle
        Cycle to the information (nats) of each arm's galaxies, of those arms that have scores.
    smooth_by_cycle
        Cycle to the volunteers' fraction for the campaign's chosen answer in each arm.
    history_by_cycle
        Cycle to the training curve: step to loss on the training and the hold-out galaxies (nats per galaxy).
    coverage
        Tolerance to (expected, observed) share of votes within it, for the last model.
    """

    campaign: str
    generated_at: datetime
    n_draws: int
    table: CycleTable
    facts: Mapping[str, str]
    decisions: Mapping[int, GateDecision]
    scores_by_cycle: Mapping[int, Mapping[str, Sequence[float]]]
    smooth_by_cycle: Mapping[int, Mapping[str, Sequence[float]]]
    history_by_cycle: Mapping[int, Sequence[Mapping[str, float]]]
    coverage: Mapping[float, float]
    answer: str
    most: Sequence[GalleryItem]
    least: Sequence[GalleryItem]


GALLERY = 12
"""Galaxies per gallery: what fits a screen."""

LIKELY = 0.5
"""Least probability that a question is asked for a gallery to show it."""


@dataclass(frozen=True, kw_only=True)
class GatherReport:
    """Collect table, curves, checks and galleries; predictions that exist are read, none is made."""

    summarise: SummariseCampaign
    models: ModelStore
    catalogues: CatalogueStore
    acquisitions: AcquisitionStore
    classifications: ClassificationStore
    votes: Callable[[Campaign], TallySource]
    objects: ObjectStore
    prediction: PredictionService
    media_type: Callable[[bytes], str]
    clock: Clock

    def run(self, campaign: CampaignRow) -> ReportData:
        """Return what the report of a campaign shows."""
        tree = load_tree(campaign.settings.tree)
        records = self.summarise.records(campaign)
        cycles = records.cycles
        tallies = self.votes(campaign.settings).tallies(campaign.id, tree.n_answers)
        observed = dict(zip(tallies.galaxy_ids, conditional_fractions(tree, tallies.counts), strict=True))
        champion = self._predicted_champion(cycles)
        most, least = self._galleries(campaign, tree, cycles, champion, observed) if champion else ((), ())
        column = tree.column(campaign.settings.evaluation.answer)
        return ReportData(
            campaign=campaign.settings.name,
            generated_at=self.clock(),
            n_draws=campaign.settings.prediction.draws,
            table=self.summarise.table(campaign, records),
            facts=self._facts(campaign, records),
            decisions={c.number: records.decisions[c.id] for c in cycles if c.id in records.decisions},
            scores_by_cycle={c.number: self._by_arm(c, lambda a: a.score_nats) for c in cycles},
            smooth_by_cycle={
                c.number: self._by_arm(c, lambda a: _fraction(observed.get(a.galaxy_id), column)) for c in cycles
            },
            history_by_cycle={m.cycle_number: m.card.get("history", []) for m in records.models},
            coverage=_coverage_errors(campaign, records),
            answer=campaign.settings.evaluation.answer,
            most=most,
            least=least,
        )

    def _predicted_champion(self, cycles: Sequence[Cycle]) -> Model | None:
        """Return the newest champion that predicted the whole catalogue."""
        ids = [cycle.champion_id for cycle in reversed(cycles) if cycle.champion_id is not None]
        for cycle_id, model_id in zip([c.catalogue_id for c in reversed(cycles)], ids, strict=False):
            if self.models.posterior_shards(model_id, cycle_id, Scope.CATALOGUE):
                return self.models.get(model_id)
        return None

    def _galleries(
        self,
        campaign: CampaignRow,
        tree: Tree,
        cycles: Sequence[Cycle],
        champion: Model,
        observed: Mapping[str, FloatArray],
    ) -> tuple[Sequence[GalleryItem], Sequence[GalleryItem]]:
        """Return the most and the least informative galaxies of the catalogue, as the champion sees them."""
        catalogue_id = cycles[-1].catalogue_id
        best: list[tuple[float, str]] = []
        worst: list[tuple[float, str]] = []
        shards = self.models.posterior_shards(champion.id, catalogue_id, Scope.CATALOGUE)
        for found in self.prediction.predictions(campaign.settings, shards):
            order = np.argsort(found.scores, kind="stable")
            worst += [(float(found.scores[row]), found.galaxy_ids[row]) for row in order[:GALLERY]]
            best += [(float(found.scores[row]), found.galaxy_ids[row]) for row in order[::-1][:GALLERY]]
            best = sorted(best, key=lambda item: -item[0])[:GALLERY]
            worst = sorted(worst, key=lambda item: item[0])[:GALLERY]
        shown = {galaxy_id for _, galaxy_id in (*best, *worst)}
        drawn = {
            name: take(posterior, np.array([row]))
            for posterior in self.prediction.draws(campaign.settings, shards, shown)
            for row, name in enumerate(posterior.galaxy_ids)
        }
        most, least = (
            [self._item(tree, catalogue_id, score, drawn[name], observed) for score, name in chosen]
            for chosen in (best, worst)
        )
        return most, least

    def _item(
        self, tree: Tree, catalogue_id: int, score: float, posterior: Posterior, observed: Mapping[str, FloatArray]
    ) -> GalleryItem:
        (galaxy,) = self.catalogues.by_id(catalogue_id, posterior.galaxy_ids)
        image = self.objects.get(galaxy.image_key)
        return GalleryItem(
            galaxy_id=galaxy.galaxy_id,
            image=image,
            media_type=self.media_type(image),
            information_nats=score,
            questions=answer_bars(tree, posterior, observed.get(galaxy.galaxy_id)),
        )

    def _by_arm(self, cycle: Cycle, figure: Callable[[Acquired], float | None]) -> dict[str, list[float]]:
        """Return a figure of the cycle's acquired galaxies by arm; galaxies without it are left out."""
        arms: dict[str, list[float]] = {}
        for acquired in self.acquisitions.get(cycle.id) or ():
            value = figure(acquired)
            if value is not None:
                arms.setdefault(acquired.arm, []).append(value)
        return arms

    def _facts(self, campaign: CampaignRow, records: CampaignRecords) -> dict[str, str]:
        catalogue = self.catalogues.newest(campaign.id)
        facts = {"question tree": campaign.settings.tree_name, "seed": str(campaign.settings.seed)}
        if catalogue is not None:
            facts["catalogue"] = catalogue.source
            facts["galaxies"] = f"{catalogue.n_galaxies:,} imported, {catalogue.n_failed:,} rows failed"
        if records.models:
            card = records.models[-1].card
            facts["network"] = str(card.get("network", {}).get("name", "-"))
            facts["code revision"] = str(card.get("code_revision", "-"))
        verdicts = self.classifications.by_verdict(campaign.id)
        facts["classifications"] = ", ".join(f"{n:,} {verdict}" for verdict, n in sorted(verdicts.items()))
        facts["cycles"] = str(len(records.cycles))
        facts["configuration"] = campaign.settings.digest
        return facts


def _coverage_errors(campaign: CampaignRow, records: CampaignRecords) -> Mapping[float, float]:
    """Return tolerance to coverage error of the newest evaluation."""
    if not records.evaluations:
        return {}
    found = list(records.evaluations.values())[-1]
    errors = found.answer(campaign.settings.evaluation.answer).fractions.coverage_error
    return {t: error.value for t, error in zip(found.tolerances, errors, strict=True) if error is not None}


def _fraction(fractions: FloatArray | None, column: int) -> float | None:
    """Return one answer's observed fraction, None where it was not asked."""
    return None if fractions is None or np.isnan(fractions[column]) else float(fractions[column])


def answer_bars(tree: Tree, posterior: Posterior, observed: FloatArray | None) -> dict[str, list[AnswerBar]]:
    """Return the posteriors of the questions that are likely to be asked of one galaxy."""
    shown = summaries(tree, posterior)
    asked = tree.asked_probability(posterior.probabilities(tree).mean(axis=1))[0]
    return {
        question.name: [
            AnswerBar(
                answer=answer,
                mean=float(shown.mean[0, column]),
                low=float(shown.low[0, column]),
                high=float(shown.high[0, column]),
                observed=_fraction(observed, column),
            )
            for column, answer in enumerate(question.answers, start=tree.slices[index].start)
        ]
        for index, question in enumerate(tree.questions)
        if asked[index] >= LIKELY
    }
