"""Where a campaign's Zooniverse is: what its endpoint says and the installation allows, never what lies around."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from alservice.app import App
from alservice.campaigns.campaign import ZooniverseTarget
from alservice.errors import ZooniverseUnavailable
from alservice.settings import Settings
from alservice.subjects.site import EndpointNotAllowed
from alservice.zooniverse.endpoint import RealSiteRefused
from tests.support.worlds import make_campaign, make_factory

ELSEWHERE = make_campaign(zooniverse=ZooniverseTarget(endpoint="https://panoptes.example.org"))


def allowing(engine: Engine, folder: Path, endpoint: str | None) -> App:
    """Return a factory of an installation that allows an endpoint."""
    settings = Settings(
        workdir=folder, zooniverse_endpoint=endpoint, zooniverse_username="me", zooniverse_password=SecretStr("mine")
    )
    return replace(make_factory(engine, folder), settings=settings)


@pytest.mark.parametrize("setting", [None, "https://panoptes.example.com", "https://panoptes.example.org.evil"])
def test_another_server_is_refused_before_it_is_kept_or_asked(
    engine: Engine, tmp_path: Path, setting: str | None
) -> None:
    """A line of a campaign file alone sends nobody's login anywhere; a campaign from before the rule is held too."""
    factory = allowing(engine, tmp_path, setting)
    with pytest.raises(EndpointNotAllowed, match=r"https://panoptes\.example\.org"):
        factory.sites.save(ELSEWHERE)
    assert not factory.campaigns.list()
    factory.campaigns.save(ELSEWHERE)
    with pytest.raises(EndpointNotAllowed, match=r"https://panoptes\.example\.org"):
        factory.sites.zooniverse(ELSEWHERE)


def test_a_server_that_a_setting_names_is_allowed(engine: Engine, tmp_path: Path) -> None:
    """That one, and the sites that need no permission."""
    factory = allowing(engine, tmp_path, "https://panoptes.example.org")
    assert factory.sites.save(ELSEWHERE).settings == ELSEWHERE
    for endpoint in ("https://panoptes.example.org", "https://www.zooniverse.org", "http://127.0.0.1:9"):
        factory.sites.zooniverse(make_campaign(zooniverse=ZooniverseTarget(endpoint=endpoint)))


def test_the_stand_in_is_found_from_every_thread_and_factory(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the work folder says; the environment names another server all the while."""
    monkeypatch.setenv("PANOPTES_ENDPOINT", "http://127.0.0.1:9")
    factory, other = make_factory(engine, tmp_path), make_factory(engine, tmp_path)
    with factory.sites.local.opened() as endpoint, other.sites.local.opened() as again:
        assert again == endpoint
        said: list[str] = []
        threads = [
            threading.Thread(target=lambda f=f: said.append(f.sites.zooniverse(make_campaign()).account().login))
            for f in (factory, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert said == ["surveyor", "surveyor"]


def test_a_stand_in_that_is_gone_is_not_asked(engine: Engine, tmp_path: Path) -> None:
    """Its address may be somebody else's by now; the kind: trust in a file that outlives who wrote it."""
    factory = make_factory(engine, tmp_path)
    with pytest.raises(ZooniverseUnavailable, match="is not running"):
        factory.sites.zooniverse(make_campaign())
    with factory.sites.local.opened():
        pass
    assert (tmp_path / "standin" / "endpoint").exists()
    with pytest.raises(ZooniverseUnavailable, match="is not running"):
        factory.sites.zooniverse(make_campaign())


def test_an_address_that_somebody_put_there_is_not_followed(engine: Engine, tmp_path: Path) -> None:
    """A rehearsal's login stays on this machine, whatever the file says."""
    factory = make_factory(engine, tmp_path)
    with factory.sites.local.opened():
        (tmp_path / "standin" / "endpoint").write_text("https://www.zooniverse.org")
        with pytest.raises(RealSiteRefused):
            factory.sites.local.connection()
