"""Labels of a file, one per galaxy, as votes: a label is one vote for an answer of a tree's only question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import pyarrow as pa

from alservice.catalogue.tables import Table, is_flag, require, texts
from alservice.catalogue.vote_columns import Faults, VoteBlock
from alservice.errors import BadInput
from alservice.science.tree import Tree

_YES_OR_NO: Final[Mapping[str, str]] = MappingProxyType({"1": "yes", "true": "yes", "0": "no", "false": "no"})
"""What a column of flags says to a question of yes or no."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelVotes:
    """A column that names an answer per galaxy.

    Parameters
    ----------
    places
        Label, in small letters, to the place of its answer.
    """

    tree: Tree
    column: str
    places: Mapping[str, int]

    @property
    def columns(self) -> Sequence[str]:
        """The columns that `read` needs."""
        return (self.column,)

    def read(self, batch: pa.RecordBatch, faults: Faults) -> VoteBlock:
        """Return one vote per row, none where the cell is empty; a label of no answer is added to the faults."""
        counts = np.zeros((len(batch), self.tree.n_answers), dtype=np.int64)
        for row, text in enumerate(texts(batch[self.column])):
            label = (text or "").strip().lower()
            if label in self.places:
                counts[row, self.places[label]] = 1
            elif label:
                answers = ", ".join(self.tree.questions[0].answers)
                faults.setdefault(row, (self.column, f"label {label[:50]!r} is none of {answers}"))
        asked = counts.sum(axis=1).astype(np.float64)
        given = asked[:, np.newaxis] > 0
        return VoteBlock(
            fractions=np.where(given, counts, np.nan),
            asked=np.where(given[:, 0], asked, np.nan),
            inconsistent=np.zeros(len(batch), dtype=np.bool_),
            counts=counts,
        )


def label_votes(table: Table, tree: Tree, column: str) -> LabelVotes:
    """Return how a column of a table labels galaxies with the answers of a tree of one question.

    A label is the name of an answer or what people read of it, in any case of letters; for answers ``yes`` and ``no``
    also 1 and 0, or true and false.

    Raises
    ------
    BadInput
        The tree has several questions, or the table no such column of text, integers or flags.
    """
    if tree.n_questions != 1:
        raise BadInput(
            f"tree {tree.name!r} asks {tree.n_questions} questions: column {column!r} labels the answers of one",
            column=column,
        )
    require(table, [column], is_flag, "labels: text, integers, or true and false")
    question = tree.questions[0]
    places = {label.strip().lower(): place for place, label in enumerate(question.labels)}
    places |= {answer: place for place, answer in enumerate(question.answers)}
    if set(question.answers) == {"yes", "no"}:
        places |= {flag: places[answer] for flag, answer in _YES_OR_NO.items()}
    return LabelVotes(tree=tree, column=column, places=places)
