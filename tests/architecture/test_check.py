"""`deploy/check`: everything, or the packages that are named, or a plain refusal."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.architecture.mutants import MUTANTS
from tests.support.shared import ROOT

STUB = """#!/bin/sh
echo "$(basename "$0") $*"
case "$*" in *fail*) exit 1 ;; esac
"""


def check(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script with stubs in place of the tools, which print how they were called."""
    for tool in ("ruff", "mypy", "lint-imports", "python"):
        (folder / tool).write_text(STUB, encoding="utf-8")
        (folder / tool).chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    script = str(ROOT / "deploy" / "check")
    return subprocess.run([script, *arguments], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "run"),
    [
        ([], "python -m pytest -n logical --maxprocesses 4"),
        (["-k", "votes"], "python -m pytest -n logical --maxprocesses 4 -k votes"),
        (["tests/votes"], "python -m pytest -n logical --maxprocesses 4 tests/votes"),
        (["votes"], "python -m pytest -m not (slow or e2e) tests/votes"),
        (["votes", "retry", "-x"], "python -m pytest -m not (slow or e2e) tests/votes tests/test_retry.py -x"),
    ],
)
def test_words_before_the_first_option_are_packages(tmp_path: Path, arguments: list[str], run: str) -> None:
    """Style, types and contract are those of all files in either form; what is left out is said."""
    said = check(tmp_path, *arguments)
    lines = said.stdout.splitlines()
    assert said.returncode == 0, said.stderr
    assert lines[:4] == ["ruff check .", "ruff format --check .", "mypy ", "lint-imports --no-cache"]
    assert lines[4].strip() == run
    assert ("Deselected" in said.stdout) == (arguments[:1] == ["votes"])


def test_tests_that_fail_fail_the_check(tmp_path: Path) -> None:
    """In both forms."""
    assert check(tmp_path, "votes", "-k", "fail").returncode == 1
    assert check(tmp_path, "-k", "fail").returncode == 1


def test_an_unknown_package_is_refused_with_those_there_are(tmp_path: Path) -> None:
    """Nothing is run first."""
    said = check(tmp_path, "votes", "vots")
    assert said.returncode == 2
    assert "no tests of a package 'vots'" in said.stderr
    assert {"votes", "science", "flows", "retry"} <= {*said.stderr.split()}
    assert not said.stdout


def test_faults_are_listed_for_sources_as_they_are() -> None:
    """Each line of the list is found once in its module, in every module of the maths and of the rules."""
    assert len(MUTANTS) >= 40
    for mutant in MUTANTS:
        assert mutant.source(ROOT)
        assert all((ROOT / "tests" / name).is_file() for name in mutant.tests)
    maths = {f"science/{path.name}" for path in (ROOT / "alservice" / "science").glob("[a-z]*.py")}
    assert maths <= {mutant.path for mutant in MUTANTS}


def test_every_module_of_the_maths_has_tests_of_its_name() -> None:
    """Whoever changes a formula knows where it is pinned."""
    modules = {path.stem for path in (ROOT / "alservice" / "science").glob("[a-z]*.py")}
    assert modules <= {path.stem.removeprefix("test_") for path in (ROOT / "tests" / "science").glob("test_*.py")}
