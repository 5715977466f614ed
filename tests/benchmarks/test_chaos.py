"""Chaos and the week: their tables and clocks; the weeks themselves are run by command."""

import pytest

from tests.benchmarks.chaos import FAULTS, Outcome, table
from tests.benchmarks.week import DAYS, slots


def test_every_kind_of_fault_has_a_line_and_nothing_broken_is_left_out() -> None:
    """Weeks that no fault struck, that nobody noticed, and that broke something are told apart."""
    outcomes = [
        Outcome(seed=0, fault="run killed", struck=True, detected_s=0.1, recovered_s=2.0),
        Outcome(seed=1, fault="run killed", struck=True, detected_s=0.3, recovered_s=4.0, by_hand=1, orphans=2),
        Outcome(seed=2, fault="database frozen", struck=True, recovered_s=1.0),
        Outcome(seed=3, fault="database frozen", violations=["tallies differ from a recount"]),
    ]
    lines = table([vars(outcome) for outcome in outcomes]).splitlines()
    assert lines[2] == "| run killed | 2 | 2 | 2 | 0.2, at most 0.3 | 3.0, at most 4.0 | 1 | 2 | 0 |"
    assert lines[3] == "| database frozen | 2 | 1 | 0 | – | 1.0, at most 1.0 | 0 | 0 | 1 |"
    assert lines[4].startswith("| all | 4 | 3 | 2 |")
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_people_come_as_people_do() -> None:
    """Fewer at night, more at the weekend, a burst on Saturday; all of them by Sunday evening."""
    found = slots()
    shares = [share for *_, share in found]
    came = {(day, hour): b - a for (day, hour, b), a in zip(found, [0.0, *shares], strict=False)}
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert came["Mon", 4] < came["Mon", 20] < came["Sun", 20] < came["Sat", 14]
    assert {day for day, *_ in found} == set(DAYS)
