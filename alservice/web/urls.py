"""Which addresses are pages for people, and where a person logs in."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import Request

_PROGRAMS = ("/api/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/static/", "/caesar/")


def is_page(path: str) -> bool:
    """Return whether a person's browser shows what is at a path."""
    return not path.startswith(_PROGRAMS)


def login_url(request: Request) -> str:
    """Return the address of the login that leads back to a request."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return "/login" if here == "/" else f"/login?next={quote(here, safe='')}"


def safe_next(target: str) -> str:
    """Return where to go after the login: a path of this service, whatever was asked for."""
    is_ours = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_ours and "\\" not in target else "/"
