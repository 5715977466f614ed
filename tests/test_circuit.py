"""The circuit breaker that threads share."""

import pytest

from alservice.errors import AllowanceExhausted, ZooniverseUnavailable
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
