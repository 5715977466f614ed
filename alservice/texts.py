"""Text from people and from outside: what the audit takes, and what a log or a page may show of the rest."""

from __future__ import annotations

import re
from typing import Final

from alservice.errors import BadInput

MAX_REASON: Final = 1000
"""Characters of a reason: a paragraph, which every page of events can show."""

MAX_ACTOR: Final = 200
"""Characters of who acts."""

_HIDDEN: Final = re.compile(
    "["
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # controls but tab and line ends: a terminal obeys them
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # directions: what follows is read the other way round
    "\u200b\u2028\u2029\u2060-\u2064\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # unseen, or a line of their own
    "\ud800-\udfff"  # halves of a character
    "]"
)

_LINE_ENDS: Final = re.compile(r"[\t\n\r]")


def check_reason(reason: str) -> None:
    """Raise `BadInput` unless a reason says something, not too much, and shows all that it says."""
    if not reason.strip() or len(reason) > MAX_REASON:
        raise BadInput(f"a reason of 1 to {MAX_REASON} characters is needed", field="reason")
    found = _HIDDEN.search(reason)
    if found is not None:
        raise BadInput(f"a reason may not hold {_escape(found)}, which nobody sees", field="reason")


def check_actor(actor: str) -> None:
    """Raise `BadInput` unless who acts is one short printable line."""
    if not actor.strip() or len(actor) > MAX_ACTOR or not actor.isprintable():
        raise BadInput(f"who acts is named by 1 to {MAX_ACTOR} printable characters", field="actor")


def visible(text: str, *, one_line: bool = False) -> str:
    """Return text with each character that nobody sees as the escape that Python writes for it.

    Parameters
    ----------
    one_line
        Whether ends of lines and tabs are escaped too, so that text cannot begin a line of its own.
    """
    shown = _HIDDEN.sub(_escape, text)
    return _LINE_ENDS.sub(_escape, shown) if one_line else shown


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
