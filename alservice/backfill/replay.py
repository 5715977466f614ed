"""One run of a backfill: train, choose, be told the votes, train again; what the live loop does, from the record."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from alservice.acquisition.batch import BatchPolicy, draw_batch
from alservice.acquisition.policies import RULES, SURVEYED, policy_scores
from alservice.backfill.plan import BackfillPlan, Choice, Round, Target, expected_votes, policy_named
from alservice.campaigns.policies import GatePolicy, PolicyName
from alservice.ids import seed_of
from alservice.learning.gate import decide
from alservice.network.architectures import Network
from alservice.network.config import FitConfig, decay_of
from alservice.network.files import ModelCard
from alservice.offline.galaxies import VotedGalaxies
from alservice.offline.training import restored_model
from alservice.science.batches import survey_covariance, vote_deviations
from alservice.science.evaluation import Assessment, assess, summarise
from alservice.science.posterior import Posterior
from alservice.shapes import FloatArray


class RoundStore(Protocol):
    """Rounds of a backfill's runs, each whole or not there; several processes may write, none the same run."""

    def get(self, policy: str, seed: int, number: int) -> Round | None:
        """Return a finished round."""

    def save(self, done: Round, model: bytes) -> None:
        """Keep a round and its model."""

    def model(self, policy: str, seed: int, number: int) -> bytes:
        """Return the model of a round; raises `NotFound`."""


INITIAL = "initial"
"""Under this name the first round of a seed is kept, for all policies."""

SURVEY_SAMPLE = 200
"""Galaxies that stand for the survey in EPIG: of the pool's unbiased part, drawn uniformly, labelled or not."""

TOLERANCE = 0.10
"""Vote-fraction error of the coverage error that is tabled."""


class Learner(Protocol):
    """Votes to models, and models to posteriors: whole networks, or heads on a trunk that stays."""

    @property
    def device(self) -> str:
        """Where it computes."""

    def run(self, galaxies: VotedGalaxies, config: FitConfig) -> tuple[ModelCard, bytes]:
        """Return the card and the model as bytes."""

    def draws(self, network: Network, galaxies: VotedGalaxies, n: int) -> FloatArray:
        """Return n posterior draws per galaxy (N, n, A)."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Runs of one backfill, on galaxies in memory.

    Parameters
    ----------
    pool, test
        Galaxies to choose from, and those that only judge; votes on the target's answers.
    training
        How every model is trained; its seed is replaced by the run's, its steps grow with the plan's passes.
    seconds
        Tells a time that only grows (s).
    """

    target: Target
    plan: BackfillPlan
    pool: VotedGalaxies
    test: VotedGalaxies
    training: FitConfig
    gate: GatePolicy
    learner: Learner
    rounds: RoundStore
    seconds: Callable[[], float] = time.perf_counter

    def initial(self, seed: int) -> Round:
        """Return the first round of a seed: galaxies at random, the same for all policies."""
        done = self.rounds.get(INITIAL, seed, 0)
        if done is not None:
            return done
        rule = BatchPolicy(rule="top", informative=0, random=self.plan.initial)
        batch = draw_batch(self.pool.galaxy_ids, None, policy=rule, seed=seed_of(seed, "backfill", INITIAL))
        chosen = tuple(Choice(galaxy_id=g.galaxy_id, score=None) for g in batch.galaxies)
        return self._round(INITIAL, seed, 0, before=(), chosen=chosen, champion=None, clock=_Stopwatch(self.seconds))

    def run(self, name: str, seed: int) -> tuple[Round, ...]:
        """Return all rounds of a policy and a seed; finished ones are not done again.

        Raises
        ------
        BadConfig
            There is no such policy.
        """
        policy = policy_named(name)
        done = [self.initial(seed)]
        while len(done) <= self.plan.rounds:
            number = len(done)
            found = self.rounds.get(name, seed, number)
            done.append(found if found is not None else self._next(policy, seed, tuple(done)))
        return tuple(done)

    def ranked(self, policy: str, run: Sequence[Round]) -> tuple[list[str], FloatArray]:
        """Return what is left of the pool as the last champion of a run ranks it, best first, and the scores."""
        last = run[-1]
        owner = INITIAL if last.champion_round == 0 else policy
        model = self.rounds.model(owner, last.seed, last.champion_round)
        champion, _, _ = restored_model(model, self.target.tree, device=self.learner.device)
        labelled = {choice.galaxy_id for done in run for choice in done.chosen}
        seed = seed_of(last.seed, "backfill", last.number + 1)
        scores = self._scores(policy_named(policy), seed, champion, labelled)
        left = np.flatnonzero(np.isfinite(scores))
        order = left[np.argsort(-scores[left], kind="stable")]
        return [self.pool.galaxy_ids[row] for row in order], scores[order]

    def _next(self, policy: PolicyName, seed: int, before: tuple[Round, ...]) -> Round:
        clock = _Stopwatch(self.seconds)
        live = before[-1].champion_round
        owner = INITIAL if live == 0 else policy
        champion, _, digest = restored_model(
            self.rounds.model(owner, seed, live), self.target.tree, device=self.learner.device
        )
        with clock("predict"):
            chosen = self._choose(policy, seed, before, champion)
        return self._round(
            policy, seed, len(before), before=before, chosen=chosen, champion=(champion, digest), clock=clock
        )

    def _choose(
        self, policy: PolicyName, seed: int, before: tuple[Round, ...], champion: Network
    ) -> tuple[Choice, ...]:
        """Return the next batch: by the policy's scores, or at random."""
        number = len(before)
        labelled = {choice.galaxy_id: "labelled" for done in before for choice in done.chosen}
        size = self.plan.batch
        vectors = target = None
        if policy == "random":
            rule, scores = BatchPolicy(rule="top", informative=0, random=size), None
        else:
            rule = BatchPolicy(rule=RULES[policy], informative=size, random=0)
            of_round = seed_of(seed, "backfill", number)
            scores = self._scores(policy, of_round, champion, set(labelled))
            if rule.has_vectors:
                vectors, target = self._compared(policy, of_round, champion)
        drawn = draw_batch(
            self.pool.galaxy_ids,
            scores,
            policy=rule,
            seed=seed_of(seed, "backfill", policy, number),
            excluded=labelled,
            vectors=vectors,
            target=target,
        ).galaxies
        chosen = [Choice(galaxy_id=g.galaxy_id, score=g.score_nats) for g in drawn]
        if len(chosen) < size:  # too few galaxies pass a threshold: the rest of the budget is spent at random
            taken = labelled | {choice.galaxy_id: "chosen" for choice in chosen}
            rest = BatchPolicy(rule="top", informative=0, random=size - len(chosen))
            fill = draw_batch(
                self.pool.galaxy_ids, None, policy=rest, seed=seed_of(seed, "backfill", "rest", number), excluded=taken
            )
            chosen += [Choice(galaxy_id=g.galaxy_id, score=None) for g in fill.galaxies]
        return tuple(chosen)

    def _scores(self, policy: PolicyName, seed: int, champion: Network, labelled: set[str]) -> FloatArray:
        """Return the score of every galaxy that is not labelled, NaN of those that are."""
        waiting = np.array([galaxy_id not in labelled for galaxy_id in self.pool.galaxy_ids])
        tree = self.target.tree
        scores = np.full(len(waiting), np.nan)
        scores[waiting] = policy_scores(
            policy,
            tree,
            self._draws(champion, self.pool.only(waiting)),
            votes=expected_votes(self.target, self.pool.counts),
            weights=np.ones(tree.n_questions),
            answer=self.target.sought,
            target=self._draws(champion, self._survey(seed)) if policy in SURVEYED else None,
        )
        return scores

    def _compared(self, policy: PolicyName, seed: int, champion: Network) -> tuple[FloatArray, FloatArray | None]:
        """Return what the pool's galaxies are compared by, and what a batch is to take away, if policy says so."""
        tree = self.target.tree
        ones, votes = np.ones(tree.n_questions), expected_votes(self.target, self.pool.counts)
        vectors = vote_deviations(tree, self._draws(champion, self.pool), votes, ones)
        if policy not in SURVEYED:
            return vectors, None
        return vectors, survey_covariance(tree, self._draws(champion, self._survey(seed)), ones)

    def _survey(self, seed: int) -> VotedGalaxies:
        """Return galaxies as the survey has them: those that policies prefer, or a selection, are not."""
        fair = np.flatnonzero(self.pool.unbiased) if self.pool.unbiased.any() else np.arange(len(self.pool.galaxy_ids))
        return self.pool.only(np.random.default_rng(seed).permutation(fair)[:SURVEY_SAMPLE])

    def _round(
        self,
        policy: str,
        seed: int,
        number: int,
        *,
        before: tuple[Round, ...],
        chosen: tuple[Choice, ...],
        champion: tuple[Network, str] | None,
        clock: _Stopwatch,
    ) -> Round:
        labelled = {choice.galaxy_id for done in before for choice in done.chosen} | {c.galaxy_id for c in chosen}
        learn = self.pool.only(np.array([galaxy_id in labelled for galaxy_id in self.pool.galaxy_ids]))
        with clock("train"):
            _, model = self.learner.run(learn, self._fit_config(len(labelled), seed_of(seed, "training", number)))
        network, _, digest = restored_model(model, self.target.tree, device=self.learner.device)
        with clock("evaluate"):
            candidate = self._assess(network, digest)
            verdict = self._verdict(seed, number, candidate, None if champion is None else self._assess(*champion))
        is_live = verdict == "promote" or not self.plan.gated
        found = summarise(candidate, rng=np.random.default_rng(0), repeats=2)  # its interval is not used
        judged = found.answers[self.target.answer or 0].fractions
        error = judged.coverage_error[found.tolerances.index(TOLERANCE)]
        done = Round(
            policy=policy,
            seed=seed,
            number=number,
            labels=len(learn.galaxy_ids),
            votes=int(learn.counts.sum()),
            chosen=chosen,
            champion_round=number if is_live else before[-1].champion_round,
            verdict=verdict,
            nll_per_vote=found.nll_per_vote.value,
            rmse=None if judged.rmse is None else judged.rmse.value,
            coverage_error=None if error is None else error.value,
            terms=self._terms(candidate),
            seconds=clock.read,
        )
        self.rounds.save(done, model)
        return done

    def _fit_config(self, labels: int, seed: int) -> FitConfig:
        """Return the training of so many galaxies: as many steps as their passes take, decaying in all alike."""
        steps = max(self.training.steps, math.ceil(self.plan.passes * labels / self.training.batch))
        return replace(self.training, steps=steps, weight_decay=decay_of(steps), seed=seed)

    def _verdict(self, seed: int, number: int, candidate: Assessment, champion: Assessment | None) -> str:
        rng = np.random.default_rng(seed_of(seed, "gate", number))
        return decide(self.gate, champion=champion, candidate=candidate, rng=rng).verdict

    def _assess(self, network: Network, digest: str) -> Assessment:
        concentrations = self._draws(network, self.test)
        posterior = Posterior(
            galaxy_ids=self.test.galaxy_ids,
            concentrations=concentrations,
            embeddings=np.zeros((len(concentrations), 0), dtype=np.float16),
            tree_hash=self.target.tree.hash,
            model=digest,
        )
        return assess(self.target.tree, posterior, self.test.counts, min_votes=self.plan.min_votes)

    def _draws(self, network: Network, galaxies: VotedGalaxies) -> FloatArray:
        return self.learner.draws(network, galaxies, self.plan.draws)

    def _terms(self, candidate: Assessment) -> FloatArray:
        answer = self.target.answer or 0
        judged = candidate.judged[:, candidate.tree.question_of_answer[answer]]
        columns = (candidate.nll.sum(axis=1), candidate.votes.sum(axis=1), candidate.squared_error[:, answer], judged)
        return np.stack(columns, axis=1).astype(np.float32)


class _Stopwatch:
    """Seconds by what they were spent on."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self.read: dict[str, float] = {}

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        began = self._seconds()
        yield
        self.read[what] = round(self._seconds() - began, 3)
