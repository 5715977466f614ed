"""Objects in a bucket, over the S3 API."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final
from uuid import uuid4

import boto3
from boto3.s3.transfer import TransferConfig
from botocore import exceptions as boto
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from alservice.errors import AlserviceError, NotFound, ObjectStoreRefused, ObjectStoreUnavailable, StorageFull
from alservice.ids import StoredObject, digest_of_key, is_object_key
from alservice.storage import ObjectGroup
from alservice.storage.objects import TEMPORARY, SingleObjects, check_store, checked, describe

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


CONNECT_TIMEOUT_S: Final = 5.0
"""Seconds to wait for a connection: a store that is down is named quickly."""

READ_TIMEOUT_S: Final = 60.0
"""Seconds to wait for the next bytes of an answer."""

MAX_ATTEMPTS: Final = 5
"""Tries of one request, the first included; boto3 waits between them."""

PART_BYTES: Final = 8 * 1024 * 1024
"""Bytes per part; larger objects go up in parts, of which about ten are in memory at once."""


class S3Objects:
    """An `ObjectStore` under a prefix of a bucket; safe to share between threads.

    An object goes up under ``.tmp/`` and is copied to its key by the server, so correctness never rests on
    conditional writes, which S3 servers treat differently. A killed upload leaves a temporary object behind:
    give the bucket a lifecycle rule that expires ``.tmp/`` and unfinished multipart uploads. One server-side
    copy bounds an object to 5 GiB.

    Parameters
    ----------
    bucket, prefix
        Where the objects live; the prefix may be empty.
    endpoint_url
        Address of the server; None asks AWS.
    region
        Region to sign for; None leaves it to the AWS environment. Credentials always come from there.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
        max_attempts: int = MAX_ATTEMPTS,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._bucket = bucket
        self._base = "".join(f"{folder}/" for folder in prefix.split("/") if folder)
        self._transfer = TransferConfig(multipart_threshold=part_bytes, multipart_chunksize=part_bytes)
        self._client: S3Client = boto3.session.Session().client(
            "s3",
            endpoint_url=endpoint_url,
            region_name=region,
            config=Config(
                connect_timeout=connect_timeout_s,
                read_timeout=read_timeout_s,
                retries={"mode": "standard", "total_max_attempts": max_attempts},
                s3={"addressing_style": "path"},
                # Only AWS itself understands the newer default checksums; the digest in the key checks more.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def put(self, data: bytes, *, kind: str, suffix: str) -> StoredObject:
        """Store bytes; see `ObjectStore.put`."""
        return self._store(io.BytesIO(data), kind=kind, suffix=suffix)

    def put_file(self, path: Path, *, kind: str, suffix: str) -> StoredObject:
        """Store a file's content in flat memory, in parts when it is large; see `ObjectStore.put_file`."""
        with path.open("rb") as source:
            return self._store(source, kind=kind, suffix=suffix)

    def group(self) -> AbstractContextManager[ObjectGroup]:
        """Open a group, of which every object is durable at once; see `ObjectStore.group`."""
        return nullcontext(SingleObjects(self))

    def get(self, key: str) -> bytes:
        """Return checked bytes; see `ObjectStore.get`."""
        digest_of_key(key)
        with s3_faults(self._what(key)):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._base + key)
            with closing(answer["Body"]) as body:
                return checked(key, body.read())

    def exists(self, key: str) -> bool:
        """Return whether a key is published."""
        return self._size(key) is not None

    def delete(self, key: str) -> None:
        """Remove a key; an absent one is fine."""
        digest_of_key(key)
        with s3_faults(self._what(key)):
            self._client.delete_object(Bucket=self._bucket, Key=self._base + key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the published keys that start with a prefix, sorted."""
        pages = self._client.get_paginator("list_objects_v2")
        with s3_faults(self._what(f"{prefix}*")):
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._base + prefix):
                names = (item["Key"].removeprefix(self._base) for item in page.get("Contents", ()))
                yield from filter(is_object_key, names)

    def check(self) -> None:
        """Write, read back and delete a probe; raises what is wrong."""
        check_store(self)

    def _store(self, source: BinaryIO, *, kind: str, suffix: str) -> StoredObject:
        stored = describe(source, kind=kind, suffix=suffix)
        if self._size(stored.key) != stored.size_bytes:
            source.seek(0)
            self._publish(source, stored.key)
        return stored

    def _publish(self, source: BinaryIO, key: str) -> None:
        temporary = f"{self._base}{TEMPORARY}/{uuid4().hex}"
        with s3_faults(self._what(key)):
            self._client.upload_fileobj(source, self._bucket, temporary, Config=self._transfer)
            try:
                self._client.copy_object(
                    Bucket=self._bucket,
                    Key=self._base + key,
                    CopySource={"Bucket": self._bucket, "Key": temporary},
                )
            finally:
                self._client.delete_object(Bucket=self._bucket, Key=temporary)

    def _size(self, key: str) -> int | None:
        digest_of_key(key)
        try:
            with s3_faults(self._what(key)):
                return self._client.head_object(Bucket=self._bucket, Key=self._base + key)["ContentLength"]
        except NotFound:
            return None

    def _what(self, name: str) -> str:
        return f"object {name} in s3://{self._bucket}/{self._base}"


_MISSING: Final = frozenset({"NoSuchKey", "NotFound", "404"})
_LATER: Final = frozenset({"RequestTimeout", "SlowDown", "Throttling", "TooManyRequests"})
_ROAD: Final = (boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError)


@contextmanager
def s3_faults(what: str) -> Iterator[None]:
    """Turn errors of boto3 into ours; `what` names the object and the store."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise translated(error, what) from error


def translated(error: ClientError | BotoCoreError, what: str) -> AlserviceError:
    """Return the typed error of one boto3 error.

    Parameters
    ----------
    error
        Raised by a client call or while a body was read.
    what
        The object and the store, for the message.

    Returns
    -------
    AlserviceError
        `NotFound` for a missing object; `StorageFull` for 507; `ObjectStoreUnavailable` where the same call
        may succeed later; `ObjectStoreRefused` for the rest: credentials, rights, bucket, malformed requests.
    """
    if isinstance(error, ClientError):
        return _of_answer(error, what)
    if isinstance(error, _ROAD):
        return ObjectStoreUnavailable(f"{what}: {error}")
    return ObjectStoreRefused(f"{what}: {error}")


def _of_answer(error: ClientError, what: str) -> AlserviceError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    where = f"{what}: {error.operation_name} was answered {status} {code}".rstrip()
    if code in _MISSING:
        return NotFound(where)
    if status == 507:
        return StorageFull(where)
    if status >= 500 or status in {408, 429} or code in _LATER:
        return ObjectStoreUnavailable(where)
    return ObjectStoreRefused(where)


SIGNED_S: Final = 600
"""Seconds for which a signed address is good: longer than one image is waited for."""


def signed_address(
    clients: dict[str, S3Client], bucket: str, key: str, *, endpoint_url: str | None = None, region: str | None = None
) -> str:
    """Return an address at which an object can be read for `SIGNED_S` by who has no credentials.

    Parameters
    ----------
    clients
        Clients by bucket, made here and kept there.
    endpoint_url, region
        As `S3Objects`.

    Raises
    ------
    ObjectStoreRefused
        There are no credentials in the AWS environment.
    """
    with s3_faults(f"object {key} in s3://{bucket}/"):
        if bucket not in clients:
            clients[bucket] = boto3.session.Session().client(
                "s3",
                endpoint_url=endpoint_url,
                region_name=region,
                config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
            )
        return clients[bucket].generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=SIGNED_S
        )
