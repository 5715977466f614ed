"""What is shipped: bills of materials, known faults, the contents of images, and wheels that are the same twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy.supply import bill
from deploy.supply.advisories import findings, is_affected, read
from deploy.supply.try_images import leftovers, loose, secrets
from tests.support.shared import ROOT


def advisory(**affected: Any) -> Mapping[str, Any]:
    """Return an advisory of OSV's schema about a package."""
    entry = {"package": {"ecosystem": "PyPI", "name": "Some_Package"}, **affected}
    return {"id": "PYSEC-0", "summary": "reads past the end", "affected": [entry]}


def spread(*events: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return one range of versions."""
    return [{"type": "ECOSYSTEM", "events": list(events)}]


@pytest.mark.parametrize(
    ("version", "affected", "is_known"),
    [
        ("1.4", {"ranges": spread({"introduced": "0"}, {"fixed": "1.5"})}, True),
        ("1.5", {"ranges": spread({"introduced": "0"}, {"fixed": "1.5"})}, False),
        ("1.10", {"ranges": spread({"introduced": "0"}, {"fixed": "1.9"})}, False),  # as versions, not as text
        (
            "2.1",
            {"ranges": spread({"introduced": "0"}, {"fixed": "1.5"}, {"introduced": "2.0"}, {"fixed": "2.2"})},
            True,
        ),
        (
            "1.7",
            {"ranges": spread({"introduced": "0"}, {"fixed": "1.5"}, {"introduced": "2.0"}, {"fixed": "2.2"})},
            False,
        ),
        (
            "1.7",
            {"ranges": spread({"introduced": "2.0"}, {"fixed": "2.2"}, {"introduced": "0"}, {"fixed": "1.5"})},
            False,
        ),
        ("3.0", {"ranges": spread({"introduced": "1"}, {"last_affected": "3.0"})}, True),
        ("3.1", {"ranges": spread({"introduced": "1"}, {"last_affected": "3.0"})}, False),
        ("9", {"ranges": spread({"introduced": "0"})}, True),
        ("1.0", {"versions": ["0.9", "1.0"]}, True),
        ("1.1", {"versions": ["0.9", "1.0"]}, False),
        ("1.1", {"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]}, False),
    ],
)
def test_a_version_is_within_what_an_advisory_says(
    version: str, affected: Mapping[str, Any], *, is_known: bool
) -> None:
    """OSV's evaluation: listed, or after an introduction and before the next fix."""
    assert is_affected(version, affected) is is_known


def test_pinned_packages_are_compared_with_advisories() -> None:
    """By the name as registries compare it; withdrawn ones, other packages and other ecosystems say nothing."""
    known = advisory(ranges=spread({"introduced": "0"}, {"fixed": "1.5"}))
    elsewhere = {
        **known,
        "affected": [{**known["affected"][0], "package": {"ecosystem": "npm", "name": "some-package"}}],
    }
    (found,) = findings({"some-package": "1.4"}, [known, {**known, "withdrawn": "2026-01-01"}, elsewhere])
    assert (found.package, found.advisory, found.fixed) == ("some-package", "PYSEC-0", ("1.5",))
    assert not [*findings({"another": "1.4"}, [known])]


def test_no_advisories_are_no_good_news(tmp_path: Path) -> None:
    """An empty folder or a broken file is refused, by name."""
    with pytest.raises(SystemExit, match="no advisories"):
        read([tmp_path])
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(SystemExit, match=r"broken\.json"):
        read([tmp_path])
    (tmp_path / "broken.json").write_text(json.dumps([advisory()]))
    assert [each["id"] for each in read([tmp_path])] == ["PYSEC-0"]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Make the root of a small image: two packages of Python, one of Debian."""
    packages = tmp_path / "opt" / "alservice" / "lib" / "python3.11" / "site-packages"
    said = {
        "Some_Package-1.4": "License-Expression: MIT OR Apache-2.0",
        "other-2": "Classifier: License :: OSI Approved :: BSD License",
    }
    for name, licence in said.items():
        folder = packages / f"{name}.dist-info"
        folder.mkdir(parents=True)
        package, _, version = name.rpartition("-")
        (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {package}\nVersion: {version}\n{licence}\n")
    status = tmp_path / "var" / "lib" / "dpkg" / "status"
    status.parent.mkdir(parents=True)
    status.write_text(
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\nDescription: C\n\n"
    )
    return tmp_path


def test_a_bill_of_materials_is_cyclonedx(image: Path) -> None:
    """By its schema: every package of the image with version and licence, those of Debian too."""
    document = json.loads(JsonV1Dot6(made := bill.bill(image)).output_as_string())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None
    found = {component["purl"]: component.get("licenses") for component in document["components"]}
    assert found == {
        "pkg:pypi/some-package@1.4": [{"expression": "MIT OR Apache-2.0"}],
        "pkg:pypi/other@2": [{"license": {"name": "BSD License"}}],
        "pkg:deb/debian/libc6@2.36-9?arch=amd64": None,
    }
    assert [*bill.licences(made)] == ["   1 BSD License: other", "   1 MIT OR Apache-2.0: some-package"]


def test_what_is_no_environment_has_no_bill(tmp_path: Path) -> None:
    """An empty bill would say that nothing is in it."""
    with pytest.raises(SystemExit, match="no packages of Python"):
        bill.bill(tmp_path)


def test_contents_of_an_image_are_searched(image: Path) -> None:
    """What everybody may write, keys and tokens, and what only developers need; sticky folders and parsers pass."""
    assert not [*loose(image), *secrets(image), *leftovers(image)]
    (image / "tmp").mkdir()
    (image / "tmp").chmod(0o1777)
    (image / "parser.py").write_text('HEAD = "-----BEGIN PRIVATE KEY-----"; SHOWN = "AKIAIOSFODNN7EXAMPLE"')
    assert not [*loose(image), *secrets(image)]
    (image / "open").write_text("")
    (image / "open").chmod(0o666)
    (image / "key.txt").write_text(f"-----BEGIN RSA PRIVATE KEY-----\n{'A' * 64}\n")
    (image / "token.json").write_text(f'{{"id": "AKIA{"A1" * 8}"}}')
    (image / ".env").write_text("")
    (image / "opt" / "alservice" / "lib" / "python3.11" / "site-packages" / "pytest").mkdir()
    assert [*loose(image)] == ["open"]
    assert sorted(secrets(image)) == [".env", "key.txt", "token.json"]
    assert [*leftovers(image)] == ["pytest"]


@pytest.mark.slow
def test_a_wheel_is_the_same_twice(tmp_path: Path) -> None:
    """Bytes of wheel and sdist follow from the commit; both hold what runs without a checkout, and the revision."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    builds = [
        subprocess.Popen(
            [ROOT / "deploy" / "build", tmp_path / name],
            env={**os.environ, "TZ": zone, "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for name, zone in (("once", "UTC"), ("again", "Asia/Tokyo"))
    ]
    printed = [build.communicate()[0].splitlines()[-2:] for build in builds]
    assert [build.returncode for build in builds] == [0, 0]
    assert printed[0] == printed[1]
    with zipfile.ZipFile(next((tmp_path / "once").glob("*.whl"))) as wheel:
        held = set(wheel.namelist())
    needed = {
        "alservice/REVISION",
        "flows/cycle.py",
        "migrations/env.py",
        "deploy/prefect.yaml",
        "deploy/docs/operate.md",
    }
    assert needed <= held
