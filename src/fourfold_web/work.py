"""Work that takes long, in one thread: requests take turns, a few may wait, and each ends in time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["BusyError", "Turn", "Worker"]

T = TypeVar("T")


class BusyError(Exception):
    """Too many requests wait already."""


class Turn:
    """The time of one request in the thread of a worker. It ends early when its client is gone.

    Attributes:
        gone: is set when nobody waits for the result any more.
    """

    def __init__(self) -> None:
        self.gone = threading.Event()


class Worker:
    """One thread. Whatever it does for one client, the others wait for, up to a number of them.

    Attributes:
        waiting: the most requests that wait or are worked on.
    """

    def __init__(self, name: str, waiting: int) -> None:
        self.waiting, self._count = waiting, 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """A place in the queue.

        Raises:
            BusyError: if all are taken.
        """
        if self._count >= self.waiting:
            raise BusyError(f"{self.waiting} requests wait already; try again in a moment")
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    def start(self, function: Callable[[], object]) -> None:
        """Call a function before anybody asks, so that its result is there."""
        self._pool.submit(function)

    async def run(self, function: Callable[[], T]) -> T:
        """The result of a function that the thread calls."""
        with self._place():
            return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    async def rows(self, rows: Callable[[Turn], Iterator[T]], seconds: float) -> AsyncIterator[T]:
        """What an iterator gives, one after the other, while the thread goes on.

        Args:
            rows: makes the iterator. It should look at :attr:`Turn.gone` where it takes long.
            seconds: how long a row may wait for its client before the work ends.
        """
        loop, turn = asyncio.get_running_loop(), Turn()
        queue: asyncio.Queue[T | BaseException | None] = asyncio.Queue(8)

        def put(row: T | BaseException | None) -> None:
            asyncio.run_coroutine_threadsafe(queue.put(row), loop).result(seconds)

        def work() -> None:
            try:
                for row in rows(turn):
                    if turn.gone.is_set():
                        return
                    put(row)
                put(None)
            except Exception as error:
                if not turn.gone.is_set():
                    put(error)

        with self._place():
            task = loop.run_in_executor(self._pool, work)
            try:
                while (row := await queue.get()) is not None:
                    if isinstance(row, BaseException):
                        raise row
                    yield row
            finally:
                turn.gone.set()
                while not queue.empty():  # a thread that waits for room in the queue goes on, and sees that all is over
                    queue.get_nowait()
                task.cancel()
