"""Selections: kept by name, frozen, and asked for within the operator's budget."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from alservice.acquisition.batch import MEMBER
from alservice.acquisition.requests import ABSENT, OVER_BUDGET, WAITING
from alservice.campaigns.campaign import Tier, ZooniverseTarget
from alservice.errors import BadInput, Conflict, NoIndex, NotFound
from alservice.explore import selections as module
from alservice.explore.choice import choice_of
from alservice.explore.selections import HAS_VOTES, NOT_OURS, SelectionService
from alservice.explore.table import Table
from alservice.states import AskingState
from alservice.subjects.stops import Stop
from alservice.testing import MemoryApp, MemorySelections, memory_campaign
from alservice.testing.stores import MemoryStops
from tests.explore.worlds import Made, N, make_index
from tests.support.stores import Stores
from tests.support.worlds import TREE

SOURCE = {"kind": "similar", "galaxy": "g01"}


class Kept:
    """A store of selections with its campaign and its audit."""

    def __init__(self, store: object, campaign: int, events: object) -> None:
        self.store, self.campaign, self.events = store, campaign, events


@pytest.fixture(params=["postgres", "memory"])
def kept(request: pytest.FixtureRequest) -> Kept:
    """An empty store of each kind."""
    if request.param == "memory":
        memory = MemorySelections()
        return Kept(memory, 1, lambda: memory.events)
    stores: Stores = request.getfixturevalue("stores")
    campaign = request.getfixturevalue("campaign").id
    return Kept(stores.selections, campaign, lambda: stores.events.list(campaign)[::-1])


def test_a_selection_is_kept_whole_and_does_not_change(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its order; the same again is the same, other galaxies need another name; every change is in the audit."""
    first = kept.store.save(kept.campaign, "odd ones", ["g9", "g1", "\u03b1"], source=SOURCE, actor="token:anna")
    again = kept.store.save(kept.campaign, "odd ones", ["g9", "g1", "\u03b1"], source={"kind": "x"}, actor="b")
    assert (again, first.n, first.source, first.actor) == (first, 3, SOURCE, "token:anna")
    with pytest.raises(Conflict, match="'odd ones' has 3 other galaxies"):
        kept.store.save(kept.campaign, "odd ones", ["g1", "g9", "\u03b1"], source=SOURCE, actor="b")
    second = kept.store.save(kept.campaign, "rings", ["g2"], source=SOURCE, actor="token:bob")
    assert kept.store.list(kept.campaign) == [second, first]
    assert kept.store.get(kept.campaign, "odd ones") == (first, ["g9", "g1", "\u03b1"])
    monkeypatch.setattr(module, "MAX_SELECTIONS", 2)
    with pytest.raises(BadInput, match="2 selections are as many"):
        kept.store.save(kept.campaign, "third", ["g2"], source=SOURCE, actor="b")
    kept.store.delete(kept.campaign, "odd ones", actor="token:bob")
    assert kept.store.list(kept.campaign) == [second]
    for missing in (kept.store.get, lambda *given: kept.store.delete(*given, actor="b")):
        with pytest.raises(NotFound, match="no selection 'odd ones'"):
            missing(kept.campaign, "odd ones")
    told = [(event.kind, event.actor, event.detail["name"], event.detail["n"]) for event in kept.events()]
    assert told[-3:] == [
        ("selection.saved", "token:anna", "odd ones", 3),
        ("selection.saved", "token:bob", "rings", 1),
        ("selection.deleted", "token:bob", "odd ones", 3),
    ]


def service_of(memory: MemoryApp, explore: object = None) -> SelectionService:
    """Return the service on a campaign in memory."""
    return SelectionService(
        campaigns=memory.campaigns,
        catalogues=memory.catalogues,
        selections=MemorySelections(),
        requests=memory.batches.requests,
        ledger=memory.ledger,
        stops=MemoryStops(memory.ledger),
        explore=lambda: explore,
    )


def world(**policy: object) -> MemoryApp:
    """Return a campaign of 48 galaxies whose budget for requests is three galaxies of twenty votes."""
    return MemoryApp(campaign=memory_campaign(**{"requested_share": 0.25, **policy})).catalogue(48)


@pytest.mark.parametrize(
    ("name", "ids", "says"),
    [
        ("", ["g01"], "a selection is named by"),
        (" x", ["g01"], "a selection is named by"),
        ("x/y", ["g01"], "a selection is named by"),
        ("x\n", ["g01"], "a selection is named by"),
        ("x" * 81, ["g01"], "a selection is named by"),
        ("x", [], "1 to 100,000 galaxies, not 0"),
        ("x", ["g01\x00"], "galaxies"),
    ],
)
def test_what_is_no_selection_is_refused(name: str, ids: list[str], says: str) -> None:
    """By what is wrong with it."""
    service = service_of(world())
    with pytest.raises(BadInput, match=says):
        service.save("test", name, ids, actor="anna", source=SOURCE)
    assert service.list("test") == []


def test_a_list_is_checked_against_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A galaxy that is not there is named, one that is named twice counts once, and there are at most so many."""
    service = service_of(world())
    with pytest.raises(NotFound, match="no galaxy 'nobody'"):
        service.save("test", "x", ["g01", "nobody"], actor="anna", source=SOURCE)
    saved = service.save("test", "x", ["g03", "g01", "g03"], actor="anna", source=SOURCE)
    assert (saved.n, service.get("test", "x")[1]) == (2, ["g03", "g01"])
    monkeypatch.setattr(module, "MAX_SELECTED", 2)
    with pytest.raises(BadInput, match="not 3"):
        service.save("test", "y", ["g01", "g02", "g03"], actor="anna", source=SOURCE)
    with pytest.raises(NotFound, match="no campaign"):
        service.list("none")


def test_what_is_sent_is_taken_or_refused_by_reason() -> None:
    """Requested = accepted + refused, first ones first, within the operator's budget."""
    memory = world().subject("g07", state="retired").subject("g08", state="withdrawn").subject("g09", state="live")
    service = service_of(memory)
    service.save("test", "odd", ["g06", "g07", "g08", "g01", "g02", "g03", "g04"], actor="anna", source=SOURCE)
    assert (service.budget("test").votes, service.budget("test").left) == (60, 60)
    sent = service.send("test", "odd", reason="rings, probably", actor="token:anna")
    assert sent.accepted == ("g01", "g02", "g03")
    assert sent.refused == {MEMBER: 1, HAS_VOTES: 1, "withdrawn": 1, OVER_BUDGET: 1}
    assert (sent.requested, sent.votes, sent.left, service.budget("test").left) == (7, 60, 0, 0)
    assert {r.galaxy_id for r in service.waiting("test")} == {"g01", "g02", "g03"}
    again = service.send("test", "odd", reason="rings, probably", actor="token:anna")
    assert (again.accepted, again.refused[WAITING]) == ((), 3)
    assert service.withdraw("test", "odd", reason="they are not", actor="token:bob") == 3
    assert service.budget("test").left == 60
    service.save("test", "known", ["g09", "g07"], actor="anna", source=SOURCE)
    more = service.send("test", "known", reason="more of them", actor="token:anna", votes=25)
    assert (more.accepted, more.votes) == (("g09", "g07"), 10), "five votes are new of each"


def test_galaxies_that_left_the_catalogue_are_counted() -> None:
    """A selection is frozen, a catalogue grows and changes."""
    memory = world()
    service = service_of(memory)
    service.save("test", "odd", ["g01", "g47"], actor="anna", source=SOURCE)
    memory.catalogue(40)
    sent = service.send("test", "odd", reason="rings", actor="token:anna")
    assert (sent.accepted, sent.refused) == (("g01",), {ABSENT: 1})


def test_what_stopped_early_costs_what_it_lacks() -> None:
    """Asked again for its full number by a person."""
    memory = world().subject("g07", state="retired")
    service = service_of(memory)
    (row,) = memory.ledger.of_campaign(1)
    stop = Stop(
        subject_id=row.id,
        galaxy_id="g07",
        cycle_id=row.cycle_id,
        state=AskingState.STOPPED,
        reason="label",
        votes=8,
        stopped_votes=8,
        mark="",
        model_id=None,
        detail={},
        decided_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    service.stops.save([stop], ())
    service.save("test", "odd", ["g07"], actor="anna", source=SOURCE)
    sent = service.send("test", "odd", reason="is it a ring", actor="token:anna")
    assert (sent.accepted, sent.votes) == (("g07",), 12)


def test_only_votes_that_a_campaign_can_ask_for() -> None:
    """Its own number, a tier, or any where its tallies retire."""
    memory = world()
    panoptes = replace(memory.campaign, zooniverse=ZooniverseTarget())
    tiers = tuple(Tier(votes=votes, subject_set=f"asks {votes}", workflow_id=votes) for votes in (20, 40))
    tiered = replace(memory.campaign, zooniverse=ZooniverseTarget(tiers=tiers))
    service = service_of(memory)
    service.save("test", "odd", ["g01", "g07"], actor="anna", source=SOURCE)
    memory.subject("g07", state="live")
    with pytest.raises(BadInput, match="votes must be 1 to 1000"):
        service.send("test", "odd", reason="r", actor="anna", votes=0)
    with pytest.raises(BadInput, match="a reason of"):
        service.send("test", "odd", reason=" ", actor="anna")
    memory.campaigns.save(panoptes)
    with pytest.raises(BadInput, match="asks 20 votes of every galaxy"):
        service.send("test", "odd", reason="r", actor="anna", votes=40)
    memory.campaigns.save(tiered)
    with pytest.raises(BadInput, match=r"one of the tiers \[20, 40\]"):
        service.send("test", "odd", reason="r", actor="anna", votes=30)
    sent = service.send("test", "odd", reason="r", actor="anna", votes=40)
    assert (sent.accepted, sent.refused) == (("g01",), {NOT_OURS: 1})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """An index of sixty galaxies."""
    return make_index(tmp_path_factory.mktemp("selections"))


def test_a_choice_is_frozen(made: Made, tmp_path: Path) -> None:
    """What it holds now, in its order, with conditions and model; shown later as the index of that day has it."""
    table = Table(made.folder / "galaxies.parquet", TREE)
    opened = SimpleNamespace(table=table, index=made.index)
    memory = world()
    service = service_of(memory, SimpleNamespace(opened=lambda _: opened))
    choice = choice_of(["n_votes:1:1000"], sort="score_nats")
    saved = service.save_choice("test", "voted", choice, actor="token:anna")
    galaxy_ids = service.get("test", "voted")[1]
    assert set(galaxy_ids) == {made.ids[row] for row in made.voted}
    assert galaxy_ids == sorted(galaxy_ids, key=lambda name: -made.scores[made.ids.index(name)])
    assert saved.source == {
        "kind": "choice",
        "where": ["n_votes:1:1000"],
        "sort": "score_nats",
        "descending": True,
        "model_id": 1,
        "catalogue_id": 1,
    }
    with pytest.raises(BadInput, match="not 0"):
        service.save_choice("test", "none", choice_of(["n_votes:900:1000"]), actor="anna")
    _, items = service.shown("test", [galaxy_ids[1], "gone", galaxy_ids[0]], first=0, limit=3)
    assert [(item["galaxy_id"], item.get("n_votes")) for item in items] == [
        (galaxy_ids[1], 3),
        ("gone", None),
        (galaxy_ids[0], 3),
    ]
    rows = list(table.rows_named(["gone", made.ids[9], made.ids[2]], group=10))
    assert [list(part["galaxy_id"]) for part in rows] == [[made.ids[2], made.ids[9]]]
    assert len(table.ids(choice_of([]))) == N


def test_without_an_index_ids_are_shown() -> None:
    """What was found before stays found."""

    def none(_: str) -> None:
        raise NoIndex("campaign test has no index yet")

    service = service_of(world(), SimpleNamespace(opened=none))
    assert service.shown("test", ["a", "b", "c"], first=1, limit=5) == (None, [{"galaxy_id": "b"}, {"galaxy_id": "c"}])
