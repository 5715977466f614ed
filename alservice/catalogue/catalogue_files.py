"""Catalogue files: streaming readers of what ``--data FILE`` may be.

``kaggle``
    Parquet with ``galaxy_id``, image bytes in ``image``, and the 37 cumulative fractions ``Class1.1`` to
    ``Class11.6``.
``paths``, ``zoobot``, ``gz2``
    Parquet or CSV, gzip or not, with ``image_path`` or ``file_loc`` (relative to the file's folder, and inside it),
    with image bytes in ``image`` (Parquet), or with images in a folder that are named after the galaxies; optionally
    an id (else the path as written names the galaxy), and optionally votes: a column per answer, empty where a
    question was not asked, under the names of `alservice.catalogue.published`; see `column_votes`.

All may have ``ra`` and ``dec`` (deg, ICRS) and ``random_block`` (the unbiased part; without it every galaxy
is in it).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from alservice.catalogue.catalogue_images import ImageSource
from alservice.catalogue.files import UNBIASED, CatalogueFile
from alservice.catalogue.kaggle import KAGGLE_COLUMNS, conditional_from_cumulative
from alservice.catalogue.published import Layout, NotVotes, UnknownLayout, VoteColumns, vote_columns
from alservice.catalogue.tables import Table, is_flag, is_number, is_text, open_table, require, require_ids
from alservice.catalogue.vote_columns import KaggleVotes, column_votes
from alservice.errors import BadInput
from alservice.science.tree import Tree

_IDS: Final = ("galaxy_id", "id_str")
_SURVEY_IDS: Final = ("dr7objid", "objid", "iauname", "dr8_id", "subject_id")
"""Ids of published tables (GZ2, its Stripe 82 part, DECaLS, DESI, Zooniverse), where there is none of ours."""
_PATHS: Final = ("image_path", "file_loc")
_IMAGE: Final = "image"


def open_catalogue(
    path: Path,
    tree: Tree,
    *,
    layout: Layout | None = None,
    images: ImageSource | None = None,
    roots: tuple[Path, ...] = (),
    with_images: bool = True,
    with_votes: bool = True,
) -> CatalogueFile:
    """Return a catalogue file after checking its columns.

    Parameters
    ----------
    path
        A file in one of the layouts of this module.
    tree
        The tree whose answers its vote columns name.
    layout
        Take the file for this one; None to tell by its columns.
    images
        Where the images are, if not in a column.
    roots
        Folders that image paths may lead into, besides the one that `path` or `images` is in.
    with_images, with_votes
        Whether to read them: what is not read need not be there, or be right.

    Raises
    ------
    BadInput
        Naming the file, and the column where one is missing, given twice, unknown or of the wrong type: an
        unreadable or empty file, an unknown ending or layout, or fractions that nobody voted for.
    BadTree
        If the layout is that of another tree.
    """
    table = open_table(path)
    images = None if images is None else replace(images, roots=roots)
    where = _where_votes_are(table, tree, layout) if with_votes else None
    if where is not None and where.layout == "kaggle":
        catalogue = _open_kaggle(table, tree, images, with_images=with_images)
    else:
        catalogue = _open_columns(table, tree, where, images, roots, with_images=with_images)
    require_ids(table, catalogue.id_column)
    if "ra" in table.columns or "dec" in table.columns:
        require(table, ["ra", "dec"], is_number, "degrees")
    if UNBIASED in table.columns:
        require(table, [UNBIASED], is_flag, "true or false")
    return catalogue


def _where_votes_are(table: Table, tree: Tree, layout: Layout | None) -> VoteColumns:
    try:
        return vote_columns(table.columns, tree, layout)
    except (UnknownLayout, NotVotes) as error:
        name = table.path.name
        raise type(error)(f"{name}: {error.message}", file=str(table.path), **error.evidence) from error


def _open_kaggle(table: Table, tree: Tree, images: ImageSource | None, *, with_images: bool) -> CatalogueFile:
    conditional_from_cumulative(tree, np.empty((0, tree.n_answers)), ())  # refuses another tree before any row
    require(table, KAGGLE_COLUMNS, pa.types.is_floating, "fractions")
    if with_images and images is None:
        require(table, [_IMAGE], _is_bytes, "image bytes")
        images = ImageSource(folder=table.path.parent, column=_IMAGE)
    votes = KaggleVotes(tree=tree, id_column="galaxy_id")
    return CatalogueFile(
        layout="kaggle", table=table, id_column="galaxy_id", images=images if with_images else None, votes=votes
    )


def _open_columns(
    table: Table,
    tree: Tree,
    where: VoteColumns | None,
    images: ImageSource | None,
    roots: tuple[Path, ...],
    *,
    with_images: bool,
) -> CatalogueFile:
    own_id = next((column for column in _IDS if column in table.columns), None)
    if with_images and images is None:
        images = _images_in(table, roots, named=own_id is not None)
    path_column = next((column for column in _PATHS if column in table.columns), None)
    ids = (column for column in _SURVEY_IDS if column in table.columns)
    id_column = own_id or next(ids, path_column)
    if id_column is None:
        text = f"{table.path.name}: no column of ids: {', '.join((*_IDS, *_SURVEY_IDS))}"
        raise BadInput(text, file=str(table.path))
    return CatalogueFile(
        layout="paths" if where is None else where.layout,
        table=table,
        id_column=id_column,
        images=images if with_images else None,
        votes=None if where is None else column_votes(table, tree, where),
    )


def _images_in(table: Table, roots: tuple[Path, ...], *, named: bool) -> ImageSource:
    """Return where a table keeps its images: paths, or bytes beside an id."""
    for column in _PATHS:
        if column in table.columns:
            require(table, [column], is_text, "image paths")
            return ImageSource(folder=table.path.parent, column=column, roots=roots)
    if named and _IMAGE in table.columns:
        require(table, [_IMAGE], _is_bytes, "image bytes")
        return ImageSource(folder=table.path.parent, column=_IMAGE)
    raise BadInput(
        f"{table.path.name}: no column of images: neither image bytes in {_IMAGE!r} beside an id, nor image paths in "
        f"{' or '.join(map(repr, _PATHS))}, nor a folder of images (--images)",
        file=str(table.path),
    )


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
