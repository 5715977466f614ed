"""A release of a real campaign: every format says the same, whole or not at all, the same bytes twice."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv as pc
import pytest
from pyarrow import parquet
from sqlalchemy import Engine, select, update

from alservice.catalogue import schema
from alservice.errors import BadConfig, BadInput, Conflict, NotFound
from alservice.prediction.scope import Scope
from alservice.release import FORMATS, folder, formats, release_columns
from alservice.science.fusion import fit_temper, fraction_moments
from alservice.science.posterior import concat
from alservice.science.posterior import update as fuse
from alservice.science.votes import conditional_fractions, totals
from alservice.storage.postgres import make_engine, transaction
from tests.cycle.test_cycle import Loop
from tests.support.postgres import scratch_database
from tests.support.shared import ROOT
from tests.support.worlds import TREE


@pytest.fixture(scope="module")
def loop(postgres_url: str, postgres_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """A campaign of forty galaxies with a champion, votes on ten, and at first no prediction of the catalogue."""
    for url in scratch_database(postgres_url, postgres_template):
        engine = make_engine(url)
        loop = Loop(engine, tmp_path_factory.mktemp("campaign"))
        loop.run(loop.start())
        yield loop
        engine.dispose()


@contextmanager
def without_positions(loop: Loop, *galaxy_ids: str) -> Iterator[None]:
    """Take positions away, of all galaxies where none is named."""
    table, engine = schema.galaxies, loop.factory.engine
    with transaction(engine) as connection:
        before = connection.execute(select(table.c.galaxy_id, table.c.ra_deg)).all()
        taken = update(table).values(ra_deg=None)
        connection.execute(taken.where(table.c.galaxy_id.in_(galaxy_ids)) if galaxy_ids else taken)
    yield
    with transaction(engine) as connection:
        for name, ra in before:
            connection.execute(update(table).where(table.c.galaxy_id == name).values(ra_deg=ra))


def digests(of: Path) -> dict[str, str]:
    """Return the digest of every file."""
    return {
        str(path.relative_to(of)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(of.rglob("*"))
        if path.is_file()
    }


def test_the_rows_are_what_model_and_volunteers_said(loop: Loop, tmp_path: Path) -> None:
    """Means and votes are those of the stores, fused columns those of the exact update with the fitted tempers."""
    app, row = loop.factory, loop.campaign
    release = app.releases.release("test", tmp_path / "out", "parquet")
    assert (release.n_galaxies, release.n_predicted) == (40, 40)
    table = parquet.read_table(tmp_path / "out" / "catalogue.parquet").to_pydict()
    ids = table["galaxy_id"]
    champion, catalogue = app.models.champion(row.id), app.catalogues.newest(row.id)
    assert champion is not None
    assert catalogue is not None
    galaxies = app.catalogues.galaxies(catalogue.id)
    assert [(g.galaxy_id, g.ra_deg, g.dec_deg, g.evaluation) for g in galaxies] == list(
        zip(ids, table["ra_deg"], table["dec_deg"], table["evaluation"], strict=True)
    )
    tallies = app.classifications.tallies(row.id, TREE.n_answers)
    assert release.n_voted == len(tallies.galaxy_ids) > 5
    counts = np.zeros((40, TREE.n_answers), dtype=np.int64)
    counts[[ids.index(name) for name in tallies.galaxy_ids]] = tallies.counts
    assert np.array_equal(np.stack([table[f"{answer}_votes"] for answer in TREE.columns], axis=1), counts)
    fractions = np.stack([np.array(table[f"{a}_votes_fraction"], dtype=float) for a in TREE.columns], axis=1)
    assert np.allclose(fractions, conditional_fractions(TREE, counts), equal_nan=True)
    assert table["n_votes"] == totals(TREE, counts)[:, 0].tolist()
    shards = app.prediction.predict(row.settings, catalogue.id, champion, Scope.CATALOGUE)
    posterior = concat(list(app.prediction.stored.draws(row.settings, shards)))
    assert list(posterior.galaxy_ids) == ids
    alpha = posterior.concentrations
    mean, sd = fraction_moments(TREE, fuse(TREE, alpha, np.zeros((40, TREE.n_answers))))
    members = [i for i, g in enumerate(galaxies) if g.evaluation and counts[i].any()]
    voted = np.flatnonzero(counts.any(axis=1))
    mixture = fuse(TREE, alpha[voted], counts[voted], temper=fit_temper(TREE, alpha[members], counts[members]))
    fused = fraction_moments(TREE, mixture)
    for place, answer in enumerate(TREE.columns):
        assert np.allclose(table[f"{answer}_model_mean"], mean[:, place], atol=2e-3)
        assert np.allclose(table[f"{answer}_model_sd"], sd[:, place], atol=2e-3)
        both = np.array(table[f"{answer}_fused_mean"], dtype=float)
        assert np.array_equal(np.flatnonzero(np.isfinite(both)), voted)
        assert np.allclose(both[voted], fused.mean[:, place], atol=1e-6)
        low, high = (np.array(table[f"{answer}_fused_{end}"], dtype=float)[voted] for end in ("p05", "p95"))
        assert (low < high).all()
    trained = {name for name, used in zip(ids, table["in_training"], strict=True) if used}
    assert trained == set(tallies.galaxy_ids) - {g.galaxy_id for g in galaxies if g.evaluation}
    asked = {name: state for name, state in zip(ids, table["asking"], strict=True) if state != "never"}
    assert asked.keys() == {subject.galaxy_id for subject in app.ledger.of_campaign(row.id)}


def test_two_runs_give_the_same_bytes_and_true_checksums(loop: Loop, tmp_path: Path) -> None:
    """All files are alike, no name of this machine is in them, and sha256sum finds them whole."""
    for name in FORMATS:
        first, second = tmp_path / f"first-{name}", tmp_path / f"second-{name}"
        for out in (first, second):
            loop.factory.releases.release("test", out, name)
        check_alike(loop, first, second)


def check_alike(loop: Loop, first: Path, second: Path) -> None:
    """Compare two folders, and what one says of itself."""
    assert digests(first) == digests(second)
    assert {"provenance.json", "data-dictionary.json", "data-dictionary.md", "SHA256SUMS"} < digests(first).keys()
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=first, check=True)
    assert len((first / "SHA256SUMS").read_text().splitlines()) == len(digests(first)) - 1
    about = json.loads((first / "provenance.json").read_text())
    champion = loop.factory.models.champion(loop.campaign.id)
    assert champion is not None
    assert about["model"]["digest"] == champion.digest
    assert about["tree"]["hash"] == TREE.hash
    assert about["votes"]["galaxies"] > 0
    for path in first.rglob("*"):
        assert path.is_dir() or str(first.parent).encode() not in path.read_bytes()


def test_the_formats_say_the_same(loop: Loop, tmp_path: Path) -> None:
    """FITS, CSV and HATS hold the values of Parquet; units and meanings come with the columns."""
    from astropy.io import fits
    from astropy.table import Table

    for name in FORMATS:
        loop.factory.releases.release("test", tmp_path / name, name)
    columns = release_columns(TREE, positions=True)
    dictionary = json.loads((tmp_path / "csv" / "data-dictionary.json").read_text())
    assert [line["column"] for line in dictionary] == [column.name for column in columns]
    expected = parquet.read_table(tmp_path / "parquet" / "catalogue.parquet")
    assert expected.column_names == [column.name for column in columns]
    for column, field in zip(columns, expected.schema, strict=True):
        assert (field.metadata[b"unit"], field.metadata[b"meaning"]) == (column.unit.encode(), column.meaning.encode())
        assert str(field.type) == {"float32": "float", "float64": "double"}.get(column.dtype, column.dtype)
    kinds = pc.ConvertOptions(column_types=expected.schema, strings_can_be_null=False)
    sheet = pc.read_csv(tmp_path / "csv" / "catalogue.csv", convert_options=kinds)
    assert sheet.to_pydict() == expected.to_pydict()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stars = Table.read(tmp_path / "fits" / "catalogue.fits")
    assert stars["ra_deg"].unit == "deg"
    assert stars["n_votes"].unit == "count"
    header = fits.getheader(tmp_path / "fits" / "catalogue.fits", "CATALOGUE")
    assert [header[f"TCOMM{place}"] for place, _ in enumerate(columns, 1)] == [column.meaning for column in columns]
    assert header["TUNIT2"] == "deg"
    parts = [parquet.read_table(path) for path in (tmp_path / "hats" / "catalogue" / "dataset").rglob("Npix=*.parquet")]
    hats = {
        name: value
        for part in parts
        for name, value in zip(part["galaxy_id"].to_pylist(), part.to_pylist(), strict=True)
    }
    for row in expected.to_pylist():
        assert {name: hats[row["galaxy_id"]][name] for name in row} == row
    for column in columns:
        values = expected[column.name].to_numpy(zero_copy_only=False)
        if column.kind == "text":
            assert np.ma.filled(stars[column.name], "").tolist() == values.tolist()
        else:
            found = np.ma.filled(stars[column.name].astype(float), np.nan)
            assert np.array_equal(found, values.astype(float), equal_nan=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORMATS)
def test_the_page_opens_every_format(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What the page for researchers shows is run as it stands, and finds the forty galaxies."""
    import dask

    loop.factory.releases.release("test", tmp_path / name, name)
    page = (ROOT / "deploy" / "docs" / "release.md").read_text()
    (example,) = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if f"{name}/catalogue" in code]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with dask.config.set(scheduler="synchronous"):
        exec(example, names)
    assert len(names["galaxies"]) == 40


@pytest.mark.filterwarnings("ignore")
def test_lsdb_opens_and_cross_matches(loop: Loop, tmp_path: Path) -> None:
    """Galaxies are found at their positions, in several pixels, by the library that astronomers use."""
    import dask
    import lsdb
    import pandas as pd

    loop.factory.releases.release("test", tmp_path / "out", "hats")
    with dask.config.set(scheduler="synchronous"):
        catalogue = lsdb.open_catalog(tmp_path / "out" / "catalogue")
        assert len(catalogue) == 40
        moved = pd.DataFrame({"ra": [15.0001, 23.0, 200.0], "dec": [-5.0, -5.0001, 40.0], "name": ["a", "b", "c"]})
        other = lsdb.from_dataframe(moved, ra_column="ra", dec_column="dec")
        found = other.crossmatch(catalogue, radius_arcsec=2.0, suffixes=("_mine", "_gz")).compute()
    ids = dict(zip(found["name_mine"], found["galaxy_id_gz"], strict=True))
    assert ids == {"a": "g05", "b": "g13"}


def test_no_release_hides_or_destroys_another(loop: Loop, tmp_path: Path) -> None:
    """A release stays until another is whole, and other files always."""
    releases, out = loop.factory.releases, tmp_path / "out"
    releases.release("test", out, "csv")
    before = digests(out)
    with pytest.raises(Conflict, match=r"holds a release: .*--replace"):
        releases.release("test", out, "parquet")
    assert digests(out) == before
    releases.release("test", out, "parquet", replace=True)
    assert "catalogue.parquet" in digests(out)
    assert "catalogue.csv" not in digests(out)
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "thesis.tex").write_text("years of work")
    with pytest.raises(Conflict, match="other files than a release"):
        releases.release("test", strange, "csv", replace=True)
    assert digests(strange).keys() == {"thesis.tex"}
    (tmp_path / "empty").mkdir()
    releases.release("test", tmp_path / "empty", "csv")
    assert sorted(path.name for path in tmp_path.iterdir() if "release" in path.name) == []


def test_a_release_that_died_leaves_nothing_visible_and_comes_again(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there stays as it was; what is left is used by nobody, and the next release is whole."""
    releases, out = loop.factory.releases, tmp_path / "out"
    releases.release("test", out, "csv")
    before = digests(out)

    def dies(*_: object) -> Iterator[None]:
        yield from ()
        raise KeyboardInterrupt

    for name in FORMATS:
        with monkeypatch.context() as patch:
            patch.setattr(formats, "grouped", dies)
            patch.setattr(folder, "_leave", lambda _: None)  # as if killed
            for place in ("out", "other"):
                with pytest.raises(KeyboardInterrupt):
                    releases.release("test", tmp_path / place, name, replace=True)
        assert digests(out) == before
        assert not (tmp_path / "other").exists()
        assert (tmp_path / ".out.release").is_dir()
        releases.release("test", tmp_path / "other", name)
        (tmp_path / "other").rename(tmp_path / name)
    releases.release("test", out, "fits", replace=True)
    assert digests(out) == digests(tmp_path / "fits")
    assert not list(tmp_path.glob(".*release"))


def test_bad_input_is_named(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No campaign, no extra, no positions, no folder: each error says which."""
    releases = loop.factory.releases
    with pytest.raises(NotFound, match="no campaign 'none'"):
        releases.release("none", tmp_path / "out", "csv")
    with pytest.raises(BadInput, match="no such folder"):
        releases.release("test", tmp_path / "no" / "out", "csv")
    for name, package in (("fits", "astropy"), ("hats", "hats")):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            patch.setitem(sys.modules, formats._NEEDED[name], None)
            with pytest.raises(BadConfig, match=rf"format {name} needs {package}.*alservice\[astro\]"):
                releases.release("test", tmp_path / "out", name)
    with without_positions(loop, "g07"):
        with pytest.raises(BadInput, match="1 of 40 galaxies have none"):
            releases.release("test", tmp_path / "out", "hats")
        assert not (tmp_path / "out").exists()
        releases.release("test", tmp_path / "out", "fits")
    with without_positions(loop):
        releases.release("test", tmp_path / "out", "parquet", replace=True)
    assert "ra_deg" not in parquet.read_schema(tmp_path / "out" / "catalogue.parquet").names


def test_a_campaign_without_a_model_is_refused(engine: Engine, tmp_path: Path) -> None:
    """There is nothing to release before the first promotion."""
    loop = Loop(engine, tmp_path)
    with pytest.raises(NotFound, match="campaign test has no promoted model yet"):
        loop.factory.releases.release("test", tmp_path / "out", "parquet")
