"""The table of what steps need: only what a run will really take, from where the cycle stands."""

from dataclasses import replace
from typing import Any

import pytest

from alservice.campaigns.campaign import AcquisitionPolicy, AllocatedVotes, StoppingRule, ZooniverseTarget
from alservice.campaigns.cycle import CYCLES, WORKING, Cycle, CycleKind, CycleState
from alservice.cycle.check_readiness import asking_text
from alservice.cycle.readiness import NEEDS, Finding, Flight, NotReady, NotReadyYet, require_ready
from alservice.cycle.steps import Need, path_of
from alservice.zooniverse.accounts import Account, Rights
from tests.support.worlds import NOON, make_campaign

ASKING = (CycleState.PLANNED, CycleState.PREDICTING, CycleState.ACQUIRING, CycleState.PUBLISHING)
TICK = Flight(name="ingest", legs=((CycleState.COLLECTING,), (CycleState.HELD, CycleState.PROMOTED, CycleState.KEPT)))
WEEK = Flight(name="weekly-cycle", legs=(ASKING,), starts=CycleKind.FULL)
ABROAD = {Need.LOGIN, Need.RIGHTS, Need.WORKFLOW}


def cycle(state: CycleState, **changes: Any) -> Cycle:
    """Return an open cycle in a state."""
    made = Cycle(
        id=1,
        campaign_id=1,
        campaign_version=1,
        catalogue_id=1,
        number=3,
        state=state,
        left_from=None,
        champion_id=1,
        candidate_id=None,
        deadline=None,
        created_at=NOON,
        updated_at=NOON,
    )
    return replace(made, **changes)


def test_every_step_has_its_needs_and_every_path_is_legal() -> None:
    """Kind: a step added later and forgotten here would not be checked."""
    assert set(NEEDS) == WORKING
    for path in map(path_of, CycleKind):
        assert set(path) <= WORKING
        for i, state in enumerate(path[1:], start=1):
            assert any(CYCLES.can(before, state) for before in path[:i]), state


def test_a_week_needs_all_of_its_half_at_once() -> None:
    """What publishing needs is known before the first image is packed; what training needs is not this run's."""
    needs = WEEK.needs(None, uploads=True, has_champion=True)
    assert needs == {*Need} - {Need.POOL}
    first = WEEK.needs(None, uploads=False, has_champion=False)
    assert first == {*Need} - {Need.ALLOWANCE, Need.CHAMPION}


def test_only_what_remains_is_needed() -> None:
    """A cycle that stopped while it published needs no device; a step elsewhere needs that machine's, not this one's."""
    stopped = cycle(CycleState.FAILED, left_from=CycleState.PUBLISHING)
    assert WEEK.needs(stopped, uploads=True, has_champion=True) == {*ABROAD, Need.OBJECTS, Need.ALLOWANCE}
    training = Flight(name="train", legs=((CycleState.TRAINING,),))
    sent = replace(training, elsewhere=frozenset({CycleState.TRAINING}))
    at = cycle(CycleState.TRAINING)
    assert training.needs(at, uploads=True, has_champion=True) == {Need.DISK, Need.OBJECTS, Need.DEVICE}
    assert sent.needs(at, uploads=True, has_champion=True) == {Need.OBJECTS}
    retrained = cycle(CycleState.PLANNED, kind=CycleKind.RETRAIN)
    assert WEEK.steps(retrained) == (CycleState.PLANNED,), "a cycle that only trains asks nobody"


@pytest.mark.parametrize(
    ("standing", "needs"),
    [
        (None, set()),
        (cycle(CycleState.HELD), NEEDS[CycleState.KEPT]),
        (cycle(CycleState.TRAINING), set()),
        (cycle(CycleState.COLLECTING), {Need.DISK, Need.OBJECTS, Need.LOGIN, Need.RIGHTS}),
    ],
)
def test_a_tick_asks_for_little(standing: Cycle | None, needs: set[Need]) -> None:
    """Without a cycle for nothing at all; while it collects for the login that it uses anyway."""
    assert TICK.needs(standing, uploads=True, has_champion=True) == needs


def test_what_may_pass_is_tried_again_and_what_a_person_must_mend_is_not() -> None:
    """One message names every part; a single one that will not mend itself makes it final."""
    fine = Finding(part="disk", ok=True, message="2 GiB")
    away = Finding(part="zooniverse login", ok=False, message="503", remedy="Wait.", code="away", may_pass=True)
    full = Finding(part="object store", ok=False, message="no rights.", remedy="Ask.", code="refused")
    require_ready([fine], "ingest of gz2")
    with pytest.raises(NotReadyYet, match="ingest of gz2 cannot begin, 1 of 2 checks failed: zooniverse login: 503"):
        require_ready([fine, away], "ingest of gz2")
    with pytest.raises(NotReady) as told:
        require_ready([fine, away, full], "ingest of gz2")
    assert "zooniverse login: 503 (away: Wait.); object store: no rights (refused: Ask.)" in told.value.message
    failed = told.value.evidence["failed"]
    assert isinstance(failed, list)
    assert [f["part"] for f in failed] == ["zooniverse login", "object store"]


def test_rights_are_of_owner_or_collaborator_on_the_workflows_project() -> None:
    """Kind: calls that are answered with nothing instead of a refusal. Testers and scientists read no classifications."""
    good = Rights(project_id=1, roles=frozenset({"collaborator", "expert"}), workflow_id=10, workflow_project_id=1)
    assert not good.missing("ann")
    lesser = replace(good, roles=frozenset({"tester", "moderator"}))
    assert lesser.missing("ann")["project"].startswith("ann is moderator, tester of project 1")
    assert "nobody" in replace(good, roles=frozenset()).missing("ann")["project"]
    assert "project 2" in replace(good, workflow_project_id=2).missing("ann")["workflow"]


def test_an_allowance_never_goes_below_nothing() -> None:
    """It may be lowered below what was uploaded; without a bound nothing is counted."""
    account = Account(user_id=1, login="ann", uploaded=12, allowance=10)
    assert account.left == 0
    assert replace(account, allowance=None).left is None


POSTERIOR = ZooniverseTarget(retirement="posterior", stopping=StoppingRule(rule="label", confidence=0.9, min_votes=2))


@pytest.mark.parametrize(
    ("acquisition", "target", "has_champion", "said"),
    [
        ({}, ZooniverseTarget(), True, "a galaxy gets 40 votes, by the workflow's rule"),
        ({}, ZooniverseTarget(retirement="own"), True, "a galaxy gets 40 votes, counted here"),
        (
            {"votes_per_galaxy": 5, "reference_votes": 40},
            POSTERIOR,
            True,
            "a galaxy gets 5 votes (40 where models are judged), fewer where rule 'label' is met at 0.9, 2 at least",
        ),
        (
            {"allocated": AllocatedVotes(tiers=(5, 20))},
            POSTERIOR,
            False,
            (
                "a galaxy gets 40 votes, or 5, 20 by information, fewer where rule 'label' is met at 0.9, 2 at least; "
                "never fewer before there is a champion"
            ),
        ),
    ],
)
def test_a_check_says_when_asking_stops(
    acquisition: dict[str, Any], target: ZooniverseTarget, has_champion: bool, said: str
) -> None:
    """Who looks before a week begins sees how many votes it asks, and that a rule may ask fewer."""
    campaign = make_campaign(acquisition=AcquisitionPolicy(**acquisition), zooniverse=target)
    assert asking_text(campaign, has_champion=has_champion) == said
