"""Workers: everything is done, little is in flight, errors end it."""

import threading
from itertools import count

import pytest

from alservice.retry import Workers


def test_each_item_is_worked_on_once():
    """Results come in any order, one per item."""
    with Workers(4) as workers:
        assert sorted(workers.each(lambda n: n * n, range(100))) == [n * n for n in range(100)]
        assert list(workers.each(lambda n: n, [])) == []


def test_an_endless_source_is_not_run_ahead_of():
    """No more items are taken than four times the threads beyond what was given back."""
    taken = []

    def source():
        for n in count():
            taken.append(n)
            yield n

    with Workers(3) as workers:
        results = workers.each(lambda n: n, source())
        for given in range(1, 50):
            next(results)
            assert len(taken) <= given + 4 * 3
        results.close()


def test_an_error_is_raised_and_nothing_more_is_started():
    """The first error ends the work; what waits in the queue is dropped when the pool closes."""
    started = []

    def work(n):
        started.append(n)
        raise ValueError(n)

    with pytest.raises(ValueError, match=r"\d"), Workers(2) as workers:
        list(workers.each(work, range(1000)))
    assert len(started) <= 4


def test_results_may_keep_the_order_of_their_items():
    """The first one waits until another has run, so several are in hand; no more than four times the threads are."""
    others, taken = threading.Event(), []

    def source():
        for n in range(40):
            taken.append(n)
            yield n

    def work(n):
        assert n or others.wait(20)
        others.set()
        return n * n

    with Workers(2) as workers:
        for given, result in enumerate(workers.in_order(work, source())):
            assert result == given**2
            assert len(taken) <= given + 4 * 2
