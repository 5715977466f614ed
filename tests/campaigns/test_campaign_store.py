"""Campaigns and their versions."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from alservice.campaigns.campaign import AcquisitionPolicy, Campaign, ZooniverseTarget
from alservice.errors import BadConfig, DigestMismatch, NotFound
from alservice.science.tree import load_tree
from alservice.storage.postgres import transaction

CAMPAIGN = Campaign(
    name="survey",
    tree="gz2",
    seed=11,
    acquisition=AcquisitionPolicy(beta=0.1 + 0.2, question_weights={"bar": 2.5}),
    zooniverse=ZooniverseTarget(endpoint="https://example.org", project_id=5, workflow_id=6),
)


def test_what_is_saved_comes_back(stores) -> None:
    """Every decision survives the way through the database, to the last bit of a float."""
    saved = stores.campaigns.save(CAMPAIGN)
    assert saved.settings == CAMPAIGN
    assert stores.campaigns.get("survey") == saved
    assert stores.campaigns.get("survey").settings.digest == CAMPAIGN.digest


def test_a_tree_of_its_own_is_kept_whole_with_its_hash(stores, engine: Engine) -> None:
    """No file is needed again; a tree that was changed where it is kept is found out."""
    tree = replace(load_tree("gz2"), name="own")
    saved = stores.campaigns.save(replace(CAMPAIGN, tree=tree))
    assert stores.campaigns.get("survey") == saved
    assert (saved.settings.tree, saved.settings.digest == CAMPAIGN.digest) == (tree, False)
    assert stores.campaigns.save(saved.settings) == saved
    change = "UPDATE campaign_versions SET document = jsonb_set(document, '{tree,questions,0,name}', '\"other\"')"
    with transaction(engine) as connection:
        stored = connection.execute(text("SELECT document->'tree'->>'hash' FROM campaign_versions")).scalar_one()
        connection.execute(text(change))
    assert stored == tree.hash
    with pytest.raises((DigestMismatch, BadConfig), match="campaign survey version 1"):
        stores.campaigns.get("survey")


def test_unchanged_campaign_adds_no_version(stores) -> None:
    """Saving again is harmless; a changed decision is a new version, and old versions stay readable."""
    first = stores.campaigns.save(CAMPAIGN)
    assert stores.campaigns.save(CAMPAIGN) == first
    second = stores.campaigns.save(replace(CAMPAIGN, seed=12))
    assert (second.id, second.version) == (first.id, 2)
    assert stores.campaigns.get("survey") == second
    assert stores.campaigns.get_version(first.id, 1) == CAMPAIGN


def test_decisions_taken_back_are_a_new_version(stores) -> None:
    """Versions tell history: the third says what the first did."""
    stores.campaigns.save(CAMPAIGN)
    stores.campaigns.save(replace(CAMPAIGN, seed=12))
    assert stores.campaigns.save(CAMPAIGN).version == 3


@pytest.mark.parametrize("version", [1, 2])
def test_simultaneous_saves_make_one_version(stores, version: int) -> None:
    """Many that save the same new campaign, or the same change of one, get the same row."""
    for seed in range(version - 1):
        stores.campaigns.save(replace(CAMPAIGN, seed=seed))
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(stores.campaigns.save, [CAMPAIGN] * 32))
    assert {(row.id, row.version) for row in rows} == {(rows[0].id, version)}


def test_list_is_by_name_and_newest_version(stores) -> None:
    """Each campaign is listed once."""
    stores.campaigns.save(replace(CAMPAIGN, name="zebra"))
    stores.campaigns.save(CAMPAIGN)
    stores.campaigns.save(replace(CAMPAIGN, seed=12))
    assert [(row.settings.name, row.version) for row in stores.campaigns.list()] == [("survey", 2), ("zebra", 1)]


def test_absent_campaign_is_named(stores, campaign) -> None:
    """An unknown name or version is not found, by name."""
    with pytest.raises(NotFound, match="'other'"):
        stores.campaigns.get("other")
    with pytest.raises(NotFound, match="version 9"):
        stores.campaigns.get_version(campaign.id, 9)


def test_document_of_another_release_is_refused_by_field(engine: Engine, stores, campaign) -> None:
    """A stored decision that this release does not know is named, never dropped."""
    with transaction(engine) as connection:
        connection.execute(text("UPDATE campaign_versions SET document = document || '{\"telepathy\": 1}'"))
    with pytest.raises(BadConfig, match=r"survey version 1 .* telepathy"):
        stores.campaigns.get("survey")
