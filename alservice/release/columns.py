"""The columns of a release, and the data dictionary that is made from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from alservice.science.tree import Tree

Kind: TypeAlias = Literal["text", "boolean", "integer", "float", "double"]

_DTYPES: Final[dict[Kind, str]] = {
    "text": "string",
    "boolean": "bool",
    "integer": "int32",
    "float": "float32",
    "double": "float64",
}

ID: Final = "galaxy_id"
RA: Final = "ra_deg"
DEC: Final = "dec_deg"

ASKING: Final = {
    "never": "no cycle chose it",
    "planned": "chosen, not yet shown",
    "live": "shown, and more votes are asked for",
    "retired": "shown, and no more votes are asked for",
    "withdrawn": "taken back before it had its votes",
    "failed": "could not be shown",
}
"""What the column ``asking`` says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column of a release.

    Parameters
    ----------
    unit
        As FITS writes it: ``deg``, ``count``; empty for what has no dimension.
    meaning
        What it says, for a reader who knows the survey and not this software.
    width
        The most bytes of a text (UTF-8); 0 for ids, whose length is the catalogue's.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    width: int = 0

    @property
    def dtype(self) -> str:
        """Name of its type, as numpy and Arrow know it."""
        return _DTYPES[self.kind]

    def numpy(self, id_bytes: int) -> np.dtype[Any]:
        """Return the dtype of its values in a row of fixed length; texts are UTF-8, ids at most so many bytes."""
        return np.dtype(f"S{self.width or id_bytes}" if self.kind == "text" else self.dtype)


def release_columns(tree: Tree, *, positions: bool) -> tuple[Column, ...]:
    """Return the columns of a release in order.

    Parameters
    ----------
    tree
        The tree of the Q questions and A answers.
    positions
        Whether the catalogue has any.
    """
    return (*_of_galaxy(positions=positions), *_of_questions(tree), *_of_answers(tree))


def _of_galaxy(*, positions: bool) -> Iterator[Column]:
    yield Column(name=ID, kind="text", unit="", meaning="Id in the survey; unique.")
    if positions:
        yield Column(name=RA, kind="double", unit="deg", meaning="Right ascension, ICRS.")
        yield Column(name=DEC, kind="double", unit="deg", meaning="Declination, ICRS.")
    yield Column(
        name="unbiased",
        kind="boolean",
        unit="",
        meaning="Whether it belongs to the part of the catalogue that samples the survey without selection.",
    )
    yield Column(
        name="evaluation",
        kind="boolean",
        unit="",
        meaning="Whether it belongs to the evaluation stream: no model was trained on it, none chose it.",
    )
    yield Column(
        name="in_training",
        kind="boolean",
        unit="",
        meaning="Whether its votes trained the model: then the model's figures rest on them, and the fused ones twice.",
    )
    yield Column(
        name="n_votes",
        kind="integer",
        unit="count",
        meaning="Volunteers who answered a question that everyone is asked; 0 where nobody was asked.",
    )
    yield Column(
        name="votes_consistent",
        kind="boolean",
        unit="",
        meaning="Whether walks through the question tree can give its votes; where not, nothing is fused.",
    )
    yield Column(
        name="votes_wanted",
        kind="integer",
        unit="count",
        meaning="The most volunteers that it is to be shown to; 0 where no cycle chose it.",
    )
    states = "; ".join(f"{name}: {meaning}" for name, meaning in ASKING.items())
    yield Column(
        name="asking", kind="text", unit="", width=12, meaning=f"Whether volunteers are still asked. {states}."
    )
    yield Column(
        name="stop_rule",
        kind="text",
        unit="",
        width=80,
        meaning="The rule that ends asking, the campaign's; empty where no cycle chose it.",
    )
    yield Column(
        name="stop_reason",
        kind="text",
        unit="",
        width=80,
        meaning="Why asking ended, or why it goes on; empty where that is not recorded.",
    )


def _of_questions(tree: Tree) -> Iterator[Column]:
    for question in tree.questions:
        name = question.name
        share = "Expected share of volunteers who are asked this question"
        model = f"{share}, by the model alone: the product of its mean fractions; empty without a prediction."
        yield Column(name=f"{name}_model_asked", kind="float", unit="", meaning=model)
        yield Column(
            name=f"{name}_fused_asked",
            kind="float",
            unit="",
            meaning=f"{share}, by model and votes; empty without votes.",
        )
        yield Column(
            name=f"{name}_total-votes", kind="integer", unit="count", meaning="Volunteers who answered this question."
        )


_FIGURES: Final = (
    ("mean", "Expected fraction"),
    ("sd", "Standard deviation of the fraction"),
    ("p05", "Lower end of the 90 % interval of the fraction"),
    ("p95", "Upper end of the 90 % interval of the fraction"),
)


def _of_answers(tree: Tree) -> Iterator[Column]:
    among = "of volunteers who give this answer among those asked its question"
    for answer in tree.columns:
        for ending, meaning in _FIGURES[:2]:
            yield Column(
                name=f"{answer}_model_{ending}",
                kind="float",
                unit="",
                meaning=f"{meaning} {among}, by the model alone; empty without a prediction.",
            )
        yield Column(name=f"{answer}_votes", kind="integer", unit="count", meaning="Volunteers who gave this answer.")
        yield Column(
            name=f"{answer}_votes_fraction",
            kind="float",
            unit="",
            meaning=f"Fraction {among}, by votes alone; empty where nobody was asked.",
        )
        for ending, meaning in _FIGURES[2:]:
            yield Column(
                name=f"{answer}_votes_{ending}",
                kind="float",
                unit="",
                meaning=f"{meaning} {among}, by votes alone (Jeffreys); empty where nobody was asked.",
            )
        for ending, meaning in _FIGURES:
            yield Column(
                name=f"{answer}_fused_{ending}",
                kind="float",
                unit="",
                meaning=f"{meaning} {among}, by model and votes together; empty where there are no votes.",
            )


def dictionary_document(columns: Sequence[Column]) -> list[dict[str, str]]:
    """Return the data dictionary for programs: name, type, unit and meaning of each column, in order."""
    return [{"column": c.name, "dtype": c.dtype, "unit": c.unit, "meaning": c.meaning} for c in columns]


def dictionary_text(columns: Sequence[Column]) -> str:
    """Return the data dictionary for people: a table in Markdown."""
    rows = (f"| `{c.name}` | {c.dtype} | {c.unit or '-'} | {c.meaning} |" for c in columns)
    return "\n".join(("| column | type | unit | meaning |", "|---|---|---|---|", *rows, ""))
