"""JSON documents of frozen records: written field by field, and read back by the types of the fields.

What becomes what: a record and a mapping an object, a tuple a list, an enum its value, a time and a path their text, a
number of numpy's a plain one. The same rules read it back; a field that is missing, unknown or of another type raises
`BadDocument`, which names it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from alservice.errors import BadInput

T = TypeVar("T")

_PLAIN: Final[Sequence[tuple[Any, Callable[[Any], Any]]]] = (
    (Enum, lambda value: value.value),
    (datetime, datetime.isoformat),
    (Path, str),
    ((str, int, float, NoneType), lambda value: value),
)
"""Values and what JSON has of them; the first that fits counts, as an enum may be a text too."""


class BadDocument(BadInput):
    """A stored document does not hold the record that it should; the message names the field."""

    code = "bad-document"
    remedy = "Read it with the release that wrote it; a file that was edited by hand has the field named wrong."


def document_of(record: Any) -> dict[str, Any]:
    """Return a record (a dataclass) as a JSON document, its fields in order.

    Raises
    ------
    TypeError
        A value is nothing that JSON has, such as an array; the field is named.
    """
    if not dataclasses.is_dataclass(record) or isinstance(record, type):
        raise TypeError(f"{type(record).__name__} is no record")
    return cast("dict[str, Any]", _written(record, type(record).__name__))


def record_of(kind: type[T], document: object) -> T:
    """Return the record of a kind (a dataclass) that a document was made from.

    What `kind` itself refuses when it is made is raised as it is.

    Raises
    ------
    BadDocument
        A field without default is missing, one is unknown, or a value is not of its field's type.
    """
    return cast("T", _record(kind, document, kind.__name__))


def _written(value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _written(getattr(value, f.name), f"{where}.{f.name}") for f in dataclasses.fields(value)}
    for kind, plain in _PLAIN:
        if isinstance(value, kind):
            return plain(value)
    if getattr(value, "ndim", None) == 0:  # a number of numpy's, which only who computes has imported
        return value.item()
    if isinstance(value, Mapping):
        return {name: _written(item, f"{where}.{name}") for name, item in value.items()}
    if isinstance(value, Sequence):
        return [_written(item, f"{where}[{place}]") for place, item in enumerate(value)]
    raise TypeError(f"{where} is {type(value).__name__}, which JSON has not")


@cache
def _types(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _record(kind: type, document: object, where: str) -> Any:
    if not isinstance(document, Mapping):
        raise BadDocument(f"{where} is no object but {_shown(document)}")
    fields = {f.name: f for f in dataclasses.fields(kind) if f.init}
    unknown = next((str(name) for name in document if name not in fields), None)
    if unknown is not None:
        raise BadDocument(f"{where}.{unknown[:100]} is unknown", field=unknown[:100])
    needed = (f.name for f in fields.values() if f.default is f.default_factory is dataclasses.MISSING)
    missing = next((name for name in needed if name not in document), None)
    if missing is not None:
        raise BadDocument(f"{where}.{missing} is missing", field=missing)
    hints = _types(kind)
    return kind(**{name: _read(hints[name], value, f"{where}.{name}") for name, value in document.items()})


def _read(hint: Any, value: Any, where: str) -> Any:
    """Return the value that a type hint makes of a document's; `BadDocument` names where it stands."""
    if hint is Any:
        return value
    origin = get_origin(hint)
    if origin in {Union, UnionType}:
        return _one_of(get_args(hint), value, where)
    if origin is Literal:
        fits = value in get_args(hint)
    elif origin is not None:
        return _collection(origin, get_args(hint), value, where)
    elif dataclasses.is_dataclass(hint):
        return _record(cast("type", hint), value, where)
    elif issubclass(hint, Enum) or hint in _MADE_OF_TEXT:
        return _made(_MADE_OF_TEXT.get(hint, hint), value, where)
    else:  # a bool is an int to Python and none in JSON; a whole number is a float's value as well
        fits = isinstance(value, (int, float) if hint is float else hint)
        fits = fits and (hint is bool or not isinstance(value, bool))
    if not fits:
        raise BadDocument(f"{where} is {_shown(value)}", field=where.rpartition(".")[2])
    return value


_MADE_OF_TEXT: Final[Mapping[Any, Callable[[str], Any]]] = {datetime: datetime.fromisoformat, Path: Path}


def _made(make: Callable[[Any], Any], value: Any, where: str) -> Any:
    try:
        return make(value)
    except (TypeError, ValueError) as error:
        raise BadDocument(f"{where} is {_shown(value)}", field=where.rpartition(".")[2]) from error


def _one_of(hints: Sequence[Any], value: Any, where: str) -> Any:
    """Return what the first fitting type of a union makes; the last one's error is what is said of a value of none."""
    if value is None and NoneType in hints:
        return None
    *first, last = (hint for hint in hints if hint is not NoneType)
    for hint in first:
        try:
            return _read(hint, value, where)
        except BadDocument:
            continue
    return _read(last, value, where)


def _collection(origin: type, items: Sequence[Any], value: Any, where: str) -> Any:
    if issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise BadDocument(f"{where} is no object but {_shown(value)}", field=where.rpartition(".")[2])
        of_name, of_item = items
        return {_read(of_name, name, where): _read(of_item, item, f"{where}.{name}") for name, item in value.items()}
    if not isinstance(value, list | tuple):
        raise BadDocument(f"{where} is no list but {_shown(value)}", field=where.rpartition(".")[2])
    hints = [items[0]] * len(value) if origin is not tuple or items[-1] is Ellipsis else items
    if len(hints) != len(value):
        raise BadDocument(f"{where} has {len(value)} values, not {len(hints)}", field=where.rpartition(".")[2])
    return tuple(
        _read(hint, item, f"{where}[{place}]") for place, (hint, item) in enumerate(zip(hints, value, strict=True))
    )


def _shown(value: object) -> str:
    return f"{type(value).__name__} {str(value)[:40]!r}"
