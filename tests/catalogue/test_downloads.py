"""Downloads from a local server that resumes, breaks off, lies and refuses."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from alservice.catalogue.gz2 import DownloadInterrupted, RemoteFile, download
from alservice.errors import DigestMismatch, NotFound

CONTENT = bytes(range(256)) * 2000
MD5 = hashlib.md5(CONTENT).hexdigest()


class Shelf(ThreadingHTTPServer):
    """Serves one file the way a test wants; remembers the ranges that it was asked for."""

    cut_after: int | None = None
    resumes = True
    status: int | None = None

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges, self.logins = [], []
        self.url = f"http://127.0.0.1:{self.server_port}/file.bin"


class Handler(BaseHTTPRequestHandler):
    """Answers with the whole file or a range of it."""

    def do_GET(self):
        """Send bytes, fewer than announced if told so."""
        shelf = self.server
        asked = self.headers.get("Range")
        shelf.ranges.append(asked)
        shelf.logins.append(self.headers.get("Authorization"))
        if shelf.status is not None:
            self.send_error(shelf.status)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and shelf.resumes else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: shelf.cut_after])

    def log_message(self, *_):
        """Keep the test's output clean."""


@pytest.fixture
def shelf():
    """A server on this machine."""
    with Shelf() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def the_file(shelf, md5=MD5):
    """Return what to fetch."""
    return RemoteFile(name="file.bin", url=shelf.url, md5=md5)


def fetch(shelf, folder, **changes):
    """Download it."""
    heard = []
    path = download(the_file(shelf, **changes), folder, say=lambda have, total: heard.append((have, total)))
    return path, heard


def test_a_file_arrives_whole_and_verified_and_is_not_fetched_again(shelf, tmp_path) -> None:
    """With its progress told."""
    path, heard = fetch(shelf, tmp_path)
    assert path.read_bytes() == CONTENT
    assert heard[-1] == (len(CONTENT), len(CONTENT))
    fetch(shelf, tmp_path)
    assert shelf.ranges == [None]


def test_a_broken_download_goes_on_where_it_stopped(shelf, tmp_path) -> None:
    """Nothing has the file's name until all of it is here."""
    shelf.cut_after = 200_000
    with pytest.raises(DownloadInterrupted):
        fetch(shelf, tmp_path)
    assert not (tmp_path / "file.bin").exists()
    have = (tmp_path / "file.bin.part").stat().st_size
    assert 0 < have <= 200_000
    shelf.cut_after = None
    path, _ = fetch(shelf, tmp_path)
    assert path.read_bytes() == CONTENT
    assert shelf.ranges == [None, f"bytes={have}-"]


def test_a_server_that_does_not_resume_begins_again(shelf, tmp_path) -> None:
    """The first part is not kept in front of a whole file."""
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:100])
    shelf.resumes = False
    path, _ = fetch(shelf, tmp_path)
    assert path.read_bytes() == CONTENT


def test_a_part_that_is_all_there_is_verified(shelf, tmp_path) -> None:
    """The process died between the last byte and the name."""
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    path, _ = fetch(shelf, tmp_path)
    assert path.read_bytes() == CONTENT


def test_another_file_than_the_published_one_is_refused_and_removed(shelf, tmp_path) -> None:
    """A second try does not go on from rubbish."""
    with pytest.raises(DigestMismatch, match=r"file\.bin: md5"):
        fetch(shelf, tmp_path, md5="0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_verified_too(shelf, tmp_path) -> None:
    """It may be cut, or another release's: it is named and left, since somebody put it there."""
    (tmp_path / "file.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(DigestMismatch, match=r"file\.bin: md5"):
        fetch(shelf, tmp_path)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT[:-1]
    assert shelf.ranges == []


def test_a_login_of_netrc_goes_to_no_publisher(shelf, tmp_path, monkeypatch) -> None:
    """Public data needs none, and a mirror is any server that somebody names."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    fetch(shelf, tmp_path)
    assert shelf.logins == [None]


@pytest.mark.parametrize(("status", "error"), [(404, NotFound), (403, NotFound), (503, DownloadInterrupted)])
def test_a_refusal_says_who_and_what(shelf, tmp_path, status, error) -> None:
    """What may pass is retriable; what is not there is not."""
    shelf.status = status
    with pytest.raises(error, match=f"{shelf.url}.*{status}"):
        fetch(shelf, tmp_path)


def test_no_server_is_an_interruption(shelf, tmp_path) -> None:
    """The address is named."""
    file = RemoteFile(name="file.bin", url="http://127.0.0.1:9/file.bin")
    with pytest.raises(DownloadInterrupted, match=r"127\.0\.0\.1:9"):
        download(file, tmp_path, say=lambda _have, _total: None)
