"""A rehearsal's campaign and catalogue from whatever table a team has, and the options that say how it is read."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import pytest
from pydantic import ValidationError

from alservice.catalogue.files import ReadAs
from alservice.catalogue.galaxies import CatalogueRow
from alservice.errors import BadInput, BadVotes, NotFound
from alservice.rehearsal.run import prepare_rehearsal
from alservice.science.stopping import RuleName
from alservice.settings import Settings
from alservice.testing import synthetic_galaxies


class Kept:
    """What a rehearsal asked the stages to keep."""

    def __init__(self, folder: Path) -> None:
        self.rows: list[Any] = []
        self.source = ""
        self.campaign: Any = None
        self.settings = Settings(workdir=folder)
        self.campaigns = SimpleNamespace(get=self._unknown, save=self._save)
        self.catalogues = SimpleNamespace(newest=lambda _id: None)
        self.catalogue = SimpleNamespace(import_rows=self._import)

    @staticmethod
    def _unknown(name: str) -> None:
        raise NotFound(name)

    def _save(self, campaign: Any) -> SimpleNamespace:
        self.campaign = campaign
        return SimpleNamespace(id=1)

    def _import(self, _row: Any, rows: Any, *, source: str, total: int) -> None:
        self.rows, self.source = list(rows), source
        assert total == len(self.rows)


def test_a_table_of_other_names_and_a_folder_of_images_rehearse(tmp_path: Path) -> None:
    """Ids, images and the kind of votes as the options say; all of it decides whether a folder goes on."""
    galaxies = synthetic_galaxies(24, seed=1)
    images = tmp_path / "cutouts"
    images.mkdir()
    for name, data in zip(galaxies["galaxy_id"], galaxies["image"], strict=True):
        (images / f"{name}.jpg").write_bytes(data)
    table = tmp_path / "team.parquet"
    galaxies.drop(columns="image").rename(columns={"galaxy_id": "objname"}).to_parquet(table)
    kept = Kept(tmp_path)
    prepare_rehearsal(
        cast("Any", kept),
        data=table,
        galaxies=None,
        seed=0,
        images=images,
        read_as=ReadAs(columns={"id": "objname"}, votes="counts"),
    )
    assert [row.galaxy_id for row in kept.rows] == list(galaxies["galaxy_id"])
    assert all(isinstance(row, CatalogueRow) for row in kept.rows)
    assert kept.source.startswith("team.parquet (sha256 ")
    assert "objname" in kept.source
    assert "24 galaxies" in kept.source


def test_a_table_without_votes_is_refused_at_once(tmp_path: Path) -> None:
    """Not row by row, once the campaign is made: there is nothing that volunteers could replay."""
    table = tmp_path / "team.parquet"
    synthetic_galaxies(24, seed=1)[["galaxy_id", "image"]].to_parquet(table)
    kept = Kept(tmp_path)
    with pytest.raises((BadVotes, BadInput), match=r"team\.parquet.*votes"):
        prepare_rehearsal(cast("Any", kept), data=table, galaxies=None, seed=0)
    assert kept.campaign is None


def test_command_and_deployment_know_every_rule() -> None:
    """A rule that the command takes is one that the flow takes: `gain` was refused by the flow alone."""
    from alservice.cli.campaigns import RuleName as OfCommand
    from flows.rehearse import RehearsalParameters

    assert set(get_args(OfCommand)) == set(get_args(RuleName))
    for rule in get_args(RuleName):
        assert RehearsalParameters(stopping=rule).stopping == rule
    with pytest.raises(ValidationError):
        RehearsalParameters(stopping="never")  # type: ignore[arg-type]
