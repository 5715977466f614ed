"""Everything a campaign recorded -> what its report shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alservice.acquisition.batch_records import Acquired
from alservice.acquisition.service import question_weights
from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.cycle_store import AcquisitionStore, CatalogueStore, CycleStore, ModelStore, SnapshotStore
from alservice.campaigns.records import CampaignRow, Model
from alservice.cycle.report_core import AnswerBar, GalleryItem, ReportData
from alservice.cycle.summarise_campaign import SummariseCampaign
from alservice.prediction.service import PredictCatalogue, Scope
from alservice.process import Clock
from alservice.science.posterior import Posterior, summaries, take
from alservice.science.tree import Tree, load_tree
from alservice.science.tree_information import tree_information
from alservice.science.votes import conditional_fractions
from alservice.shapes import FloatArray
from alservice.storage import ObjectStore
from alservice.votes.ingest import ClassificationStore
from alservice.votes.reductions_ports import TallySource

GALLERY = 12
"""Galaxies per gallery: what fits a screen."""

LIKELY = 0.5
"""Least probability that a question is asked for a gallery to show it."""


@dataclass(frozen=True, kw_only=True)
class GatherReport:
    """Collect table, curves, checks and galleries; predictions that exist are read, none is made."""

    summarise: SummariseCampaign
    cycles: CycleStore
    models: ModelStore
    catalogues: CatalogueStore
    acquisitions: AcquisitionStore
    snapshots: SnapshotStore
    classifications: ClassificationStore
    votes: Callable[[Campaign], TallySource]
    objects: ObjectStore
    predict: PredictCatalogue
    media_type: Callable[[bytes], str]
    clock: Clock

    def run(self, campaign: CampaignRow) -> ReportData:
        """Return what the report of a campaign shows."""
        tree = load_tree(campaign.campaign.tree)
        cycles = self.cycles.list(campaign.id)
        tallies = self.votes(campaign.campaign).tallies(campaign.id, tree.n_answers)
        observed = dict(zip(tallies.galaxy_ids, conditional_fractions(tree, tallies.counts), strict=True))
        champion = self._predicted_champion(cycles)
        most, least = self._galleries(campaign, tree, cycles, champion, observed) if champion else ((), ())
        column = tree.column(campaign.campaign.evaluation.answer)
        return ReportData(
            campaign=campaign.campaign.name,
            generated_at=self.clock(),
            n_draws=campaign.campaign.prediction.draws,
            table=self.summarise.run(campaign),
            facts=self._facts(campaign, cycles),
            decisions={c.number: d for c in cycles if (d := self.models.decision(c.id)) is not None},
            scores_by_cycle={c.number: self._by_arm(c, lambda a: a.score_nats) for c in cycles},
            smooth_by_cycle={
                c.number: self._by_arm(c, lambda a: _fraction(observed.get(a.galaxy_id), column)) for c in cycles
            },
            history_by_cycle={m.cycle_number: m.card.get("history", []) for m in self.models.list(campaign.id)},
            coverage=self._coverage(campaign),
            answer=campaign.campaign.evaluation.answer,
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
        weights = question_weights(campaign.campaign.acquisition, tree)
        best: list[tuple[float, Posterior]] = []
        worst: list[tuple[float, Posterior]] = []
        shards = self.models.posterior_shards(champion.id, catalogue_id, Scope.CATALOGUE)
        for posterior in self.predict.posteriors(shards):
            votes = campaign.campaign.acquisition.votes_per_galaxy
            scores = tree_information(tree, posterior.concentrations, votes, weights)
            order = np.argsort(scores, kind="stable")
            worst += [(float(scores[row]), take(posterior, np.array([row]))) for row in order[:GALLERY]]
            best += [(float(scores[row]), take(posterior, np.array([row]))) for row in order[::-1][:GALLERY]]
            best = sorted(best, key=lambda item: -item[0])[:GALLERY]
            worst = sorted(worst, key=lambda item: item[0])[:GALLERY]
        most, least = (
            [self._item(tree, catalogue_id, score, posterior, observed) for score, posterior in chosen]
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

    def _coverage(self, campaign: CampaignRow) -> Mapping[float, float]:
        """Return tolerance to coverage error of the newest evaluation."""
        evaluations = self.snapshots.evaluations(campaign.id)
        if not evaluations:
            return {}
        metrics = evaluations[-1].metrics
        errors = metrics.answer(campaign.campaign.evaluation.answer).coverage_error
        return {t: error for t, error in zip(metrics.tolerances, errors, strict=True) if error is not None}

    def _facts(self, campaign: CampaignRow, cycles: Sequence[Cycle]) -> dict[str, str]:
        catalogue = self.catalogues.newest(campaign.id)
        facts = {"question tree": campaign.campaign.tree, "seed": str(campaign.campaign.seed)}
        if catalogue is not None:
            facts["catalogue"] = catalogue.source
            facts["galaxies"] = f"{catalogue.n_galaxies:,} imported, {catalogue.n_failed:,} rows failed"
        models = self.models.list(campaign.id)
        if models:
            card = models[-1].card
            facts["network"] = str(card.get("network", {}).get("name", "-"))
            facts["code revision"] = str(card.get("code_revision", "-"))
        verdicts = self.classifications.by_verdict(campaign.id)
        facts["classifications"] = ", ".join(f"{n:,} {verdict}" for verdict, n in sorted(verdicts.items()))
        facts["cycles"] = str(len(cycles))
        facts["configuration"] = campaign.campaign.digest
        return facts


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
