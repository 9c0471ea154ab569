"""Measure the cost of a sample beyond its network evaluations, for the default recipe of each paradigm.

    python benchmarks/sampling.py [--size s] --out benchmarks/results/sampling.json

``model.sample`` is timed as a whole, and inside it every call of a network: a ratio of 1 is a sampler that costs
nothing but its network, with the same batch and the same number of evaluations. Weights are random, which changes
nothing of the cost. All times are processor time of one thread; the draw with the least total of several counts, so
that other work on the machine disturbs little.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from provenance import commit
from torch import nn

from fourfold import build
from fourfold.core import GenerativeModel, count_evaluations
from fourfold.data import Dataset, load
from fourfold.machine.hardware import machine

PARADIGMS = ("diffusion", "latent-variable", "adversarial", "autoregressive", "flow", "energy")
DATA = {"fashion-mnist": 64, "python-docs": 16, "wine": 512}
"""Images, text and a table, and how many samples are drawn."""


@contextmanager
def timed_networks(model: GenerativeModel) -> Iterator[list[float]]:
    """Adds up the processor time of evaluations: inside the estimand's networks, and of gradients of energies."""
    spent, started, derive = [0.0], [0.0], torch.autograd.grad

    def grad(*args: Any, **kwargs: Any) -> Any:
        start = time.thread_time()
        gradients = derive(*args, **kwargs)
        spent[0] += time.thread_time() - start
        return gradients

    def before(module: nn.Module, args: Any) -> None:
        started[0] = time.thread_time()

    def after(module: nn.Module, args: Any, output: Any) -> None:
        spent[0] += time.thread_time() - started[0]

    networks = {getattr(m, name, None) for m in model.estimand.modules() for name in ("net", "prior")}
    nets = [net for net in networks if isinstance(net, nn.Module)]
    handles = [h for net in nets for h in (net.register_forward_pre_hook(before), net.register_forward_hook(after))]
    torch.autograd.grad = grad
    try:
        yield spent
    finally:
        torch.autograd.grad = derive
        for handle in handles:
            handle.remove()


def measured(paradigm: str, data: Dataset, size: str, n: int, times: int) -> dict[str, Any]:
    """The cost of a sample, and that of its evaluations within."""
    torch.manual_seed(0)
    model = build(paradigm, data.space, size)
    model.codec.fit(data.train.x[:4096])
    model.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]  # as a run is opened
    with count_evaluations(model.estimand) as count:
        model.sample(n)
    draws: list[tuple[float, float]] = []
    while len(draws) < times or sum(whole for whole, _ in draws) < 1.0:  # a short draw is disturbed more easily
        with timed_networks(model) as spent:
            start = time.thread_time()
            model.sample(n, seed=len(draws))
            draws.append((time.thread_time() - start, spent[0]))
    whole, inside = min(draws)
    return {
        "data": data.name,
        "paradigm": paradigm,
        "size": size,
        "samples": n,
        "evaluations": round(count.rows / n, 2),
        "ms": round(1e3 * whole / n, 4),
        "network_ms": round(1e3 * inside / n, 4),
        "ratio": round(whole / inside, 3),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paradigms", default=",".join(PARADIGMS))
    parser.add_argument("--data", default=",".join(DATA))
    parser.add_argument("--size", default="s")
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in options.data.split(","):
        data = load(name)
        for paradigm in options.paradigms.split(","):
            try:
                rows.append(measured(paradigm, data, options.size, DATA.get(name, 64), options.times))
            except TypeError:  # the recipe does not model this space
                continue
            print(json.dumps(rows[-1]), flush=True)
            if options.out is not None:
                options.out.write_text(json.dumps(result(rows, options.size), indent=1) + "\n", encoding="utf-8")


def result(rows: list[dict[str, Any]], size: str) -> dict[str, Any]:
    """The table that the page of benchmarks shows."""
    return {
        "title": f"The cost of a sample beyond its network evaluations, size {size}",
        "order": 8,
        "machine": f"one core of {machine()['cpu']}, load {os.getloadavg()[0]:.0f}; processor time, float32",
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "seeds": 1,
        "command": shlex.join(["python", "benchmarks/sampling.py", *sys.argv[1:]]),
        "columns": list(rows[0]),
        "rows": [[str(value) for value in row.values()] for row in rows],
    }


if __name__ == "__main__":
    main()
