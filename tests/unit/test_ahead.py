from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count

import pytest

from secondlook.ahead import ahead


def test_the_same_items_in_the_same_order() -> None:
    with ahead(iter(range(50))) as items:
        assert list(items) == list(range(50))
    with ahead(iter(())) as items:
        assert list(items) == []


def test_what_making_an_item_raises_is_raised_where_it_is_taken() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("second")

    with ahead(broken()) as items:
        assert next(items) == 1
        with pytest.raises(ValueError, match="second"):
            next(items)


def test_no_more_is_made_than_one_step_ahead() -> None:
    made = []
    taken = threading.Semaphore(0)

    def items() -> Iterator[int]:
        for number in count():
            made.append(number)
            taken.release()
            yield number

    with ahead(items()) as found:
        next(found)
        for _ in range(3):  # the one taken, the one waiting, the one being made
            assert taken.acquire(timeout=30)
        assert not taken.acquire(timeout=0.5)
    assert made == [0, 1, 2]


def test_the_thread_ends_when_nobody_takes_its_items() -> None:
    before = set(threading.enumerate())
    with ahead(iter(count())) as items:
        next(items)
        own = set(threading.enumerate()) - before
    for thread in own:
        thread.join(timeout=30)
        assert not thread.is_alive()
