"""Files: signed PUTs as Azure takes them, public reads, and signed reads of exports.

The API never learns whether an upload happened: a location is a promise, and a file never put is a 404.
"""

from __future__ import annotations

import hashlib
import hmac
import tempfile
from base64 import b64encode
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

from alservice.standin.config import http_date, stamp
from alservice.standin.errors import invalid, storage_refusal
from alservice.standin.replies import Reply
from alservice.standin.state import Row, Transaction
from alservice.standin.wire import Call

PUBLIC, PRIVATE = "/uploads", "/private"

_REWRITTEN = {"audio/mp3": "audio/mpeg", "audio/x-wav": "audio/mpeg"}
_EXTENSIONS = {
    "application/json": "json",
    "application/pdf": "pdf",
    "audio/aac": "aac",
    "audio/midi": "midi",
    "audio/mp4": "m4a",
    "audio/mpeg": "mpga",
    "audio/wav": "wav",
    "audio/x-m4a": "m4a",
    "audio/x-midi": "midi",
    "image/gif": "gif",
    "image/jpeg": "jpeg",
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/tiff": "tiff",
    "image/x-icon": "ico",
    "text/csv": "csv",
    "text/plain": "txt",
    "video/mp4": "mp4",
    "video/mpeg": "mpeg",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """One file of a subject: a path in this storage, or an external URL stored as it came."""

    content_type: str
    path: str | None = None
    url: str | None = None


def place(tx: Transaction, subject_id: int, revision: int, wanted: list[str | dict[str, str]]) -> list[Location]:
    """Return where the files of a subject will be, in the order submitted.

    Raises
    ------
    RefusalError
        400 for a type outside Panoptes' list.
    """
    return [_place_one(tx, (subject_id, revision, index), entry) for index, entry in enumerate(wanted)]


def _place_one(tx: Transaction, key: tuple[int, int, int], entry: str | dict[str, str]) -> Location:
    named, url = (entry, None) if isinstance(entry, str) else next(iter(entry.items()))
    content_type = _REWRITTEN.get(named, named)
    if content_type not in _EXTENSIONS:
        raise invalid(f"Locations content type {named} is not allowed")
    if url is not None:
        return Location(content_type=content_type, url=url)
    name = tx.derive("location", *key)
    unique = f"{name[:8]}-{name[8:12]}-{name[12:16]}-{name[16:20]}-{name[20:32]}"
    return Location(content_type=content_type, path=f"subject_location/{unique}.{_EXTENSIONS[content_type]}")


def public_url(call: Call, location: Location) -> str:
    """Return where anybody reads a file."""
    return location.url or f"{call.request.base_url}{PUBLIC}/{location.path}"


def upload_url(call: Call, location: Location) -> str:
    """Return the signed URL that takes a PUT of the file until it expires."""
    return location.url or _signed(call, PUBLIC, str(location.path), "rcw")


def private_url(call: Call, path: str) -> str:
    """Return the signed URL of a file that nobody else may read."""
    return _signed(call, PRIVATE, path, "r")


def _signed(call: Call, root: str, path: str, rights: str) -> str:
    expiry = stamp(call.tx.now + timedelta(seconds=call.config.upload_lifetime_s))
    query = {"sp": rights, "se": expiry, "sr": "b", "sig": _signature(call.tx, root, path, rights, expiry)}
    return f"{call.request.base_url}{root}/{path}?{urlencode(query)}"


def _signature(tx: Transaction, root: str, path: str, rights: str, expiry: str) -> str:
    return b64encode(bytes.fromhex(tx.derive("signature", root, path, rights, expiry))).decode()


def _check_signature(call: Call, root: str, rights: str) -> None:
    query = call.request.query
    expiry, given = query.get("se", ""), query.get("sig", "")
    expected = _signature(call.tx, root, call.parameters["path"], rights, expiry)
    if not hmac.compare_digest(given, expected) or expiry <= call.tx.stamp:
        raise storage_refusal(403, "AuthenticationFailed")


def _blob_file(tx: Transaction, path: str) -> Path:
    """Return where a blob lies on disk, by digest: no path from the wire reaches the file system."""
    name = hashlib.sha256(path.encode()).hexdigest()
    return tx.folder / "blobs" / name[:2] / name


def write_blob(tx: Transaction, path: str, content_type: str, content: bytes) -> Row:
    """Store a blob: the file is complete under its name before its row is committed."""
    target = _blob_file(tx, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as temporary:
        temporary.write(content)
    Path(temporary.name).replace(target)
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return tx.only(
        "INSERT OR REPLACE INTO blobs (path, content_type, size, md5, created_at) VALUES (?, ?, ?, ?, ?) RETURNING *",
        path,
        content_type,
        len(content),
        md5,
        tx.stamp,
    )


def _blob(tx: Transaction, path: str) -> Row:
    found = tx.one("SELECT * FROM blobs WHERE path = ?", path)
    if found is None:
        raise storage_refusal(404, "BlobNotFound")
    return found


def _headers(blob: Row) -> dict[str, str]:
    return {
        "ETag": f'"0x{blob["md5"][:16].upper()}"',
        "Content-MD5": b64encode(bytes.fromhex(blob["md5"])).decode(),
        "Last-Modified": http_date(blob["created_at"]),
    }


def put_file(call: Call) -> Reply:
    """Answer the signed PUT of one file.

    Raises
    ------
    RefusalError
        403 for a bad or expired signature or when an API token is sent along, 400 without ``x-ms-blob-type``.
    """
    if "Authorization" in call.request.headers:
        raise storage_refusal(403, "AuthenticationFailed")
    _check_signature(call, PUBLIC, "rcw")
    if call.request.headers.get("x-ms-blob-type") != "BlockBlob":
        raise storage_refusal(400, "MissingRequiredHeader")
    content_type = call.request.headers.get("Content-Type", "application/octet-stream")
    blob = write_blob(call.tx, call.parameters["path"], content_type, call.request.body)
    return Reply(status=201, headers=_headers(blob))


def get_file(call: Call) -> Reply:
    """Answer the public GET of one file."""
    blob = _blob(call.tx, call.parameters["path"])
    content = _blob_file(call.tx, blob["path"]).read_bytes()
    return Reply(status=200, body=content, headers={**_headers(blob), "Content-Type": blob["content_type"]})


def get_private_file(call: Call) -> Reply:
    """Answer the signed GET of an export: gzip, ``text/csv`` without a charset."""
    _check_signature(call, PRIVATE, "r")
    blob = _blob(call.tx, call.parameters["path"])
    return Reply(
        status=200,
        body=_blob_file(call.tx, blob["path"]).read_bytes(),
        headers={
            **_headers(blob),
            "Content-Type": blob["content_type"],
            "Content-Encoding": "gzip",
            "Content-Disposition": f'attachment; filename="{Path(blob["path"]).name}"',
        },
    )
