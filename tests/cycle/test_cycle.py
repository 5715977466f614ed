"""Whole cycles through the services, without Prefect: real database and objects, a fake Zooniverse."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine

from alservice.app import App
from alservice.campaigns.campaign import AcquisitionPolicy, AllocatedVotes, Campaign, TrainingPolicy, ZooniverseTarget
from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.policies import GatePolicy
from alservice.campaigns.store import CampaignRow
from alservice.errors import Conflict, ZooniverseUnavailable
from alservice.ids import seed_of
from alservice.retry import RetryPolicy
from alservice.science.votes import walk
from alservice.states import ModelState, SubjectState
from alservice.subjects.publish import PublishPolicy
from alservice.subjects.site import Connection, Sites
from alservice.votes.counting import reducer_version
from alservice.zooniverse.http import Credentials
from tests.support.fake_zooniverse import FakeZooniverse
from tests.support.worlds import TREE, import_rows, make_campaign, make_factory, make_row
from tests.votes.test_classification import raw

N_GALAXIES = 40


@dataclass(frozen=True, kw_only=True)
class FakedSites(Sites):
    """Sites whose Zooniverse is a fake."""

    fake: FakeZooniverse

    def connection(self, campaign: Campaign) -> Connection:
        """Return the stand-in's patience, without a login."""
        return Connection(
            endpoint=campaign.zooniverse.endpoint,
            credentials=Credentials(username="nobody", password="none"),
            retry=RetryPolicy(),
            publish=PublishPolicy(),
            settle_s=0.0,
        )

    def zooniverse(self, campaign: Campaign) -> FakeZooniverse:
        """Return the fake, whatever the campaign names."""
        return self.fake


@dataclass(frozen=True, kw_only=True)
class FakedApp(App):
    """An application whose Zooniverse is a fake."""

    fake: FakeZooniverse

    @cached_property
    def sites(self) -> FakedSites:
        """The fake, whatever campaigns name."""
        return FakedSites(
            campaigns=self.campaigns,
            settings=self.settings,
            secret=self.secret,
            user_hash_key=self.user_hash_key,
            fake=self.fake,
        )


def faked(engine: Engine, folder: Path, fake: FakeZooniverse) -> FakedApp:
    """Return an application on a test's own database and folder."""
    made = make_factory(engine, folder)
    return FakedApp(**{name: getattr(made, name) for name in made.__dataclass_fields__}, fake=fake)


class Loop:
    """A campaign, its Zooniverse and its volunteers."""

    first_vote = 500_000_001

    def __init__(self, engine: Engine, folder: Path, **changes: object) -> None:
        self.zooniverse = FakeZooniverse()
        self.factory = faked(engine, folder, self.zooniverse)
        decisions: dict[str, object] = {
            "hold_hours": 0.0,
            "zooniverse": ZooniverseTarget(endpoint="http://127.0.0.1:9"),
            "gate": GatePolicy(min_galaxies=1, repeats=100),
        }
        self.campaign: CampaignRow = import_rows(
            self.factory, make_campaign(**{**decisions, **changes}), [make_row(i) for i in range(N_GALAXIES)]
        )

    def start(self) -> Cycle:
        """Open a cycle."""
        return self.factory.cycle.start(self.campaign.settings.name, actor="test")

    def advance(self, cycle_id: int, *, only: CycleState | None = None) -> Cycle:
        """Run the step in which a cycle stands."""
        return self.factory.cycle.advance(cycle_id, actor="test", only=only)

    def ask(self, cycle: Cycle) -> None:
        """Let three volunteers classify every live subject of a cycle."""
        for subject in self.factory.ledger.of_cycle(cycle.id, (SubjectState.LIVE,)):
            rng = np.random.default_rng(seed_of("volunteers", cycle.number, subject.galaxy_id))
            probabilities = np.concatenate([rng.dirichlet(np.ones(len(q.answers))) for q in TREE.questions])
            for answers in walk(TREE, probabilities, 3, rng):
                annotations = tuple(
                    {"task": q.task, "value": q.task_answers.index(q.answers[answer])}
                    for q, answer in zip(TREE.questions, answers, strict=True)
                    if answer >= 0
                )
                row = raw(
                    self.first_vote + len(self.zooniverse.rows),
                    workflow_version=self.zooniverse.workflow().version,
                    zooniverse_subject_id=subject.zooniverse_id,
                    annotations=annotations,
                )
                self.zooniverse.rows.append(row)

    def run(self, cycle: Cycle, *, until: CycleState = CycleState.DONE) -> Cycle:
        """Take a cycle to a state, volunteers answering on the way."""
        while cycle.state is not until:
            if cycle.state is CycleState.COLLECTING:
                self.ask(cycle)
            cycle = self.advance(cycle.id)
        return cycle


@pytest.fixture
def loop(engine: Engine, tmp_path: Path) -> Loop:
    """Forty galaxies, about twelve of them evaluation members."""
    return Loop(engine, tmp_path)


def test_the_first_cycle_makes_the_first_champion_and_the_second_compares_with_it(loop: Loop) -> None:
    """One champion at any time; the second decision has a paired test in it."""
    loop.run(loop.start())
    first = loop.factory.models.champion(loop.campaign.id)
    assert first is not None
    second = loop.run(loop.start())
    assert second.champion_id == first.id
    decision = loop.factory.models.decision(second.id)
    assert decision is not None
    assert "nll-per-vote" in {check.name for check in decision.checks}
    champions = [m for m in loop.factory.models.list(loop.campaign.id) if m.state is ModelState.CHAMPION]
    assert len(champions) == 1
    table = loop.factory.cycle.table("test")
    assert [line.state for line in table.lines] == ["done", "done"]


def test_the_evaluation_stream_stays_clean(loop: Loop) -> None:
    """Members are never trained on and never drawn for information."""
    for _ in range(2):
        cycle = loop.run(loop.start())
    galaxies = loop.factory.catalogues.galaxies(cycle.catalogue_id)
    members = {g.galaxy_id for g in galaxies if g.evaluation}
    assert 5 < len(members) < 20
    drawn = [a for c in loop.factory.cycles.list(loop.campaign.id) for a in loop.factory.acquisitions.get(c.id) or ()]
    assert not {a.galaxy_id for a in drawn if a.arm == "informative"} & members
    tallies = loop.factory.classifications.tallies(loop.campaign.id, TREE.n_answers)
    card = loop.factory.models.list(loop.campaign.id)[-1].card
    assert card["reducer"] == reducer_version(loop.campaign.settings, TREE)
    assert card["n_inconsistent"] == 0
    trained = card["n_galaxies"]
    assert trained == len(set(tallies.galaxy_ids) - members)
    assert set(tallies.galaxy_ids) & members


def test_no_galaxy_is_asked_about_twice(loop: Loop) -> None:
    """What was drawn once is excluded with its reason."""
    for _ in range(2):
        loop.run(loop.start())
    drawn = [
        a.galaxy_id
        for c in loop.factory.cycles.list(loop.campaign.id)
        for a in loop.factory.acquisitions.get(c.id) or ()
    ]
    assert len(drawn) == len(set(drawn))
    keys = [subject.key for subject in loop.factory.ledger.of_campaign(loop.campaign.id)]
    assert len(loop.zooniverse.subjects) == len(keys) == len(set(keys))


def test_a_step_that_is_not_the_cycles_own_does_nothing(loop: Loop) -> None:
    """A task that runs twice, or late, finds the work done."""
    cycle = loop.run(loop.start(), until=CycleState.PUBLISHING)
    assert loop.advance(cycle.id, only=CycleState.PLANNED) == cycle
    events = loop.factory.events.list(loop.campaign.id)
    loop.advance(cycle.id, only=CycleState.TRAINING)
    assert loop.factory.events.list(loop.campaign.id) == events


def test_collecting_waits_for_votes(loop: Loop) -> None:
    """Without them the cycle is a row that nobody holds."""
    cycle = loop.run(loop.start(), until=CycleState.COLLECTING)
    assert loop.advance(cycle.id).state is CycleState.COLLECTING


def test_a_second_cycle_is_never_opened_beside_the_first(loop: Loop) -> None:
    """A tick while a cycle is open is a conflict, or finds the open one."""
    cycle = loop.start()
    with pytest.raises(Conflict):
        loop.start()
    assert loop.factory.cycle.start_or_resume("test", actor="tick") == cycle


def test_a_failed_step_is_resumed_where_it_failed(loop: Loop) -> None:
    """The history tells what happened; the cycle ends as if it had not."""
    cycle = loop.run(loop.start(), until=CycleState.PUBLISHING)
    failed = loop.factory.cycle.fail(cycle.id, ZooniverseUnavailable("502 from Zooniverse"), actor="test")
    assert (failed.state, failed.left_from) == (CycleState.FAILED, CycleState.PUBLISHING)
    assert loop.factory.cycle.fail(cycle.id, ZooniverseUnavailable("again"), actor="test") == failed
    detail = loop.factory.events.list(loop.campaign.id)[0].detail
    assert detail["code"] == "zooniverse-unavailable"
    resumed = loop.factory.cycle.start_or_resume("test", actor="person")
    assert (resumed.state, resumed.left_from) == (CycleState.PUBLISHING, None)
    assert loop.run(resumed).state is CycleState.DONE


def test_a_cancelled_cycle_goes_on_when_asked(loop: Loop) -> None:
    """Cancelling leaves the step, and the reason, behind."""
    cycle = loop.run(loop.start(), until=CycleState.COLLECTING)
    cancelled = loop.factory.cycle.cancel(cycle.id, reason="volunteers are on holiday", actor="test")
    assert cancelled.state is CycleState.CANCELLED
    assert loop.run(loop.factory.cycle.resume(cycle.id, actor="test")).state is CycleState.DONE


def test_too_few_new_votes_keep_the_champion(engine: Engine, tmp_path: Path) -> None:
    """The data-sufficiency rule ends a cycle without training."""
    loop = Loop(engine, tmp_path, training=TrainingPolicy(steps=2, batch_galaxies=4, min_new_votes=40, threads=1))
    loop.run(loop.start())
    starved = replace(
        loop.campaign.settings,
        acquisition=AcquisitionPolicy(batch_galaxies=1, votes_per_galaxy=3),
        training=TrainingPolicy(steps=2, batch_galaxies=4, min_new_votes=400, threads=1),
    )
    loop.campaign = loop.factory.campaigns.save(starved)
    cycle = loop.run(loop.start())
    assert cycle.candidate_id is None
    assert loop.factory.cycle.table("test").lines[-1].state == "done"
    assert [e.detail["to"] for e in loop.factory.events.list(loop.campaign.id)[:2]] == ["done", "kept"]


def test_votes_are_asked_as_the_batch_says(engine: Engine, tmp_path: Path) -> None:
    """A cycle that scores by EPIG, keeps copies apart and allocates votes: each subject is asked for its own number."""
    acquisition = AcquisitionPolicy(
        initial_galaxies=6,
        initial_evaluation_galaxies=4,
        batch_galaxies=8,
        votes_per_galaxy=3,
        policy="epig",
        survey_galaxies=10,
        diversity_share=0.01,
        allocated=AllocatedVotes(tiers=(1, 2, 5), budget=25),
    )
    target = ZooniverseTarget(endpoint="http://127.0.0.1:9", retirement="own")
    loop = Loop(engine, tmp_path, acquisition=acquisition, zooniverse=target)
    loop.run(loop.start())
    cycle = loop.run(loop.start())
    votes = loop.factory.acquisitions.votes(cycle.id)
    assert len(votes) == 8
    assert len(set(votes.values())) > 1
    assert sum(votes.values()) <= 25
    assert {s.galaxy_id: s.n_votes for s in loop.factory.ledger.of_cycle(cycle.id)} == votes
    drawn = [e.detail for e in loop.factory.events.list(loop.campaign.id) if e.detail.get("to") == "publishing"]
    assert drawn[0]["votes"] == sum(votes.values())


def test_a_vote_that_comes_late_counts_for_the_next_cycle(loop: Loop) -> None:
    """The snapshot is taken when collecting ends."""
    cycle = loop.run(loop.start(), until=CycleState.TRAINING)
    frozen = loop.factory.snapshots.of_cycle(cycle.id)
    loop.ask(cycle)
    loop.run(cycle)
    assert loop.factory.snapshots.of_cycle(cycle.id) == frozen
