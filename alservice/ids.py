"""Names of things, and draws that depend on a name alone."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from alservice.errors import BadInput

MAX_ID_CHARS = 200
"""Longest galaxy id: room for any survey's designation, small enough for an index row."""

CAMPAIGN_NAME = r"^[a-z0-9-]{1,100}$"
"""What a campaign may be called, wherever it is named: in files, on the command line, in addresses and queries."""

NOT_UTF8 = "\ufffd"
"""What readers put in the place of bytes that are no text: no id of anything."""


ROUNDED_REMEDY: Final = "export ids as text or whole numbers, such as by pandas.read_csv(FILE, dtype={'ID': str})"
_ROUNDED: Final = re.compile(r"[+-]?[0-9]+(?:(?:[.,][0-9]*)?[eE]\+[0-9]{1,3}|[.,][0-9]+[eE][0-9]{1,3}|\.0*|,0)")
"""``5.877e+17``, ``5,877E+17``, ``5.877E17``, ``123.0``, ``123.``; not ``12e5``, which may be hexadecimal."""


class RoundedId(BadInput):
    """An id went through a column of floats, which keep 15 to 17 digits: many galaxies may bear it now."""

    code = "rounded-id"
    remedy = "Export the column of ids again as text or whole numbers; pandas makes floats of ids beside empty cells."


def rounded(text: str) -> str | None:
    """Return why a text is a float as programs write them and no id, None if it may be one."""
    if not _ROUNDED.fullmatch(text):
        return None
    return f"{text[:40]!r} is a float and no id, some of its digits may be lost: {ROUNDED_REMEDY}"


def stable_fraction(seed: int | str, galaxy_id: str) -> float:
    """Return a number in [0, 1) that depends on the seed and the id alone.

    The same on every machine and in every order, so that membership of a stream never depends on who else is there.
    """
    return int(hashlib.sha256(f"{seed}:{galaxy_id}".encode()).hexdigest()[:16], 16) / 2**64


def stable_digests(seed: int | str, galaxy_ids: Iterable[str]) -> bytes:
    """Return 32 bytes per id: four numbers of 8 bytes, big end first, the first being 2^64 times `stable_fraction`."""
    start = hashlib.sha256(f"{seed}:".encode())
    digests = []
    for galaxy_id in galaxy_ids:
        digest = start.copy()
        digest.update(galaxy_id.encode())
        digests.append(digest.digest())
    return b"".join(digests)


def seed_of(*parts: int | str) -> int:
    """Return a 63-bit seed that depends on the parts alone, such as ``seed_of(7, "cycle", 3)``."""
    return int(hashlib.sha256(":".join(map(str, parts)).encode()).hexdigest()[:16], 16) >> 1


def hash_user(user_id: str, key: bytes) -> str:
    """Return the keyed hash that stands for a volunteer."""
    return hashlib.blake2b(user_id.encode(), key=key, digest_size=16).hexdigest()


def digest_of_bytes(data: bytes) -> str:
    """Return the sha256 of bytes as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def digest_of_document(document: object) -> str:
    """Return the sha256 of a JSON document in canonical form: sorted keys, no spaces, UTF-8."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return digest_of_bytes(text.encode())


def digest_of_lines(lines: Iterable[str]) -> str:
    """Return the sha256 of lines, each ended by a newline."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()


def check_galaxy_id(galaxy_id: str, *, where: str) -> str:
    """Return the id if it can name a galaxy.

    Raises
    ------
    RoundedId
        It is a number as a column of floats writes it.
    BadInput
        It cannot be shown or stored. Both messages say where it stood.
    """
    if (reason := rounded(galaxy_id)) is not None:
        raise RoundedId(f"{where}: {reason}", where=where)
    fits = 0 < len(galaxy_id) <= MAX_ID_CHARS and galaxy_id == galaxy_id.strip()
    if not fits or not galaxy_id.isprintable() or NOT_UTF8 in galaxy_id:
        raise BadInput(f"{where}: {galaxy_id[:40]!r} cannot be a galaxy id", where=where)
    return galaxy_id


def subject_key(campaign: str, galaxy_id: str) -> str:
    """Return the deterministic key that marks a galaxy's subject in hidden metadata on Zooniverse."""
    return hashlib.sha256(f"alservice:{campaign}:{galaxy_id}".encode()).hexdigest()[:32]


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
