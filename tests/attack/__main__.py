"""``python -m tests.attack [--quick] [--only NAME ...]``: run the tour; fails if anything is not as expected."""

from __future__ import annotations

import argparse
import logging
import sys

from tests.attack.ids import STORED
from tests.attack.target import scratch_target
from tests.attack.tour import ATTACKS, table


def main() -> int:
    """Run what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a part of each attack")
    parser.add_argument("--only", nargs="+", choices=list(ATTACKS), default=list(ATTACKS), help="these attacks")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)  # hundreds of refusals, each as it should be
    with scratch_target(odd=STORED, quick=asked.quick) as target:
        findings = [one for name in asked.only for one in ATTACKS[name](target)]
    sys.stdout.write(table(findings) + "\n")
    return 0 if all(one.held for one in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
