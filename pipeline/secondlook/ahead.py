"""Ahead: how does reading go on while the encoder works? In a thread of its own, one step ahead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")

_LOOK_UP_SECONDS = 0.2
"""How long a thread waits before it looks whether it is still needed, or was asked to stop."""


class _EndedError(Exception):
    """There are no more items."""


@contextmanager
def ahead(items: Iterator[Item]) -> Iterator[Iterator[Item]]:
    """The same items in the same order, the next being made while one is worked on.

    Three exist at most: one worked on, one waiting, one being made. What making them raises is raised where
    they are taken. When the block ends early, the thread ends by itself and is not waited for: a document
    that takes long to parse must not hold up whoever asked to stop.
    """
    ready: Queue[Item | BaseException] = Queue(1)
    over = Event()

    def make() -> None:
        try:
            for item in items:
                _put(ready, item, over)
                if over.is_set():
                    return
            _put(ready, _EndedError(), over)
        except BaseException as cause:  # raised again by whoever takes the items
            _put(ready, cause, over)

    Thread(target=make, daemon=True, name="reading ahead").start()
    try:
        yield _taken(ready)
    finally:
        over.set()


def _put(ready: Queue[Item | BaseException], item: Item | BaseException, over: Event) -> None:
    while not over.is_set():
        try:
            return ready.put(item, timeout=_LOOK_UP_SECONDS)
        except Full:
            continue


def _taken(ready: Queue[Item | BaseException]) -> Iterator[Item]:
    while True:
        try:
            item = ready.get(timeout=_LOOK_UP_SECONDS)  # a wait without end cannot be interrupted on Windows
        except Empty:
            continue
        if isinstance(item, _EndedError):
            return
        if isinstance(item, BaseException):
            raise item
        yield item
