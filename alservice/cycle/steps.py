"""The steps of a cycle, one table: what each does, needs and leads to; flows, pages, checks and diagram read it.

Every step may run again after a crash: what it finds done it does not do twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from alservice.acquisition.requests import ASKED
from alservice.campaigns.cycle import CYCLES, Cycle, CycleKind, CycleState
from alservice.errors import NotFound
from alservice.subjects.retire import SHOWN
from alservice.subjects.subject import draft_subject

if TYPE_CHECKING:
    from alservice.campaigns.store import CampaignRow
    from alservice.cycle.stages import Stages


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """Where a finished step leads.

    Parameters
    ----------
    detail
        What the step did, for the audit: counts and digests.
    changes
        Columns of the cycle that change with the state.
    settled
        The cycle as already moved by the step itself, when state and result had to change in one transaction.
    """

    to: CycleState
    detail: Mapping[str, Any]
    changes: Mapping[str, object] = field(default_factory=dict)
    settled: Cycle | None = None


class Phase(StrEnum):
    """Part of a cycle; the loop is cut where it waits for volunteers, and where it waits for a person."""

    ASK = "ask"  # which galaxies, and their way to volunteers
    COLLECT = "collect"  # ends when enough votes are in or the deadline has passed
    LEARN = "learn"  # from votes to a decision
    CLOSE = "close"  # what is decided is carried out, what is held ends by its deadline


class Need(StrEnum):
    """Something without which a step cannot end well."""

    DISK = "disk"
    OBJECTS = "object store"
    DEVICE = "device"
    CATALOGUE = "catalogue"
    CHAMPION = "champion"
    LOGIN = "zooniverse login"
    RIGHTS = "zooniverse rights"
    ALLOWANCE = "subject allowance"
    POOL = "subject pool"
    WORKFLOW = "workflow"


Advance = Callable[["Stages", "CampaignRow", Cycle, str], Transition | None]
"""Does the work of one state for an actor; safe to run again. None means that the cycle waits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One row of the table.

    Parameters
    ----------
    stage
        Package whose work it is; ``a person`` where one decides.
    needs
        What it needs of the world; database and schema are not among it, without them nobody knows the step.
    needs_gpu
        Whether it is worth another machine.
    longest
        How long a cycle may stand in the state, whoever works on it: from when it came there, and from the moment at
        which its wait ends where it waits for volunteers or for a person. After that it is stuck.
    """

    state: CycleState
    phase: Phase
    stage: str
    advance: Advance
    longest: timedelta
    needs: frozenset[Need] = frozenset()
    needs_gpu: bool = False

    @property
    def is_retraining(self) -> bool:
        """Whether a cycle that only trains takes it as well."""
        return self.state is CycleState.PLANNED or self.phase in {Phase.LEARN, Phase.CLOSE}


def plan(stages: Stages, campaign: CampaignRow, cycle: Cycle, _actor: str) -> Transition:
    """Pack the images; with a champion predict next, without one draw at random.

    A cycle that only trains freezes the votes there are and trains next, however few of them are new: somebody asked.
    """
    shards = stages.catalogue.pack(stages.catalogues.get(cycle.catalogue_id), campaign.settings.images)
    if cycle.kind is CycleKind.RETRAIN:
        frozen = stages.learning.frozen.freeze(campaign, cycle)
        detail = {"image_shards": len(shards), "snapshot": frozen.digest}
        return Transition(to=CycleState.TRAINING, detail=detail)
    to = CycleState.ACQUIRING if cycle.champion_id is None else CycleState.PREDICTING
    return Transition(to=to, detail={"image_shards": len(shards)})


def predict(stages: Stages, campaign: CampaignRow, cycle: Cycle, _actor: str) -> Transition:
    """Sample the champion's posterior for every galaxy."""
    if cycle.champion_id is None:
        raise NotFound(f"cycle {cycle.number} has no champion to predict with", cycle=cycle.number)
    champion = stages.models.get(cycle.champion_id)
    shards = stages.prediction.predict(campaign.settings, cycle.catalogue_id, champion)
    done, failed = sum(s.n_galaxies for s in shards), sum(s.n_failed for s in shards)
    return Transition(to=CycleState.ACQUIRING, detail={"requested": done + failed, "done": done, "failed": failed})


def acquire(stages: Stages, campaign: CampaignRow, cycle: Cycle, actor: str) -> Transition:
    """Score by expected information and draw the batch.

    Predicts what is missing first: nothing, unless another model became the champion after the step before.
    """
    if cycle.champion_id is not None:
        predict(stages, campaign, cycle, actor)
    acquired = stages.acquisition.acquire(campaign, cycle)
    votes = stages.acquisitions.votes(cycle.id)
    detail: dict[str, int] = {**Counter(str(a.arm) for a in acquired), "votes": sum(votes.values())}
    again = ask_again(stages, campaign, cycle)
    if again:
        detail["asked_again"] = again
    return Transition(to=CycleState.PUBLISHING, detail=detail)


def ask_again(stages: Stages, campaign: CampaignRow, cycle: Cycle) -> int:
    """Ask for the votes that people want of galaxies that volunteers know; return how many galaxies' votes changed.

    Safe to repeat: who has what was asked is left alone, and so is who is with volunteers no more.
    """
    wanted = [each for each in stages.requests.of_cycle(cycle.id) if each.outcome == ASKED]
    rows = stages.ledger.of_galaxies(campaign.id, [each.galaxy_id for each in wanted]) if wanted else ()
    shown = {row.galaxy_id for row in rows if row.state in SHOWN}
    alike: dict[tuple[int, str, str], list[str]] = {}
    for each in wanted:
        if each.galaxy_id in shown:
            alike.setdefault((each.votes, each.reason, each.actor), []).append(each.galaxy_id)
    name = campaign.settings.name
    return sum(
        len(stages.subjects.ask_votes(name, galaxy_ids, votes, reason=reason, actor=actor))
        for (votes, reason, actor), galaxy_ids in alike.items()
    )


def publish(stages: Stages, campaign: CampaignRow, cycle: Cycle, actor: str) -> Transition:
    """Check the live workflow, then bring the batch in front of volunteers; collecting starts now."""
    decisions = campaign.settings
    stages.subjects.validate(decisions)
    acquired = stages.acquisitions.get(cycle.id) or ()
    galaxies = stages.catalogues.by_id(cycle.catalogue_id, sorted(a.galaxy_id for a in acquired))
    drafts = [draft_subject(decisions.name, cycle.number, galaxy) for galaxy in galaxies]
    asked = stages.acquisitions.votes(cycle.id)
    report = stages.subjects.deliver(cycle, decisions, drafts, asked, actor=actor)
    deadline = stages.clock() + timedelta(hours=decisions.collecting.deadline_hours)
    return Transition(to=CycleState.COLLECTING, detail=asdict(report), changes={"deadline": deadline})


def collect(stages: Stages, campaign: CampaignRow, cycle: Cycle, actor: str) -> Transition | None:
    """Ingest, and retire what has its votes, or of which enough is known, where that is ours to do.

    When collecting is over, freeze the tallies and train, unless too few votes are new.
    """
    target = campaign.settings.zooniverse
    report = stages.votes.collect(campaign, cycle)
    stopped: dict[str, Any] = {}
    if target.rule is not None:
        stages.stopping.decide(campaign, cycle, actor=actor)
        report = stages.votes.recount_asked(campaign, cycle, report)
        stopped = {"stopping": asdict(stages.stopping.figures(cycle.id))}
    if target.retires:
        stages.subjects.retire(campaign, actor=actor)
    if not report.is_over:
        return None
    frozen = stages.learning.frozen.freeze(campaign, cycle)
    trained = [stages.snapshots.of_cycle(c.id) for c in stages.cycles.list(campaign.id) if c.candidate_id is not None]
    new_votes = frozen.n_votes - max((s.n_votes for s in trained if s is not None), default=0)
    needed = campaign.settings.training.min_new_votes
    return Transition(
        to=CycleState.TRAINING if new_votes >= needed else CycleState.KEPT,
        detail={**asdict(report), **stopped, "new_votes": new_votes, "needed_votes": needed, "snapshot": frozen.digest},
    )


def train(stages: Stages, campaign: CampaignRow, cycle: Cycle, _actor: str) -> Transition:
    """Train the candidate."""
    model = stages.learning.train(campaign, cycle)
    return Transition(to=CycleState.EVALUATING, detail={"model": model.digest}, changes={"candidate_id": model.id})


def evaluate(stages: Stages, campaign: CampaignRow, cycle: Cycle, actor: str) -> Transition:
    """Measure candidate and champion on the evaluation stream, and the cycle's data; a shadow candidate if asked."""
    learning = stages.learning
    learning.estimate_selected(campaign, cycle)
    learning.watch_drift(campaign, cycle, actor=actor)
    if campaign.settings.shadow and cycle.champion_id is not None and cycle.candidate_id is not None:
        learning.compare_shadow(campaign, cycle, stages.models.get(cycle.candidate_id), actor=actor)
    candidate, *champion = learning.evaluate(campaign, cycle)
    detail = {"nll_per_vote": candidate.nll_per_vote.value, "galaxies": candidate.n_galaxies}
    if champion:
        detail["champion_nll_per_vote"] = champion[0].nll_per_vote.value
    return Transition(to=CycleState.GATED, detail=detail)


def gate(stages: Stages, campaign: CampaignRow, cycle: Cycle, actor: str) -> Transition:
    """Let the gate decide; promotion and decision are one transaction."""
    decision, settled = stages.learning.decide(campaign, cycle, actor=actor)
    return Transition(to=settled.state, detail={"verdict": decision.verdict}, settled=settled)


def hold(stages: Stages, _campaign: CampaignRow, cycle: Cycle, actor: str) -> Transition | None:
    """Wait for a person's decision; without one by the deadline the champion is kept."""
    if not stages.learning.is_hold_over(cycle):
        return None
    settled = stages.models.keep(cycle, actor=actor, reason="nobody decided by the deadline")
    return Transition(to=settled.state, detail={}, settled=settled)


def finish(_stages: Stages, _campaign: CampaignRow, _cycle: Cycle, _actor: str) -> Transition:
    """Close the cycle: its outcome is recorded already."""
    return Transition(to=CycleState.DONE, detail={})


def keep(stages: Stages, campaign: CampaignRow, cycle: Cycle, actor: str) -> Transition:
    """Close a cycle that keeps the champion; one that ended for want of votes has its data described here."""
    if cycle.candidate_id is None and cycle.champion_id is not None:
        stages.learning.watch_drift(campaign, cycle, actor=actor)
    return finish(stages, campaign, cycle, actor)


_STORE: Final = frozenset({Need.DISK, Need.OBJECTS})
_COMPUTE: Final = _STORE | {Need.DEVICE}
_MODEL: Final = _COMPUTE | {Need.CHAMPION}
_READ: Final = _STORE | {Need.LOGIN, Need.RIGHTS}  # without rights the listing is empty, not refused
_SHOW: Final = frozenset({Need.OBJECTS, Need.LOGIN, Need.RIGHTS, Need.ALLOWANCE, Need.POOL, Need.WORKFLOW})

_STOPPED: Final = frozenset({CycleState.FAILED, CycleState.CANCELLED})

_SHORT: Final = timedelta(hours=2)
_LONG: Final = timedelta(hours=12)
_LONGEST: Final = timedelta(hours=48)
"""Steps that may train or predict for days end with their run, which Prefect stops then."""

STEPS: Final = (
    Step(
        state=CycleState.PLANNED,
        phase=Phase.ASK,
        stage="catalogue",
        advance=plan,
        longest=_LONG,
        needs=_STORE | {Need.CATALOGUE},
    ),
    Step(
        state=CycleState.PREDICTING,
        phase=Phase.ASK,
        stage="prediction",
        advance=predict,
        longest=_LONGEST,
        needs=_MODEL,
        needs_gpu=True,
    ),
    Step(
        state=CycleState.ACQUIRING,
        phase=Phase.ASK,
        stage="acquisition",
        advance=acquire,
        longest=_LONG,
        needs=_MODEL,
    ),
    Step(
        state=CycleState.PUBLISHING,
        phase=Phase.ASK,
        stage="subjects",
        advance=publish,
        longest=_LONGEST,
        needs=_SHOW,
    ),
    Step(
        state=CycleState.COLLECTING,
        phase=Phase.COLLECT,
        stage="votes",
        advance=collect,
        longest=_SHORT,
        needs=_READ,
    ),
    Step(
        state=CycleState.TRAINING,
        phase=Phase.LEARN,
        stage="learning",
        advance=train,
        longest=_LONGEST,
        needs=_COMPUTE,
        needs_gpu=True,
    ),
    Step(
        state=CycleState.EVALUATING,
        phase=Phase.LEARN,
        stage="learning",
        advance=evaluate,
        longest=_LONG,
        needs=_MODEL,
    ),
    Step(state=CycleState.GATED, phase=Phase.LEARN, stage="learning", advance=gate, longest=_SHORT, needs=_MODEL),
    Step(state=CycleState.HELD, phase=Phase.CLOSE, stage="a person", advance=hold, longest=_SHORT),
    Step(state=CycleState.PROMOTED, phase=Phase.CLOSE, stage="registry", advance=finish, longest=_SHORT),
    Step(state=CycleState.KEPT, phase=Phase.CLOSE, stage="registry", advance=keep, longest=_SHORT, needs=_COMPUTE),
)
"""The steps of a cycle, in the order in which they may come."""

BY_STATE: Final[Mapping[CycleState, Step]] = {step.state: step for step in STEPS}
"""State to the step that is taken in it."""


def states_of(*phases: Phase) -> tuple[CycleState, ...]:
    """Return the states of some phases, in order; of all without any."""
    return tuple(step.state for step in STEPS if not phases or step.phase in phases)


def path_of(kind: CycleKind) -> tuple[CycleState, ...]:
    """Return the states that a kind of cycle may take, in order."""
    return tuple(step.state for step in STEPS if kind is CycleKind.FULL or step.is_retraining)


def cycle_diagram() -> str:
    """Return the loop as a Mermaid flowchart: its steps, whose work they are, and which may follow which."""
    lines = []
    for step in STEPS:
        after = [state for state in CycleState if state in CYCLES.transitions[step.state] - _STOPPED]
        lines.append(f'  {step.state}("{step.state}<br>{step.stage}") --> {" & ".join(after)}')
    return "\n".join(["flowchart LR", *lines])
