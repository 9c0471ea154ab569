"""The number of threads, and the way they wait. Torch-free, since torch reads these settings when it is loaded."""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

__all__ = ["free_cores", "is_first", "let_threads_sleep", "set_threads", "spinning", "waiting"]

LOAD = Path("/proc/loadavg")


def waiting() -> dict[str, str]:
    """The environment that lets waiting threads sleep, unless the user has set it otherwise.

    By default they spin. On a machine with other work, each barrier then burns the time that the other thread needs:
    beside other jobs, training took six times as long as with one thread, and twice as long with sleeping threads.
    """
    return {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")}


def let_threads_sleep() -> None:
    """Let waiting threads sleep in this process, if torch is not loaded yet."""
    if "torch" not in sys.modules:
        os.environ.update(waiting())


def spinning() -> bool:
    """Whether threads of torch spin while they wait, as far as the environment tells."""
    return os.environ.get("OMP_WAIT_POLICY", "").upper() != "PASSIVE"


def is_first() -> bool:
    """Whether this process speaks and writes for all that ``torchrun`` started."""
    return int(os.environ.get("RANK", "0")) == 0


def set_threads(number: int | None = None) -> None:
    """Set the number of threads to compute with, before torch is loaded.

    Args:
        number: number of threads. ``None`` takes ``OMP_NUM_THREADS``, else the number of free cores.
    """
    os.environ.update(waiting())
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # what the library of processes remarks is not for users
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if number is not None or "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = str(free_cores() if number is None else number)


def free_cores(samples: int = 7, pause: float = 0.015) -> int:
    """The physical cores that this process may use, less the tasks of others that run now. At least 1.

    Args:
        samples: number of looks at the load. The median counts.
        pause: seconds between two looks.
    """
    running = []
    for _ in range(samples):
        running.append(_running())
        time.sleep(pause)
    return max(_cores() - round(statistics.median(running)), 1)


def _running() -> int:
    """The number of other tasks that run or wait for a processor. 0 if the system does not report it."""
    try:
        return max(int(LOAD.read_text(encoding="ascii").split()[3].partition("/")[0]) - 1, 0)
    except (OSError, ValueError, IndexError):
        return 0


def _cores() -> int:
    """Physical cores among the processors that this process may use."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    places = set()
    for cpu in usable:
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        try:
            places.add(tuple((topology / name).read_text("ascii") for name in ("physical_package_id", "core_id")))
        except OSError:
            return len(usable)
    return len(places)
