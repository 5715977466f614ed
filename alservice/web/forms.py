"""Forms as pages send them."""

from __future__ import annotations

from urllib.parse import parse_qsl

from fastapi import Request

from alservice.errors import BadInput

MAX_FIELDS = 20


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a URL-encoded form; raises `BadInput` for anything else."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BadInput(f"a form is sent as application/x-www-form-urlencoded, not as {kind[:100] or 'nothing'}")
    try:
        text = (await request.body()).decode()
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"))
    except ValueError as error:
        raise BadInput("the form cannot be read: it is not UTF-8, or has too many fields") from error
