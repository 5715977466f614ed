"""Objects in a bucket: parts, kills, refusals and servers that misbehave."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from alservice.errors import (
    AlserviceError,
    DigestMismatch,
    NotFound,
    ObjectStoreRefused,
    ObjectStoreUnavailable,
    StorageFull,
)
from alservice.ids import object_key
from alservice.storage.objects import open_objects
from alservice.storage.s3 import S3Objects, translated
from tests.support.s3 import S3Server

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DATA = b"spiral"
MIB = 1024 * 1024
KEY = object_key("images", "0" * 64, ".jpeg")

pytestmark = pytest.mark.usefixtures("credentials")


@pytest.fixture
def objects(rclone: S3Server, prefixes: Iterator[str]) -> S3Objects:
    """An empty store on the real server, with the smallest part size S3 allows and no second tries."""
    return S3Objects(
        rclone.bucket,
        next(prefixes),
        endpoint_url=rclone.endpoint_url,
        part_bytes=5 * MIB,
        max_attempts=1,
    )


@pytest.fixture
def client(rclone: S3Server) -> "S3Client":
    """A plain client of the real server, to look behind the store's back."""
    return boto3.session.Session().client("s3", endpoint_url=rclone.endpoint_url)


def names(objects: S3Objects, client: "S3Client") -> list[str]:
    """Return every name under the store's prefix, temporary ones included."""
    listing = client.list_objects_v2(Bucket=objects._bucket, Prefix=objects._base)
    return [item["Key"].removeprefix(objects._base) for item in listing.get("Contents", ())]


def test_a_large_file_goes_up_in_parts(
    objects: S3Objects, client: "S3Client", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Over 8 MiB the object travels in parts, comes back whole, and leaves no temporary name."""
    parts = []
    objects._client.meta.events.register("before-call.s3.UploadPart", lambda **_: parts.append(1))
    path = tmp_path / "pack"
    path.write_bytes(os.urandom(9 * MIB + 1))
    stored = objects.put_file(path, kind="packs", suffix=".safetensors")
    assert len(parts) == 2
    assert stored.size_bytes == 9 * MIB + 1
    assert objects.get(stored.key) == path.read_bytes()
    assert names(objects, client) == [stored.key]


def test_a_whole_object_is_not_sent_again(objects: S3Objects):
    """A second put of the same bytes asks whether they are there, and uploads nothing."""
    objects.put(DATA, kind="images", suffix="")
    sent = []
    objects._client.meta.events.register("before-call.s3", lambda model, **_: sent.append(model.name))
    objects.put(DATA, kind="images", suffix="")
    assert sent == ["HeadObject"]


def test_corruption_is_found_on_read(objects: S3Objects, client: "S3Client"):
    """Bytes changed in the bucket are never returned; the error names the key."""
    key = objects.put(DATA, kind="images", suffix="").key
    client.put_object(Bucket=objects._bucket, Key=objects._base + key, Body=b"sqiral")
    with pytest.raises(DigestMismatch, match=key):
        objects.get(key)


def test_a_writer_killed_before_publishing_leaves_no_key(
    objects: S3Objects, client: "S3Client", monkeypatch: pytest.MonkeyPatch
):
    """If a writer dies after the upload, its bytes lie under a temporary name that no listing shows."""

    class Killed(BaseException):
        """Stands for SIGKILL: nothing after it runs, cleaning up included."""

    def die(**_: object) -> None:
        raise Killed

    monkeypatch.setattr(objects._client, "copy_object", die)
    monkeypatch.setattr(objects._client, "delete_object", die)
    with pytest.raises(Killed):
        objects.put(DATA, kind="images", suffix="")
    monkeypatch.undo()
    (left,) = names(objects, client)
    assert left.startswith(".tmp/")
    assert list(objects.keys()) == []


def test_a_refused_publication_cleans_up(objects: S3Objects, client: "S3Client", monkeypatch: pytest.MonkeyPatch):
    """If the server refuses the copy, the temporary object is deleted and the refusal is what is raised."""

    def refuse(**_: object) -> None:
        raise ClientError(
            {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "CopyObject"
        )

    monkeypatch.setattr(objects._client, "copy_object", refuse)
    with pytest.raises(ObjectStoreRefused, match="CopyObject"):
        objects.put(DATA, kind="images", suffix="")
    assert names(objects, client) == []


@pytest.mark.parametrize("prefix", ["", "a/b", "/a/b/"])
def test_a_prefix_hides_its_neighbours(rclone: S3Server, prefixes: Iterator[str], prefix: str):
    """Stores under different prefixes of one bucket do not see each other."""
    own, other = (f"{next(prefixes)}/{prefix}" for _ in range(2))
    a, b = (open_objects(rclone.url(name)) for name in (own, other))
    key = a.put(DATA, kind="images", suffix="").key
    assert list(a.keys()) == [key]
    assert list(b.keys()) == []
    assert not b.exists(key)


def calls(objects: S3Objects) -> list[Callable[[], object]]:
    """Return one call per operation that needs the server."""
    return [
        lambda: objects.get(KEY),
        lambda: objects.exists(KEY),
        lambda: objects.delete(KEY),
        lambda: list(objects.keys()),
        lambda: objects.put(DATA, kind="images", suffix=""),
        objects.check,
    ]


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_wrong_credentials_are_named(rclone: S3Server, monkeypatch: pytest.MonkeyPatch, name: str):
    """A wrong key pair is a refusal that trying again cannot mend, and the secret is not repeated."""
    monkeypatch.setenv(name, "hush-hush")
    for call in calls(S3Objects(rclone.bucket, endpoint_url=rclone.endpoint_url)):
        with pytest.raises(ObjectStoreRefused, match="403") as caught:
            call()
        assert "hush-hush" not in str(caught.value)


def test_missing_credentials_are_named(rclone: S3Server, monkeypatch: pytest.MonkeyPatch):
    """Without any key pair the error says that none was found."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(ObjectStoreRefused, match="credentials"):
        S3Objects(rclone.bucket, endpoint_url=rclone.endpoint_url).check()


def test_a_server_that_is_down_is_unavailable(rclone: S3Server):
    """Nobody listening is an error that may pass, and it names the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.server_close()
    address = f"http://127.0.0.1:{server.server_port}"
    for call in calls(S3Objects("galaxies", endpoint_url=address, max_attempts=1)):
        with pytest.raises(ObjectStoreUnavailable, match=address):
            call()


@pytest.mark.parametrize("server", ["rclone", "moto"])
def test_a_missing_bucket_is_named(request: pytest.FixtureRequest, server: str):
    """A bucket that does not exist is a refusal, not a missing object."""
    address = request.getfixturevalue(server).endpoint_url
    objects = S3Objects("nowhere", endpoint_url=address, max_attempts=1)
    for call in (objects.check, lambda: list(objects.keys()), lambda: objects.get(KEY)):
        with pytest.raises(ObjectStoreRefused, match=r"nowhere.*NoSuchBucket"):
            call()


def test_the_store_works_on_another_server(moto: S3Server):
    """The same client settings serve moto: parts, copy, listing and missing objects."""
    boto3.session.Session().client("s3", endpoint_url=moto.endpoint_url).create_bucket(Bucket=moto.bucket)
    objects = S3Objects(moto.bucket, endpoint_url=moto.endpoint_url, part_bytes=5 * MIB)
    objects.check()
    stored = objects.put(os.urandom(9 * MIB), kind="packs", suffix="")
    assert list(objects.keys()) == [stored.key]
    with pytest.raises(NotFound, match=KEY):
        objects.get(KEY)


@contextmanager
def answering(respond: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Run a server that treats every request alike; give its address."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline()
            if self.raw_requestline and self.parse_request():
                respond(self)
            self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_in_trouble_is_unavailable(status: int):
    """Errors of the server, and its wish to be left alone for a while, may pass."""

    def respond(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(f"HTTP/1.1 {status} Trouble\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())

    with answering(respond) as address:
        objects = S3Objects("galaxies", endpoint_url=address, max_attempts=1)
        for call in (lambda: objects.get(KEY), lambda: objects.exists(KEY), lambda: list(objects.keys())):
            with pytest.raises(ObjectStoreUnavailable, match=str(status)):
                call()


def test_a_body_that_ends_early_is_unavailable():
    """A connection cut inside an object gives an error, never a short object."""

    def respond(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nspiral")

    with (
        answering(respond) as address,
        pytest.raises(ObjectStoreUnavailable, match=KEY),
    ):
        S3Objects("galaxies", endpoint_url=address, max_attempts=1).get(KEY)


def test_a_silent_server_is_unavailable():
    """A server that accepts a request and never answers is given up after the read timeout."""
    over = Event()

    def respond(_: BaseHTTPRequestHandler) -> None:
        over.wait(20)

    with answering(respond) as address:
        objects = S3Objects("galaxies", endpoint_url=address, max_attempts=1, read_timeout_s=0.05)
        try:
            with pytest.raises(ObjectStoreUnavailable, match="Read timeout"):
                objects.get(KEY)
        finally:
            over.set()


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (404, "NoSuchKey", NotFound),
        (404, "NoSuchBucket", ObjectStoreRefused),
        (400, "ExpiredToken", ObjectStoreRefused),
        (400, "RequestTimeout", ObjectStoreUnavailable),
        (403, "RequestTimeTooSkewed", ObjectStoreRefused),
        (408, "", ObjectStoreUnavailable),
        (503, "SlowDown", ObjectStoreUnavailable),
        (507, "XMinioStorageFull", StorageFull),
    ],
)
def test_answers_are_typed(status: int, code: str, expected: type[AlserviceError]):
    """Each answer becomes the error whose type says whether a retry can help."""
    error = ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")
    assert type(translated(error, "object x")) is expected
    assert type(translated(BotoCoreError(), "object x")) is ObjectStoreRefused
