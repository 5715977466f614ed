"""Each stage is a package with a door: a few names that others need first, loaded when they are asked for."""

import ast
import importlib
import subprocess
import sys

import pytest

from tests.support.shared import ROOT

DOORS = {"cli", "testing", "web"}
"""Packages that are no stage: people, programs and tests come in through them."""

STAGES = sorted(path.parent.name for path in (ROOT / "alservice").glob("*/__init__.py"))
STAGES = [name for name in STAGES if name not in DOORS]

HEAVY = frozenset(
    {"torch", "sqlalchemy", "prefect", "pandas", "pyarrow", "PIL", "boto3", "panoptes_client", "matplotlib"}
)


def typed(package: str) -> set[str]:
    """Return the names that a type checker sees in a package's own file, imported or defined."""
    source = (ROOT / "alservice" / package / "__init__.py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    return imported | {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_offers_three_to_eight_names(stage: str) -> None:
    """Its service, its records, its errors: each is there, and a type checker sees the same."""
    package = importlib.import_module(f"alservice.{stage}")
    assert 3 <= len(package.__all__) <= 8
    assert len({*package.__all__}) == len(package.__all__)
    assert {*package.__all__} <= typed(stage)
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert not hasattr(package, "no_such_name")
    modules = {path.stem for path in (ROOT / "alservice" / stage).iterdir()}
    assert modules.isdisjoint(package.__all__), "a module of this name would hide it once it is loaded"


def test_a_stage_loads_what_is_asked_for_and_nothing_before() -> None:
    """Importing all of them loads no library that takes its time."""
    program = f"import sys\nfor stage in {STAGES}: __import__(f'alservice.{{stage}}')\nprint(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {name.partition(".")[0] for name in ran.stdout.split()} & HEAVY
