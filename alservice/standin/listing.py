"""Index calls: filters, pages and their meta, with and without a count."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from alservice.standin.errors import api_error
from alservice.standin.replies import Reply, dump_json
from alservice.standin.state import Row, Transaction, sql
from alservice.standin.wire import Call, Resource, body_etag, envelope, row_number, unless_known

DEFAULT_PAGE_SIZE = 20
_POSITIVE = re.compile("0*[1-9][0-9]{0,8}")
"""What a page or its size may be: more digits would name a row beyond every table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """The page a reader asked for.

    Attributes
    ----------
    number
        From 1.
    size
        Rows on a page, after clipping.
    requested
        The size as asked for, which hrefs repeat; None when it was left to the default.
    """

    number: int
    size: int
    requested: int | None

    @property
    def offset(self) -> int:
        """Rows before this page."""
        return (self.number - 1) * self.size


@dataclass(kw_only=True, slots=True)
class Filter:
    """Conditions gathered from the query, as SQL, as values and as the part of hrefs that repeats them."""

    conditions: list[str] = field(default_factory=list)
    values: list[object] = field(default_factory=list)
    echo: dict[str, str] = field(default_factory=dict)

    def require(self, condition: str, *values: object) -> None:
        """Add a condition that hrefs do not repeat."""
        self.conditions.append(condition)
        self.values.extend(values)

    def merge(self, other: Filter) -> None:
        """Add the conditions of another filter, and what hrefs repeat of it."""
        self.require(" AND ".join(other.conditions) or "1", *other.values)
        self.echo.update(other.echo)

    @property
    def where(self) -> str:
        """The WHERE clause, or nothing."""
        return "WHERE " + " AND ".join(self.conditions) if self.conditions else ""


def page_of(call: Call, *, default: int = DEFAULT_PAGE_SIZE, cap: int | None = None) -> Page:
    """Return the page the query asks for; a size over the cap is clipped silently, as Panoptes does.

    Raises
    ------
    RefusalError
        422 for a size or number that is not a positive integer.
    """
    query = call.request.query
    for name in ("page", "page_size"):
        text = query.get(name)
        if text is not None and not _POSITIVE.fullmatch(text):
            raise api_error(422, f"{name} must be a positive integer, not {text[:40]}")
    requested = int(query["page_size"]) if "page_size" in query else None
    limit = min(cap or call.config.page_size_limit, call.config.page_size_limit)
    return Page(
        number=int(query.get("page", 1)),
        size=min(requested or default, limit),
        requested=None if requested == default else requested,
    )


def ids_in(text: str) -> list[int]:
    """Return the ids of a comma-separated filter; what cannot be an id matches nothing."""
    return [row_number(part) for part in text.split(",")]


def marks(values: list[int]) -> str:
    """Return one placeholder per value, in brackets."""
    return "(" + ", ".join("?" * len(values)) + ")"


def filter_ids(call: Call, columns: Mapping[str, str]) -> Filter:
    """Return the conditions the query puts on id columns, by singular or plural name.

    Parameters
    ----------
    columns
        Singular parameter name to SQL column.
    """
    chosen = Filter()
    for name, column in columns.items():
        for spelling in (name, f"{name}s"):
            text = call.request.query.get(spelling)
            if text is not None:
                ids = ids_in(text)
                chosen.require(f"{column} IN {marks(ids)}" if len(ids) > 1 else f"{column} = ?", *ids)
                chosen.echo[spelling] = text
    return chosen


def ids_on_page(
    tx: Transaction, *, source: str, column: str, chosen: Filter, page: Page, count: int | None
) -> list[int]:
    """Return the ids on one page of a listing by ascending id, in any order; `rows_by_id` puts them in order.

    With a known count the nearer end is walked, so first and last pages cost the same.

    Parameters
    ----------
    source
        Table, or tables joined, to list.
    column
        The id column to list and order by.
    """
    offset, size, order = page.offset, page.size, "ASC"
    if count is not None and offset > count // 2:
        size = min(size, max(count - offset, 0))
        offset, order = max(count - offset - size, 0), "DESC"
    statement = sql("SELECT", column, "FROM", source, chosen.where, "ORDER BY", column, order, "LIMIT ? OFFSET ?")
    return [row[0] for row in tx.all(statement, *chosen.values, size, offset)]


def count_rows(tx: Transaction, *, source: str, chosen: Filter) -> int:
    """Return how many rows the filter leaves."""
    return int(tx.value(sql("SELECT count(*) FROM", source, chosen.where), *chosen.values))


def rows_by_id(tx: Transaction, table: str, ids: list[int]) -> list[Row]:
    """Return the rows of `table` with these ids, ascending."""
    return tx.all(sql("SELECT * FROM", table, "WHERE id IN", marks(ids), "ORDER BY id"), *ids)


def _href(path: str, page: Page, number: int | None, echo: Mapping[str, str]) -> str | None:
    if number is None:
        return None
    parts: dict[str, object] = {}
    if number != 1:
        parts["page"] = number
    if page.requested is not None:
        parts["page_size"] = page.requested
    parts.update(sorted(echo.items()))
    return f"{path}?{urlencode(parts, quote_via=quote, safe=',')}" if parts else path


def _meta(path: str, page: Page, echo: Mapping[str, str], *, count: int, pages: int, more: bool) -> Resource:
    previous = page.number - 1 if page.number > 1 else None
    following = page.number + 1 if more else None
    return {
        "page": page.number,
        "page_size": page.size,
        "count": count,
        "include": [],
        "page_count": pages,
        "previous_page": previous,
        "next_page": following,
        "first_href": _href(path, page, 1, echo),
        "previous_href": _href(path, page, previous, echo),
        "next_href": _href(path, page, following, echo),
        "last_href": _href(path, page, pages, echo),
    }


def counted_meta(path: str, page: Page, echo: Mapping[str, str], count: int) -> Resource:
    """Return the meta of a listing whose length is known."""
    pages = -(-count // page.size)
    return _meta(path, page, echo, count=count, pages=pages, more=page.number < pages)


def uncounted_meta(path: str, page: Page, echo: Mapping[str, str], found: int) -> Resource:
    """Return the no-count meta: a next page is promised until a page comes back empty."""
    return _meta(path, page, echo, count=0, pages=0, more=found > 0)


def listed(call: Call, kind: str, entries: list[Resource], meta: Resource) -> Reply:
    """Return a listing, with an ETag of its body that no row will ever match."""
    body = dump_json(envelope(kind, entries, meta))
    return unless_known(call, body, body_etag(body))
