"""The command that measures: what it counts on sources made by hand."""

import ast
from pathlib import Path

from tests.architecture.measure import bodies, importers, is_plumbing, sizes

SOURCES = {
    "alservice/__init__.py": "",
    "alservice/a.py": 'def f():\n    """Say."""\n    x = 1\n    return x\n',
    "alservice/b.py": "from alservice.a import f\n\n\ndef g():\n    return f()\n",
    "alservice/c/__init__.py": "",
    "alservice/c/d.py": "from alservice import a\nfrom alservice.b import g\nimport alservice.c\n",
    "flows/__init__.py": "",
}


def checkout(folder: Path) -> Path:
    """Write the sources."""
    for name, text in SOURCES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    """Files, lines and folders; the docstring is no part of a body."""
    found = sizes(checkout(tmp_path))
    assert (found["files"], found["lines in all"]) == ("6", "12")
    assert found["modules with one importer"] == "3", "the module b, and the packages that c.d names"
    assert found["files of a folder beside `__init__`, five largest"].startswith("alservice 2, c 1")
    assert [*bodies(ast.parse(SOURCES["alservice/a.py"]))] == [2]


def test_importers_are_modules_that_name_a_module(tmp_path: Path) -> None:
    """By the module or by a name in it; a package does not import itself."""
    root = checkout(tmp_path)
    trees = {root / name: ast.parse(text) for name, text in SOURCES.items()}
    found = importers(root, trees)
    assert found["alservice.a"] == {"alservice.b", "alservice.c.d"}
    assert found["alservice.b"] == {"alservice.c.d"}


def test_plumbing_is_known_by_folder_and_name() -> None:
    """On layouts by material and by stage alike."""
    assert is_plumbing("alservice/rehearsal/standin/state.py")
    assert is_plumbing("alservice/adapters/progress.py")
    assert not is_plumbing("alservice/adapters/sql/landing.py")
