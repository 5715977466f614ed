"""What docstrings list is there: the names under Parameters and Attributes are those of arguments and fields.

Docstrings of this project list what needs words, and types stand in the signatures alone. pydoclint and numpydoc's
validation ask for every argument and its type again; only the half of theirs that can become untrue is wanted here.
"""

import ast
import inspect
import re
from collections.abc import Iterator

import pytest

from tests.support.shared import ROOT

LISTS = ("Parameters", "Other Parameters", "Attributes")
FILES = sorted(path for top in ("alservice", "flows", "migrations", "tests") for path in (ROOT / top).rglob("*.py"))

Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def listed(docstring: str) -> list[str]:
    """Return the names that a docstring lists, of several on one line each."""
    found: list[str] = []
    lines = inspect.cleandoc(docstring).splitlines()
    is_open = False
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if re.fullmatch("-{3,}", below):
            is_open = line in LISTS
        elif is_open and line and not line[0].isspace() and not re.fullmatch("-{3,}", line):
            found += [name.strip().lstrip("*") for name in line.partition(" : ")[0].split(",")]
    return found


def there(node: Documented) -> list[str]:
    """Return the arguments of a function, or the fields, properties and arguments of a class, in their order."""
    if not isinstance(node, ast.ClassDef):
        given = node.args
        optional = [argument for argument in (given.vararg, given.kwarg) if argument is not None]
        return [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs, *optional)]
    found = [
        field.target.id
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    ]
    for method in (part for part in node.body if isinstance(part, ast.FunctionDef)):
        if method.name == "__init__":
            found += there(method)
            stored = (part for part in ast.walk(method) if isinstance(part, ast.Attribute))
            found += [part.attr for part in stored if isinstance(part.ctx, ast.Store)]
        elif any("property" in ast.dump(decorator) for decorator in method.decorator_list):
            found.append(method.name)
    return found


def drifted(source: str) -> Iterator[str]:
    """Yield what a module's docstrings list that is not there, or is listed twice."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Documented) and (docstring := ast.get_docstring(node)):
            names, known = listed(docstring), there(node)
            faults = [name for name in names if name not in known or names.count(name) > 1]
            yield from (f"{node.name} (line {node.lineno}): {name}" for name in faults)


def test_docstrings_list_what_is_there() -> None:
    """Kind: lists that drift from what they describe. A field that went or was renamed takes its line along."""
    found = {str(path.relative_to(ROOT)): [*drifted(path.read_text(encoding="utf-8"))] for path in FILES}
    assert len(found) > 500
    assert not {path: faults for path, faults in found.items() if faults}


DOCSTRING = """Do it.

Parameters
----------
x, y
    Two.
z
    One.

Returns
-------
int
"""


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ("class A:\n    {}\n    x: int\n    y: int\n    z: int\n", set()),
        ("class A:\n    {}\n    x: int\n    z: int\n", {"y"}),
        ("class A:\n    {}\n    x: int\n    def __init__(self, z): self.y = z\n", set()),
        ("def f(x, *, y, z):\n    {}\n", set()),
        ("async def f(x, **y):\n    {}\n", {"z"}),
        ("def f():\n    {}\n", {"x", "y", "z"}),
    ],
)
def test_what_is_listed_and_not_there_is_found(source: str, faults: set[str]) -> None:
    """Of classes by field, argument and attribute; of functions by argument; several names on a line each."""
    found = {line.rpartition(": ")[2] for line in drifted(source.format(repr(DOCSTRING)))}
    assert found == faults
