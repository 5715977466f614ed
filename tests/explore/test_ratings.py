"""Searches, ratings and reservations: the same rules in Postgres and in memory."""

from datetime import timedelta

import pytest

from alservice.errors import BadInput, Conflict, NotFound
from alservice.explore import ratings
from alservice.explore.rating_store import SqlRatingStore
from alservice.explore.ratings import (
    MAX_AT_ONCE,
    RESERVED_FOR,
    Method,
    Rating,
    Search,
    check_name,
    check_rating,
    check_ratings,
    mean_ratings,
)
from alservice.testing import MemoryRatings
from tests.support.stores import SteppingClock

GP = Method.GAUSSIAN_PROCESS


@pytest.fixture(params=["postgres", "memory"])
def clock(request: pytest.FixtureRequest) -> SteppingClock:
    """The clock of the store."""
    return SteppingClock() if request.param == "memory" else request.getfixturevalue("stores").clock


@pytest.fixture
def store(request: pytest.FixtureRequest, clock: SteppingClock):
    """A store of each kind without searches."""
    if "memory" in request.node.callspec.params.values():
        return MemoryRatings(clock=clock)
    return SqlRatingStore(request.getfixturevalue("engine"), clock)


@pytest.fixture
def campaign_id(request: pytest.FixtureRequest, store) -> int:
    """A campaign that may have searches."""
    return 1 if isinstance(store, MemoryRatings) else request.getfixturevalue("campaign").id


@pytest.fixture
def search(store, campaign_id: int) -> Search:
    """A shared search of ada's."""
    return store.create(campaign_id, "odd", owner="ada", is_shared=True, method=GP, seed=7)


def test_a_search_is_begun_once(store, campaign_id: int, search: Search) -> None:
    """The same again is the same; another under its name is refused; the newest is listed first."""
    same = store.create(campaign_id, "odd", owner="ada", is_shared=True, method=GP, seed=8)
    assert same == search == store.get(campaign_id, "odd")
    assert (search.seed, search.owner) == (7, "ada")
    for owner, is_shared, method in (("eva", True, GP), ("ada", False, GP), ("ada", True, Method.FORESTS)):
        with pytest.raises(Conflict, match="choose another name"):
            store.create(campaign_id, "odd", owner=owner, is_shared=is_shared, method=method, seed=7)
    store.create(campaign_id, "rings", owner="eva", is_shared=False, method=Method.FORESTS, seed=1)
    assert [each.name for each in store.list(campaign_id)] == ["rings", "odd"]
    assert store.list(campaign_id + 1) == []
    with pytest.raises(NotFound, match="no search 'none'"):
        store.get(campaign_id, "none")


def test_a_search_leaves_a_line_in_the_audit(request: pytest.FixtureRequest, store, search: Search) -> None:
    """Who began what, once."""
    if isinstance(store, MemoryRatings):
        events = store.events
    else:
        events = list(request.getfixturevalue("stores").events.list(search.campaign_id, limit=9))
    (event,) = [event for event in events if event.kind == "anomalies.search_created"]
    assert (event.actor, event.detail["name"], event.detail["method"]) == ("ada", "odd", "gaussian-process")


def test_every_rating_stays_and_the_newest_counts(store, search: Search) -> None:
    """Of each person and galaxy; one that was taken back counts for nothing."""
    store.rate(search.id, {"g1": 5.0, "g2": 0.0}, rater="ada")
    store.rate(search.id, {"g1": 2.0}, rater="eva")
    store.rate(search.id, {"g1": 4.0, "g3": 1.0}, rater="ada")
    store.rate(search.id, {"g2": None}, rater="ada")
    history = store.history(search.id)
    assert [(line.galaxy_id, line.rater, line.rating) for line in history] == [
        ("g1", "ada", 5.0),
        ("g2", "ada", 0.0),
        ("g1", "eva", 2.0),
        ("g1", "ada", 4.0),
        ("g3", "ada", 1.0),
        ("g2", "ada", None),
    ]
    assert mean_ratings(history) == {"g1": 3.0, "g3": 1.0}
    assert store.history(search.id + 1) == []


def test_a_galaxy_is_reserved_for_one_person_for_a_while(store, search: Search, clock: SteppingClock) -> None:
    """First come first; rated ones are free again, and so are those whose time is over."""
    assert store.reserve(search.id, ["g1", "g2", "g3"], rater="ada") == ["g1", "g2", "g3"]
    assert store.reserve(search.id, ["g3", "g4"], rater="eva") == ["g4"]
    assert store.reserve(search.id, ["g2"], rater="ada") == ["g2"]
    assert list(store.reserved(search.id).items()) == [("g1", "ada"), ("g2", "ada"), ("g3", "ada"), ("g4", "eva")]
    store.rate(search.id, {"g2": 3.0}, rater="ada")
    assert list(store.reserved(search.id)) == ["g1", "g3", "g4"]
    assert store.reserve(search.id, [], rater="eva") == []
    clock.now += RESERVED_FOR + timedelta(minutes=1)
    assert store.reserved(search.id) == {}
    assert store.reserve(search.id, ["g1"], rater="eva") == ["g1"]
    assert store.reserved(search.id) == {"g1": "eva"}


def test_a_search_has_an_end(store, search: Search, campaign_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In galaxies, in lines, and a campaign in searches; what is refused leaves nothing."""
    monkeypatch.setattr(ratings, "MAX_RATED", 2)
    store.rate(search.id, {"g1": 1.0, "g2": 2.0}, rater="ada")
    store.rate(search.id, {"g1": 5.0}, rater="eva")
    with pytest.raises(BadInput, match="begin another one"):
        store.rate(search.id, {"g2": 4.0, "g3": 3.0}, rater="ada")
    monkeypatch.setattr(ratings, "MAX_LINES", 3)
    with pytest.raises(BadInput, match="begin another one"):
        store.rate(search.id, {"g1": 5.0}, rater="ada")
    assert len(store.history(search.id)) == 3
    monkeypatch.setattr(ratings, "MAX_SEARCHES", 1)
    with pytest.raises(BadInput, match="as many as a campaign keeps"):
        store.create(campaign_id, "more", owner="ada", is_shared=True, method=GP, seed=7)


@pytest.mark.parametrize("value", ["=1+1", "", "nan", "inf", "5.1", -0.1, None, True, [3], {"a": 1}, "5;DROP TABLE"])
def test_what_is_no_rating_names_its_galaxy(value: object) -> None:
    """A formula, a flag, nothing, or a number out of range."""
    with pytest.raises(BadInput, match="galaxy g7: a rating is a number from 0 to 5"):
        check_rating("g7", value)


def test_ratings_come_in_hundreds_at_most() -> None:
    """And in ones at least; ids are ids."""
    assert check_ratings({"a": "4", "b": 0, "c": 2.5}) == {"a": 4.0, "b": 0.0, "c": 2.5}
    for bad in ({}, {f"g{i}": 1 for i in range(MAX_AT_ONCE + 1)}, {" ": 1}, {"a" * 1000: 1}):
        with pytest.raises(BadInput):
            check_ratings(bad)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "a" * 81, "é", "a\n", "=1+1"])
def test_names_stand_in_addresses(name: str) -> None:
    """No blanks, slashes or formulas."""
    with pytest.raises(BadInput, match="a search is named by"):
        check_name(name)


def test_the_mean_is_over_people() -> None:
    """In the order in which galaxies were first rated, whoever did."""

    def line(number: int, galaxy_id: str, rater: str, rating: float | None) -> Rating:
        return Rating(id=number, galaxy_id=galaxy_id, rater=rater, rating=rating, at=SteppingClock()())

    given = [line(1, "b", "x", 1.0), line(2, "a", "x", 5.0), line(3, "a", "y", 2.0), line(4, "b", "y", 3.0)]
    assert list(mean_ratings(given).items()) == [("b", 2.0), ("a", 3.5)]
