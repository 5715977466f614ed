"""Whether a candidate may replace the champion: a paired test on the evaluation stream, every check recorded.

The figure is the NLL per vote, candidate minus champion, on the same galaxies and votes; galaxies are
resampled in pairs. With ``low`` and ``high`` the ends of its interval, in this order:

1. no champion yet: **promote**, by a check named ``first-model``;
2. fewer galaxies with votes than the policy asks for: **hold**, there is no evidence;
3. a guard rail fails, or ``low`` is above the margin: **reject**, it is worse beyond doubt;
4. ``high`` is below the margin: **promote**, it is not worse by as much as the margin;
5. else **hold**: the galaxies cannot tell, so a person decides, or no one does and the champion stays.

A guard rail compares one question's RMSE or coverage error. It fails only if the whole interval of the
increase is beyond its margin, so that a dozen noisy rails do not stop a model that is as good.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

import numpy as np

from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.cycle_store import CycleStore
from alservice.campaigns.policies import GatePolicy
from alservice.campaigns.store import CampaignRow, CampaignStore
from alservice.errors import BadInput, Conflict, NotFound
from alservice.ids import seed_of
from alservice.learning.evaluation import EvaluateModel
from alservice.progress import Clock
from alservice.registry.records import Check, GateDecision, Verdict
from alservice.registry.store import ModelStore
from alservice.science.bootstrap import Estimate, bootstrap_sums, percentile_estimate
from alservice.science.evaluation import Assessment
from alservice.shapes import FloatArray
from alservice.texts import check_actor, check_reason


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Comparison:
    """One figure, candidate minus champion; positive is worse.

    Parameters
    ----------
    name
        Such as ``nll-per-vote`` or ``rmse bar``.
    margin
        Largest acceptable value.
    n_galaxies
        Galaxies that count.
    terms
        (N, M) terms of every galaxy, 0 for a galaxy that does not count.
    difference
        The figure from (..., M) sums of the terms over galaxies.
    """

    name: str
    margin: float
    n_galaxies: int
    terms: FloatArray
    difference: Callable[[FloatArray], FloatArray]


def compare_nll(champion: Assessment, candidate: Assessment, margin: float) -> Comparison:
    """Compare the summed NLL over the summed votes (nats per vote)."""
    votes = candidate.votes.sum(axis=1)
    return Comparison(
        name="nll-per-vote",
        margin=margin,
        n_galaxies=candidate.n_galaxies,
        terms=np.stack([champion.nll.sum(axis=1), candidate.nll.sum(axis=1), votes], axis=1),
        difference=lambda sums: (sums[..., 1] - sums[..., 0]) / sums[..., 2],
    )


def compare_rmse(champion: Assessment, candidate: Assessment, question: int, margin: float) -> Comparison:
    """Compare the RMSE of one question's vote fractions, its answers pooled."""
    answers = candidate.tree.slices[question]
    judged = candidate.judged[:, question]
    squared_errors = [model.squared_error[:, answers].mean(axis=1) for model in (champion, candidate)]
    return Comparison(
        name=f"rmse {candidate.tree.questions[question].name}",
        margin=margin,
        n_galaxies=int(judged.sum()),
        terms=np.stack([*squared_errors, judged], axis=1),
        difference=lambda sums: np.sqrt(sums[..., 1] / sums[..., 2]) - np.sqrt(sums[..., 0] / sums[..., 2]),
    )


def compare_coverage(
    champion: Assessment, candidate: Assessment, question: int, tolerance: float, margin: float
) -> Comparison:
    """Compare the absolute coverage error of one question at one tolerance, its answers pooled."""
    answers = candidate.tree.slices[question]
    column = candidate.tolerances.index(tolerance)
    counts = [
        terms[:, answers, column].sum(axis=1)
        for model in (champion, candidate)
        for terms in (model.expected, model.actual)
    ]
    return Comparison(
        name=f"coverage {candidate.tree.questions[question].name}",
        margin=margin,
        n_galaxies=int(candidate.judged[:, question].sum()),
        terms=np.stack(counts, axis=1),
        difference=lambda sums: np.abs(sums[..., 2] / sums[..., 3] - 1) - np.abs(sums[..., 0] / sums[..., 1] - 1),
    )


def estimate_all(
    comparisons: Sequence[Comparison], *, repeats: int, confidence: float, rng: np.random.Generator
) -> list[Estimate]:
    """Return each figure with its paired bootstrap interval; all figures see the same resampled galaxies."""
    samples = bootstrap_sums(np.concatenate([c.terms for c in comparisons], axis=1), repeats=repeats, rng=rng)
    ends = np.cumsum([c.terms.shape[1] for c in comparisons])[:-1]
    return [
        percentile_estimate(float(c.difference(c.terms.sum(axis=0))), c.difference(sums), confidence)
        for c, sums in zip(comparisons, np.split(samples, ends, axis=1), strict=True)
    ]


PersonVerdict: TypeAlias = Literal["approve", "reject"]
"""What a person may decide about a held candidate."""

_MIN_COVERED = 30
"""Fewest vote fractions within the tolerance, so that no resample is without any: a ratio over 0."""


def decide(
    policy: GatePolicy, *, champion: Assessment | None, candidate: Assessment, rng: np.random.Generator
) -> GateDecision:
    """Compare a candidate with the champion on the same galaxies and votes.

    Parameters
    ----------
    policy
        Margins and sizes.
    champion
        Assessment of the live model; None if there is none yet.
    candidate
        Assessment of the new model.
    rng
        Source of the bootstrap samples.

    Raises
    ------
    BadInput
        If the two were not assessed on the same galaxies, votes and tree.
    """
    if champion is None:
        return _decision("promote", policy, candidate, [_note("first-model", "There is no champion yet.")])
    _check_paired(champion, candidate)
    n_galaxies = candidate.n_galaxies
    size = Check(
        name="evaluation-galaxies",
        value=n_galaxies,
        low=None,
        high=None,
        margin=policy.min_galaxies,
        passed=n_galaxies >= policy.min_galaxies,
        detail=f"{n_galaxies} evaluation galaxies have votes; {policy.min_galaxies} are needed.",
    )
    if not size.passed:
        return _decision("hold", policy, candidate, [size])
    figure = compare_nll(champion, candidate, policy.margin_nats_per_vote)
    rails, skipped = _guard_rails(policy, champion, candidate)
    nll, *increases = estimate_all([figure, *rails], repeats=policy.repeats, confidence=policy.confidence, rng=rng)
    not_inferior = nll.high < figure.margin
    rail_checks = [
        _check(rail, increase, passed=increase.low <= rail.margin)
        for rail, increase in zip(rails, increases, strict=True)
    ]
    verdict: Verdict = "promote" if not_inferior else "hold"
    if nll.low > figure.margin or not all(check.passed for check in rail_checks):
        verdict = "reject"
    return _decision(
        verdict, policy, candidate, [size, _check(figure, nll, passed=not_inferior), *rail_checks, *skipped]
    )


def _guard_rails(
    policy: GatePolicy, champion: Assessment, candidate: Assessment
) -> tuple[list[Comparison], list[Check]]:
    """Return the rails there is evidence for, and a note on each one there is not."""
    rails: list[Comparison] = []
    skipped: list[Check] = []
    tolerance = policy.coverage_tolerance
    column = candidate.tolerances.index(tolerance)
    for index, question in enumerate(candidate.tree.questions):
        judged = int(candidate.judged[:, index].sum())
        if judged < policy.min_question_galaxies:
            reason = f"Skipped: {judged} galaxies have enough votes; {policy.min_question_galaxies} are needed."
            skipped += [_note(f"{kind} {question.name}", reason) for kind in ("rmse", "coverage")]
            continue
        rails.append(compare_rmse(champion, candidate, index, policy.max_rmse_increase))
        answers = candidate.tree.slices[index]
        covered = min(model.actual[:, answers, column].sum() for model in (champion, candidate))
        if covered < _MIN_COVERED:
            reason = f"Skipped: {covered:.0f} vote fractions lie within {tolerance}; {_MIN_COVERED} are needed."
            skipped.append(_note(f"coverage {question.name}", reason))
        else:
            margin = policy.max_coverage_increase
            rails.append(compare_coverage(champion, candidate, index, tolerance, margin))
    return rails, skipped


def _check_paired(champion: Assessment, candidate: Assessment) -> None:
    same = (
        champion.tree.hash == candidate.tree.hash
        and champion.galaxy_ids == candidate.galaxy_ids
        and champion.tolerances == candidate.tolerances
        and np.array_equal(champion.votes, candidate.votes)
        and np.array_equal(champion.judged, candidate.judged)
    )
    if not same:
        raise BadInput("champion and candidate were not assessed on the same galaxies, votes and tree")


def _check(comparison: Comparison, estimate: Estimate, *, passed: bool) -> Check:
    return Check(
        name=comparison.name,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        margin=comparison.margin,
        passed=passed,
        detail=f"Candidate minus champion on {comparison.n_galaxies} galaxies.",
    )


def _note(name: str, detail: str) -> Check:
    """Return a check without a number, which speaks against nothing."""
    return Check(name=name, value=None, low=None, high=None, margin=None, passed=True, detail=detail)


def _decision(verdict: Verdict, policy: GatePolicy, candidate: Assessment, checks: Sequence[Check]) -> GateDecision:
    return GateDecision(
        verdict=verdict,
        n_galaxies=candidate.n_galaxies,
        n_votes=int(candidate.votes.sum()),
        checks=tuple(checks),
        policy=policy,
    )


@dataclass(frozen=True, kw_only=True)
class DecideGate:
    """Let the statistical gate decide, and act on it."""

    models: ModelStore
    evaluate: EvaluateModel

    def run(self, campaign: CampaignRow, cycle: Cycle, *, actor: str) -> tuple[GateDecision, Cycle]:
        """Decide, then promote, keep or hold; return the decision and the cycle after it.

        Raises
        ------
        NotFound
            The cycle has no candidate.
        """
        if cycle.candidate_id is None:
            raise NotFound(f"cycle {cycle.number} has no candidate to judge", cycle=cycle.number)
        assess, champion_id = self.evaluate.assessment, cycle.champion_id
        decision = decide(
            campaign.settings.gate,
            champion=None if champion_id is None else assess(campaign, cycle, champion_id),
            candidate=assess(campaign, cycle, cycle.candidate_id),
            rng=np.random.default_rng(seed_of(campaign.settings.seed, "gate", cycle.number)),
        )
        return decision, self.models.settle(cycle, decision, actor=actor)


_VERDICTS: Final[dict[PersonVerdict, Verdict]] = {"approve": "promote", "reject": "reject"}
_WORDS: Final[dict[Verdict, str]] = {"promote": "approved", "reject": "rejected", "hold": "held"}


@dataclass(frozen=True, kw_only=True)
class DecideHeld:
    """Settle a held cycle by a person's decision, which replaces the hold; the audit keeps both."""

    campaigns: CampaignStore
    cycles: CycleStore
    models: ModelStore
    clock: Clock

    def run(
        self, campaign: CampaignRow, word: PersonVerdict, *, actor: str, reason: str, number: int | None = None
    ) -> Cycle:
        """Return the cycle after the decision; the same word again, also from someone else, changes nothing.

        Parameters
        ----------
        number
            The cycle that the person means; the newest when left out.

        Raises
        ------
        NotFound
            There is no such cycle.
        BadInput
            Reason or actor cannot stand in the audit.
        Conflict
            The cycle is not held, was decided the other way, or its deadline has passed.
        """
        check_reason(reason)
        check_actor(actor)
        cycle = self._cycle(campaign, number)
        decision = self.models.decision(cycle.id)
        verdict = _VERDICTS[word]
        if cycle.state is not CycleState.HELD or decision is None:
            return self._decided_before(cycle, decision, verdict)
        deadline = hold_deadline(self.campaigns.get_version(cycle.campaign_id, cycle.campaign_version), cycle)
        if self.clock() >= deadline:
            raise Conflict(
                f"nobody decided on cycle {cycle.number} by {deadline:%Y-%m-%d %H:%M} UTC: the champion is kept",
                cycle=cycle.number,
            )
        made = decision.by_person(verdict, actor=actor, reason=reason)
        try:
            return self.models.settle(cycle, made, actor=actor)
        except Conflict:
            now = self.cycles.get(cycle.id)
            if now.state is CycleState.HELD:  # not a race: the champion changed since the comparison
                raise
            return self._decided_before(now, self.models.decision(cycle.id), verdict)

    def _cycle(self, campaign: CampaignRow, number: int | None) -> Cycle:
        found = [cycle for cycle in self.cycles.list(campaign.id) if number in {None, cycle.number}]
        if not found:
            which = "no cycle yet" if number is None else f"no cycle {number}"
            raise NotFound(f"campaign {campaign.settings.name} has {which}")
        return found[-1]

    def _decided_before(self, cycle: Cycle, decision: GateDecision | None, verdict: Verdict) -> Cycle:
        person = None if decision is None else decision.person
        if decision is None or person is None:
            raise Conflict(
                f"cycle {cycle.number} is {cycle.state}, not held: there is nothing to decide",
                cycle=cycle.number,
                state=cycle.state,
            )
        if decision.verdict != verdict:
            raise Conflict(
                f"cycle {cycle.number} was {_WORDS.get(decision.verdict, decision.verdict)} already ({person.detail})",
                cycle=cycle.number,
                verdict=decision.verdict,
            )
        return cycle


def hold_deadline(campaign: Campaign, cycle: Cycle) -> datetime:
    """Return until when (UTC) a held cycle waits for a person."""
    return cycle.updated_at + timedelta(hours=campaign.hold_hours)
