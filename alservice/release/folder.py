"""The folder of a release: whole or not there, with checksums; what was there before goes only on request."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from alservice.errors import BadInput, Conflict
from alservice.storage.run_folder import cannot_write, claim_folder, write_whole

CHECKSUMS: Final = "SHA256SUMS"
PROVENANCE: Final = "provenance.json"


@contextmanager
def release_folder(out: Path, *, replace: bool) -> Iterator[Path]:
    """Yield an empty folder that gets the name `out`, with checksums, when the block ends without an error.

    It lies hidden beside `out` until then: whatever dies leaves `out` as it was, and the next release to `out` starts
    afresh. Only when a release is replaced is there a moment without one, between two renames.

    Raises
    ------
    Conflict
        `out` exists and is not to be replaced, holds other files than a release, or is being written by another.
    BadInput
        The folder around it does not exist or cannot be written.
    """
    out = out.absolute()
    if not out.parent.is_dir():
        raise BadInput(f"{out.parent}: no such folder", path=str(out.parent))
    scratch = out.with_name(f".{out.name}.release")
    try:
        with claim_folder(scratch, {}):
            try:
                part, before = scratch / "new", scratch / "before"
                _clear(out, part, before)
                _check_free(out, replace=replace)
                part.mkdir()
                yield part
                write_whole(part / CHECKSUMS, checksums(part).encode())
                if out.exists():
                    out.rename(before)
                part.rename(out)
            finally:
                _leave(scratch)
    except OSError as error:
        raise cannot_write(out, error) from error


def checksums(folder: Path) -> str:
    """Return a line per file of a folder, as ``sha256sum -c`` reads them."""
    lines = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        lines.append(f"{digest}  {path.relative_to(folder).as_posix()}\n")
    return "".join(lines)


def write_document(path: Path, document: Any) -> None:
    """Write a JSON document for people and programs."""
    write_whole(path, (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def _clear(out: Path, part: Path, before: Path) -> None:
    """Undo what a release that was killed has left."""
    if before.exists():
        if out.exists():
            shutil.rmtree(before)
        else:
            before.rename(out)
    if part.exists():
        shutil.rmtree(part)


def _leave(scratch: Path) -> None:
    """Remove what nobody needs any more; what cannot be removed is, by the next release."""
    shutil.rmtree(scratch, ignore_errors=True)


def _check_free(out: Path, *, replace: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / PROVENANCE).is_file():
        raise Conflict(f"{out} holds other files than a release: choose another folder", path=str(out))
    if not replace:
        raise Conflict(f"{out} holds a release: choose another folder, or replace it by --replace", path=str(out))
