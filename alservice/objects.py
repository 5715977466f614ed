"""Names of stored objects: an immutable run of bytes is named by its kind and its content.

A key reads ``kind/ab/abcdef...suffix``: the kind groups objects for people and lifecycle rules, the two
digits keep folders small, and the digest lets every reader check what it got.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from alservice.errors import BadInput

_KEY = re.compile(
    r"(?P<kind>[a-z0-9]+(?:-[a-z0-9]+)*)/(?P<shard>[0-9a-f]{2})"
    r"/(?P<digest>(?P=shard)[0-9a-f]{62})(?P<suffix>(?:\.[a-z0-9]+)*)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """An object that is complete and published.

    Parameters
    ----------
    key
        Its name in any object store, made by `object_key`.
    digest
        sha256 of its bytes (64 hex digits).
    size_bytes
        Its length.
    """

    key: str
    digest: str
    size_bytes: int


def object_key(kind: str, digest: str, suffix: str) -> str:
    """Return the key of content: ``kind/`` + two digits + ``/`` + digest + suffix.

    Parameters
    ----------
    kind
        What it is, in lower case with single hyphens inside: ``images``, ``training-sets``.
    digest
        sha256 of the bytes (64 lower-case hex digits).
    suffix
        File name ending, such as ``.parquet``; may be empty.

    Raises
    ------
    BadInput
        If a part is ill-formed, so that no key can leave its store's folder.
    """
    key = f"{kind}/{digest[:2]}/{digest}{suffix}"
    match = _KEY.fullmatch(key)
    if match is None or match["digest"] != digest:
        raise BadInput(f"kind {kind!r}, digest {digest!r}, suffix {suffix!r} do not make an object key")
    return key


def is_object_key(text: str) -> bool:
    """Return whether a name found in a store is a key; temporary and foreign names are not."""
    return _KEY.fullmatch(text) is not None


def digest_of_key(key: str) -> str:
    """Return the sha256 (hex) that a key promises; `BadInput` names a text that is not a key."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise BadInput(f"{key!r} is not an object key")
    return match["digest"]
