"""All attacks, and the table that tells what they found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from tests.attack import doors, ids, slow, suites
from tests.attack.target import Finding, Target

Attack = Callable[[Target], Iterable[Finding]]

ATTACKS: Mapping[str, Attack] = {
    "tokens": doors.tokens_at_every_door,
    "ids-shown": ids.shown,
    "ids-asked": ids.asked,
    "slow": slow.slow_clients,
    "suites": suites.suites,
}
"""Name to attack, in the order of the tour."""


def table(findings: Sequence[Finding]) -> str:
    """Return one line for each attack and outcome, and one for each finding that should not be."""
    lines = ["attack         who       outcome    times", "-" * 42]
    times = Counter((one.attack, one.who, one.seen) for one in findings)
    lines += [f"{attack:<14} {who:<9} {seen:<10} {n:>5}" for (attack, who, seen), n in times.items()]
    broken = [one for one in findings if not one.held]
    lines.append(f"{len(findings)} tried, {len(broken)} not as expected")
    lines += [
        f"  {one.attack}: {one.target} as {one.who}: {one.seen}, expected {' or '.join(sorted(one.expected))}"
        for one in broken
    ]
    return "\n".join(lines)
