"""What was made of a table before anything is done with it: said to a person, and kept with what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from alservice.catalogue.files import CatalogueFile
from alservice.catalogue.labels import LabelVotes
from alservice.catalogue.tables import texts
from alservice.catalogue.vote_columns import VOLUNTEERS, ColumnVotes, KaggleVotes, trees_of
from alservice.shapes import FloatArray

Kind: TypeAlias = Literal["counts", "fractions", "cumulative fractions", "labels"]

SHOWN: Final = 12
"""Columns left aside that are named; a document has all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Understood:
    """How a table was read.

    Parameters
    ----------
    n_rows
        Rows of the table.
    id_column, id_example
        Column of ids, and the first of them; empty where the first row has none.
    votes
        What its votes are; None where there are none of the tree, or none are asked for.
    n_questions
        Questions of the tree that have votes.
    median_votes, most_votes
        Votes per galaxy on the first of them, of the galaxies that have any; None where the table does not say.
    images
        Column or pattern of the images; None where none are asked for.
    left_aside
        Columns that are not read.
    notes
        What else a person should know, one sentence each.
    """

    file: str
    layout: str
    n_rows: int
    tree: str
    id_column: str
    id_example: str
    votes: Kind | None
    n_questions: int
    median_votes: float | None
    most_votes: int | None
    images: str | None
    left_aside: Sequence[str]
    notes: Sequence[str]

    def document(self) -> Mapping[str, object]:
        """Return it as JSON has it."""
        names = (name for name in self.__slots__)
        values = {name: getattr(self, name) for name in names}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def lines(self) -> list[str]:
        """Return what a person is told."""
        per_galaxy = (
            f"{self.median_votes:g} votes a galaxy (median), {self.most_votes:,} at most"
            if self.median_votes is not None
            else f"votes per galaxy not given: {VOLUNTEERS} volunteers walk the tree with them"
        )
        votes = "none are read"
        if self.votes is not None:
            votes = f"{self.votes} on {self.n_questions} questions of tree {self.tree}; {per_galaxy}"
        aside = [*self.left_aside[:SHOWN], *(["..."] if len(self.left_aside) > SHOWN else [])]
        head = f"{self.file}: {self.n_rows:,} rows, layout {self.layout}"
        return [
            f"{head}, ids in {self.id_column!r} such as {self.id_example!r}",
            f"  votes: {votes}",
            f"  images: {self.images or 'none are read'}",
            *([f"  left aside: {len(self.left_aside)} columns: {', '.join(aside)}"] if aside else []),
            *(f"  note: {note}" for note in self.notes),
        ]


def understand(file: CatalogueFile) -> Understood:
    """Return how a table was read; memory is four bytes a row.

    Raises
    ------
    BadInput
        The file can no longer be read.
    """
    first = next(file.table.batches([file.id_column]), None)
    ids = texts(first[0].slice(0, 1)) if first is not None else []
    votes, n_questions, sums = _votes_of(file)
    given = sums[sums > 0]
    return Understood(
        file=file.table.path.name,
        layout=file.layout,
        n_rows=file.n_rows,
        tree=file.tree.name,
        id_column=file.id_column,
        id_example=(ids[0] or "") if ids else "",
        votes=votes,
        n_questions=n_questions,
        median_votes=float(np.median(given)) if len(given) else None,
        most_votes=int(given.max()) if len(given) else None,
        images=_images_of(file),
        left_aside=tuple(name for name in file.table.columns if name not in set(file.columns)),
        notes=tuple(_notes(file, votes, given)),
    )


def _votes_of(file: CatalogueFile) -> tuple[Kind | None, int, FloatArray]:
    """Return what the votes are, on how many questions, and those of each row (N,) on the first; NaN where not said."""
    votes = file.votes
    if isinstance(votes, KaggleVotes):
        return "cumulative fractions", file.tree.n_questions, np.zeros(0)
    if isinstance(votes, LabelVotes):
        return "labels", 1, np.ones(file.n_rows)
    if not isinstance(votes, ColumnVotes):
        return None, 0, np.zeros(0)
    sums = [votes.first_asked(batch).astype(np.float32) for batch in file.table.batches(votes.first_columns)]
    return "counts" if votes.counts else "fractions", len(votes.recorded), np.concatenate([*sums, np.zeros(0)])


def _images_of(file: CatalogueFile) -> str | None:
    images = file.images
    if images is None:
        return None
    if images.column is None:
        return f"files {images.pattern} in {images.folder.name or images.folder}"
    return f"column {images.column!r} ({file.table.columns[images.column]})"


def _notes(file: CatalogueFile, votes: Kind | None, sums: FloatArray) -> list[str]:
    notes = [f"it is {file.table.note}"] if file.table.note else []
    if votes == "counts" and len(sums) and sums.max() == 1:
        notes.append("every galaxy has one vote: if these are shares of many, say --votes-are fractions")
    others = [] if votes is not None or not file.votes_asked else trees_of(file.table.columns)
    if others:
        notes.append(f"no votes of tree {file.tree.name!r}; the columns are those of --tree {' or '.join(others)}")
    return notes
