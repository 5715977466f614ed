"""A claimed folder: one run, one process, whole files."""

import errno
from pathlib import Path

import pytest

from alservice.errors import BadInput, Conflict, StorageFull
from alservice.storage.run_folder import claim_folder, write_whole


def test_the_same_run_may_come_back(tmp_path: Path) -> None:
    """What it left is there; names that are absent read as None and may be removed."""
    with claim_folder(tmp_path / "a" / "b", {"seed": 1, "shape": (2, 3)}) as folder:
        folder.write("x", b"1")
    with claim_folder(tmp_path / "a" / "b", {"seed": 1, "shape": (2, 3)}) as folder:
        assert (folder.read("x"), folder.read("y")) == (b"1", None)
        folder.remove("x")
        folder.remove("y")
        assert folder.read("x") is None


def test_another_run_is_told_what_differs(tmp_path: Path) -> None:
    """Also a decision that one of the two does not name."""
    with claim_folder(tmp_path / "a", {"seed": 0}):
        pass
    with claim_folder(tmp_path / "a", {"seed": 1}) as folder:  # nothing was done for the first: it is free
        folder.write("x", b"done")
    with pytest.raises(Conflict, match="seed was 1, now it is 2"), claim_folder(tmp_path / "a", {"seed": 2}):
        pass
    with pytest.raises(Conflict, match="px was None, now it is 3"), claim_folder(tmp_path / "a", {"seed": 1, "px": 3}):
        pass
    (tmp_path / "a" / "run.json").write_text("{")
    with pytest.raises(Conflict, match="cannot be read"), claim_folder(tmp_path / "a", {"seed": 1}):
        pass


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second claim is refused while the first holds."""
    with (
        claim_folder(tmp_path / "a", {}),
        pytest.raises(Conflict, match="another process"),
        claim_folder(tmp_path / "a", {}),
    ):
        pass


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    """A folder cannot be where a file is."""
    (tmp_path / "a").write_text("")
    with pytest.raises(BadInput, match="a: cannot be written: "), claim_folder(tmp_path / "a", {}):
        pass


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name keeps the old bytes, and the error says what to do."""
    write_whole(tmp_path / "x", b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageFull, match="No space left"):
        write_whole(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
