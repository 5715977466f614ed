"""Attacks that are tests already, run as they are: hostile files with their bounds, and what a command takes from outside."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

from tests.attack.target import Finding, Target
from tests.support.shared import ROOT

SUITES: Mapping[str, Sequence[str]] = {
    "hostile files": (
        "tests/catalogue/test_hostile_catalogues.py",
        "tests/votes/test_hostile_votes.py",
        "tests/checks/test_hostile_campaigns.py",
        "tests/network/test_hostile_models.py",
    ),
    "hostile arguments": ("tests/cli/test_shell.py",),
    "canary in the environment": ("tests/e2e/test_canary.py",),
}
"""What is attacked, and the modules of tests that do it."""

LONGEST_S = 1800


def suites(target: Target) -> Iterator[Finding]:
    """Run the tests, each module in a process of its own; the quick form only looks that they are there."""
    for what, modules in SUITES.items():
        for module in modules:
            seen = _there(module) if target.quick else _run(module)
            yield Finding(attack=what, target=module, who="none", expected=frozenset({"held"}), seen=seen)


def _there(module: str) -> str:
    return "held" if (ROOT / module).is_file() else "missing"


def _run(module: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", module],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
    )
    if ran.returncode == 0 and re.search(r"\d+ passed", ran.stdout):
        return "held"
    return next(iter(reversed(ran.stdout.strip().splitlines())), f"exit code {ran.returncode}")
