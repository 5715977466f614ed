"""A catalogue predicted by workers in a Ray cluster: the very shards of one process, whatever dies, each recorded once."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from alservice.campaigns.campaign import ImagePolicy
from alservice.catalogue.service import pack_name
from alservice.prediction.scope import Scope
from tests.cycle.test_cycle import N_GALAXIES, Loop
from tests.support.ray_nodes import Nodes, make_folder, names, ray_nodes, start_python
from tests.test_engines import wait_until

SECRET = "hunter2-never-logged"


@pytest.fixture
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A head and two nodes of one CPU each."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    with ray_nodes(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_node_dies_and_the_shards_are_those_of_one_process(
    nodes: Nodes, engine: Engine, database_url: str, tmp_path: Path
) -> None:
    """Killed after some shards, the run completes; nothing recorded is made again, and no secret is in Ray's logs."""
    loop = Loop(engine, tmp_path)
    done = loop.run(loop.start())
    factory, champion = loop.factory, loop.factory.models.champion(loop.campaign.id)
    assert champion is not None
    small = replace(loop.campaign.settings, images=ImagePolicy(size_px=16, shard_galaxies=2))
    factory.campaigns.save(small)

    folder = tmp_path / "traces"
    make_folder(folder)
    driver = start_python(
        f"from tests.support.ray_nodes import *; predict_newest(Path({str(folder)!r}), 'test')",
        nodes.mark,
        nodes.address,
        ALSERVICE_DATABASE_URL=make_url(database_url).set(password=SECRET).render_as_string(hide_password=False),
        ALSERVICE_OBJECT_STORE=str(tmp_path / "objects"),
        ALSERVICE_WORKDIR=str(tmp_path),
        ALSERVICE_DEVICE="cpu",
        RAY_TMPDIR=str(nodes.folder),
    )
    wait_until(lambda: names(folder)["recorded"] >= 3 or driver.poll() is not None)
    assert driver.poll() is None, driver.communicate()[0]
    nodes.kill_a_node()
    said, _ = driver.communicate(timeout=200)
    assert driver.returncode == 0, said
    n_shards = len(factory.catalogues.image_shards(done.catalogue_id, pack_name(small.images)))
    assert n_shards == N_GALAXIES // 2
    assert f"predicted ({N_GALAXIES}, 0)" in said
    traces = names(folder)
    assert (traces["recorded"], traces["twice"]) == (n_shards, 0)
    assert n_shards <= traces["started"] <= n_shards + 3, "what the dead node had in hand, if it had begun, and no more"

    elsewhere = factory.models.posterior_shards(champion.id, done.catalogue_id, Scope.CATALOGUE)
    here = list(
        factory.prediction._predicted(small, done.catalogue_id, replace(champion, id=champion.id + 99), Scope.CATALOGUE)
    )
    assert [shard.index for shard in elsewhere] == list(range(n_shards))
    assert sorted(here, key=lambda shard: shard.index) == list(elsewhere), "keys are digests"

    logs = [path.read_bytes() for path in nodes.folder.rglob("*") if path.is_file()]
    assert logs
    assert not any(SECRET.encode() in log for log in logs)
