"""Everything that is defined is reached: by the product itself, not by its tests and benchmarks alone."""

import ast
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.shared import ROOT

FILES = sorted(
    path
    for top in ("alservice", "flows", "migrations")
    for path in (ROOT / top).rglob("*.py")
    if (ROOT / "alservice" / "testing") not in path.parents  # is there for tests alone
)

HOOKS = {
    "downgrade": "alembic",
    "emit": "logging",
    "get_description": "opentelemetry",
    "handle_one_request": "http.server",
    "log_message": "http.server",
    "makefile": "http.client, of a socket",
    "process_bind_param": "sqlalchemy",
    "process_result_value": "sqlalchemy",
    "readable": "io.RawIOBase",
    "readinto": "io.RawIOBase",
    "rebuild_auth": "requests",
}
"""Methods that a library calls, and which."""

REFERENCES = {
    "binomial_mutual_information": "eq. 24 as the paper has it: what faster scores are compared with",
    "binomial_nll": "the paper's likelihood: what the Dirichlet-multinomial one is compared with",
    "diagram": "the diagram in the documents is compared with it",
    "dirichlet_multinomial_mutual_information": "one question alone: what scores of trees are compared with",
    "encode_posterior": "draws as releases before stored them, which must stay readable",
    "encode_png": "images of tests and of those who make catalogues",
    "cycle_diagram": "the picture of the steps in the documents",
    "decisions_without_posterior": "stopping rules, for whoever asks for votes",
    "lure": "what estimates by inclusion probabilities are compared with, for pools drawn one by one",
    "simulated_joint_information": "joint information by its definition: what the closed form is compared with",
    "to_frame": "an evaluation as a table, for users of `alservice.evaluate`",
    "step_probabilities": "chances of each step, for `lure`",
}
"""Names that the product does not use itself, and why they stay."""


def defined(tree: ast.Module) -> Iterator[str]:
    """Yield the names of a module's functions, classes, methods and constants that nothing registers by a decorator."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            kinds = {ast.unparse(decorator).partition("(")[0] for decorator in node.decorator_list}
            if kinds <= {"dataclass", "property", "cached_property", "staticmethod", "classmethod", "cache"}:
                yield node.name
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        yield from (target.id for target in targets if isinstance(target, ast.Name) and target.id.isupper())


def used(tree: ast.Module) -> Iterator[str]:
    """Yield every name that a module reads, calls or spells in a text of one word."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.rpartition(":")[2].rpartition(".")[2]
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg


def unreached(trees: list[ast.Module]) -> set[str]:
    """Return the names that are defined and used nowhere."""
    uses = Counter(name for tree in trees for name in used(tree))
    return {name for tree in trees for name in defined(tree) if not uses[name] and not name.startswith("__")}


def test_what_is_defined_is_reached() -> None:
    """Kind: offered and unused. Functions, classes and constants that only tests or benchmarks use go, or are used."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in FILES]
    templates = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "alservice").rglob("*.html"))
    found = {name for name in unreached(trees) if not re.search(rf"\b{name}\b", templates)}
    assert sorted(found - {*REFERENCES, *HOOKS}) == []
    assert sorted({*REFERENCES, *HOOKS} - found) == [], "what is reached needs no exception"


@pytest.mark.parametrize(
    ("source", "dead"),
    [
        ("def f(): ...\ndef g(): return f()\n", {"g"}),
        ("@app.get('/')\ndef f(): ...\n", set()),
        ("LIMIT = 3\nx = [LIMIT]\nOTHER = 4\n", {"OTHER"}),
        ("class A:\n    def run(self): ...\nA().run()\n", set()),
        ("HOMES = {'f': 'a:f'}\ndef f(): return HOMES\n", set()),
    ],
)
def test_what_nothing_uses_is_found(source: str, dead: set[str]) -> None:
    """By name; what a decorator registers and what a text names count as used."""
    assert unreached([ast.parse(source)]) == dead
