"""Known faults of pinned packages: the locks against advisories in OSV's form, on disk. Run by ``deploy/audit``.

Advisories are JSON files of https://osv.dev (``PyPI/all.zip`` of its bucket, unpacked), one advisory or a list in each.
Nothing is asked of a network.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from deploy.supply.lock import LOCKS, pins


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One advisory that a pinned version falls under; `fixed` are the versions that it says mend it."""

    package: str
    version: str
    advisory: str
    summary: str
    fixed: tuple[str, ...]


def is_affected(version: str, affected: Mapping[str, Any]) -> bool:
    """Return whether a version is among those of one ``affected`` entry: listed, or within a range of its events.

    Versions that PEP 440 does not know are compared by their text alone; ranges of commits are passed over.
    """
    if version in affected.get("versions", ()):
        return True
    try:
        at = Version(version)
        return any(
            _within(at, spread["events"]) for spread in affected.get("ranges", ()) if spread["type"] == "ECOSYSTEM"
        )
    except InvalidVersion:
        return False


def _within(at: Version, events: Sequence[Mapping[str, str]]) -> bool:
    """Return whether a version lies between an ``introduced`` and the ``fixed`` or ``last_affected`` after it."""
    inside = False
    for event in sorted(events, key=lambda each: (Version(next(iter(each.values()))), "introduced" not in each)):
        if "introduced" in event and at >= Version(event["introduced"]):
            inside = True
        if "fixed" in event and at >= Version(event["fixed"]):
            inside = False
        if "last_affected" in event and at > Version(event["last_affected"]):
            inside = False
    return inside


def findings(pinned: Mapping[str, str], advisories: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield what is known of the pinned packages; advisories that were withdrawn say nothing.

    Parameters
    ----------
    pinned
        Version by package, names as registries compare them.
    advisories
        Documents of OSV's schema.
    """
    for advisory in advisories:
        for affected in () if "withdrawn" in advisory else advisory.get("affected", ()):
            package = affected.get("package", {})
            name = re.sub(r"[-_.]+", "-", package.get("name", "")).lower()
            if package.get("ecosystem") != "PyPI" or name not in pinned or not is_affected(pinned[name], affected):
                continue
            events = [event for spread in affected.get("ranges", ()) for event in spread["events"]]
            yield Finding(
                package=name,
                version=pinned[name],
                advisory=advisory["id"],
                summary=advisory.get("summary", ""),
                fixed=tuple(event["fixed"] for event in events if "fixed" in event),
            )


def read(paths: Sequence[Path]) -> list[Mapping[str, Any]]:
    """Return the advisories of some files and folders.

    Raises
    ------
    SystemExit
        A file is no JSON, or nothing was there to read: no advisories are no good news.
    """
    found: list[Mapping[str, Any]] = []
    for path in (file for given in paths for file in (sorted(given.rglob("*.json")) if given.is_dir() else [given])):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as failure:
            raise SystemExit(f"deploy/audit: {path}: {failure}") from failure
        found += document if isinstance(document, list) else [document]
    if not found:
        raise SystemExit("deploy/audit: there are no advisories to compare with")
    return found


def main() -> None:
    """List what is known; exit with 1 when something is that `--accept` does not name."""
    parser = argparse.ArgumentParser(prog="deploy/audit", description=__doc__.partition("\n")[0])
    parser.add_argument("advisories", type=Path, nargs="+", help="files or folders of OSV's JSON")
    parser.add_argument("--accept", default="", help="ids of advisories that somebody has judged, by comma")
    asked = parser.parse_args()
    pinned = {name: version for path in sorted(LOCKS.glob("*.txt")) for name, version in pins(path.read_text()).items()}
    pinned["torch"] = pinned["torch"].partition("+")[0]
    advisories = read(asked.advisories)
    known = [each for each in findings(pinned, advisories) if each.advisory not in asked.accept.split(",")]
    for each in known:
        mended = ", ".join(each.fixed) or "nothing yet"
        print(f"{each.package} {each.version}: {each.advisory} {each.summary} (mended by {mended})")
    print(f"{len(pinned)} packages, {len(advisories)} advisories: {len(known)} apply")
    raise SystemExit(1 if known else 0)


if __name__ == "__main__":
    main()
