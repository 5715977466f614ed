"""A campaign's predictions: what is left to do, and whose embeddings serve."""

import dataclasses
from pathlib import Path

import pytest
from sqlalchemy import Engine

from alservice.errors import BadConfig
from alservice.network.config import resolve_devices
from alservice.prediction.shard import ShardPredictor
from tests.cycle.test_cycle import Loop


def test_a_model_with_the_trunk_of_the_champion_needs_no_image(engine: Engine, tmp_path: Path) -> None:
    """Its tasks name the champion's predictions; finished shards are no tasks, and another trunk looks at images."""
    loop = Loop(engine, tmp_path)
    done = loop.run(loop.start())
    prediction, campaign = loop.factory.prediction, loop.campaign.settings
    prediction.newest("test")
    champion = loop.factory.models.champion(loop.campaign.id)
    assert champion is not None
    trunk = ShardPredictor.load(loop.factory.objects, champion, campaign, "cpu").recipe.trunk
    shards = loop.factory.models.posterior_shards(champion.id, done.catalogue_id, "catalogue")
    assert len(shards) > 1
    assert list(prediction.tasks(campaign, done.catalogue_id, champion, trunk=trunk)) == []
    other = dataclasses.replace(champion, id=champion.id + 1)
    tasks = list(prediction.tasks(campaign, done.catalogue_id, other, trunk=trunk))
    assert [task.source for task in tasks] == [shard.key for shard in shards]
    assert [len(task.wanted) for task in tasks] == [shard.n_galaxies for shard in shards]
    for task in prediction.tasks(campaign, done.catalogue_id, other, trunk="of another"):
        assert task.source is None


def test_devices_are_a_list() -> None:
    """Names between commas, the same one twice for two workers; one that is not there is refused."""
    assert resolve_devices("cpu") == ("cpu",)
    assert resolve_devices("cpu, cpu") == ("cpu", "cpu")
    with pytest.raises(BadConfig, match="nonsense"):
        resolve_devices("cpu,nonsense")
