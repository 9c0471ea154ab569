"""Turns signals that ask to stop into a request, which training answers at the end of its current step."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import final

__all__ = ["Interrupted", "Stop", "signals"]


class Interrupted(KeyboardInterrupt):
    """Training was stopped from outside. Everything is saved."""


@final
@dataclass
class Stop:
    """The number of the signal that asked to stop. 0 if none did."""

    signal: int = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number


def _stopping() -> list[signal.Signals]:
    """The signals of the keyboard, of ``kill``, and of a terminal that closes, unless ``nohup`` ignores that one."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


@contextlib.contextmanager
def signals() -> Iterator[Stop]:
    """Inside, a signal that asks to stop becomes a request, so that no step is cut in half. A second one interrupts."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop) for number in _stopping()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
