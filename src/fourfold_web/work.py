"""Work that takes long, in one thread: requests take turns, a few may wait, and each ends in time."""

from __future__ import annotations

import asyncio
import math
import threading
import time
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
        seconds: how long it may take.
    """

    def __init__(self, seconds: float) -> None:
        self.gone, self.seconds, self._end = threading.Event(), seconds, math.inf

    def begin(self) -> None:
        """The time runs from here on."""
        self._end = time.monotonic() + self.seconds

    def check(self) -> None:
        """End the turn if its client is gone, or its time is over.

        Raises:
            TimeoutError: if it must end.
        """
        if self.gone.is_set():
            raise TimeoutError("nobody waits for this any more")
        if time.monotonic() > self._end:
            raise TimeoutError(f"a request must be done in {self.seconds:g} s; ask for less, or use the command line")


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

    async def rows(
        self, rows: Callable[[Turn], Iterator[T]], seconds: float, work: float = math.inf
    ) -> AsyncIterator[T]:
        """The items of an iterator, one after the other, while the thread goes on.

        Args:
            rows: makes the iterator. It calls :meth:`Turn.check` where it takes long.
            seconds: how long a row may wait for its client before the work ends.
            work: how long the work may take.
        """
        loop, turn = asyncio.get_running_loop(), Turn(work)
        queue: asyncio.Queue[T | BaseException | None] = asyncio.Queue(8)

        def put(row: T | BaseException | None) -> None:
            asyncio.run_coroutine_threadsafe(queue.put(row), loop).result(seconds)

        def produce() -> None:
            turn.begin()
            try:
                for row in rows(turn):
                    turn.check()
                    put(row)
                put(None)
            except Exception as error:
                if not turn.gone.is_set():
                    put(error)

        with self._place():
            task = loop.run_in_executor(self._pool, produce)
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
