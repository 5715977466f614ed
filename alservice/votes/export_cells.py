"""Cells of a classification export: what each may hold, and a fault that quotes nothing that may name a person."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, Final

import orjson

from alservice.ids import ROUNDED_REMEDY, rounded
from alservice.zooniverse.workflow import without_images

_OFFSETS: Final = {"UTC": "+00:00"}
_NUMERIC: Final = re.compile(
    r"[0-9]{1,20}(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?|[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9:.]{1,15})?(Z| UTC)?"
)
_NOT_RETIRED: Final = '"retired":null'


class CellFault(ValueError):
    """A cell that cannot be read."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


def plain(value: Any) -> Any:
    """Return labels without their images, whose addresses are most of their length."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return without_images(value) if isinstance(value, str) else value


def is_id(text: str) -> bool:
    """Tell whether a text is an id of Panoptes."""
    return text.isdecimal() and text.isascii() and len(text) <= 18


def whole(text: str, field: str) -> int:
    """Return an id."""
    if not is_id(text):
        hint = "" if rounded(text) is None else f", but a float, some of whose digits may be lost: {ROUNDED_REMEDY}"
        raise CellFault(field, f"{_shown(text, field)} is not a whole number{hint}")
    return int(text)


def _shown(text: str, field: str) -> str:
    """Return a cell as a fault may quote it: numbers and times, but nothing that may name a person."""
    return repr(text) if field != "user_id" and _NUMERIC.fullmatch(text) else f"a text of {len(text)} characters"


def subject_of(text: str) -> int | None:
    """Return the subject; None for several, which no question of ours is about."""
    ids = [whole(part, "subject_ids") for part in text.split(";")] if text else []
    return ids[0] if len(ids) == 1 else None


def moment(text: str, field: str) -> datetime:
    """Return a time as exports write it."""
    date, _, zone = text.rpartition(" ")
    try:
        return datetime.fromisoformat(f"{date}{_OFFSETS[zone]}")
    except (KeyError, ValueError):
        raise CellFault(field, f"{_shown(text, field)} is not a time in UTC") from None


def text_of(value: object, field: str) -> str | None:
    """Return a text as given, None for what is none."""
    if not isinstance(value, str):
        return None
    if not value.isprintable():
        raise CellFault(field, "holds text that is not printable")
    return value


def flag(text: str) -> bool:
    """Return whether a row is gold standard."""
    if text not in {"", "true", "false"}:
        raise CellFault("gold_standard", f"{_shown(text, 'gold_standard')} is not true, false or blank")
    return text == "true"


def document(cell: str, field: str, kind: type) -> Any:
    """Return the JSON of a cell that must hold an object or a list."""
    try:
        value = _parsed(cell)
    except (ValueError, RecursionError):
        raise CellFault(field, "is not JSON") from None
    if not isinstance(value, kind):
        raise CellFault(field, "is not the JSON of a classification")
    return value


def _parsed(cell: str) -> Any:
    """Return what a cell says; what the fast parser refuses, such as NaN, the tolerant one may read."""
    try:
        return orjson.loads(cell)
    except orjson.JSONDecodeError:
        return json.loads(cell)


def was_retired(cell: str, created_at: datetime) -> bool:
    """Tell whether the subject had been retired when it was classified; the state is that of the export's day."""
    if _NOT_RETIRED in cell:
        return False
    subjects = document(cell, "subject_data", dict).values()
    states = [subject.get("retired") for subject in subjects if isinstance(subject, dict)]
    times = [state.get("retired_at") for state in states if isinstance(state, dict)]
    return any(moment(_as_csv(time), "subject_data") < created_at for time in times if isinstance(time, str))


def _as_csv(time: str) -> str:
    """Return an ISO time of Panoptes in the form of its exports, to the second."""
    return f"{time[:19].replace('T', ' ')} UTC"
