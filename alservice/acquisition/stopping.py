"""Ask no more votes than are needed: each tick, model and votes together say of which galaxies enough is known.

What is known of a galaxy is the posterior of the model that was live when its cycle began, tempered by one number per
question that is fitted on the evaluation stream, after the votes there are (`alservice.science.posterior.update`). Only
galaxies with other votes than at their last evaluation are looked at, one shard of posteriors in memory at a time.

The full number of votes is asked wherever a rule must not or cannot say: see `FullNumber`. What people said is never
touched: the decision is about asking, and votes that come after it are counted as all others.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, Protocol

import numpy as np

from alservice.acquisition.batch import Acquired
from alservice.campaigns.campaign import Campaign, StoppingRule
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.policies import Arm
from alservice.campaigns.store import CampaignRow, Event
from alservice.catalogue.galaxies import Galaxy, Shard
from alservice.documents import document_of
from alservice.errors import BadInput, DigestMismatch, NotFound, NumericalFault
from alservice.ids import digest_of_document, seed_of, stable_fraction
from alservice.prediction.scope import Scope, question_weights
from alservice.prediction.stored import Predictions
from alservice.progress import Clock
from alservice.registry.records import Model, TrainingSnapshot
from alservice.science.fusion import expected_asked, fit_temper, fraction_moments, majority_probability
from alservice.science.posterior import Mixture, Posterior, concat, take, update
from alservice.science.stopping import (
    RuleName,
    StopDecision,
    StoppingPolicy,
    StopReason,
    classifications,
    counting_questions,
    stop_decisions,
)
from alservice.science.tree import Tree, load_tree
from alservice.science.votes import TallySet, inconsistent
from alservice.shapes import FloatArray, IntArray
from alservice.states import AskingState, SubjectState
from alservice.storage import ObjectStore, arrays
from alservice.subjects.publish import hundreds
from alservice.subjects.stops import PERSON, FusedModel, Stop, StopStore
from alservice.subjects.subject import Subject, SubjectLedger, TallySource

TEMPER_GALAXIES: Final = 2_000
"""Members of the evaluation stream that factors are fitted on at most: seconds, and known to a few per cent."""

_log = logging.getLogger(__name__)


class FullNumber(StrEnum):
    """Why a galaxy is asked its full number of votes, whatever its posterior says."""

    EVALUATION = "evaluation-stream"
    RANDOM = "random-arm"
    NO_CHAMPION = "no-champion"
    NO_TEMPER = "no-temper"
    OTHER_TREE = "other-tree"
    UNREADABLE = "unreadable-posterior"
    NO_POSTERIOR = "no-posterior"
    TRAINED_ON = "trained-on"
    INCONSISTENT = "inconsistent-votes"
    BY_PERSON = PERSON


_WORDS: Final[Mapping[str, str]] = {
    FullNumber.EVALUATION: "it judges the models, which only the full number of votes does without bias",
    FullNumber.RANDOM: "it was drawn at random, to keep estimates without bias",
    FullNumber.NO_CHAMPION: "its cycle has no champion whose posterior could be fused with votes",
    FullNumber.NO_TEMPER: "no votes of the evaluation stream say how far the champion may be trusted",
    FullNumber.OTHER_TREE: "the champion's posterior follows another question tree",
    FullNumber.UNREADABLE: "the champion's stored posterior cannot be read",
    FullNumber.NO_POSTERIOR: "the champion has no posterior of it",
    FullNumber.TRAINED_ON: "the champion was trained on votes of it, which would count twice",
    FullNumber.INCONSISTENT: "its votes are none that volunteers' walks through the tree give",
    FullNumber.BY_PERSON: "a person asked for them",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerPosterior:
    """What is known of one answer's fraction, among those asked the question.

    Parameters
    ----------
    answer
        Column of the tree.
    votes
        Votes for it.
    mean, sd
        Of the fraction, by model and votes together.
    majority
        Probability that it is the largest of its question; None where the rule does not look at the question.
    """

    answer: str
    votes: int
    mean: float
    sd: float
    majority: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionPosterior:
    """What model and votes together say of one question about one galaxy.

    Parameters
    ----------
    asked
        Share of volunteers that are expected to be asked it.
    counts
        Whether the rule looks at it.
    temper
        Factor on the model's concentrations.
    """

    question: str
    asked: float
    counts: bool
    temper: float
    answers: tuple[AnswerPosterior, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """Whether volunteers are still asked about one galaxy, and why.

    Parameters
    ----------
    votes, full_votes
        Classifications so far, and the number asked for where nothing is known.
    overshoot
        Classifications that came after asking stopped.
    reason, text
        Code of the reason, and one sentence in plain words.
    rule, target
        The rule and its threshold.
    figure, question
        What is compared with the threshold, and the question that it is of; None where there is none.
    model_id
        The model that is fused with the votes; None without one.
    questions
        The posterior, question by question in tree order; empty where it cannot be read or is not looked at.
    decided_at
        When the last decision was made (UTC); None before the first.
    """

    galaxy_id: str
    state: AskingState
    votes: int
    full_votes: int
    overshoot: int
    reason: str
    text: str
    rule: RuleName
    target: float
    figure: float | None
    question: str | None
    model_id: int | None
    questions: tuple[QuestionPosterior, ...]
    decided_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StopReport:
    """What one tick decided.

    Parameters
    ----------
    evaluated
        Galaxies with other votes than at their last evaluation.
    stopped, again
        Galaxies about which asking stopped now, and those that are asked about again.
    reasons
        Evaluated galaxies by the code of their reason.
    """

    evaluated: int = 0
    stopped: int = 0
    again: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class StopFigures:
    """What stopping early did in one cycle.

    Parameters
    ----------
    galaxies
        Galaxies with a decision.
    stopped, again
        Those about which asking has stopped before their full number of votes, and those that are asked again.
    spared
        Votes that were not given: the full number less those there are, over stopped galaxies.
    overshoot
        Votes that came after asking stopped; they are kept and counted.
    """

    galaxies: int = 0
    stopped: int = 0
    again: int = 0
    spared: int = 0
    overshoot: int = 0


class Campaigns(Protocol):
    """Campaigns and their versions."""

    def get(self, name: str, /) -> CampaignRow:
        """Return the newest version; raises `NotFound`."""

    def get_version(self, campaign_id: int, version: int, /) -> Campaign:
        """Return the decisions a cycle was started under."""


class Catalogues(Protocol):
    """Galaxies of catalogues."""

    def by_id(self, catalogue_id: int, galaxy_ids: Sequence[str], /) -> Sequence[Galaxy]:
        """Return named galaxies in catalogue order."""


class Models(Protocol):
    """Models and their finished posterior shards."""

    def get(self, model_id: int, /) -> Model:
        """Return one; raises `NotFound`."""

    def posterior_shards(self, model_id: int, catalogue_id: int, scope: str, /) -> Sequence[Shard]:
        """Return them in order."""


class Snapshots(Protocol):
    """Votes that models were trained with."""

    def of_cycle(self, cycle_id: int, /) -> TrainingSnapshot | None:
        """Return the snapshot a cycle trained on."""


class Cycles(Protocol):
    """Cycles."""

    def get(self, cycle_id: int, /) -> Cycle:
        """Return one; raises `NotFound`."""


class Batches(Protocol):
    """Batches of cycles."""

    def get(self, cycle_id: int, /) -> Sequence[Acquired] | None:
        """Return what was drawn, None before the draw."""


@dataclass(frozen=True, kw_only=True)
class StoppingService:
    """Which galaxies volunteers need not be asked about any more.

    Parameters
    ----------
    votes
        Returns the feed that a campaign's tallies come from.
    """

    campaigns: Campaigns
    catalogues: Catalogues
    cycles: Cycles
    models: Models
    snapshots: Snapshots
    acquisitions: Batches
    ledger: SubjectLedger
    stops: StopStore
    objects: ObjectStore
    votes: Callable[[Campaign], TallySource]
    clock: Clock

    def decide(self, campaign: CampaignRow, cycle: Cycle, *, actor: str) -> StopReport:
        """Decide about every galaxy that has other votes than at its last evaluation; nothing without a rule.

        Live galaxies of all cycles are looked at, and retired ones of the given one, which is open: later votes may
        show that asking stopped too early. The same votes again change nothing.

        Raises
        ------
        ObjectStoreUnavailable, DatabaseUnavailable
            A part does not answer; what was decided until then is recorded, and the next call goes on.
        """
        rule = campaign.settings.zooniverse.rule
        if rule is None:
            return StopReport()
        tree = load_tree(campaign.settings.tree)
        rows = [row for row in self.ledger.of_campaign(campaign.id) if _may_change(row, cycle)]
        ids = [row.galaxy_id for row in rows]
        tallies = self.votes(campaign.settings).tallies_of(campaign.id, ids, tree.n_answers)
        known = self.stops.of_galaxies(campaign.id, ids)
        changed = _changed(tree, rule, rows, tallies, known)
        return self._decide_all(campaign, tree, rule, changed, actor)

    def galaxy(self, name: str, galaxy_id: str) -> Asking | None:
        """Return whether volunteers are asked about a galaxy, and why, with the votes there are now.

        None where the campaign stops nothing early, or the galaxy is not in front of volunteers and never was.
        Nothing is decided here: a decision is one of the next tick.

        Raises
        ------
        NotFound
            There is no such campaign.
        """
        campaign = self.campaigns.get(name)
        row = self.ledger.of_galaxy(campaign.id, galaxy_id)
        rule = campaign.settings.zooniverse.rule
        if rule is None or row is None or row.state not in _SHOWN:
            return None
        tree = load_tree(campaign.settings.tree)
        tallies = self.votes(campaign.settings).tallies_of(campaign.id, [galaxy_id], tree.n_answers)
        counts = tallies.counts[0] if tallies.galaxy_ids else np.zeros(tree.n_answers, dtype=np.int64)
        stop = self.stops.of_galaxies(campaign.id, [galaxy_id]).get(galaxy_id)
        seen = _Seen(row=row, counts=counts, mark="", before=stop)
        return _asking(tree, rule.policy(row.n_votes), seen, self._questions(campaign, tree, rule, seen))

    def figures(self, cycle_id: int) -> StopFigures:
        """Return what stopping early did in a cycle."""
        stops = self.stops.of_cycle(cycle_id)
        early = [s for s in stops if s.state is AskingState.STOPPED and s.votes < int(s.detail["full_votes"])]
        return StopFigures(
            galaxies=len(stops),
            stopped=len(early),
            again=sum(stop.state is AskingState.AGAIN for stop in stops),
            spared=sum(int(stop.detail["full_votes"]) - stop.votes for stop in early),
            overshoot=sum(stop.overshoot for stop in stops),
        )

    def _decide_all(
        self, campaign: CampaignRow, tree: Tree, rule: StoppingRule, changed: Sequence[_Seen], actor: str
    ) -> StopReport:
        reasons: Counter[str] = Counter()
        moved: Counter[AskingState] = Counter()
        for cycle_id in sorted({seen.row.cycle_id for seen in changed}):
            own = [seen for seen in changed if seen.row.cycle_id == cycle_id]
            cycle = self.cycles.get(cycle_id)
            fused = self._fused(campaign, tree, cycle, actor)
            for decided in self._decided(campaign, tree, rule, cycle, fused, own):
                for some in hundreds(decided):
                    stops = [_stop(one, fused, self.clock()) for one in some]
                    self.stops.save(stops, self._events(campaign, cycle, fused, some, stops, actor))
                    reasons.update(stop.reason for stop in stops)
                    moved.update(s.state for s, one in zip(stops, some, strict=True) if s.state is not one.seen.state)
        report = StopReport(
            evaluated=len(changed),
            stopped=moved[AskingState.STOPPED],
            again=moved[AskingState.AGAIN],
            reasons=dict(sorted(reasons.items())),
        )
        if changed:
            _log.info("%d galaxies with new votes: %s", len(changed), report.reasons)
        return report

    def _decided(
        self,
        campaign: CampaignRow,
        tree: Tree,
        rule: StoppingRule,
        cycle: Cycle,
        fused: FusedModel,
        changed: Sequence[_Seen],
    ) -> Iterator[Sequence[_Decided]]:
        """Yield decisions: first those that no posterior can change, then those of each shard."""
        galaxies = self.catalogues.by_id(cycle.catalogue_id, [seen.row.galaxy_id for seen in changed])
        row_of = {galaxy.galaxy_id: galaxy.row for galaxy in galaxies}
        why = self._exempt(tree, cycle, fused, changed, galaxies)
        fixed = [seen for seen in changed if seen.row.galaxy_id in why]
        yield [_fixed(tree, rule, seen, why[seen.row.galaxy_id]) for seen in fixed]
        size = self._shard_galaxies(campaign, cycle)
        by_shard: dict[int, list[_Seen]] = defaultdict(list)
        for seen in changed:
            if seen.row.galaxy_id not in why:
                by_shard[row_of[seen.row.galaxy_id] // size].append(seen)
        fuse = _Fuse(tree=tree, rule=rule, campaign=campaign.settings, fused=fused)
        shards = self._shards(cycle, fused) if by_shard else {}
        for index, own in sorted(by_shard.items()):
            posterior = self._posterior(tree, cycle, fused, shards.get(index))
            yield fuse.decide(own, posterior)

    def _exempt(
        self, tree: Tree, cycle: Cycle, fused: FusedModel, changed: Sequence[_Seen], galaxies: Sequence[Galaxy]
    ) -> Mapping[str, FullNumber]:
        """Return why galaxies are asked their full number before any posterior is looked at."""
        ids = [seen.row.galaxy_id for seen in changed]
        # A galaxy that no batch of the cycle names may be anybody's: it counts as drawn at random.
        arms = {a.galaxy_id: a.arm for a in self.acquisitions.get(cycle.id) or ()}
        drawn = {galaxy_id for galaxy_id, arm in arms.items() if arm not in {Arm.RANDOM, Arm.EVALUATION}}
        why: dict[str, FullNumber] = {}
        if fused.why is not None:
            why = dict.fromkeys(ids, FullNumber(fused.why))
        elif fused.model_id is not None:
            why = self._taught(tree, self.models.get(fused.model_id), ids)
        odd = [inconsistent(tree, seen.counts).any() for seen in changed]
        why |= {galaxy_id: FullNumber.INCONSISTENT for galaxy_id, bad in zip(ids, odd, strict=True) if bad}
        asked = (seen.row.galaxy_id for seen in changed if seen.before is not None and seen.before.reason == PERSON)
        why |= dict.fromkeys(asked, FullNumber.BY_PERSON)
        why |= {galaxy_id: FullNumber.BY_PERSON for galaxy_id in ids if arms.get(galaxy_id) is Arm.REQUESTED}
        why |= {galaxy_id: FullNumber.RANDOM for galaxy_id in ids if galaxy_id not in drawn}
        return why | {galaxy.galaxy_id: FullNumber.EVALUATION for galaxy in galaxies if galaxy.evaluation}

    def _fused(self, campaign: CampaignRow, tree: Tree, cycle: Cycle, actor: str) -> FusedModel:
        """Return the model of a cycle with its factors, fitted and told of now unless it was before."""
        before = self.stops.fused(cycle.id)
        if before is not None and before.model_id == cycle.champion_id:
            return before
        fused = self._fit(tree, cycle)
        told = Event(
            campaign_id=campaign.id,
            cycle_id=cycle.id,
            at=self.clock(),
            actor=actor,
            kind="stopping.model" if fused.why is None else "stopping.off",
            detail={**document_of(fused), **({"reason": _WORDS[fused.why]} if fused.why else {})},
        )
        if fused.why is not None:
            level = logging.INFO if fused.why == FullNumber.NO_CHAMPION else logging.WARNING  # a first cycle has none
            _log.log(level, "cycle %d asks the full number of votes: %s", cycle.number, _WORDS[fused.why])
        self.stops.save_fused(fused, told)
        return fused

    def _fit(self, tree: Tree, cycle: Cycle) -> FusedModel:
        if cycle.champion_id is None:
            return FusedModel(cycle_id=cycle.id, model_id=None, why=FullNumber.NO_CHAMPION)
        unfit = FusedModel(cycle_id=cycle.id, model_id=cycle.champion_id, why=FullNumber.UNREADABLE)
        try:
            judged = self._judged(tree, self.models.get(cycle.champion_id))
        except _OtherTree:
            return dataclasses.replace(unfit, why=FullNumber.OTHER_TREE)
        except _BROKEN as error:
            _log.warning("model %d cannot be fused with votes: %s", cycle.champion_id, error)
            return unfit
        if judged is None:
            return dataclasses.replace(unfit, why=FullNumber.NO_TEMPER)
        posterior, counts = judged
        factors = fit_temper(tree, posterior.concentrations, counts).tolist()
        return dataclasses.replace(
            unfit,
            why=None,
            temper={question.name: factor for question, factor in zip(tree.questions, factors, strict=True)},
            n_galaxies=len(counts),
            n_votes=int(counts.sum()),
        )

    def _judged(self, tree: Tree, model: Model) -> tuple[Posterior, IntArray] | None:
        """Return a model's posterior of evaluation members and the votes that it was judged on; None without any."""
        tallies = self._snapshot(tree, model)
        odd = inconsistent(tree, tallies.counts)
        place = {name: row for row, name in enumerate(tallies.galaxy_ids) if not odd[row].any()}
        catalogue_id = self.cycles.get(model.cycle_id).catalogue_id
        shards = self.models.posterior_shards(model.id, catalogue_id, Scope.EVALUATION)
        n_voted, parts = 0, []
        for shard in shards:
            if shard.n_galaxies:
                posterior = _decoded(self._stored, shard, tree, model)
                rows = [row for row, name in enumerate(posterior.galaxy_ids) if name in place]
                n_voted += len(rows)
                parts.append(take(posterior, np.array(rows, dtype=np.int64)))
        if n_voted == 0:
            return None
        found = concat(parts)
        found = take(found, temper_members(found.galaxy_ids))
        return found, tallies.counts[[place[name] for name in found.galaxy_ids]]

    @cached_property
    def _stored(self) -> Predictions:
        return Predictions(objects=self.objects)

    def _taught(self, tree: Tree, model: Model, galaxy_ids: Sequence[str]) -> dict[str, FullNumber]:
        """Return the galaxies whose votes a model has seen: fused with it, they would count twice."""
        try:
            voted = frozenset(self._snapshot(tree, model).galaxy_ids)
        except _BROKEN as error:
            _log.warning("nobody knows what model %d was trained on: %s", model.id, error)
            return dict.fromkeys(galaxy_ids, FullNumber.UNREADABLE)
        return dict.fromkeys((i for i in galaxy_ids if i in voted), FullNumber.TRAINED_ON)

    def _snapshot(self, tree: Tree, model: Model) -> TallySet:
        snapshot = self.snapshots.of_cycle(model.cycle_id)
        if snapshot is None:
            raise NotFound(f"model {model.id} has no snapshot of the votes it was trained with", model=model.id)
        ids, counts, columns = arrays.decode_counts(self.objects.get(snapshot.key))
        if columns != tree.columns:
            raise _OtherTree(f"model {model.id} was trained with votes on another tree", model=model.id)
        return TallySet(galaxy_ids=ids, counts=counts.astype(np.int64))

    def _shard_galaxies(self, campaign: CampaignRow, cycle: Cycle) -> int:
        if cycle.campaign_version == campaign.version:
            return campaign.settings.images.shard_galaxies
        return self.campaigns.get_version(cycle.campaign_id, cycle.campaign_version).images.shard_galaxies

    def _shards(self, cycle: Cycle, fused: FusedModel) -> Mapping[int, Shard]:
        if fused.model_id is None:
            return {}
        found = self.models.posterior_shards(fused.model_id, cycle.catalogue_id, Scope.CATALOGUE)
        return {shard.index: shard for shard in found}

    def _posterior(self, tree: Tree, cycle: Cycle, fused: FusedModel, shard: Shard | None) -> Posterior | FullNumber:
        """Return a shard's posterior, or why there is none; an object store that does not answer raises."""
        if shard is None or fused.model_id is None:
            return FullNumber.NO_POSTERIOR
        try:
            return _decoded(self._stored, shard, tree, self.models.get(fused.model_id))
        except _OtherTree:
            return FullNumber.OTHER_TREE
        except _BROKEN as error:
            _log.warning("shard %d of cycle %d cannot be fused with votes: %s", shard.index, cycle.number, error)
            return FullNumber.UNREADABLE

    def _questions(
        self, campaign: CampaignRow, tree: Tree, rule: StoppingRule, seen: _Seen
    ) -> tuple[QuestionPosterior, ...]:
        """Return the posterior of one galaxy, empty where there is none or nobody may look at it."""
        cycle = self.cycles.get(seen.row.cycle_id)
        fused = self.stops.fused(cycle.id)
        if fused is None or fused.why is not None or inconsistent(tree, seen.counts[None]).any():
            return ()
        (galaxy,) = self.catalogues.by_id(cycle.catalogue_id, [seen.row.galaxy_id])
        index = galaxy.row // self._shard_galaxies(campaign, cycle)
        posterior = self._posterior(tree, cycle, fused, self._shards(cycle, fused).get(index))
        if isinstance(posterior, FullNumber) or galaxy.galaxy_id not in posterior.galaxy_ids:
            return ()
        fuse = _Fuse(tree=tree, rule=rule, campaign=campaign.settings, fused=fused)
        return fuse.questions(seen, posterior.concentrations[[posterior.galaxy_ids.index(galaxy.galaxy_id)]])

    def _events(
        self,
        campaign: CampaignRow,
        cycle: Cycle,
        fused: FusedModel,
        decided: Sequence[_Decided],
        stops: Sequence[Stop],
        actor: str,
    ) -> list[Event]:
        """Return one event per kind of change, with the evidence of every galaxy that changed."""
        changed: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for one, stop in zip(decided, stops, strict=True):
            before = one.seen.before
            if stop.state is not one.seen.state:
                kind = "subjects.stopped" if stop.state is AskingState.STOPPED else "subjects.asked-again"
                changed[kind].append({"galaxy": stop.galaxy_id, "subject": one.seen.row.zooniverse_id, **stop.detail})
            elif fused.why is None and stop.reason in _TOLD and (before is None or before.reason != stop.reason):
                changed["subjects.full-number"].append({"galaxy": stop.galaxy_id, **stop.detail})
        shared = {"model": fused.model_id, "temper": dict(fused.temper)}
        return [
            Event(
                campaign_id=campaign.id,
                cycle_id=cycle.id,
                at=self.clock(),
                actor=actor,
                kind=kind,
                detail={**shared, "subjects": subjects},
            )
            for kind, subjects in sorted(changed.items())
        ]


_SHOWN: Final = (SubjectState.LIVE, SubjectState.RETIRED)

_TOLD: Final = frozenset({FullNumber.OTHER_TREE, FullNumber.UNREADABLE, FullNumber.NO_POSTERIOR, FullNumber.TRAINED_ON})
"""Reasons of single galaxies that nothing else tells of: told once each."""


class _OtherTree(BadInput):
    """What is stored follows another question tree."""


_BROKEN: Final = (NotFound, DigestMismatch, BadInput, NumericalFault)
"""What stored arrays that are gone or damaged raise; a store that does not answer raises what may be tried again."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Seen:
    """A subject with the votes there are now, (A,), and what was decided before."""

    row: Subject
    counts: IntArray
    mark: str
    before: Stop | None

    @property
    def state(self) -> AskingState:
        """Whether asking had stopped before."""
        return AskingState.ASKING if self.before is None else self.before.state


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Decided:
    """A decision with its evidence."""

    seen: _Seen
    stop: bool
    reason: str
    votes: int
    detail: Mapping[str, Any]


def _may_change(row: Subject, cycle: Cycle) -> bool:
    return row.state is SubjectState.LIVE or (row.state is SubjectState.RETIRED and row.cycle_id == cycle.id)


def _changed(
    tree: Tree, rule: StoppingRule, rows: Sequence[Subject], tallies: TallySet, known: Mapping[str, Stop]
) -> list[_Seen]:
    """Return the subjects whose votes, or votes asked for, are not those of their last evaluation.

    Below the least number of votes nothing can stop, so that nothing is looked at.
    """
    place = {galaxy_id: row for row, galaxy_id in enumerate(tallies.galaxy_ids)}
    none = np.zeros(tree.n_answers, dtype=np.int64)
    said = digest_of_document(document_of(rule))
    changed = []
    for row in rows:
        counts = tallies.counts[place[row.galaxy_id]] if row.galaxy_id in place else none
        before = known.get(row.galaxy_id)
        mark = digest_of_document([counts.tolist(), row.n_votes, said])[:32]
        enough = classifications(tree, counts[None])[0] >= rule.policy(row.n_votes).min_votes
        if (before is not None or enough) and (before is None or before.mark != mark):
            changed.append(_Seen(row=row, counts=counts, mark=mark, before=before))
    return changed


def _decoded(stored: Predictions, shard: Shard, tree: Tree, model: Model) -> Posterior:
    """Return a shard's posterior; raises `_OtherTree`, or an error of `_BROKEN` where it is not this model's."""
    found = stored.read(shard)
    if found.model != model.digest:
        raise BadInput(f"shard {shard.key} is of model {found.model}, not {model.digest}", shard=shard.key)
    if found.tree_hash != tree.hash:
        raise _OtherTree(f"shard {shard.key} does not follow tree {tree.name!r}", shard=shard.key)
    return stored.drawn(tree, found)


def _fixed(tree: Tree, rule: StoppingRule, seen: _Seen, why: FullNumber) -> _Decided:
    """Return the decision to ask the full number; the ledger's own count ends it."""
    policy, (votes,) = rule.policy(seen.row.n_votes), classifications(tree, np.maximum(seen.counts, 0)[None])
    detail = {
        "votes": votes,
        "full_votes": seen.row.n_votes,
        "reason": str(why),
        "text": f"the full number of {seen.row.n_votes} votes is asked: {_WORDS[why]}",
        "rule": policy.rule,
        "target": policy.target,
        "figure": None,
        "question": None,
    }
    return _Decided(seen=seen, stop=False, reason=why, votes=votes, detail=detail)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fuse:
    """One model's posterior and votes, put together."""

    tree: Tree
    rule: StoppingRule
    campaign: Campaign
    fused: FusedModel

    @property
    def temper(self) -> FloatArray:
        """Factors (Q,)."""
        return np.array([self.fused.temper.get(question.name, 1.0) for question in self.tree.questions])

    @property
    def weights(self) -> FloatArray:
        """Science weights (Q,)."""
        return question_weights(self.campaign.acquisition, self.tree)

    @property
    def seed(self) -> int:
        """Of the fractions that are drawn for majorities."""
        return seed_of(self.campaign.seed, "majority")

    def decide(self, seen: Sequence[_Seen], posterior: Posterior | FullNumber) -> list[_Decided]:
        """Decide about galaxies of one shard."""
        if isinstance(posterior, FullNumber):
            return [_fixed(self.tree, self.rule, one, posterior) for one in seen]
        place = {galaxy_id: row for row, galaxy_id in enumerate(posterior.galaxy_ids)}
        absent = [one for one in seen if one.row.galaxy_id not in place]
        decided = [_fixed(self.tree, self.rule, one, FullNumber.NO_POSTERIOR) for one in absent]
        there = [one for one in seen if one.row.galaxy_id in place]
        for n_votes in sorted({one.row.n_votes for one in there}):
            own = [one for one in there if one.row.n_votes == n_votes]
            rows = [place[one.row.galaxy_id] for one in own]
            decided += self._by_rule(own, posterior.concentrations[rows], self.rule.policy(n_votes))
        return decided

    def questions(self, seen: _Seen, concentrations: FloatArray) -> tuple[QuestionPosterior, ...]:
        """Return the posterior (1, T, A) of one galaxy after its votes, in words."""
        policy = self.rule.policy(seen.row.n_votes)
        return self._described(policy, self._mixture([seen], concentrations), [seen])[0]

    def _by_rule(self, seen: Sequence[_Seen], concentrations: FloatArray, policy: StoppingPolicy) -> list[_Decided]:
        mixture = self._mixture(seen, concentrations)
        counts = np.array([one.counts for one in seen])
        decisions = stop_decisions(self.tree, policy, mixture, counts, weights=self.weights, seed=self.seed)
        was = [one.state is AskingState.STOPPED for one in seen]
        rows = [row for row, decision in enumerate(decisions) if decision.stop != was[row]]
        told = [seen[row] for row in rows]
        described = dict(
            zip(rows, self._described(policy, Mixture(*(part[rows] for part in mixture)), told), strict=True)
        )
        return [
            _Decided(
                seen=one,
                stop=decision.stop and not _ends_anyway(decision, one),
                reason=decision.reason,
                votes=decision.votes,
                detail=_evidence(decision, one, described.get(row, ())),
            )
            for row, (one, decision) in enumerate(zip(seen, decisions, strict=True))
        ]

    def _mixture(self, seen: Sequence[_Seen], concentrations: FloatArray) -> Mixture:
        counts = np.array([one.counts for one in seen])
        return update(self.tree, concentrations, counts, temper=self.temper)

    def _described(
        self, policy: StoppingPolicy, mixture: Mixture, seen: Sequence[_Seen]
    ) -> list[tuple[QuestionPosterior, ...]]:
        tree, temper = self.tree, self.temper
        counted = counting_questions(tree, policy, mixture, weights=self.weights)
        asked = expected_asked(tree, mixture)
        mean, sd = fraction_moments(tree, mixture)
        majority = majority_probability(tree, mixture, seed=self.seed, wanted=counted)

        def described(row: int, place: int) -> QuestionPosterior:
            part = tree.slices[place]
            is_counted = bool(counted[row, place])
            return QuestionPosterior(
                question=tree.questions[place].name,
                asked=float(asked[row, place]),
                counts=is_counted,
                temper=float(temper[place]),
                answers=tuple(
                    AnswerPosterior(
                        answer=tree.columns[answer],
                        votes=int(seen[row].counts[answer]),
                        mean=float(mean[row, answer]),
                        sd=float(sd[row, answer]),
                        majority=float(majority[row, answer]) if is_counted else None,
                    )
                    for answer in range(part.start, part.stop)
                ),
            )

        return [tuple(described(row, place) for place in range(tree.n_questions)) for row in range(len(seen))]


def temper_members(galaxy_ids: Sequence[str]) -> IntArray:
    """Return the rows, in order, of the up to `TEMPER_GALAXIES` members that factors are fitted on, drawn by id."""
    chances = [stable_fraction(0, galaxy_id) for galaxy_id in galaxy_ids]
    return np.sort(np.argsort(chances, kind="stable")[:TEMPER_GALAXIES])


def _ends_anyway(decision: StopDecision, seen: _Seen) -> bool:
    """Return whether a galaxy that was asked about until now has its full number, which the ledger's count ends."""
    full = decision.reason is StopReason.ALL_VOTES and decision.votes >= seen.row.n_votes
    return full and seen.state is not AskingState.STOPPED


def _evidence(decision: StopDecision, seen: _Seen, questions: Sequence[QuestionPosterior]) -> dict[str, Any]:
    """Return a decision as a document; of one that changed something, also votes and posterior that decided it."""
    document: dict[str, Any] = {
        "votes": decision.votes,
        "full_votes": seen.row.n_votes,
        "reason": str(decision.reason),
        "text": decision.text(),
        "rule": decision.rule,
        "target": decision.target,
        "figure": decision.figure,
        "question": decision.question,
    }
    if not questions:
        return document
    voted = {q.question: {a.answer: a.votes for a in q.answers} for q in questions if any(a.votes for a in q.answers)}
    decisive = {q.question: [document_of(answer) for answer in q.answers] for q in questions if q.counts}
    return {**document, "counts": voted, "posterior": decisive}


def _stop(decided: _Decided, fused: FusedModel, at: datetime) -> Stop:
    """Return the record of a decision: asking that stopped once and goes on is asking again."""
    before = decided.seen.before
    state, stopped_votes = AskingState.ASKING, None if before is None else before.stopped_votes
    if decided.stop:
        state = AskingState.STOPPED
        if before is None or before.state is not AskingState.STOPPED:
            stopped_votes = decided.votes
    elif before is not None and before.state is not AskingState.ASKING:
        state = AskingState.AGAIN
    return Stop(
        subject_id=decided.seen.row.id,
        galaxy_id=decided.seen.row.galaxy_id,
        cycle_id=decided.seen.row.cycle_id,
        state=state,
        reason=str(decided.reason),
        votes=decided.votes,
        stopped_votes=stopped_votes,
        mark=decided.seen.mark,
        model_id=fused.model_id,
        detail=decided.detail,
        decided_at=at,
    )


def _asking(tree: Tree, policy: StoppingPolicy, seen: _Seen, questions: tuple[QuestionPosterior, ...]) -> Asking:
    stop, row = seen.before, seen.row
    (votes,) = classifications(tree, np.maximum(seen.counts, 0)[None])
    state = AskingState.ASKING if stop is None else stop.state
    reason, text = StopReason.TOO_FEW_VOTES.value, f"asking goes on: {votes} votes, and no decision yet"
    if stop is not None:
        reason, text = stop.reason, str(stop.detail["text"])
    if row.state is SubjectState.RETIRED and state is not AskingState.STOPPED:
        state, reason = AskingState.STOPPED, StopReason.ALL_VOTES.value
        text = f"asking has ended: {votes} votes of {row.n_votes} asked for"
    return Asking(
        galaxy_id=row.galaxy_id,
        state=state,
        votes=votes,
        full_votes=row.n_votes,
        overshoot=0
        if stop is None or stop.state is not AskingState.STOPPED
        else max(0, votes - (stop.stopped_votes or 0)),
        reason=reason,
        text=text,
        rule=policy.rule,
        target=policy.target,
        figure=None if stop is None else stop.detail["figure"],
        question=None if stop is None else stop.detail["question"],
        model_id=None if stop is None else stop.model_id,
        questions=questions,
        decided_at=None if stop is None else stop.decided_at,
    )
