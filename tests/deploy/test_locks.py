"""Packages by digest: the locks are those of constraints.txt and pyproject.toml, and environments take nothing else."""

from __future__ import annotations

import re
import tomllib

import pytest

from deploy.supply.lock import LOCKS, blocks, cpu_entry, layers, pins
from tests.support.shared import ROOT

TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(LOCKS.glob("*.txt"))}
CONSTRAINTS = pins((ROOT / "deploy" / "constraints.txt").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(requirements: list[str]) -> set[str]:
    """Return the packages that are required, as registries compare them."""
    return {re.sub(r"[-_.]+", "-", re.split(r"[<>=!~;\[ ]", line)[0]).lower() for line in requirements}


def locked(*files: str) -> dict[str, str]:
    """Return the version of each package of some locks."""
    return {name: version for file in files for name, version in pins(TEXTS[file]).items()}


def test_locks_hold_the_versions_of_the_constraints() -> None:
    """Kind: two lists of one thing. Run deploy/lock after a change of constraints.txt or pyproject.toml."""
    found = locked("product", "development", "torch-cuda", "tools")
    assert {name: version for name, version in found.items() if name in CONSTRAINTS} == CONSTRAINTS
    beside = set(found) - set(CONSTRAINTS)
    entries = {name: entry for text in TEXTS.values() for name, entry in blocks(text).items()}
    # The registry's torch brings CUDA; everything else beside the tested set is for another Python or system.
    assert {name for name in beside if ";" not in entries[name]} == set()
    assert pins(TEXTS["torch-cpu"]) == {"torch": f"{CONSTRAINTS['torch']}+cpu"}


def test_locks_hold_what_the_project_requires() -> None:
    """The product's packages are in product.txt with torch beside it, those of the extras nowhere else."""
    product = set(locked("product"))
    assert names(PROJECT["dependencies"]) == (names(PROJECT["dependencies"]) & product) | {"torch"}
    extras = names([line for lines in PROJECT["optional-dependencies"].values() for line in lines])
    assert extras <= product | set(locked("development", "tools"))


def test_a_package_is_in_one_lock() -> None:
    """Else two files of one environment could differ."""
    files = [name for file in TEXTS if file != "torch-cpu" for name in pins(TEXTS[file])]
    assert len(files) == len(set(files))


@pytest.mark.parametrize("file", sorted(TEXTS))
def test_every_package_has_digests(file: str) -> None:
    """Of every file that a registry has of it."""
    for name, entry in blocks(TEXTS[file]).items():
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), name


def test_entries_are_shared_among_files() -> None:
    """CUDA stays with the torch that needs it; what only the extras bring is development's."""
    everything = {name: f"{name}==1" for name in ("numpy", "nvidia-cublas", "pytest", "torch", "torchvision", "triton")}
    assert layers({"numpy": "", "torch": "", "triton": ""}, everything) == {
        "product": ["numpy==1"],
        "development": ["pytest==1", "torchvision==1"],
        "torch-cuda": ["nvidia-cublas==1", "torch==1", "triton==1"],
    }


def test_entries_are_read_as_they_are_written() -> None:
    """Marker and digests stay with their package."""
    entry = cpu_entry("2.0", ["b" * 64, "a" * 64])
    text = f"# head\n{entry}\nx-y==1 ; sys_platform == 'win32' \\\n    --hash=sha256:{'c' * 64}\n"
    assert blocks(text)["torch"] == entry
    assert entry.index("a" * 64) < entry.index("b" * 64)
    assert pins(text) == {"torch": "2.0+cpu", "x-y": "1"}


@pytest.mark.parametrize("path", ["deploy/with-venv", "docker/Dockerfile"])
def test_environments_are_made_of_locks_alone(path: str) -> None:
    """Kind: a package that nobody pinned. No dependency is resolved, no file without its digest is installed."""
    text = (ROOT / path).read_text(encoding="utf-8").replace("\\\n", " ")
    text = text.replace('"${hashed[@]}"', "--no-deps --require-hashes")
    installs = [line for line in text.splitlines() if re.search(r"pip\S* .*install |\"\$\{pip\[@\]\}\" install", line)]
    assert installs
    for line in installs:
        assert "--no-deps" in line, line
        assert "--require-hashes" in line or '-e "$root"' in line, line


def test_pins_are_read_of_constraints_and_locks() -> None:
    """Names as registries compare them; what is no pin is passed over."""
    assert pins("# x==1\n-e .\nA.b_c==2 \\\n    --hash=sha256:0\n") == {"a-b-c": "2"}
