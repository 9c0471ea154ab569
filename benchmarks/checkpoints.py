"""How long a checkpoint keeps the next step waiting, and how much of that a writer in the background could take away.

    python benchmarks/checkpoints.py m l

A transformer of text of each size takes some steps; between them its run folder is written as :func:`fourfold.fit`
does. A writer in the background would still have to copy the state before the next step changes it: what it could take
away is the rest, less what it takes from the steps beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
from provenance import commit

from fourfold.core import Batch
from fourfold.engine.training import begin
from fourfold.paradigms import build
from fourfold.runs.checkpoint import Checkpoint, save_checkpoint, save_model
from fourfold.spaces import Text

RESULTS = Path(__file__).parent / "results" / "checkpoints.json"
EVERY = 60.0
"""Seconds between two checkpoints."""


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """The median of the seconds that something takes."""
    durations = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations)


def measure(size: str, folder: Path, steps: int) -> dict[str, float | str]:
    """One size."""
    torch.manual_seed(0)
    space = Text("", 256)
    model = build("autoregressive", space, size)

    def batches(step: int) -> Batch:
        return Batch(torch.randint(256, (8, 256), generator=torch.Generator().manual_seed(step)))

    loop = begin(model, batches, model.training_defaults)
    loop.step(0.1)
    alone = seconds(lambda: loop.step(0.1), steps)
    loop.state()
    copied = seconds(loop.state, 3)
    checkpoint = seconds(lambda: save_checkpoint(Checkpoint(loop.live() | loop.numbers(), loop.progress), folder), 3)
    weights = seconds(lambda: save_model(model, folder), 3)
    state = loop.state()
    writer = threading.Thread(target=lambda: save_checkpoint(Checkpoint(state, loop.progress), folder))
    writer.start()
    beside = list[float]()
    while writer.is_alive() or not beside:
        beside.append(seconds(lambda: loop.step(0.1)))
    writer.join()
    return {
        "size": size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "written_MB": round(sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6),
        "step_s": round(alone, 3),
        "copy_of_the_state_s": round(copied, 3),
        "checkpoint_s": round(checkpoint, 3),
        "weights_s": round(weights, 3),
        "share_of_the_time": round((checkpoint + weights) / (EVERY + checkpoint + weights), 4),
        "step_beside_the_writer_s": round(statistics.median(beside), 3),
        "steps_beside_the_writer": len(beside),
        "load": round(os.getloadavg()[0], 1),
    }


def write(rows: list[dict[str, float | str]]) -> None:
    """Write the rows for the page of benchmarks."""
    about = {
        "title": "Checkpoints: how long they keep the next step waiting",
        "machine": f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}",
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "command": "benchmarks/checkpoints.py m l --record",
    }
    RESULTS.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", nargs="+")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="write the result to benchmarks/results")
    given = parser.parse_args()
    rows = []
    for size in given.sizes:
        with tempfile.TemporaryDirectory() as place:
            rows.append(measure(size, Path(place), given.steps))
            print(json.dumps(rows[-1]), flush=True)
    if given.record:
        write(rows)


if __name__ == "__main__":
    main()
