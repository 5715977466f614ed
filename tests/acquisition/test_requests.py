"""Galaxies that people ask for: within the operator's budget, drawn by the next cycle in an arm of their own."""

from collections import Counter

import numpy as np
import pytest

from alservice.acquisition.batch import BatchPolicy, draw_batch
from alservice.acquisition.requests import ASKED, DRAWN, OVER_BUDGET, WAITING, WITHDRAWN, Wanted, Why
from alservice.campaigns.campaign import AllocatedVotes
from alservice.campaigns.policies import Arm
from alservice.errors import BadConfig
from alservice.testing import MemoryApp, MemoryBatches, memory_campaign
from tests.support.stores import Stores

WHY = Why(selection="odd ones", reason="they look like rings", actor="token:anna")
IDS = [f"g{i:02}" for i in range(60)]


def wanted(*names: str, votes: int = 20, cost: int | None = None) -> list[Wanted]:
    """Return galaxies that are asked for."""
    return [Wanted(galaxy_id=name, votes=votes, cost=votes if cost is None else cost) for name in names]


class Kept:
    """A store of requests with its batches, one campaign and one cycle."""

    def __init__(self, batches: object, requests: object, campaign: int, cycle: int, events: object) -> None:
        self.batches, self.requests, self.campaign, self.cycle, self.events = batches, requests, campaign, cycle, events


@pytest.fixture(params=["postgres", "memory"])
def kept(request: pytest.FixtureRequest) -> Kept:
    """An empty store of each kind."""
    if request.param == "memory":
        memory = MemoryBatches()
        return Kept(memory, memory.requests, 1, 1, lambda: memory.requests.events)
    stores: Stores = request.getfixturevalue("stores")
    cycle = request.getfixturevalue("cycle")
    events = lambda: stores.events.list(cycle.campaign_id)[::-1]  # noqa: E731
    return Kept(stores.acquisitions, stores.requests, cycle.campaign_id, cycle.id, events)


def test_the_budget_takes_first_ones_first(kept: Kept) -> None:
    """Requested = accepted and refused; a cheap one fits where a dear one does not; who waits is not asked twice."""
    send = kept.requests.send
    sent = send(
        kept.campaign,
        [*wanted("b", "a", "b"), *wanted("d", cost=5), *wanted("c")],
        WHY,
        budget=50,
        refused=Counter({"evaluation stream": 2}),
    )
    assert sent.accepted == ("b", "a", "d")
    assert sent.refused == {"evaluation stream": 2, OVER_BUDGET: 1, WAITING: 1}
    assert (sent.requested, sent.votes, sent.left) == (7, 45, 5)
    assert "3 of 7 galaxies wait" in sent.text()
    again = send(kept.campaign, wanted("a", "e"), WHY, budget=50, refused=Counter())
    assert (again.accepted, again.refused, again.left) == ((), {OVER_BUDGET: 1, WAITING: 1}, 5)
    lowered = send(kept.campaign, wanted("e"), WHY, budget=10, refused=Counter())
    assert (lowered.accepted, lowered.left) == ((), 0)
    waiting = kept.requests.waiting(kept.campaign)
    assert [(r.galaxy_id, r.cost, r.reason, r.actor, r.selection) for r in waiting] == [
        (name, cost, WHY.reason, WHY.actor, WHY.selection) for name, cost in (("b", 20), ("a", 20), ("d", 5))
    ]
    told = [event for event in kept.events() if event.kind == "galaxies.requested"]
    assert (told[0].actor, told[0].detail["reason"], told[0].detail["accepted"]) == (
        WHY.actor,
        WHY.reason,
        ["b", "a", "d"],
    )


def test_a_cycle_settles_what_it_drew(kept: Kept) -> None:
    """In one transaction with its batch, once; what is settled waits no more and may be asked for again."""
    kept.requests.send(kept.campaign, wanted("g01", "g02", "g03"), WHY, budget=100, refused=Counter())
    first, second, third = kept.requests.waiting(kept.campaign)
    batch = draw_batch(IDS, None, policy=BatchPolicy(rule="top", informative=0, random=5), seed=1)
    kept.batches.save(kept.cycle, batch, n_votes=20, settled={first.id: DRAWN, second.id: ASKED})
    kept.batches.save(kept.cycle, batch, n_votes=20, settled={third.id: DRAWN})
    assert [each.id for each in kept.requests.waiting(kept.campaign)] == [third.id]
    assert [(r.galaxy_id, r.outcome) for r in kept.requests.of_cycle(kept.cycle)] == [("g01", DRAWN), ("g02", ASKED)]
    again = kept.requests.send(kept.campaign, wanted("g01"), WHY, budget=100, refused=Counter())
    assert again.accepted == ("g01",)
    history = kept.requests.of_galaxy(kept.campaign, "g01")
    assert [(r.cycle_id, r.outcome) for r in history] == [(kept.cycle, DRAWN), (None, None)]


def test_what_waits_can_be_taken_back(kept: Kept) -> None:
    """Of one selection, with its line in the audit; what a cycle settled stays."""
    kept.requests.send(kept.campaign, wanted("a"), WHY, budget=100, refused=Counter())
    other = Why(selection="others", reason="more", actor="token:bob")
    kept.requests.send(kept.campaign, wanted("b"), other, budget=100, refused=Counter())
    assert kept.requests.withdraw(kept.campaign, WHY.selection, reason="a mistake", actor="token:bob") == 1
    assert kept.requests.withdraw(kept.campaign, WHY.selection, reason="a mistake", actor="token:bob") == 0
    assert [each.galaxy_id for each in kept.requests.waiting(kept.campaign)] == ["b"]
    assert kept.requests.of_galaxy(kept.campaign, "a")[0].outcome == WITHDRAWN
    told = [event for event in kept.events() if event.kind == "requests.withdrawn"]
    assert [(event.actor, event.detail["galaxies"]) for event in told] == [("token:bob", 1)]


def draw(requested: list[str], **policy: object):
    """Draw a batch of sixty galaxies, some requested."""
    fields = {"rule": "power", "informative": 6, "random": 4, "easy": 2, "from_requests": 3, **policy}
    scores = np.linspace(0.1, 2, len(IDS))
    members = np.arange(len(IDS)) % 10 == 0
    return draw_batch(
        IDS,
        scores,
        policy=BatchPolicy(**fields),
        seed=5,
        members=members,
        easy=np.arange(len(IDS)) % 3 == 0,
        requested=requested,
        excluded={"g31": "retired"},
    )


@pytest.mark.parametrize("rule", ["top", "power", "softmax"])
def test_requests_take_places_of_the_informative_arm(rule: str) -> None:
    """The batch keeps its size and its random arm; nobody is in two arms, and members are not drawn for a wish."""
    plain, batch = draw([], rule=rule), draw(["g02", "g30", "g31", "g07", "g03", "g08", "nobody"], rule=rule)
    arms = {arm: [g.galaxy_id for g in batch.galaxies if g.arm == arm] for arm in Arm}
    drawn = {arm: [g.galaxy_id for g in plain.galaxies if g.arm == arm] for arm in Arm}
    assert drawn[Arm.REQUESTED] == []
    assert arms[Arm.RANDOM] == drawn[Arm.RANDOM]
    wishes = [name for name in ("g02", "g07", "g03", "g08") if name not in arms[Arm.RANDOM]]
    assert arms[Arm.REQUESTED] == wishes[:3]
    assert len(arms[Arm.INFORMATIVE]) == 3
    assert len(batch.galaxies) == len(plain.galaxies) == len({g.galaxy_id for g in batch.galaxies})
    by_random = 4 / 59
    assert {g.inclusion_probability for g in batch.galaxies if g.arm == Arm.REQUESTED} == {1 - by_random}
    assert all(g.score_nats is None for g in batch.galaxies if g.arm == Arm.REQUESTED)


def test_a_request_s_place_is_not_filled_twice() -> None:
    """The informative arm gives as many places as galaxies were drawn for requests, and takes the best that are left."""
    batch = draw(["g59"], rule="top")
    best = [
        name for name in reversed(IDS) if name not in {g.galaxy_id for g in batch.galaxies if g.arm != "informative"}
    ]
    best = [name for name in best if int(name[1:]) % 10 and name != "g31"]
    assert [g.galaxy_id for g in batch.galaxies if g.arm == "informative"] == best[:5]


def test_requests_are_no_more_than_the_informative_arm() -> None:
    """Else the batch would grow."""
    with pytest.raises(BadConfig, match="requests take places"):
        BatchPolicy(rule="top", informative=2, random=1, from_requests=3)


@pytest.mark.parametrize("policy", ["power_bald", "batch_bald", "epig"])
def test_the_next_cycle_draws_what_people_asked_for(policy: str) -> None:
    """Unseen galaxies are drawn, known ones asked again, others are named with why not; the rest waits."""
    world = MemoryApp(campaign=memory_campaign(policy=policy, requested_share=0.3)).catalogue(48)
    world.posterior(seed=7, failed=["g05"]).subject("g07", state="retired").subject("g08", state="withdrawn")
    world.request("g05", "g07", "g11", "nobody").request("g13", votes=5)
    plain = {r.galaxy_id: r for r in world.batches.requests.rows.values()}
    assert set(plain) == {"g05", "g07", "g11", "nobody"}, "four times twenty votes are the budget"
    batch, votes = world.acquire()
    outcomes = {r.galaxy_id: r.outcome for r in world.batches.requests.rows.values()}
    assert outcomes == {"g05": "failed image", "g07": ASKED, "g11": DRAWN, "nobody": "not in the catalogue"}
    assert len(batch.galaxies) == 12
    assert [g.arm for g in batch.galaxies if g.galaxy_id == "g11"] in (["requested"], ["random"])
    assert votes["g11"] == 20
    assert world.acquire() == (batch, votes)


def test_votes_of_a_request_are_what_was_asked_for() -> None:
    """Beside tiers, whose budget they come out of."""
    campaign = memory_campaign(requested_share=0.2, allocated=AllocatedVotes(tiers=(5, 10, 20), budget=140))
    batch, votes = MemoryApp(campaign=campaign).catalogue(48).posterior(seed=7).request("g11", votes=33).acquire()
    (arm,) = [g.arm for g in batch.galaxies if g.galaxy_id == "g11"]
    assert votes["g11"] == (33 if arm is Arm.REQUESTED else 20)
    assert sum(votes.values()) <= 140


def test_what_has_no_place_waits() -> None:
    """Of many cheap requests the arm takes as many as it has places for, first come first."""
    world = MemoryApp(campaign=memory_campaign(requested_share=0.1)).catalogue(48).posterior(seed=7)
    world.request("g01", "g03", "g09", votes=5)
    world.acquire()
    outcomes = [(r.galaxy_id, r.outcome) for r in world.batches.requests.rows.values()]
    assert outcomes[0] == ("g01", DRAWN)
    assert len(world.batches.requests.waiting(1)) >= 1


def test_a_first_cycle_draws_at_random_alone() -> None:
    """Requests wait for the next one."""
    world = MemoryApp().catalogue(48).request("g01")
    world.acquire()
    assert [r.outcome for r in world.batches.requests.rows.values()] == [None]
