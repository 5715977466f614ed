"""Objects as files: what only a file system can do wrong."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from alservice.errors import DigestMismatch, ObjectStoreRefused, ObjectStoreUnavailable, StorageFull
from alservice.storage.objects import LocalObjects

DATA = b"spiral"


def files(root: Path) -> list[Path]:
    """Return every file below a folder."""
    return [path for path in root.rglob("*") if path.is_file()]


def test_corruption_is_found_on_read(tmp_path: Path):
    """Bytes changed on disk are never returned; the error names the key."""
    objects = LocalObjects(tmp_path)
    key = objects.put(DATA, kind="images", suffix="").key
    (tmp_path / key).write_bytes(b"sqiral")
    with pytest.raises(DigestMismatch, match=key):
        objects.get(key)


def test_a_whole_object_is_not_rewritten(tmp_path: Path):
    """A second put of the same bytes leaves the file as it is."""
    objects = LocalObjects(tmp_path)
    key = objects.put(DATA, kind="images", suffix="").key
    before = (tmp_path / key).stat()
    objects.put(DATA, kind="images", suffix="")
    after = (tmp_path / key).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_cut_object_is_healed_by_the_next_put(tmp_path: Path):
    """A file of the wrong length under a key is replaced."""
    objects = LocalObjects(tmp_path)
    key = objects.put(DATA, kind="images", suffix="").key
    (tmp_path / key).write_bytes(DATA[:3])
    objects.put(DATA, kind="images", suffix="")
    assert objects.get(key) == DATA


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int):
    """When the disk fills up the error says so, and neither a key nor a temporary file stays."""

    def full(_: int) -> None:
        raise OSError(reason, os.strerror(reason))

    objects = LocalObjects(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageFull, match="images/"):
            objects.put(DATA, kind="images", suffix="")
        with pytest.raises(StorageFull):
            objects.check()
    assert files(tmp_path) == []
    objects.check()


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (errno.EACCES, ObjectStoreRefused),
        (errno.EROFS, ObjectStoreRefused),
        (errno.EIO, ObjectStoreUnavailable),
        (errno.ESTALE, ObjectStoreUnavailable),
    ],
)
def test_other_disk_errors_are_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int, expected: type[Exception]
):
    """What a person must mend is told from what may pass; nothing is published either way."""

    def broken(_: int) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(expected, match=os.strerror(reason)):
        LocalObjects(tmp_path).put(DATA, kind="images", suffix="")
    assert files(tmp_path) == []


def test_a_root_that_is_a_file_is_refused(tmp_path: Path):
    """A store cannot be opened inside a file."""
    root = tmp_path / "file"
    root.write_bytes(b"")
    with pytest.raises((ObjectStoreRefused, ObjectStoreUnavailable), match="file"):
        LocalObjects(root).check()


KILLED = """
import os, sys
from pathlib import Path
from alservice.storage.objects import LocalObjects
os.fsync = lambda _: os.kill(os.getpid(), 9)
LocalObjects(Path(sys.argv[1])).put(b"spiral", kind="images", suffix="")
"""


def test_a_writer_killed_halfway_publishes_nothing(tmp_path: Path):
    """After kill -9 between write and rename there is no key, and the next writer succeeds."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -9
    objects = LocalObjects(tmp_path)
    assert len(files(tmp_path)) == 1, "the kill came too early to prove anything"
    assert list(objects.keys()) == []
    assert objects.get(objects.put(DATA, kind="images", suffix="").key) == DATA
    assert len(list(objects.keys())) == 1


def test_a_group_publishes_nothing_before_it_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every byte is synced before a name appears, and the names after; what was not synced leaves nothing."""
    objects, seen = LocalObjects(tmp_path), []
    for name in ("sync", "fsync"):
        monkeypatch.setattr(os, name, lambda *_: seen.append(len(list(objects.keys()))))
    with objects.group() as group:
        keys = [group.put(f"{i}".encode(), kind="images", suffix="").key for i in range(40)]
        assert not any(objects.exists(key) for key in keys)
        group.sync()
        assert (seen[0], seen[-1]) == (0, 40)
        group.put(b"late", kind="images", suffix="")
    assert [*objects.keys()] == sorted(keys)
    assert len(files(tmp_path)) == 40


def test_a_disk_that_fills_up_under_a_group_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """At the write or at the sync, and no temporary file stays."""
    objects = LocalObjects(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for broken in ((Path, "write_bytes"), (os, "fsync")):
        with monkeypatch.context() as patch, objects.group() as group:
            patch.setattr(*broken, full)
            with pytest.raises(StorageFull, match="images/"):  # noqa: PT012 - either may say it
                group.put(DATA, kind="images", suffix="")
                group.sync()
    assert not files(tmp_path)
