"""Rows become galaxies or recorded faults: requested = done + failed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alservice.app import App
from alservice.catalogue.galaxies import CatalogueFault
from alservice.catalogue.service import ImageFiles
from alservice.catalogue.vote_columns import GZ2_COLUMNS
from alservice.errors import BadInput
from alservice.science.tree import load_tree
from alservice.storage.images import encode_png
from tests.support.worlds import import_rows, make_campaign, make_row


def test_every_row_is_a_galaxy_or_a_fault(factory: App) -> None:
    """A broken image and a fault of the file are counted and named; the rest lands, in order of id."""
    rows = [
        make_row(3),
        CatalogueFault(row=4, galaxy_id="x", field="votes", reason="do not sum"),
        make_row(5, image=b"\x89PNG\r\n\x1a\n broken"),
        make_row(1),
    ]
    campaign = import_rows(factory, make_campaign(), rows)
    catalogue = factory.catalogues.newest(campaign.id)
    assert catalogue is not None
    assert (catalogue.n_requested, catalogue.n_galaxies, catalogue.n_failed) == (4, 2, 2)
    assert [(g.galaxy_id, g.row) for g in factory.catalogues.galaxies(catalogue.id)] == [("g01", 0), ("g03", 1)]
    faults = {(f.row, f.field) for f in factory.catalogues.faults(catalogue.id)}
    assert faults == {(4, "votes"), (5, "image")}


def test_the_original_bytes_are_what_volunteers_will_see(factory: App) -> None:
    """The stored image is the file's, byte for byte."""
    row = make_row(1)
    campaign = import_rows(factory, make_campaign(), [row])
    catalogue = factory.catalogues.newest(campaign.id)
    assert catalogue is not None
    (galaxy,) = factory.catalogues.galaxies(catalogue.id)
    assert factory.objects.get(galaxy.image_key) == row.image


def test_what_an_image_file_says_beside_its_pixels_is_not_stored(factory: App, tmp_path: Path) -> None:
    """Metadata and trailing bytes go, their galaxies are told, and the digest is that of what volunteers see."""
    clean = make_row(1).image
    (tmp_path / "1.png").write_bytes(clean)
    (tmp_path / "2.png").write_bytes(clean + b"trailing secret")
    (tmp_path / "galaxies.csv").write_text("galaxy_id,image_path\na,1.png\nb,2.png\n", encoding="utf-8")
    row = factory.campaigns.save(make_campaign())
    imported = factory.catalogue.import_file("test", tmp_path / "galaxies.csv")
    assert (imported.stripped.n, imported.stripped.first) == (1, "b")
    first, second = factory.catalogues.galaxies(factory.catalogues.newest(row.id).id)
    assert first.image_key == second.image_key
    assert factory.objects.get(second.image_key) == clean


def test_ids_that_no_database_holds_lose_their_rows_alone(factory: App, tmp_path: Path) -> None:
    """Kind: one value loses a whole import. Here with the database that refuses it."""
    (tmp_path / "1.png").write_bytes(make_row(1).image)
    ids = ["good", "a\0b", "\0", "x" * 5000, "\u202e", "caf\udce9"]
    lines = ["galaxy_id,image_path", *(f"{galaxy_id},1.png" for galaxy_id in ids)]
    name = tmp_path / "galaxies.csv"
    name.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
    factory.campaigns.save(make_campaign())
    imported = factory.catalogue.import_file("test", name)
    assert (imported.catalogue.n_galaxies, imported.catalogue.n_failed) == (1, 5)
    faults = factory.catalogues.faults(imported.catalogue.id)
    assert [fault.row for fault in faults] == [2, 3, 4, 5, 6]
    assert {fault.field for fault in faults} == {"galaxy_id"}
    rows = [replace(make_row(i), galaxy_id=galaxy_id) for i, galaxy_id in enumerate(("ok", "a\0", "\ud800"))]
    saved = import_rows(factory, make_campaign(), rows)
    grown = factory.catalogues.newest(saved.id)
    assert (grown.n_galaxies, grown.n_requested) == (2, 9)


def test_the_same_rows_in_another_order_are_the_same_catalogue(factory: App) -> None:
    """A catalogue is named by what is in it; a repeated import adds none."""
    campaign = import_rows(factory, make_campaign(), [make_row(i) for i in range(5)])
    first = factory.catalogues.newest(campaign.id)
    import_rows(factory, make_campaign(), [make_row(i) for i in reversed(range(5))])
    assert factory.catalogues.newest(campaign.id) == first


def test_recorded_votes_are_kept_beside_the_catalogue(factory: App) -> None:
    """Volunteers can replay them by galaxy id."""
    campaign = import_rows(factory, make_campaign(), [make_row(2), make_row(1)])
    catalogue = factory.catalogues.newest(campaign.id)
    assert catalogue is not None
    assert catalogue.votes_key is not None
    from alservice.storage import arrays as packs

    ids, fractions, columns = packs.decode_fractions(factory.objects.get(catalogue.votes_key))
    assert ids == ("g01", "g02")
    assert columns == load_tree("gz2").columns
    assert fractions[0, 0] == 1.0


def test_a_catalogue_without_galaxies_is_refused_with_the_first_reason(factory: App) -> None:
    """Nothing usable is an error, not an empty success."""
    with pytest.raises(BadInput, match=r"empty: row 5: .*"):
        import_rows(factory, make_campaign(), [make_row(5, image=b"not an image")])
    with pytest.raises(BadInput, match="no rows"):
        import_rows(factory, make_campaign(), [])


def test_a_published_table_is_imported_and_what_its_votes_lack_is_told(factory: App, tmp_path: Path) -> None:
    """Two rows of GZ2 counts: one with more answers than volunteers led to them, which is told, and kept."""
    counts = {f"{stem}_count": [0, 0, 0] for stem in GZ2_COLUMNS.values()}
    counts["t01_smooth_or_features_a01_smooth_count"] = [5, 5, 5]
    counts["t06_odd_a15_no_count"] = [5, 6, 5]
    pd.DataFrame({"dr7objid": [11, 12, 13]} | counts).to_csv(tmp_path / "gz2.csv", index=False)
    for name in ("11.png", "12.png"):
        (tmp_path / name).write_bytes(encode_png(np.zeros((1, 16, 16), dtype=np.uint8)))
    factory.campaigns.save(make_campaign())
    images = ImageFiles(folder=tmp_path, pattern="{id}.png")
    imported = factory.catalogue.import_file("test", tmp_path / "gz2.csv", images=images)
    assert (imported.layout, imported.inconsistent.n, imported.inconsistent.first) == ("gz2", 1, "12")
    assert (imported.catalogue.n_galaxies, imported.catalogue.n_failed) == (2, 1)
    assert imported.catalogue.votes_key is not None
    assert [fault.field for fault in factory.catalogues.faults(imported.catalogue.id)] == ["image"]
