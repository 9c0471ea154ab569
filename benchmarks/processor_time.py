"""Run a script with clocks that count the processor seconds of its process, so that other work changes little.

    python benchmarks/processor_time.py benchmarks/best.py --budget 60s

Every budget, probe and measured time of the script is then one of a single thread of a machine that is free, but for
the caches and cores that processes share. Child processes keep their own clocks.
"""

from __future__ import annotations

import os
import queue  # noqa: F401  loaded before the clocks change: waiting threads wait by the clock on the wall
import runpy
import sys
import threading  # noqa: F401  the same
import time
from pathlib import Path


def main() -> None:
    """Replace the clocks, and run the script that the arguments name."""
    os.environ["OMP_NUM_THREADS"] = "1"
    time.monotonic = time.perf_counter = time.process_time
    script, sys.argv = sys.argv[1], sys.argv[1:]
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
