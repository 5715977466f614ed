"""Calls are counted by outcome, whatever thread makes them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alservice.errors import NotFound, StorageFull
from alservice.meters import METER, CallCount, CallKey, Meter
from alservice.storage.objects import MeasuredObjects, open_objects


def counts(meter: Meter) -> dict[tuple[str, str, str], int]:
    """Return how many calls of which kind, and begin anew."""
    return {(key.adapter, key.call, key.outcome): count.calls for key, count in meter.take().items()}


def test_calls_are_counted_by_outcome() -> None:
    """A typed error counts under its code, any other as error, one that is not the adapter's as ok."""
    meter = Meter()
    for error in (None, StorageFull("full"), ValueError("broken")):
        with pytest.raises(type(error)) if error else meter.measured("a", "b"), meter.measured("a", "b"):
            if error:
                raise error
    with pytest.raises(ValueError, match="not the adapter's"), meter.measured("a", "c", faults=(StorageFull,)):
        raise ValueError("not the adapter's")
    taken = counts(meter)
    assert taken == {("a", "b", "ok"): 2, ("a", "b", "storage-full"): 1, ("a", "b", "error"): 1, ("a", "c", "ok"): 1}
    assert counts(meter) == {}


def test_no_count_is_lost_among_threads() -> None:
    """As many as were made, and those given back are added."""
    meter = Meter()

    def call(_: int) -> None:
        with meter.measured("a", "b"):
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(400)))
    key = CallKey(adapter="a", call="b", outcome="ok")
    taken = meter.take()
    assert taken[key].calls == 400
    meter.add(taken)
    meter.add({key: CallCount(calls=1, seconds=2.0)})
    assert meter.take()[key] == taken[key].plus(CallCount(calls=1, seconds=2.0))


def test_objects_are_counted_and_work_as_before(tmp_path: Path) -> None:
    """Reads, writes and refusals of a store, by the wrapped one's own rules."""
    objects = MeasuredObjects(open_objects(str(tmp_path / "objects")))
    METER.take()
    stored = objects.put(b"some bytes", kind="images", suffix=".jpg")
    (tmp_path / "file").write_bytes(b"more bytes")
    other = objects.put_file(tmp_path / "file", kind="images", suffix=".jpg")
    assert objects.get(stored.key) == b"some bytes"
    assert objects.exists(other.key)
    assert set(objects.keys()) == {stored.key, other.key}
    objects.delete(other.key)
    with pytest.raises(NotFound):
        objects.get(other.key)
    objects.check()
    assert counts(METER) == {
        ("objects", "put", "ok"): 2,
        ("objects", "get", "ok"): 1,
        ("objects", "get", "not-found"): 1,
        ("objects", "exists", "ok"): 1,
        ("objects", "delete", "ok"): 1,
        ("objects", "check", "ok"): 1,
    }
