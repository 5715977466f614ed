"""Addresses of object stores."""

import subprocess
import sys
from pathlib import Path

import pytest

from alservice.errors import BadConfig
from alservice.storage.objects import open_objects


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://localhost{}"])
def test_a_folder_is_a_store(tmp_path: Path, form: str):
    """A path and a file address open the same folder, which is made by the first write only."""
    folder = tmp_path / "my objects"
    address = form.format(folder)
    objects = open_objects(address.replace(" ", "%20") if "://" in address else address)
    assert not folder.exists()
    key = objects.put(b"spiral", kind="images", suffix="").key
    assert (folder / key).read_bytes() == b"spiral"


def test_a_relative_path_is_fixed_when_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A later change of the working directory does not move the store."""
    monkeypatch.chdir(tmp_path)
    objects = open_objects("objects")
    monkeypatch.chdir("/")
    key = objects.put(b"spiral", kind="images", suffix="").key
    assert (tmp_path / "objects" / key).is_file()


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("gs://bucket", "gs"),
        ("file://host/x", "absolute"),
        ("file://", "absolute"),
        ("file:///", "absolute"),
        ("file:///x?y=1", "absolute"),
        ("s3://", "bucket"),
        ("s3:///prefix", "bucket"),
        ("s3://bucket?access_key=x", "access_key"),
        ("s3://bucket?region=", "value"),
        ("s3://bucket?region=a&region=b", "once"),
        ("s3://bucket#x", "value"),
        ("s3://bucket?endpoint_url=127.0.0.1:9000", "endpoint_url"),
        ("s3://bucket?endpoint_url=http://", "endpoint_url"),
        ("s3://bucket?endpoint_url=http://[::1", "malformed"),
        ("s3://[bucket", "malformed"),
    ],
)
def test_a_bad_address_says_what_is_wrong(url: str, named: str):
    """Each mistake in an address is named."""
    with pytest.raises(BadConfig, match=named):
        open_objects(url)


@pytest.mark.parametrize(
    "url",
    ["s3://key:hush-hush@bucket/x", "s3://bucket/x?endpoint_url=http://key:hush-hush@127.0.0.1:9000"],
)
def test_credentials_in_an_address_are_refused_and_not_repeated(url: str):
    """A secret in an address is an error whose message does not spread it."""
    with pytest.raises(BadConfig, match="credentials") as caught:
        open_objects(url)
    assert "hush-hush" not in str(caught.value) + str(caught.value.evidence)


def test_boto3_is_imported_only_for_a_bucket():
    """Commands that use a folder do not pay for boto3."""
    code = (
        "import sys; from alservice.storage.objects import open_objects; open_objects('/x');"
        "sys.exit('boto3' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
