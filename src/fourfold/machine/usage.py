"""The share of the processor that a process got: the time it ran, and the time it was ready but had to wait."""

from __future__ import annotations

import contextlib
import glob
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

__all__ = ["LEAST_SHARE", "Usage", "load_average"]

LEAST_SHARE = 0.8
"""With a smaller share of the processor, a budget in seconds buys clearly less training than on an idle machine."""


@final
@dataclass(frozen=True)
class Usage:
    """Seconds of this process: a reading of three clocks, or the difference of two readings.

    Attributes:
        wall: on the clock.
        processor: of all threads together on a processor.
        waiting: of all threads together, ready to run while others had the processor. NaN where the system does not
            tell.
    """

    wall: float
    processor: float
    waiting: float

    @classmethod
    def now(cls) -> Usage:
        """Read the clocks."""
        return cls(time.perf_counter(), time.process_time(), _waiting())

    def since(self, start: Usage) -> Usage:
        """The difference to an earlier reading."""
        return Usage(self.wall - start.wall, self.processor - start.processor, self.waiting - start.waiting)

    @property
    def share(self) -> float:
        """The time that threads ran, as a share of the time that they were ready to run: 1 on an idle machine.

        It is ``processor / (processor + waiting)``, which does not depend on how many threads a small model keeps busy.
        Where waiting is unknown, it is ``processor / wall``, at most 1: then only a share below one thread's is seen.
        """
        whole = self.processor + self.waiting
        if math.isfinite(whole):
            return self.processor / whole if whole > 0 else 1.0
        return min(self.processor / self.wall, 1.0) if self.wall > 0 else 1.0

    def record(self) -> dict[str, Any]:
        """The same as a JSON value."""
        waiting = None if math.isnan(self.waiting) else round(self.waiting, 3)
        seconds = {"wall": round(self.wall, 3), "processor": round(self.processor, 3), "waiting": waiting}
        return {**seconds, "share": round(self.share, 4)}


def _waiting() -> float:
    """Seconds that the threads of this process have waited in the run queue, as Linux counts them."""
    waits = list[int]()
    for path in glob.glob("/proc/self/task/*/schedstat"):
        with contextlib.suppress(OSError, ValueError, IndexError):  # a thread may end meanwhile
            waits.append(int(Path(path).read_text(encoding="ascii").split()[1]))
    return sum(waits) / 1e9 if waits else math.nan


def load_average() -> float | None:
    """The average number of running or ready processes in the last minute. ``None`` if the system does not tell."""
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return None
