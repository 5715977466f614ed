"""Keys of stored objects."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alservice.errors import BadInput
from alservice.ids import StoredObject, digest_of_key, is_object_key, object_key

DIGEST = sha256(b"galaxy").hexdigest()


@given(
    st.from_regex(r"[a-z0-9]+(-[a-z0-9]+){0,3}", fullmatch=True),
    st.binary(),
    st.from_regex(r"(\.[a-z0-9]+){0,2}", fullmatch=True),
)
def test_a_key_gives_its_digest_back(kind: str, data: bytes, suffix: str):
    """Kind, digest and suffix make a key in the documented form, from which the digest can be read."""
    digest = sha256(data).hexdigest()
    key = object_key(kind, digest, suffix)
    assert key == f"{kind}/{digest[:2]}/{digest}{suffix}"
    assert digest_of_key(key) == digest
    assert is_object_key(key)


@pytest.mark.parametrize(
    ("kind", "digest", "suffix"),
    [
        ("..", DIGEST, ""),
        ("a/b", DIGEST, ""),
        ("", DIGEST, ""),
        ("Images", DIGEST, ""),
        (".tmp", DIGEST, ""),
        ("images", DIGEST[:-1], ""),
        ("images", DIGEST[:-1], "f"),
        ("images", DIGEST.upper(), ""),
        ("images", DIGEST, "/../../x"),
        ("images", DIGEST, ".jpeg\n"),
        ("images", DIGEST, "jpeg"),
        ("images", "", ""),
    ],
)
def test_ill_formed_parts_are_refused(kind: str, digest: str, suffix: str):
    """Parts that would leave the store's folder, or blur where the digest ends, make no key."""
    with pytest.raises(BadInput, match="do not make an object key"):
        object_key(kind, digest, suffix)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "../../etc/passwd",
        f"/images/{DIGEST[:2]}/{DIGEST}",
        f"images/00/{DIGEST}",
        f"images/{DIGEST[:2]}/{DIGEST}/x",
        f"images/{DIGEST[:2]}/{DIGEST}\n",
        ".tmp/0123456789abcdef",
    ],
)
def test_what_is_not_a_key_is_named(text: str):
    """Foreign names, traversals and a shard that contradicts its digest are not keys."""
    assert not is_object_key(text)
    with pytest.raises(BadInput, match="is not an object key") as caught:
        digest_of_key(text)
    assert repr(text) in str(caught.value)


def test_records_compare_by_content():
    """Two records of the same object are equal, so idempotent puts can be compared."""
    key = object_key("images", DIGEST, ".jpeg")
    assert StoredObject(key=key, digest=DIGEST, size_bytes=6) == StoredObject(key=key, digest=DIGEST, size_bytes=6)
