"""Searches for interesting galaxies on an index: proposed, rated, resumed, shared, and what they find."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alservice.errors import BadInput, NoIndex, NotAllowed, NotFound
from alservice.explore import forests
from alservice.explore.anomalies import BATCH, AnomalyService
from alservice.explore.index import TABLE
from alservice.explore.neighbours import Neighbours
from alservice.explore.ratings import Method
from alservice.explore.service import Opened
from alservice.explore.table import Table
from alservice.testing import MemoryCampaigns, MemoryRatings, memory_campaign
from tests.explore.worlds import Made, make_index
from tests.support.stores import SteppingClock
from tests.support.worlds import TREE


@dataclass
class OneIndex:
    """An index that is open."""

    opened_: Opened

    def opened(self, _name: str) -> Opened:
        """Return it."""
        return self.opened_


@dataclass
class Hands:
    """A service on stores in memory, and what a person may find there."""

    made: Made
    indices: OneIndex
    campaigns: MemoryCampaigns
    store: MemoryRatings
    truth: dict[str, float] = field(default_factory=dict)

    def service(self) -> AnomalyService:
        """Return a service that knows nothing but what the stores do."""
        return AnomalyService(campaigns=self.campaigns, explore=self.indices, store=self.store)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """An index of sixty galaxies."""
    return make_index(tmp_path_factory.mktemp("anomalies"))


@pytest.fixture
def hands(made: Made) -> Hands:
    """Galaxies of which those far out along the first component are interesting."""
    campaigns = MemoryCampaigns()
    campaigns.save(memory_campaign())
    table, neighbours = Table(made.folder / TABLE, TREE), Neighbours(made.folder)
    opened = Opened(index=made.index, folder=made.folder, table=table, neighbours=neighbours, is_current=True)
    along = np.asarray(neighbours.vectors[:, 0], dtype=float)
    interest = np.clip(np.round(2 * along), 0, 5)
    ids = [item["galaxy_id"] for item in table.at(range(len(along)))]
    truth = dict(zip(ids, interest.tolist(), strict=True))
    return Hands(made, OneIndex(opened), campaigns, MemoryRatings(clock=SteppingClock()), truth)


def rate_all(service: AnomalyService, hands: Hands, *, rater: str = "ada", search: str = "odd") -> list[str]:
    """Rate a batch as it should be; return its galaxies."""
    ids = [item["galaxy_id"] for item in service.batch("test", search, rater=rater).items]
    service.rate("test", search, {name: hands.truth[name] for name in ids}, rater=rater)
    return ids


def test_a_search_finds_what_is_rated_high(hands: Hands) -> None:
    """Twenty of sixty rated: the unrated ones at the top are more interesting than the others."""
    service = hands.service()
    service.begin("test", "odd", owner="ada")
    assert service.simulate("test", "odd", hands.truth, rater="ada", n=20) == 20
    found = service.top("test", "odd", rater="ada", n=8, rated=False)
    rated = {line.galaxy_id for line in hands.store.history(1)}
    assert not rated & {item["galaxy_id"] for item in found.items}
    assert (found.n_rated, found.n_mine, found.n_absent) == (20, 20, 0)
    interests = [item["interest"] for item in found.items]
    assert interests == sorted(interests, reverse=True)
    left = [value for name, value in hands.truth.items() if name not in rated]
    assert np.mean([hands.truth[item["galaxy_id"]] for item in found.items]) > np.mean(left) + 0.5
    whole = service.top("test", "odd", n=60)
    assert len(whole.items) == 60
    assert {item["galaxy_id"]: item["rating"] for item in whole.items if item["rating"] is not None} == {
        name: hands.truth[name] for name in rated
    }


def test_a_process_that_dies_in_the_middle_loses_nothing(hands: Hands) -> None:
    """Another one shows what is left of the batch, and then proposes what the first one would have."""
    first = hands.service()
    first.begin("test", "odd", owner="ada")
    ids = [item["galaxy_id"] for item in first.batch("test", "odd", rater="ada").items]
    assert len(ids) == BATCH
    first.rate("test", "odd", {name: hands.truth[name] for name in ids[:4]}, rater="ada")
    second = hands.service()
    left = second.batch("test", "odd", rater="ada")
    assert [item["galaxy_id"] for item in left.items] == ids[4:]
    assert (left.n_rated, left.n_mine) == (4, 4)
    rate_all(second, hands)
    by_second = [item["galaxy_id"] for item in second.batch("test", "odd", rater="ada").items]
    hands.store._reserved.clear()
    assert [item["galaxy_id"] for item in hands.service().batch("test", "odd", rater="ada").items] == by_second
    assert not set(by_second) & set(ids)


def test_two_people_of_a_shared_search_are_shown_different_galaxies(hands: Hands) -> None:
    """From the first batch to the last, and every galaxy once."""
    ada, eva = hands.service(), hands.service()
    ada.begin("test", "odd", owner="ada", is_shared=True)
    seen: list[str] = []
    for _ in range(3):
        hers = [item["galaxy_id"] for item in ada.batch("test", "odd", rater="ada").items]
        seen += rate_all(eva, hands, rater="eva") + rate_all(ada, hands)
        assert seen[-BATCH:] == hers
    assert len(seen) == len(set(seen)) == 60
    assert ada.batch("test", "odd", rater="ada").items == ()
    assert ada.top("test", "odd", rater="ada", n=5, rated=False).items == ()
    assert ada.top("test", "odd", rater="ada", n=5).n_mine == 30


def test_an_own_search_is_rated_by_its_owner(hands: Hands) -> None:
    """Others may look at what it found."""
    service = hands.service()
    service.begin("test", "odd", owner="ada")
    ids = rate_all(service, hands)
    for act in (
        lambda: service.batch("test", "odd", rater="eva"),
        lambda: service.rate("test", "odd", {ids[0]: 1}, rater="eva"),
        lambda: service.undo("test", "odd", rater="eva"),
    ):
        with pytest.raises(NotAllowed, match="ada's own"):
            act()
    assert service.top("test", "odd", rater="eva", n=3).n_mine == 0
    assert [search.name for search in service.list("test")] == ["odd"]


def test_undo_brings_the_last_galaxy_back(hands: Hands) -> None:
    """Before what is left of the batch; a second time the one before, and nothing where nothing was rated."""
    service = hands.service()
    service.begin("test", "odd", owner="ada")
    assert service.undo("test", "odd", rater="ada") is None
    ids = [item["galaxy_id"] for item in service.batch("test", "odd", rater="ada").items]
    service.rate("test", "odd", {ids[0]: 5}, rater="ada")
    service.rate("test", "odd", {ids[1]: 5}, rater="ada")
    assert service.undo("test", "odd", rater="ada") == ids[1]
    assert service.undo("test", "odd", rater="ada") == ids[0]
    found = service.batch("test", "odd", rater="ada")
    assert found.n_rated == 0
    assert {item["galaxy_id"] for item in found.items} == set(ids)
    assert len(hands.store.history(1)) == 4, "what was said stays in the record"


def test_forests_rate_the_rarest_first(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    """The baseline: rarity alone at first, then interest beside it; the same for the same seed."""
    monkeypatch.setattr(forests, "_TREES", 8)
    service = hands.service()
    service.begin("test", "odd", owner="ada", method=Method.FORESTS)
    first = rate_all(service, hands)
    vectors = np.asarray(hands.indices.opened_.neighbours.vectors, dtype=float)  # type: ignore[union-attr]
    lengths = np.linalg.norm(vectors, axis=1)
    places = hands.indices.opened_.table.place_of(first)
    assert lengths[places].mean() > np.median(lengths)
    second = [item["galaxy_id"] for item in service.batch("test", "odd", rater="ada").items]
    hands.store._reserved.clear()
    assert [item["galaxy_id"] for item in hands.service().batch("test", "odd", rater="ada").items] == second
    assert not set(first) & set(second)


def test_the_table_has_the_most_interesting_and_no_formula(hands: Hands) -> None:
    """One line each, with the rating where there is one."""
    service = hands.service()
    service.begin("test", "odd", owner="ada")
    assert list(service.lines("test", "odd")) == ["galaxy_id,ra_deg,dec_deg,interest,rating\n"]
    rate_all(service, hands)
    lines = list(service.lines("test", "odd", n=12))
    assert len(lines) == 13
    assert all(line.count(",") == 4 for line in lines)


def test_ratings_of_galaxies_that_are_gone_are_told_and_left_out(hands: Hands, made: Made, tmp_path: Path) -> None:
    """A new index without them learns from the others."""
    service = hands.service()
    service.begin("test", "odd", owner="ada")
    hands.store.rate(1, {"gone": 5.0}, rater="ada")
    found = service.top("test", "odd", n=3)
    assert (found.n_rated, found.n_absent, found.items) == (1, 1, ())
    rate_all(service, hands)
    assert service.top("test", "odd", n=3).n_absent == 1


@pytest.mark.parametrize(
    ("ratings", "error", "says"),
    [
        ({"g0001": "=1+1"}, BadInput, "galaxy g0001: a rating is a number"),
        ({"g0001": 6}, BadInput, "from 0 to 5"),
        ({"nobody": 3}, NotFound, "no galaxy 'nobody'"),
        ({f"g{i}": 1 for i in range(1000)}, BadInput, "1 to 100 ratings"),
        ({}, BadInput, "1 to 100 ratings"),
    ],
)
def test_what_is_wrong_is_refused_whole(
    hands: Hands, ratings: dict[str, Any], error: type[Exception], says: str
) -> None:
    """Nothing of it is kept."""
    service = hands.service()
    service.begin("test", "odd", owner="ada")
    with pytest.raises(error, match=says):
        service.rate("test", "odd", {"g0002": 1} | ratings if ratings and len(ratings) == 1 else ratings, rater="ada")
    assert hands.store.history(1) == []
    with pytest.raises(BadInput, match="may be listed"):
        service.top("test", "odd", n=1001)
    with pytest.raises(NotFound, match="no search"):
        service.batch("test", "none", rater="ada")
    with pytest.raises(NotFound, match="nothing is known"):
        service.simulate("test", "odd", {}, rater="ada", n=10)


def test_a_model_without_embeddings_says_so(hands: Hands) -> None:
    """Nothing can be learned there."""
    opened = hands.indices.opened_
    service = hands.service()
    service.begin("test", "odd", owner="ada")
    hands.indices.opened_ = Opened(
        index=opened.index, folder=opened.folder, table=opened.table, neighbours=None, is_current=True
    )
    with pytest.raises(NoIndex, match="no embeddings"):
        service.batch("test", "odd", rater="ada")
