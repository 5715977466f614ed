"""The bill of materials of an image or an environment: CycloneDX, with licences and digests. Run by ``deploy/bill``."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from alservice.constants import VERSION
from deploy.supply.lock import LOCKS, blocks, pins

_MAKER: Final = LicenseFactory()


def licence_of(package: Distribution) -> str | None:
    """Return what a package says of its licence: an SPDX expression, else its classifiers, else its own words."""
    told = package.metadata
    classified = [
        line.rpartition(" :: ")[2] for line in told.get_all("Classifier") or () if line.startswith("License ::")
    ]
    named = [name for name in classified if name != "OSI Approved"]
    words = (told.get("License") or "").strip().splitlines()
    return told.get("License-Expression") or " AND ".join(named) or (words[0][:100] if words else None)


def digests() -> dict[tuple[str, str], list[str]]:
    """Return the sha256 of every file that the locks allow, by package and version."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in sorted(LOCKS.glob("*.txt")):
        for entry in blocks(path.read_text(encoding="utf-8")).values():
            ((name, version),) = pins(entry).items()
            found[name, version] = re.findall(r"sha256:([0-9a-f]{64})", entry)
    return found


def python_packages(folder: Path) -> Iterator[Component]:
    """Yield the packages of a ``site-packages`` folder, by name.

    A digest stands where the locks allow one file; of several, nothing in an environment says which it was.
    """
    known = digests()
    for package in sorted(distributions(path=[str(folder)]), key=lambda each: each.metadata["Name"].lower()):
        name, version = re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower(), package.version
        licence, files = licence_of(package), known.get((name, version), [])
        yield Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            purl=PackageURL("pypi", None, name, version),
            bom_ref=f"pypi:{name}@{version}",
            licenses=[_MAKER.make_from_string(licence)] if licence else [],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=each) for each in files] if len(files) == 1 else [],
        )


def debian_packages(status: Path) -> Iterator[Component]:
    """Yield the packages of a Debian system's ``dpkg/status``; their licences are in Debian's copyright files."""
    for paragraph in status.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Architecture): (.+)$", paragraph, re.MULTILINE))
        if "Package" in fields:
            name, version = fields["Package"], fields["Version"]
            yield Component(
                name=name,
                version=version,
                type=ComponentType.LIBRARY,
                purl=PackageURL("deb", "debian", name, version, {"arch": fields["Architecture"]}),
                bom_ref=f"deb:{name}@{version}",
            )


def bill(root: Path) -> Bom:
    """Return the bill of an image's root folder, or of a virtual environment.

    Raises
    ------
    SystemExit
        The folder has no packages of Python.
    """
    folders = [*root.glob("opt/alservice/lib/python3.*/site-packages"), *root.glob("lib/python3.*/site-packages")]
    if not folders:
        raise SystemExit(f"deploy/bill: {root} has no packages of Python, neither an image's nor an environment's")
    bom = Bom()
    bom.metadata.component = Component(
        name="alservice",
        version=VERSION,
        type=ComponentType.APPLICATION,
        purl=PackageURL("pypi", None, "alservice", VERSION),
        bom_ref="alservice",
        licenses=[_MAKER.make_from_string("MIT")],
    )
    found = [each for each in python_packages(folders[0]) if each.name != "alservice"]
    status = root / "var" / "lib" / "dpkg" / "status"
    if status.exists():
        found += debian_packages(status)
    bom.components.update(found)
    bom.register_dependency(bom.metadata.component, found)
    return bom


def licences(bom: Bom) -> Iterator[str]:
    """Yield a line per licence of the Python packages: how many have it, and which."""
    by_licence: dict[str, list[str]] = {}
    for component in bom.components:
        if component.purl and component.purl.type == "pypi":
            said = [
                getattr(each, "id", None) or getattr(each, "name", None) or each.value for each in component.licenses
            ]
            by_licence.setdefault(" AND ".join(map(str, said)) or "none told", []).append(component.name)
    for licence, names in sorted(by_licence.items(), key=lambda item: (-len(item[1]), item[0])):
        yield f"{len(names):4} {licence}: {', '.join(sorted(names))}"


def main() -> None:
    """Write the bill, and list the licences."""
    parser = argparse.ArgumentParser(prog="deploy/bill", description=__doc__)
    parser.add_argument("root", type=Path, help="an image's root (buildah mount), or a virtual environment")
    parser.add_argument("--out", type=Path, help="the bill, as CycloneDX 1.6 JSON")
    asked = parser.parse_args()
    bom = bill(asked.root)
    if asked.out:
        asked.out.write_text(JsonV1Dot6(bom).output_as_string(indent=1) + "\n", encoding="utf-8")
        print(f"{asked.out}: {len(bom.components)} components", file=sys.stderr)
    print("\n".join(licences(bom)))


if __name__ == "__main__":
    main()
