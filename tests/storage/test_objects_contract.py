"""What every object store must do; the same cases run on a folder and on a real S3 server."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from alservice.errors import BadInput, NotFound
from alservice.ids import StoredObject
from alservice.storage import ObjectStore

DATA = b"spiral"
DIGEST = sha256(DATA).hexdigest()
KEY = f"images/{DIGEST[:2]}/{DIGEST}.jpeg"
STORED = StoredObject(key=KEY, digest=DIGEST, size_bytes=6)


def test_bytes_come_back(objects: ObjectStore):
    """What was put under a content-addressed key is read back, existence included."""
    assert not objects.exists(KEY)
    assert objects.put(DATA, kind="images", suffix=".jpeg") == STORED
    assert objects.exists(KEY)
    assert objects.get(KEY) == DATA


def test_empty_bytes_come_back(objects: ObjectStore):
    """An empty object is an object."""
    stored = objects.put(b"", kind="images", suffix="")
    assert stored.size_bytes == 0
    assert objects.get(stored.key) == b""


def test_a_file_is_stored_like_its_bytes(objects: ObjectStore, tmp_path: Path):
    """A file and its bytes get the same key, and the file stays."""
    path = tmp_path / "galaxy"
    path.write_bytes(DATA)
    assert objects.put_file(path, kind="images", suffix=".jpeg") == STORED
    assert objects.get(KEY) == DATA
    assert path.read_bytes() == DATA


def test_putting_twice_gives_the_same_key(objects: ObjectStore, tmp_path: Path):
    """The same bytes are one object, however they come."""
    path = tmp_path / "galaxy"
    path.write_bytes(DATA)
    assert objects.put(DATA, kind="images", suffix=".jpeg") == STORED
    assert objects.put(DATA, kind="images", suffix=".jpeg") == STORED
    assert objects.put_file(path, kind="images", suffix=".jpeg") == STORED
    assert list(objects.keys()) == [KEY]


def test_concurrent_puts_of_the_same_bytes_agree(objects: ObjectStore):
    """Writers that race for one key all succeed and leave one whole object and no temporary one."""
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda _: objects.put(DATA, kind="images", suffix=".jpeg"), range(24)))
    assert stored == [STORED] * 24
    assert objects.get(KEY) == DATA
    assert list(objects.keys()) == [KEY]


@pytest.mark.parametrize("key", [KEY, f"packs/{DIGEST[:2]}/{DIGEST}"])
def test_a_missing_object_is_named(objects: ObjectStore, key: str):
    """Reading what is not there says which key."""
    with pytest.raises(NotFound, match=key):
        objects.get(key)


def test_deleting_is_repeatable(objects: ObjectStore):
    """A deleted key is gone; deleting it again, or before it ever was, is fine."""
    objects.delete(KEY)
    objects.put(DATA, kind="images", suffix=".jpeg")
    objects.delete(KEY)
    objects.delete(KEY)
    assert not objects.exists(KEY)
    assert list(objects.keys()) == []


def test_keys_are_listed_in_order_by_prefix(objects: ObjectStore):
    """Listing is sorted as text and takes any prefix of a key, not only whole folders."""
    kinds = ["images", "images-grey", "packs"]
    stored = sorted(objects.put(bytes([i]), kind=kind, suffix=".bin").key for kind in kinds for i in range(20))
    assert list(objects.keys()) == stored
    for prefix in ("images", "images/", "images-grey/", "pa", stored[-1][:9], stored[0], "none/"):
        assert list(objects.keys(prefix)) == [key for key in stored if key.startswith(prefix)]


def test_an_empty_store_lists_nothing(objects: ObjectStore):
    """A store nobody wrote to has no keys."""
    assert list(objects.keys()) == []


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "images/../../secret", f"images/00/{DIGEST}", ""])
def test_no_name_leaves_the_store(objects: ObjectStore, name: str):
    """Whatever is not a key is refused before the store is touched."""
    for call in (objects.get, objects.exists, objects.delete):
        with pytest.raises(BadInput, match="is not an object key"):
            call(name)


def test_a_kind_cannot_leave_the_store(objects: ObjectStore):
    """Kind and suffix are checked as well."""
    with pytest.raises(BadInput):
        objects.put(DATA, kind="../images", suffix="")
    with pytest.raises(BadInput):
        objects.put(DATA, kind="images", suffix="/../x")


def test_a_check_leaves_nothing_behind(objects: ObjectStore):
    """The probe of a healthy store is gone afterwards."""
    objects.check()
    assert list(objects.keys()) == []


def test_a_group_is_published_by_its_sync(objects: ObjectStore):
    """Many at a time, from several threads, the same bytes once; each comes back."""
    data = [f"galaxy {i % 30}".encode() for i in range(60)]
    with objects.group() as group:
        with ThreadPoolExecutor(4) as pool:
            stored = list(pool.map(lambda each: group.put(each, kind="images", suffix=".jpeg"), data))
        group.sync()
        keys = {each.key for each in stored}
        assert len(keys) == 30
        assert {*objects.keys()} == keys
        assert [objects.get(each.key) for each in stored] == data
        assert group.put(data[0], kind="images", suffix=".jpeg") == stored[0]
        group.sync()
    assert {*objects.keys()} == keys
