"""One cycle's data against the campaign's first cycles, and its labels by model and votes against those of votes alone.

Figures are recorded, alarms are events of the audit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.cycle_store import CycleStore
from alservice.campaigns.policies import DriftPolicy
from alservice.campaigns.store import CampaignRow, Event, EventLog
from alservice.catalogue.service import CatalogueService
from alservice.documents import document_of, record_of
from alservice.errors import NotFound
from alservice.ids import seed_of, stable_fraction
from alservice.learning.evaluation import JudgeModel
from alservice.learning.frozen import FrozenTallies
from alservice.prediction.scope import Scope, question_weights
from alservice.progress import Clock
from alservice.registry.records import CycleStatistics
from alservice.registry.store import ModelStore, SnapshotStore
from alservice.science.disagreement import Disagreement, label_disagreements
from alservice.science.information import joint_information
from alservice.science.posterior import Posterior, answer_probabilities, concat, take
from alservice.science.tree import Tree, load_tree
from alservice.science.votes import inconsistent
from alservice.shapes import FloatArray
from alservice.subjects.stops import StopStore

if TYPE_CHECKING:
    from alservice.prediction.service import PredictionService

KS_CHANCE: Final = 1.95
"""sqrt(-ln(0.001 / 2) / 2): what chance alone exceeds in 1 of 1,000 cases, in units of sqrt((n + m) / (n m))."""

VOTE_RATE: Final = "vote-rate"

DISAGREEMENT: Final = "disagreement"
"""First word of figures of labels by model and votes against labels of votes alone."""

FALSE_ALARMS: Final = 1e-3
"""Share of cycles of a calibrated model, at most, in which any disagreement is beyond chance."""

MIN_VOTES: Final = 200
"""New votes on a question below which its answers are not compared: some five galaxies' worth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftSample:
    """What one cycle's data look like.

    Parameters
    ----------
    samples
        Values by name, of a random part of the catalogue.
    votes_per_hour
        New counted votes per hour of collecting; None where no time passed.
    abstention
        Share of galaxies that the model is not confident about.
    labels
        New votes per answer, by question, on evaluation members.
    """

    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    votes_per_hour: float | None = None
    abstention: float | None = None
    labels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftFigure:
    """One comparison with the first cycles.

    Parameters
    ----------
    value, threshold
        In the units that the module's head gives for `name`.
    alarm
        Whether the value is beyond its threshold, and beyond chance.
    """

    name: str
    value: float
    threshold: float
    alarm: bool

    @property
    def reach(self) -> float:
        """How far the value is on its way to the threshold, 1 at it; factors are compared by their logarithms."""
        if self.name.startswith(DISAGREEMENT):
            return max(self.value, 0.0) / self.threshold  # labels that differ less than they may are none
        if self.name != VOTE_RATE:
            return abs(self.value) / self.threshold
        return abs(math.log(self.value)) / math.log(self.threshold) if self.value > 0 else math.inf


@dataclass(frozen=True, kw_only=True, slots=True)
class CycleDrift:
    """One cycle's comparison with the first, of which those have none, and of labels where votes are fused."""

    cycle: int
    figures: tuple[DriftFigure, ...]


def ks_distance(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the largest difference between two samples' cumulative distributions, 0 to 1."""
    a, b = np.sort(np.asarray(first)), np.sort(np.asarray(second))
    at = np.concatenate([a, b])
    below_a = np.searchsorted(a, at, side="right") / len(a)
    below_b = np.searchsorted(b, at, side="right") / len(b)
    return float(np.abs(below_a - below_b).max())


def total_variation(first: FloatArray, second: FloatArray) -> float:
    """Return half the summed difference of two sets of counts as shares, 0 to 1."""
    return float(np.abs(first / first.sum() - second / second.sum()).sum() / 2)


def compare_with_first(policy: DriftPolicy, now: DriftSample, first: Sequence[DriftSample]) -> tuple[DriftFigure, ...]:
    """Return every figure that both sides have data for; none without reference cycles."""
    found = (*_samples(policy, now, first), *_rates(policy, now, first), *_labels(policy, now, first))
    return tuple(found)


def _samples(policy: DriftPolicy, now: DriftSample, first: Sequence[DriftSample]) -> Iterator[DriftFigure]:
    for name, values in now.samples.items():
        then = [value for sample in first for value in sample.samples.get(name, ())]
        if values and then:
            distance = ks_distance(values, then)
            chance = KS_CHANCE * math.sqrt((len(values) + len(then)) / (len(values) * len(then)))
            threshold = max(policy.max_ks, chance)
            yield DriftFigure(name=f"ks {name}", value=distance, threshold=threshold, alarm=distance > threshold)


def _rates(policy: DriftPolicy, now: DriftSample, first: Sequence[DriftSample]) -> Iterator[DriftFigure]:
    rates = [s.votes_per_hour for s in first if s.votes_per_hour is not None]
    if now.votes_per_hour is not None and rates and sum(rates) > 0:
        factor = now.votes_per_hour / (sum(rates) / len(rates))
        limit = policy.max_rate_factor
        yield DriftFigure(name=VOTE_RATE, value=factor, threshold=limit, alarm=not 1 / limit <= factor <= limit)
    shares = [s.abstention for s in first if s.abstention is not None]
    if now.abstention is not None and shares:
        change = now.abstention - sum(shares) / len(shares)
        limit = policy.max_abstention_change
        yield DriftFigure(name="abstention", value=change, threshold=limit, alarm=abs(change) > limit)


def _labels(policy: DriftPolicy, now: DriftSample, first: Sequence[DriftSample]) -> Iterator[DriftFigure]:
    for question, votes in now.labels.items():
        current = np.array(votes, dtype=np.float64)
        then = np.sum([np.array(s.labels[question]) for s in first if question in s.labels], axis=0)
        if current.sum() >= MIN_VOTES and then.sum() >= MIN_VOTES:
            distance = total_variation(current, then)
            limit = policy.max_label_shift
            yield DriftFigure(name=f"labels {question}", value=distance, threshold=limit, alarm=distance > limit)


def disagreement_figures(policy: DriftPolicy, found: Sequence[Disagreement]) -> tuple[DriftFigure, ...]:
    """Return the excess of labels that differ, an alarm where it is beyond the policy's and beyond chance."""
    return tuple(
        DriftFigure(
            name=f"{DISAGREEMENT} {figure.question}",
            value=figure.excess,
            threshold=max(policy.max_disagreement, figure.chance),
            alarm=figure.excess > max(policy.max_disagreement, figure.chance),
        )
        for figure in found
    )


SAMPLE = 400
"""Evaluation members, the same for every cycle of a catalogue, that images and scores are sampled on."""


@dataclass(frozen=True, kw_only=True)
class WatchDrift:
    """Describe a cycle's data, and compare them with the first cycles'."""

    cycles: CycleStore
    models: ModelStore
    snapshots: SnapshotStore
    events: EventLog
    stops: StopStore
    judge: JudgeModel
    prediction: PredictionService
    catalogue: CatalogueService
    frozen: FrozenTallies
    clock: Clock
    actor: str

    def run(self, campaign: CampaignRow, cycle: Cycle) -> tuple[DriftFigure, ...]:
        """Return the figures of a cycle; its own sample, its figures and its alarms are recorded together.

        The first cycles of a campaign are what others are compared with: of them only labels are compared.

        Raises
        ------
        NotFound
            The cycle has no model yet whose predictions could be described.
        """
        policy = campaign.settings.drift
        now = self._describe(campaign, cycle)
        kept = [s for s in self.snapshots.statistics(campaign.id) if s.kind == "drift" and s.cycle_id != cycle.id]
        first = [record_of(DriftSample, s.document["sample"]) for s in kept[: policy.reference_cycles]]
        figures = compare_with_first(policy, now, first) if len(first) == policy.reference_cycles else ()
        figures += self._disagreements(campaign, cycle)
        document = {"sample": document_of(now), "figures": [document_of(figure) for figure in figures]}
        alarms = [
            Event(
                campaign_id=campaign.id,
                cycle_id=cycle.id,
                at=self.clock(),
                actor=self.actor,
                kind="drift.alarm",
                detail=document_of(figure),
            )
            for figure in figures
            if figure.alarm
        ]
        statistics = CycleStatistics(cycle_id=cycle.id, cycle_number=cycle.number, kind="drift", document=document)
        self.snapshots.save_statistics(statistics, alarms)
        return figures

    def _describe(self, campaign: CampaignRow, cycle: Cycle) -> DriftSample:
        tree = load_tree(campaign.settings.tree)
        posterior = self._sample(campaign, cycle)
        images = self.catalogue.measure_images(campaign.settings, cycle.catalogue_id, posterior.galaxy_ids)
        policy = campaign.settings.acquisition
        weights = question_weights(policy, tree)
        scores = joint_information(tree, posterior.concentrations, policy.votes_per_galaxy, question_weights=weights)
        samples = {**images, "expected information [nats]": scores}
        leading = answer_probabilities(tree, posterior.concentrations).mean(axis=1)[:, tree.slices[0]].max(axis=1)
        return DriftSample(
            samples={name: tuple(values[np.isfinite(values)].tolist()) for name, values in samples.items()},
            votes_per_hour=self._votes_per_hour(campaign, cycle),
            abstention=float((leading < campaign.settings.drift.confident).mean()),
            labels=self._labels(campaign, cycle, tree),
        )

    def _disagreements(self, campaign: CampaignRow, cycle: Cycle) -> tuple[DriftFigure, ...]:
        """Return figures of the model that was fused with the cycle's votes, judged on the evaluation stream.

        A label knows the model, tempered as it was, and votes on other questions, none on its own: that shows a wrong
        model also where its factors make votes outvote it.
        """
        tree = load_tree(campaign.settings.tree)
        fused = self.stops.fused(cycle.id)
        if (
            fused is None
            or fused.model_id is None
            or fused.why is not None
            or not self.judge.members(cycle, tree).galaxy_ids
        ):
            return ()
        judged = self.judge.run(campaign, cycle, self.models.get(fused.model_id), tree)
        possible = ~inconsistent(tree, judged.tallies.counts).any(axis=1)
        found = label_disagreements(
            tree,
            judged.posterior.concentrations[possible],
            judged.tallies.counts[possible],
            rng=np.random.default_rng(seed_of(campaign.settings.seed, "disagreement", cycle.number)),
            temper=np.array([fused.temper.get(question.name, 1.0) for question in tree.questions]),
            first_votes=0,
            min_votes=max(1, campaign.settings.acquisition.judging_votes // 2),
            false_alarms=FALSE_ALARMS,
        )
        return disagreement_figures(campaign.settings.drift, found)

    def _sample(self, campaign: CampaignRow, cycle: Cycle) -> Posterior:
        model_id = cycle.champion_id if cycle.champion_id is not None else cycle.candidate_id
        if model_id is None:
            raise NotFound(f"cycle {cycle.number} has no model yet", cycle=cycle.number)
        model = self.models.get(model_id)
        shards = self.prediction.predict(campaign.settings, cycle.catalogue_id, model, Scope.EVALUATION)
        members = concat(list(self.prediction.draws(campaign.settings, shards)))
        chance = [stable_fraction("drift", galaxy_id) for galaxy_id in members.galaxy_ids]
        return take(members, np.sort(np.argsort(chance)[:SAMPLE]))

    def _before(self, campaign: CampaignRow, cycle: Cycle) -> Cycle | None:
        """Return the cycle whose snapshot was the last before this one's."""
        earlier = [c for c in self.cycles.list(campaign.id) if c.number < cycle.number]
        return next((c for c in reversed(earlier) if self.snapshots.of_cycle(c.id) is not None), None)

    def _votes_per_hour(self, campaign: CampaignRow, cycle: Cycle) -> float | None:
        began = ended = None
        for event in self.events.list(campaign.id, limit=10_000):
            if event.cycle_id == cycle.id and event.kind == "cycle.moved":
                began = event.at if event.detail["to"] == CycleState.COLLECTING else began
                ended = event.at if event.detail["from"] == CycleState.COLLECTING else ended
        snapshot, before = self.snapshots.of_cycle(cycle.id), self._before(campaign, cycle)
        if began is None or ended is None or snapshot is None or ended <= began:
            return None
        earlier = None if before is None else self.snapshots.of_cycle(before.id)
        new_votes = snapshot.n_votes - (0 if earlier is None else earlier.n_votes)
        return new_votes / ((ended - began).total_seconds() / 3600)

    def _labels(self, campaign: CampaignRow, cycle: Cycle, tree: Tree) -> Mapping[str, tuple[int, ...]]:
        """Return the votes that are new since the snapshot before, on evaluation members, by question."""
        members = self.judge.members(cycle, tree)
        new = members.counts.sum(axis=0)
        before = self._before(campaign, cycle)
        if before is not None:
            earlier = self.frozen.read(before, tree)
            known = set(members.galaxy_ids)
            new = new - earlier.only([g in known for g in earlier.galaxy_ids]).counts.sum(axis=0)
        return {q.name: tuple(new[tree.slices[i]].tolist()) for i, q in enumerate(tree.questions)}
