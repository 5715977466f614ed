"""Object stores, opened by URL."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from alservice.errors import BadConfig
from alservice.storage import ObjectStore
from alservice.storage.objects import LocalObjects

_S3_OPTIONS: Final = frozenset({"endpoint_url", "region"})


def open_objects(url: str) -> ObjectStore:
    """Return the object store at an address; nothing is read or written yet.

    Parameters
    ----------
    url
        A directory (``/srv/objects`` or ``file:///srv/objects``) or a bucket
        (``s3://bucket/prefix?endpoint_url=http://127.0.0.1:9000&region=us-east-1``, both options optional).
        Credentials come from the AWS environment, never from the address.

    Raises
    ------
    BadConfig
        Naming what is wrong, never quoting the address, which may hold a secret.
    """
    if "://" not in url:
        if not url.strip():
            raise BadConfig("the object store's address is empty")
        return LocalObjects(Path(url).absolute())
    parts = _split(url)
    if parts.scheme == "file":
        return _open_file(parts)
    if parts.scheme == "s3":
        return _open_s3(parts)
    raise BadConfig(f"object store: unknown scheme {parts.scheme!r}; use a path, file:// or s3://")


def _open_file(parts: SplitResult) -> ObjectStore:
    if parts.netloc not in {"", "localhost"} or parts.path in {"", "/"} or parts.query or parts.fragment:
        raise BadConfig("object store: file:// takes one absolute path, as in file:///srv/objects")
    return LocalObjects(Path(unquote(parts.path)))


def _open_s3(parts: SplitResult) -> ObjectStore:
    _refuse_credentials(parts)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(pairs)
    if unknown := sorted(set(options) - _S3_OPTIONS):
        raise BadConfig(f"object store: s3:// knows {sorted(_S3_OPTIONS)}, not {unknown}")
    if len(options) < len(pairs) or "" in options.values() or parts.fragment:
        raise BadConfig("object store: each option of s3:// is given once and with a value")
    if "endpoint_url" in options:
        endpoint = _split(options["endpoint_url"])
        _refuse_credentials(endpoint)
        if endpoint.scheme not in {"http", "https"} or not endpoint.hostname:
            raise BadConfig("object store: endpoint_url must be http:// or https:// and a host")
    if not parts.netloc:
        raise BadConfig("object store: s3:// needs a bucket, as in s3://bucket/prefix")
    from alservice.storage.s3 import S3Objects  # boto3 takes long to import and few commands need it

    return S3Objects(
        parts.netloc,
        unquote(parts.path),
        endpoint_url=options.get("endpoint_url"),
        region=options.get("region"),
    )


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise BadConfig("object store: an address is malformed") from None  # the cause quotes it


def _refuse_credentials(parts: SplitResult) -> None:
    if "@" in parts.netloc:
        raise BadConfig("object store: credentials belong in the AWS environment, not in the address")
