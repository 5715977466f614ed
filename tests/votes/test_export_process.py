"""An export read by a process of its own: the same batches, the same errors, and no process left behind."""

import gzip
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from alservice.errors import BadInput
from alservice.votes.exports import BadExport, ExportFile, ReaderDied, read_export
from alservice.zooniverse.workflow import tasks_of
from tests.support.exports import export_cells, write_export
from tests.support.worlds import NOON, TREE
from tests.votes.test_classification import raw

TASKS = tasks_of(TREE)


def export(path: Path) -> ExportFile:
    """Return the file as read for workflow 10."""
    return ExportFile(path=path, workflow_ids=frozenset({10}), user_hash_key=b"key", latest=NOON)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Seven rows: one is broken, one is of another workflow."""
    rows = [export_cells(raw(n), TASKS, user_id=str(n % 3)) for n in range(1, 6)]
    rows += [[*rows[0][:10], "{", *rows[0][11:]], export_cells(raw(9, workflow_id=77), TASKS)]
    return write_export(tmp_path / "export.csv", rows)


def test_batches_are_those_of_reading_here(path: Path) -> None:
    """Rows, faults and foreign rows arrive as they are read in one process."""
    apart = list(read_export(export(path), 2, apart_bytes=0))
    assert apart == list(export(path).batches(2))
    assert sum(len(batch.rows) for batch in apart) == 5
    assert not multiprocessing.active_children()


def test_equal_answers_are_one_object_in_all_batches(path: Path) -> None:
    """What volunteers answer alike is kept once, so that memory does not follow the size of a file."""
    apart = list(read_export(export(path), 2, apart_bytes=0))
    assert len({id(row.annotations) for batch in apart for row in batch.rows}) == 1


def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    """The error that the other process met is raised here, with its evidence."""
    other = tmp_path / "table.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(BadExport, match="no column classification_id") as caught:
        list(read_export(export(other), apart_bytes=0))
    assert "annotations" in caught.value.evidence["missing"]
    with pytest.raises(BadInput, match="No such file"):
        read_export(export(tmp_path / "none.csv"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (gzip.compress(b""), "it is empty"),
        (gzip.compress(b"classification_id,user_id\n")[:15], "the header ends with the file"),
        (b'"classification_id,', "the header is cut off"),
        ("größe,a\n".encode("latin-1"), "the header byte 2 is not UTF-8"),
    ],
    ids=["empty", "empty gzip", "gzip cut", "quote cut", "Latin-1"],
)
def test_a_file_without_a_header_says_what_is_wrong(tmp_path: Path, data: bytes, reason: str) -> None:
    """Not that it lacks columns, where nothing of it can be read."""
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    with pytest.raises(BadExport, match=f"table.csv.*{reason}"):
        list(read_export(export(path), apart_bytes=1 << 30))


def test_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    """A pipe gives each row to one reader only, and an export is read twice: for its rows and for its digest."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDWR)
    for path, reason in ((tmp_path, "Is a directory"), (pipe, "is a pipe")):
        with pytest.raises(BadInput, match=reason):
            read_export(export(path))
    os.close(held)


def test_leaving_early_ends_the_process(path: Path) -> None:
    """Whoever stops reading, for an error in landing, leaves no process behind."""
    batches = read_export(export(path), 1, apart_bytes=0)
    next(batches)
    batches.close()
    assert not multiprocessing.active_children()


def test_a_killed_reader_is_an_error_to_try_again(path: Path) -> None:
    """A file is never taken for shorter than it is."""
    path.write_bytes(path.read_bytes() + path.read_bytes().split(b"\n", 1)[1] * 5_000)
    batches = read_export(export(path), 1, apart_bytes=0)
    next(batches)
    (child,) = multiprocessing.active_children()
    os.kill(child.pid or 0, signal.SIGKILL)
    with pytest.raises(ReaderDied, match="the process that read it has died"):
        list(batches)
