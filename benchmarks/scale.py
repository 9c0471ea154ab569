"""How long a step takes on several processes: measured on this machine, and predicted for others.

    python benchmarks/scale.py measure     # 1, 2 and 4 processes here, against what their rates predict
    python benchmarks/scale.py predict     # 8, 64 and 1,024 GPUs, from assumed rates

A step takes as long as its products, and the communication that they do not hide:

    ddp    c / 3 + max(2/3 c, 2 (W - 1) / W * 4 N / B) + k L   one ring of gradients, behind the backward pass
    fsdp   max(c, 3 (W - 1) / W * b N / B) + k L               rows brought together twice, gradients shared out once

with the seconds ``c`` of the products in the slowest process, ``W`` processes, ``N`` parameters, ``B`` bytes a second
between processes, ``b`` bytes a parameter, ``k`` operations of ``L`` seconds that nothing hides. Processes that share
the cores with their communication hide nothing: ``c`` and the ring then add up.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from provenance import commit
from torch import multiprocessing

STEPS = 12
RESULTS = Path(__file__).parent / "results" / "scale.json"


def ddp(c: float, world: int, parameters: int, bandwidth: float, waits: float = 0.0, hides: bool = True) -> float:
    """Seconds of a step where each process holds all weights."""
    ring = 2 * (world - 1) / world * 4 * parameters / bandwidth
    return (c / 3 + max(2 / 3 * c, ring) if hides else c + ring) + waits


def fsdp(
    c: float, world: int, parameters: int, bandwidth: float, waits: float = 0.0, hides: bool = True, size: int = 4
) -> float:
    """Seconds of a step where each process holds a shard of every parameter."""
    moved = 3 * (world - 1) / world * size * parameters / bandwidth
    return (max(c, moved) if hides else c + moved) + waits


# --- what this machine does -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def counted() -> Iterator[list[str]]:
    """Inside, operations between processes that Python starts are counted; buckets of DDP are not."""
    names = ("all_reduce", "broadcast", "all_gather", "all_gather_into_tensor", "reduce_scatter_tensor")
    before, calls = {name: getattr(dist, name) for name in (*names, "all_to_all_single")}, list[str]()

    def counting(name: str) -> Callable[..., object]:
        def call(*arguments: object, **settings: object) -> object:
            calls.append(name)
            return before[name](*arguments, **settings)

        return call

    for name in before:
        setattr(dist, name, counting(name))
    try:
        yield calls
    finally:
        for name, value in before.items():
            setattr(dist, name, value)


def work(rank: int, world: int, folder: str) -> None:
    """One process: its products beside the others' without communication, the bandwidth, and both ways to share."""
    from fourfold.data import load
    from fourfold.engine.training import begin
    from fourfold.paradigms import build
    from fourfold.parallel.processes import Processes

    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meet-{world}", rank=rank, world_size=world)
    digits = load("digits")

    def timed(processes: Processes) -> tuple[float, int]:
        """Median seconds until all processes have done a step, and the operations between processes in one."""
        torch.manual_seed(0)
        model = build("diffusion", digits.space, "s")
        settings = {} if processes.world == 1 else {"processes": processes}
        training = model.training_defaults
        training = type(training)(**{**training.__dict__, "batch_size": 32 * processes.world})
        loop = begin(model, digits, training, **settings)
        figures["parameters"] = sum(p.numel() for p in model.parameters())
        times = []
        for _ in range(STEPS):
            if world > 1:
                dist.barrier()
            start = time.perf_counter()
            loop.step(0.1)
            if world > 1:
                dist.barrier()
            times.append(time.perf_counter() - start)
        with counted() as operations:
            loop.step(0.1)
        return statistics.median(times[STEPS // 3 :]), len(operations)

    def median(work: Callable[[], object], times: int) -> float:
        seconds = []
        for _ in range(times):
            dist.barrier()
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds)

    figures: dict[str, float] = {"world": world}
    figures["products"], _ = timed(Processes())
    if world > 1:
        flat, scalar = torch.zeros(int(figures["parameters"])), torch.zeros(1)
        dist.all_reduce(flat)
        figures["wait"] = median(lambda: dist.all_reduce(scalar), 50)
        ring = max(median(lambda: dist.all_reduce(flat), 15) - figures["wait"], 1e-9)
        figures["bandwidth"] = 2 * (world - 1) / world * 4 * len(flat) / ring
        figures["ddp"], figures["ddp_operations"] = timed(Processes(rank, world))
        figures["fsdp"], figures["fsdp_operations"] = timed(Processes(rank, world, sharded=True))
    if rank == 0:
        Path(folder, f"{world}.json").write_text(json.dumps(figures))
    if world > 1:
        dist.barrier()
    os._exit(0)


def measure() -> None:
    """Measure 1, 2 and 4 processes and print what was measured beside what follows from their rates."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for world in (1, 2, 4):
            multiprocessing.spawn(work, (world, folder), nprocs=world)
            rows.append(json.loads(Path(folder, f"{world}.json").read_text()))
    write(rows)


def write(rows: list[dict[str, float]]) -> None:
    """Write what was measured beside what follows from the rates, and print it."""
    table = []
    for row in rows:
        line: dict[str, object] = {"ranks": round(row["world"]), "products, ms": round(1e3 * row["products"])}
        alone = row["world"] == 1
        line["MB/s between ranks"] = None if alone else round(row["bandwidth"] / 1e6)
        line["a wait, ms"] = None if alone else round(1e3 * row["wait"], 1)
        for name, model in (("ddp", ddp), ("fsdp", fsdp)):
            of = () if alone else (row["products"], round(row["world"]), round(row["parameters"]), row["bandwidth"])
            line[f"{name}, ms"] = None if alone else round(1e3 * row[name])
            predicted = None if alone else 1e3 * model(*of, row[f"{name}_operations"] * row["wait"], hides=False)
            line[f"{name} predicted, ms"] = None if predicted is None else round(predicted)
        table.append(line)
    result = {
        "title": "Steps on several processes of one machine, against what their rates predict",
        "machine": f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}",
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "command": "benchmarks/scale.py measure",
        "rows": table,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print("| " + " | ".join(table[0]) + " |\n" + "| --- " * len(table[0]) + "|")
    for line in table:
        print("| " + " | ".join("" if cell is None else str(cell) for cell in line.values()) + " |")


# --- what follows for others ------------------------------------------------------------------------------------------

RATE = 4e14
"""Assumed operations a second of one GPU in bfloat16: 40 % of the 989e12 that a data sheet of 2023 states."""
INSIDE, BETWEEN = 3e11, 4e10
"""Assumed bytes a second of one GPU to others inside a machine of eight, and to other machines."""
WAIT = 2e-5
"""Assumed seconds of a small operation between neighbours; a ring of W takes about log2(W) of them."""
TOKENS = 16 * 1024
"""Tokens or patches of one GPU in a step."""


def predict() -> None:
    """Print step times and the share of the products in them."""
    print("| parameters | GPUs | products | ddp | share | fsdp | share |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for parameters, blocks in ((100_000_000, 14), (1_000_000_000, 20), (10_000_000_000, 40)):
        for world in (8, 64, 1024):
            c = 6 * parameters * TOKENS / RATE
            bandwidth = INSIDE if world <= 8 else BETWEEN
            waits = 3 * blocks * WAIT * world.bit_length()
            whole = ddp(c, world, parameters, bandwidth)
            split = fsdp(c, world, parameters, bandwidth, waits, size=2)
            times = (
                f"{1e3 * c:.0f} ms | {1e3 * whole:.0f} ms | {c / whole:.0%} | {1e3 * split:.0f} ms | {c / split:.0%}"
            )
            print(f"| {parameters / 1e6:,.0f} M | {world:,} | {times} |")


if __name__ == "__main__":
    measure() if sys.argv[1:] == ["measure"] else predict()
