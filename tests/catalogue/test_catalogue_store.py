"""Catalogues, in Postgres and in memory: immutable, complete, in order."""

from dataclasses import dataclass, replace

import pytest
from sqlalchemy import Engine, text

from alservice.catalogue.galaxies import CatalogueFault, Shard
from alservice.catalogue.store import CatalogueStore
from alservice.errors import Conflict, NotFound
from alservice.storage import postgres as rows
from alservice.storage.postgres import transaction
from alservice.testing import MemoryCatalogues
from tests.support.stores import make_galaxy

FAULTS = [
    CatalogueFault(row=3, galaxy_id="broken", field="image", reason="not an image"),
    CatalogueFault(row=1, galaxy_id=None, field="ra", reason="'x' is not a number"),
]


@dataclass
class Kept:
    """A store of catalogues, and the campaign that it may keep some of."""

    catalogues: CatalogueStore | MemoryCatalogues
    campaign_id: int


@pytest.fixture(params=["postgres", "memory"])
def kept(request: pytest.FixtureRequest) -> Kept:
    """An empty store of each kind."""
    if request.param == "memory":
        return Kept(MemoryCatalogues(), 1)
    return Kept(request.getfixturevalue("stores").catalogues, request.getfixturevalue("campaign").id)


def save(kept, galaxies, *, digest="e" * 64, faults=()):
    """Save a catalogue with everything else fixed."""
    return kept.catalogues.save(
        kept.campaign_id, source="file.csv", digest=digest, votes_key="votes/k", galaxies=galaxies, faults=faults
    )


def test_what_is_saved_comes_back(kept) -> None:
    """Galaxies come back in catalogue order, faults by row, and requested = done + failed."""
    galaxies = [replace(make_galaxy(row), ra_deg=None if row == 2 else 0.1 + 0.2 * row) for row in range(5)]
    saved = save(kept, galaxies, faults=FAULTS)
    assert (saved.n_galaxies, saved.n_failed, saved.n_requested) == (5, 2, 7)
    assert kept.catalogues.get(saved.id) == saved
    assert kept.catalogues.galaxies(saved.id) == galaxies
    assert kept.catalogues.faults(saved.id) == sorted(FAULTS, key=lambda f: f.row)


def test_a_roll_has_ids_and_streams_of_a_run(kept) -> None:
    """In catalogue order from a row on, and none after the last."""
    galaxies = [replace(make_galaxy(row), unbiased=row > 1, evaluation=row == 3) for row in range(5)]
    saved = save(kept, galaxies)
    roll = kept.catalogues.roll(saved.id, first_row=1, limit=3)
    assert list(roll.galaxy_ids) == [galaxy.galaxy_id for galaxy in galaxies[1:4]]
    assert (roll.unbiased.tolist(), roll.members.tolist()) == ([False, True, True], [False, False, True])
    assert len(kept.catalogues.roll(saved.id, first_row=5, limit=3).galaxy_ids) == 0


def test_same_digest_is_the_same_catalogue(kept) -> None:
    """An import that runs twice leaves one catalogue with one set of galaxies."""
    first = save(kept, [make_galaxy(0)], faults=FAULTS)
    assert save(kept, [make_galaxy(0)], faults=FAULTS) == first
    assert len(kept.catalogues.galaxies(first.id)) == 1
    assert len(kept.catalogues.faults(first.id)) == 2


def test_newest_is_the_last_saved(kept) -> None:
    """A campaign without a catalogue has none; then the newest counts."""
    assert kept.catalogues.newest(kept.campaign_id) is None
    save(kept, [make_galaxy(0)])
    second = save(kept, [make_galaxy(0), make_galaxy(1)], digest="f" * 64)
    assert kept.catalogues.newest(kept.campaign_id) == second


def test_pages_join_to_the_whole(kept) -> None:
    """Reading page by page gives what one reading gives."""
    saved = save(kept, [make_galaxy(row) for row in range(10)])
    pages = [kept.catalogues.galaxies(saved.id, first_row=row, limit=3) for row in range(0, 12, 3)]
    assert [g for page in pages for g in page] == kept.catalogues.galaxies(saved.id)


def test_named_galaxies_come_in_order_of_id(stores, catalogue) -> None:
    """The order asked in does not matter; the first absent name is told."""
    assert [g.row for g in stores.catalogues.by_id(catalogue.id, ["g7", "g2", "g7"])] == [2, 7]
    assert stores.catalogues.by_id(catalogue.id, []) == []
    with pytest.raises(NotFound, match="'nope'"):
        stores.catalogues.by_id(catalogue.id, ["g1", "nope", "never"])


def test_ids_are_ordered_as_python_orders_them(stores, campaign) -> None:
    """Upper case before lower case and accents last, whatever language the server speaks."""
    ids = ["b", "B", "é", "a", "Z", "10", "9"]
    galaxies = [replace(make_galaxy(row), galaxy_id=i) for row, i in enumerate(ids)]
    saved = save(Kept(stores.catalogues, campaign.id), galaxies)
    with transaction(stores.catalogues._engine) as connection:
        ordered = connection.scalars(
            text("SELECT galaxy_id FROM galaxies WHERE catalogue_id = :id ORDER BY galaxy_id"), {"id": saved.id}
        ).all()
    assert ordered == sorted(ids)


def test_shards_are_listed_once(stores, catalogue) -> None:
    """Of two executors that made the same shard the first is kept; packings do not mix."""
    shards = [Shard(index=i, key=f"packs/{i}", n_galaxies=5, n_failed=0) for i in (1, 0)]
    for shard in (*shards, replace(shards[0], key="packs/other")):
        stores.catalogues.save_image_shard(catalogue.id, "64x1", shard)
    assert stores.catalogues.image_shards(catalogue.id, "64x1") == shards[::-1]
    assert stores.catalogues.image_shards(catalogue.id, "128x3") == []


def test_a_galaxy_that_breaks_a_rule_stores_nothing(engine: Engine, stores, campaign) -> None:
    """A repeated id late in a catalogue takes the whole catalogue back."""
    with pytest.raises(Conflict):
        save(
            Kept(stores.catalogues, campaign.id),
            [*(make_galaxy(row) for row in range(3)), replace(make_galaxy(3), galaxy_id="g0")],
        )
    assert stores.catalogues.newest(campaign.id) is None


@pytest.mark.parametrize(
    "broken",
    [
        {"dec_deg": 90.1},
        {"ra_deg": -0.1},
        {"unbiased": False, "evaluation": True},
    ],
)
def test_impossible_galaxies_are_refused(stores, campaign, broken: dict) -> None:
    """Positions lie on the sky; the evaluation stream lies in the unbiased part."""
    with pytest.raises(Conflict, match="ck_galaxies"):
        save(Kept(stores.catalogues, campaign.id), [replace(make_galaxy(1), **broken)])


def test_many_galaxies_in_several_statements(stores, campaign, monkeypatch) -> None:
    """A catalogue larger than one statement is whole."""
    monkeypatch.setattr(rows, "CHUNK_ROWS", 7)
    galaxies = [make_galaxy(row) for row in range(23)]
    assert stores.catalogues.galaxies(save(Kept(stores.catalogues, campaign.id), galaxies).id) == galaxies


def test_a_hundred_thousand_galaxies(stores, campaign) -> None:
    """A survey's catalogue is saved and read in seconds; many are found by name."""
    galaxies = [make_galaxy(row) for row in range(100_000)]
    saved = save(Kept(stores.catalogues, campaign.id), galaxies)
    found = stores.catalogues.by_id(saved.id, [g.galaxy_id for g in galaxies[::-2]])
    assert found == sorted(galaxies[1::2], key=lambda galaxy: galaxy.galaxy_id)
