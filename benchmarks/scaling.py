"""Quality against steps, width and batch: the study behind ``--size auto``.

    python benchmarks/scaling.py run [--data fashion-mnist] [--paradigms diffusion,...] [--sizes s/8,...] [--parts 1,4]

Quality after a number of steps does not depend on the machine. So each pair of a size and a batch is trained once, at a
constant rate, on one core; at steps that double, the averaged weights are judged by the held-out loss and, where
samples are cheap, by the Frechet distance of 200 of them. Times are seconds of processor time, since other work may run
beside. ``python benchmarks/scaling.py speeds`` times steps of the same pairs on machines of other speeds, which the
caller makes: ``OMP_NUM_THREADS`` sets the threads, ``ONEDNN_MAX_CPU_ISA=AVX2`` takes the fast kernels away. Every
result is one line of ``benchmarks/results/scaling.jsonl``; a line that is there already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fourfold import build
from fourfold.core import Training
from fourfold.data import Dataset, load
from fourfold.engine.heldout import HeldOut
from fourfold.engine.loop import Loop, begin
from fourfold.engine.precision import parse_precision
from fourfold.evaluation import examples, headline

RESULTS = Path(__file__).parent / "results" / "scaling.jsonl"
PARADIGMS = ("diffusion", "latent-variable", "adversarial", "autoregressive", "flow", "energy")
SIZES = ("s/8", "s/4", "s/2", "s")
SECONDS: Mapping[str, float] = {"s/8": 20, "s/4": 30, "s/2": 60, "s": 120, "m": 200}
"""Seconds of processor time for the steps of each size."""
SAMPLED = ("diffusion", "latent-variable", "adversarial")
SAMPLES = 200
FIRST, LAST = 25, 6400
"""The steps at which quality is measured first and last."""


def pairs(options: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """Paradigms, sizes and batches in turn; a batch is the preset's, divided by one of ``--parts``."""
    for part in options.parts.split(","):
        for paradigm in options.paradigms.split(","):
            for size in options.sizes.split(","):
                yield paradigm, size, int(part)


def started(paradigm: str, size: str, part: int, data: Dataset, precision: str) -> Loop:
    """A loop with fresh weights at a constant rate, which is reached in about 20 steps."""
    torch.manual_seed(0)
    model = build(paradigm, data.space, size)
    preset = model.training_defaults
    training = replace(preset, batch_size=max(preset.batch_size // part, 8), cooldown=0.0, warmup=0.0)
    return begin(model, data, training, seed=0, precision=parse_precision(precision))


def known() -> list[dict[str, Any]]:
    """The results that are there."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def keep(record: Mapping[str, Any]) -> None:
    """Add a result."""
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def faster(paradigm: str, size: str, part: int, data: Dataset) -> str:
    """The precision in which steps take less time here."""

    def seconds(precision: str) -> float:
        loop = started(paradigm, size, part, data, precision)
        return min(timed(loop) for _ in range(4))

    return min(("float32", "bf16"), key=seconds)


def timed(loop: Loop) -> float:
    """The processor time of one step."""
    start = time.process_time()
    loop.step(0.01)
    return time.process_time() - start


def judged(loop: Loop, data: Dataset, held_out: HeldOut, sampled: bool) -> dict[str, float]:
    """The quality of the averaged weights."""
    found = {name.rpartition("/")[2]: value for name, value in held_out(last=True).items()}
    if sampled:
        chosen = examples(data, SAMPLES)
        with loop.judging():
            x = loop.model.sample(SAMPLES, chosen.cond, seed=0)
        found["frechet"] = headline(x, data, chosen).value
    return {name: round(value, 5) for name, value in found.items()}


def study(paradigm: str, size: str, part: int, data: Dataset, seconds: float) -> dict[str, Any]:
    """Train one pair, and judge it at steps that double."""
    precision = faster(paradigm, size, part, data)
    loop = started(paradigm, size, part, data, precision)
    held_out, spent, curve = HeldOut(loop, data, on=False), 0.0, []
    due = FIRST
    while spent < seconds and loop.progress.steps < LAST:
        step = timed_step(loop)
        spent += step
        if loop.progress.steps == due or spent >= seconds:
            sampled = paradigm in SAMPLED and loop.progress.steps >= 50
            curve.append({"step": loop.progress.steps, "cpu": round(spent, 3), **judged(loop, data, held_out, sampled)})
            due *= 2
    training: Training = loop.training
    return {
        "kind": "curve",
        "data": data.name,
        "paradigm": paradigm,
        "size": size,
        "batch": training.batch_size,
        "part": part,
        "parameters": sum(p.numel() for p in loop.model.estimand.parameters()),
        "precision": precision,
        "curve": curve,
    }


def timed_step(loop: Loop) -> float:
    """One step at the rate of the study, and its processor time."""
    start = time.process_time()
    loop.step(min((loop.progress.steps + 1) / 20, 1.0))
    return time.process_time() - start


def speed(paradigm: str, size: str, part: int, data: Dataset, label: str) -> dict[str, Any]:
    """The median seconds of a step on this machine as its environment makes it, and the precision that is used."""
    times = {}
    for precision in ("float32", "bf16"):
        if precision == "bf16" and os.environ.get("ONEDNN_MAX_CPU_ISA") == "AVX2":
            continue  # its products are emulated
        loop = started(paradigm, size, part, data, precision)
        timed(loop)
        times[precision] = statistics.median(timed(loop) for _ in range(5)) / torch.get_num_threads()
    fastest = min(times, key=lambda name: times[name])
    return {
        "kind": "speed",
        "machine": label,
        "data": data.name,
        "paradigm": paradigm,
        "size": size,
        "part": part,
        "precision": fastest,
        "seconds": round(times[fastest], 5),
    }


def main() -> None:
    """Read the command line, and measure what is not known yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "speeds"))
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--paradigms", default=",".join(PARADIGMS))
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--parts", default="1,4")
    parser.add_argument("--share", type=float, default=1.0, help="of the seconds for each size")
    parser.add_argument("--label", default="AMX, one core")
    options = parser.parse_args()
    data = load(options.data, seed=0, limit=options.limit)
    for paradigm, size, part in pairs(options):
        own = {"data": data.name, "paradigm": paradigm, "size": size, "part": part}
        own |= {"kind": "curve"} if options.what == "run" else {"kind": "speed", "machine": options.label}
        if any(own.items() <= record.items() for record in known()):
            continue
        if options.what == "run":
            record = study(paradigm, size, part, data, options.share * SECONDS[size])
        else:
            record = speed(paradigm, size, part, data, options.label)
        keep(record)
        print(json.dumps(record)[:400], flush=True)


if __name__ == "__main__":
    main()
