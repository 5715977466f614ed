"""Every package with the digests of its files: made from deploy/constraints.txt, for pip's and uv's --require-hashes.

Run by ``deploy/lock``. Four files that share no package, so that each environment takes what it needs:

- ``product.txt``: what ``pip install alservice`` needs, but for torch;
- ``development.txt``: what the extras add to it;
- ``torch-cpu.txt``: PyTorch's own build for CPUs (Linux), which the registry does not have;
- ``torch-cuda.txt``: the registry's build, on Linux with the CUDA libraries that it brings;

and ``tools.txt``, the installer that ``deploy/with-venv`` starts from. Markers make them good for Linux and macOS and
every Python from 3.11 on.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
CONSTRAINTS: Final = ROOT / "deploy" / "constraints.txt"
LOCKS: Final = ROOT / "deploy" / "locks"
CPU_PAGE: Final = "https://download.pytorch.org/whl/cpu/torch/"
PYTHON: Final = "3.11"

_CUDA: Final = re.compile(r"torch|triton|(nvidia|cuda)-.*")
"""Packages of the GPU's torch, by their whole name."""

_HEADS: Final = {
    "product": "What `pip install alservice` needs, but for torch.",
    "development": "What the extras add to product.txt.",
    "torch-cpu": "torch for CPUs, from https://download.pytorch.org/whl/cpu/torch/ (Linux).",
    "torch-cuda": "torch of the registry; on Linux with CUDA.",
    "tools": "The installer that deploy/with-venv starts from.",
}


def blocks(text: str) -> dict[str, str]:
    """Return the entries of a lock by package: name, version, marker and hashes, as they stand there.

    Parameters
    ----------
    text
        A requirements file with hashes; comments are passed over.
    """
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    entries = [entry for entry in re.split(r"\n(?=\S)", lines) if "==" in entry]
    return {entry.partition("==")[0].strip(): entry.strip() for entry in entries}


def pins(text: str) -> dict[str, str]:
    """Return the version of each package of a lock or a constraints file, by its name as registries compare it."""
    found = re.findall(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def layers(product: Mapping[str, str], everything: Mapping[str, str]) -> dict[str, list[str]]:
    """Share the entries of both resolutions among files, each package in one.

    Parameters
    ----------
    product, everything
        Entries by package: of the product alone, and with all extras.

    Returns
    -------
    Entries of ``product``, ``development`` and ``torch-cuda``.
    """
    shared: dict[str, list[str]] = {"product": [], "development": [], "torch-cuda": []}
    for name in sorted(everything):
        if _CUDA.fullmatch(name):
            shared["torch-cuda"].append(everything[name])
        else:
            shared["product" if name in product else "development"].append(everything[name])
    return shared


def cpu_entry(version: str, digests: Iterable[str]) -> str:
    """Return the entry of torch for CPUs: no registry has the local version, so that no other build takes its place."""
    return " \\\n    ".join([f"torch=={version}+cpu", *(f"--hash=sha256:{digest}" for digest in sorted(digests))])


def cpu_digests(version: str) -> Iterator[str]:
    """Yield the digests of torch for CPUs: of PyTorch's page, of pip's ``find-links`` folder, and those known before.

    A page that is not reached is said, and adds none.
    """
    known = LOCKS / "torch-cpu.txt"
    if known.exists() and f"torch=={version}+cpu" in known.read_text(encoding="utf-8"):
        yield from re.findall(r"sha256:([0-9a-f]{64})", known.read_text(encoding="utf-8"))
    try:
        with urllib.request.urlopen(CPU_PAGE, timeout=20) as reply:
            page = urllib.parse.unquote(reply.read().decode())
        yield from re.findall(rf"/torch-{re.escape(version)}\+cpu-[^#\"]+\.whl#sha256=([0-9a-f]{{64}})", page)
    except (urllib.error.URLError, TimeoutError) as failure:
        print(f"deploy/lock: {CPU_PAGE} is not reached ({failure}); its digests stay as they are", file=sys.stderr)
    for folder in os.environ.get("PIP_FIND_LINKS", "").split():
        for wheel in sorted(Path(folder).glob(f"torch-{version}+cpu-*.whl")):
            yield hashlib.sha256(wheel.read_bytes()).hexdigest()


def compiled(source: str, known: str, *options: str) -> dict[str, str]:
    """Return the entries that uv resolves, for every platform, under the constraints.

    Parameters
    ----------
    source
        A file of requirements, or ``-`` for none but the options'.
    known
        Locks of before: what constraints.txt does not name keeps its version.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "lock.txt"
        out.write_text(known, encoding="utf-8")
        command = [
            "uv",
            "pip",
            "compile",
            "--quiet",
            "--universal",
            "--generate-hashes",
            "--no-annotate",
            "--no-header",
        ]
        command += ["--python-version", PYTHON, "--constraints", str(CONSTRAINTS), "--output-file", str(out), source]
        subprocess.run([*command, *options], check=True, cwd=ROOT)
        return blocks(out.read_text(encoding="utf-8"))


def write(name: str, entries: Sequence[str]) -> None:
    """Write one lock."""
    head = f"# {_HEADS[name]} Made by deploy/lock; do not edit.\n"
    (LOCKS / f"{name}.txt").write_text(head + "\n".join(entries) + "\n", encoding="utf-8")


def main() -> None:
    """Make the locks anew."""
    LOCKS.mkdir(exist_ok=True)
    known = "".join(
        path.read_text(encoding="utf-8") for path in sorted(LOCKS.glob("*.txt")) if path.stem != "torch-cpu"
    )
    everything = compiled("pyproject.toml", known, "--all-extras")
    product = compiled("pyproject.toml", "\n".join(everything.values()))
    found = layers(product, everything)
    found["tools"] = [everything["uv"]]
    found["development"].remove(everything["uv"])
    version = pins(CONSTRAINTS.read_text(encoding="utf-8"))["torch"]
    found["torch-cpu"] = [cpu_entry(version, set(cpu_digests(version)))]
    for name, entries in found.items():
        write(name, entries)
        print(f"deploy/locks/{name}.txt: {len(entries)} packages")


if __name__ == "__main__":
    main()
