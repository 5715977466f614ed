"""Statements sent to the database as spans of a cycle's trace: their text, without the values."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final, cast

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPICursor, ExceptionContext, ExecutionContext

from alservice.tracing import begin, end

_SPAN: Final = "alservice.span"

_TEXT: Final = 2_000
"""Characters of a statement that are kept."""


def trace_statements(engine: Engine) -> None:
    """Trace what an engine sends from now on, where a trace is open around it."""
    event.listen(engine, "before_cursor_execute", _before)
    event.listen(engine, "after_cursor_execute", _after)
    event.listen(engine, "handle_error", _failed)


def _info(connection: Connection) -> MutableMapping[Any, Any]:
    return cast("MutableMapping[Any, Any]", connection.info)


def _before(
    connection: Connection, _c: DBAPICursor, statement: str, _p: Any, _x: ExecutionContext | None, _m: bool
) -> None:
    verb = statement.lstrip().partition(" ")[0].partition("\n")[0].upper()[:20]
    attributes = {"db.system.name": "postgresql", "db.operation.name": verb, "db.query.text": statement[:_TEXT]}
    _info(connection)[_SPAN] = begin(f"sql {verb}", **attributes)


def _after(connection: Connection, _c: DBAPICursor, _s: str, _p: Any, _x: ExecutionContext | None, _m: bool) -> None:
    end(_info(connection).pop(_SPAN, None))


def _failed(context: ExceptionContext) -> None:
    if context.connection is not None and not context.connection.invalidated:
        end(_info(context.connection).pop(_SPAN, None), context.original_exception)
