"""Which galaxies are asked for: ranges of columns, and an order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from alservice.errors import BadInput
from alservice.explore.columns import MAP_X, MAP_Y, MEASURES, SCORE, asked_of, mean_of
from alservice.release.columns import DEC, RA
from alservice.science.tree import Tree

MAX_CONDITIONS: Final = 20
MAX_NAME: Final = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """A column whose values are from `low` to `high`, both included; galaxies without a value are left out.

    Parameters
    ----------
    name
        As people write it: an answer (``bar_yes``), ``QUESTION_asked``, a measure, ``ra_deg`` or ``dec_deg``.

    Raises
    ------
    BadInput
        The range is empty or no range.
    """

    name: str
    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse what is no range."""
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise BadInput(
                f"{self.name[:MAX_NAME]}: a range goes from a number to a number", field=self.name[:MAX_NAME]
            )
        if self.low > self.high:
            raise BadInput(
                f"{self.name[:MAX_NAME]}: the range from {self.low:g} to {self.high:g} is empty",
                field=self.name[:MAX_NAME],
            )

    @classmethod
    def of(cls, text: str) -> Condition:
        """Return the condition that a text ``NAME:LOW:HIGH`` states; raises `BadInput`."""
        name, low, high = (*text.rsplit(":", 2), "", "")[:3]
        try:
            return cls(name=name, low=float(low), high=float(high))
        except ValueError as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput(
                f"{text[:MAX_NAME]!r} is no condition: write NAME:LOW:HIGH, such as bar_yes:0.5:1", field="where"
            ) from None

    @property
    def text(self) -> str:
        """The text that `of` reads."""
        return f"{self.name}:{self.low:.15g}:{self.high:.15g}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Conditions that all hold, and an order.

    Parameters
    ----------
    sort
        A name, as of a condition.
    descending
        Whether the largest come first; galaxies without a value come last either way.

    Raises
    ------
    BadInput
        There are more than `MAX_CONDITIONS`.
    """

    conditions: tuple[Condition, ...] = ()
    sort: str = SCORE
    descending: bool = field(default=True)

    def __post_init__(self) -> None:
        """Refuse what would take the table's time for nobody's use."""
        if len(self.conditions) > MAX_CONDITIONS:
            raise BadInput(
                f"{len(self.conditions)} conditions are more than {MAX_CONDITIONS}", field="where", most=MAX_CONDITIONS
            )


def choice_of(where: Sequence[str], *, sort: str = SCORE, descending: bool = True) -> Choice:
    """Return the choice that conditions as texts state; raises `BadInput`."""
    if len(where) > MAX_CONDITIONS:  # before any is read
        raise BadInput(f"{len(where)} conditions are more than {MAX_CONDITIONS}", field="where", most=MAX_CONDITIONS)
    return Choice(conditions=tuple(map(Condition.of, where)), sort=sort, descending=descending)


def names(tree: Tree) -> Mapping[str, str]:
    """Return what people call columns that conditions and orders may name, and the columns.

    No text from outside ever becomes part of a query: it is looked up here.
    """
    return {
        **{measure: measure for measure in MEASURES},
        **{answer: mean_of(answer) for answer in tree.columns},
        **{f"{q.name}_asked": asked_of(q.name) for q in tree.questions},
        RA: RA,
        DEC: DEC,
        MAP_X: MAP_X,
        MAP_Y: MAP_Y,
    }


def column_of(known: Mapping[str, str], name: str) -> str:
    """Return the column of a name; raises `BadInput` that says which there are."""
    if name not in known:
        some = ", ".join(list(known)[:8])
        raise BadInput(f"there is nothing called {name[:MAX_NAME]!r} to choose by; there are {some} …", field="where")
    return known[name]
