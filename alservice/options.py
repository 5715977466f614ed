"""Options of a run as one frozen record: text and bounds stand at its fields, commands and forms are made of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from alservice.errors import BadConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """What is said of a field of options, inside its `Annotated`.

    Parameters
    ----------
    help
        For the command line, which adds its default in brackets.
    form
        For a form, where fields are left empty; None says the same.
    ge, gt, le
        Bounds: at least, more than, at most.
    shown
        Least and largest value that the command line takes and shows, where they are not the bounds.
    """

    help: str
    form: str | None = None
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    shown: tuple[float | None, float | None] | None = None

    @property
    def range(self) -> tuple[float | None, float | None]:
        """Least and largest value of the command line."""
        return self.shown or (self.ge, self.le)

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds that there are, by name."""
        return {name: bound for name in ("ge", "gt", "le") if (bound := getattr(self, name)) is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class OptionField:
    """One field of options: its name, its type, what is said of it, and its default (`MISSING` where it is needed)."""

    name: str
    type: Any
    option: Option
    default: Any


def option_fields(kind: type) -> Iterator[OptionField]:
    """Yield the fields of a record of options (a dataclass); each is annotated with an `Option`."""
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        if get_origin(hints[field.name]) is not Annotated:
            raise TypeError(f"{kind.__name__}.{field.name} is not annotated with an Option")
        of_type, option, *_ = get_args(hints[field.name])
        yield OptionField(name=field.name, type=of_type, option=option, default=field.default)


def check_options(record: Any) -> None:
    """Raise `BadConfig` that names the first option of a record beyond its bounds."""
    for field in option_fields(type(record)):
        value, option = getattr(record, field.name), field.option
        if value is None or not option.bounds:
            continue
        fits = (
            (option.ge is None or value >= option.ge)
            and (option.gt is None or value > option.gt)
            and (option.le is None or value <= option.le)
        )
        if not fits:
            words = {"ge": "at least", "gt": "more than", "le": "at most"}
            bounds = " and ".join(f"{words[name]} {bound:g}" for name, bound in option.bounds.items())
            raise BadConfig(f"{field.name} must be {bounds}, not {value!r}", option=field.name)
