"""The circuit breaker that threads share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alservice.errors import AllowanceExhausted, BadConfig, ZooniverseUnavailable
from alservice.retry import Circuit

DOWN = ZooniverseUnavailable("502")


def test_failures_in_a_row_open_it_for_good():
    """A success between them starts the count again; once open, nothing closes it, and its message stays."""
    circuit = Circuit(2)
    for fault in (DOWN, None, DOWN):
        circuit.note(fault)
        circuit.check()
    circuit.note(DOWN)
    for late in (None, DOWN):
        with pytest.raises(ZooniverseUnavailable, match="2 failures in a row, the last: 502"):
            circuit.check()
        circuit.note(late)


def test_a_fault_for_a_person_is_raised_as_it_is():
    """Trying again would not help, so the error must not be one that is tried again."""
    circuit = Circuit(1)
    circuit.note(AllowanceExhausted("10,000 of 10,000 uploads are used"))
    with pytest.raises(AllowanceExhausted, match="10,000"):
        circuit.check()


@given(st.lists(st.booleans()), st.integers(1, 5))
def test_it_opens_after_failures_in_a_row(outcomes: list[bool], limit: int) -> None:
    """As soon as so many came without a success between them, and not before."""
    circuit, in_a_row, is_open = Circuit(limit), 0, False
    for failed in outcomes:
        circuit.note(DOWN if failed else None)
        in_a_row = in_a_row + 1 if failed else 0
        is_open = is_open or in_a_row == limit
        if is_open:
            with pytest.raises(ZooniverseUnavailable, match=f"{limit} failures in a row"):
                circuit.check()
        else:
            circuit.check()


def test_it_needs_a_limit() -> None:
    """One that is open from the start would send nothing."""
    with pytest.raises(BadConfig):
        Circuit(0)
