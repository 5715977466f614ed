"""Reasons and actors of the audit, and text from outside made visible."""

import pytest

from alservice.errors import BadInput
from alservice.texts import MAX_REASON, check_actor, check_reason, visible

HIDDEN = [
    "\x00",
    "\x07",
    "\x1b",
    "\x7f",
    "\x9b",
    "\u061c",
    "\u200b",
    "\u200e",
    "\u202e",
    "\u2028",
    "\u2066",
    "\ufeff",
    "\U000e0041",
    "\udc80",
]


@pytest.mark.parametrize("mark", HIDDEN)
def test_what_nobody_sees_is_refused_by_name(mark: str) -> None:
    """Kind: an audit that reads otherwise than it says. Each mark is refused, and shown by its escape."""
    with pytest.raises(BadInput) as refused:
        check_reason(f"approve{mark}d")
    assert refused.value.evidence == {"field": "reason"}
    assert refused.value.message.isprintable()
    with pytest.raises(BadInput):
        check_actor(f"anna{mark}")
    shown = visible(f"a{mark}b")
    assert shown.isprintable()
    assert shown == f"a{mark.encode('unicode_escape').decode()}b"


@pytest.mark.parametrize("reason", ["", " \n", "x" * (MAX_REASON + 1)])
def test_a_reason_says_something_and_not_too_much(reason: str) -> None:
    """Empty, blank or endless ones are refused."""
    with pytest.raises(BadInput, match="a reason of 1 to 1000"):
        check_reason(reason)


@pytest.mark.parametrize("reason", ["two\nlines\r\n\tand a tab", "Å\u00a0Ω 銀河", "می\u200cخواهم", "👩\u200d🚀"])
def test_what_people_write_is_taken(reason: str) -> None:
    """Lines, other scripts with their joiners, and pictures."""
    check_reason(reason)
    assert visible(reason) == reason
    assert "\n" not in visible(reason, one_line=True)
