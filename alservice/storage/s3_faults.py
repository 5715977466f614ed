"""What an S3 server or the road to it says, as typed errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError

from alservice.errors import AlserviceError, NotFound, ObjectStoreRefused, ObjectStoreUnavailable, StorageFull

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
