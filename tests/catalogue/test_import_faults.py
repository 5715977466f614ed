"""Imports and packs on an S3 server that fails at random: nothing lost, nothing half visible."""

from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from sqlalchemy import Engine

from alservice.app import App
from alservice.campaigns.campaign import ImagePolicy
from alservice.errors import AlserviceError
from alservice.ids import digest_of_bytes, digest_of_key
from alservice.storage.s3 import S3Objects
from alservice.testing import MemoryObjects
from tests.catalogue.test_growing_catalogues import write_file
from tests.support.s3 import S3Server
from tests.support.s3_weather import Weather, stormy_road
from tests.support.worlds import make_campaign, make_factory

POLICY = ImagePolicy(size_px=16, shard_galaxies=4)
NAMES = [f"galaxy-{chr(97 + i)}" for i in range(14)]


def imported(app: App, name: str, path: Path) -> tuple[list[str], list[str]]:
    """Import a file for a campaign of a name and pack it; return the keys of its images and of its packs."""
    if name not in {row.settings.name for row in app.campaigns.list()}:
        app.campaigns.save(make_campaign(name=name, images=POLICY))
    catalogue = app.catalogue.import_file(name, path).catalogue
    assert (catalogue.n_galaxies, catalogue.n_failed) == (len(NAMES), 0)
    packs = app.catalogue.pack(catalogue, POLICY)
    return [g.image_key for g in app.catalogues.galaxies(catalogue.id)], [shard.key for shard in packs]


@pytest.mark.usefixtures("credentials")
def test_an_import_on_a_store_that_fails_at_random(moto: S3Server, engine: Engine, tmp_path: Path) -> None:
    """Started again until it is done, it has the objects of a calm one; what SQL lists is whole at every moment."""
    path, weather = write_file(tmp_path, NAMES), Weather(seed=5)
    made = make_factory(engine, tmp_path)
    expected = imported(replace(made, objects=MemoryObjects()), "calm", path)
    boto3.client("s3", endpoint_url=moto.endpoint_url).create_bucket(Bucket="imports")
    calm = S3Objects("imports", endpoint_url=moto.endpoint_url)
    codes = set()
    with stormy_road(moto.endpoint_url, weather) as endpoint:
        app = replace(made, objects=S3Objects("imports", endpoint_url=endpoint, read_timeout_s=5, max_attempts=1))
        weather.share = 0.05
        for _ in range(300):
            try:
                found = imported(app, "stormy", path)
                break
            except AlserviceError as error:
                codes.add(error.code)
                newest = app.catalogues.newest(app.campaigns.get("stormy").id)
                for galaxy in () if newest is None else app.catalogues.galaxies(newest.id):
                    assert digest_of_bytes(calm.get(galaxy.image_key)) == digest_of_key(galaxy.image_key)
        else:
            pytest.fail("three hundred starts were not enough")
    assert found == expected
    assert all(calm.get(key) for keys in found for key in keys)
    assert codes
    assert sum(weather.struck.values()) > 3
