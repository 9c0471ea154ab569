"""Where the time of a step and of a sample goes, for recipes of images and of text.

    python benchmarks/profile_steps.py --only training --sizes s/2,s,m --out benchmarks/results/profile.json
    python benchmarks/profile_steps.py [--recipes diffusion,autoregressive@python-docs,...] [--sizes s]

A recipe stands before ``@`` and its data behind it; without data they are images of Fashion-MNIST. ``--out`` keeps a
table of the steps, one row for each recipe, size and precision.

All times are processor time of one thread, the least of several, so that other work on the machine disturbs little.

*Training.* One whole step is timed. Then the same step is repeated with every operation of torch timed by itself.
Products and convolutions are held against what the same calls reach alone, with the same shapes, layouts and dtype;
that is the achievable rate. All other operations are passes over memory. What no operation accounts
for is Python, autograd's bookkeeping included.

*Sampling.* The cost of a sample is divided by its network evaluations, and by what an evaluation takes in the batch and
the precision where it is cheapest. A ratio of 1 is a sampler that costs nothing but its network, at its best.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shlex
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from provenance import commit
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry

from fourfold import build
from fourfold.core import GenerativeModel, count_evaluations
from fourfold.data import Dataset, load
from fourfold.engine.choice import inference
from fourfold.engine.training import begin
from fourfold.machine.hardware import machine
from fourfold.runs.precision import parse_precision

RECIPES = (
    "autoregressive",
    "latent-variable",
    "adversarial",
    "diffusion",
    "flow",
    "energy",
    "few-step",
    "latent-diffusion",
    "diffusion/dit",
    "autoregressive/likelihood@python-docs",
)
BATCHES = (16, 64, 256)
"""Rows of an evaluation of the network, among which the cheapest counts."""


def seconds(call: Callable[[], object], times: int = 2) -> float:
    """The least processor time of a call."""
    best = float("inf")
    for _ in range(times):
        start = time.thread_time()
        call()
        best = min(best, time.thread_time() - start)
    return best


# --- training ---------------------------------------------------------------------------------------------------------


@final
@dataclass
class Calls:
    """The calls of one operation with the same shapes, layouts and dtypes.

    Attributes:
        seconds: processor time of all.
        number: how many.
        flops: operations of all; 0 for a pass over memory.
        again: makes a call with fresh numbers of the same shapes, with its floating-point tensors in a dtype.
    """

    seconds: float = 0.0
    number: int = 0
    flops: float = 0.0
    again: Callable[[torch.dtype], Callable[[], object]] | None = field(default=None, repr=False)


@final
class Timer(TorchDispatchMode):
    """Times every operation, and remembers how to repeat products and convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, Calls] = defaultdict(Calls)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        start = time.thread_time()
        out = func(*args, **kwargs)
        spent = time.thread_time() - start
        formula = flop_registry.get(func._overloadpacket)
        calls = self.calls[f"{func}{_shapes(args)}" if formula is not None else str(func)]
        calls.seconds, calls.number = calls.seconds + spent, calls.number + 1
        if formula is not None:
            calls.flops += formula(*args, **kwargs, out_val=out)
            calls.again = _repeat(func, args, kwargs)
        return out


def _shapes(args: Any) -> str:
    return str(tree_map(lambda a: (a.dtype, *a.shape, *a.stride()) if isinstance(a, Tensor) else a, args))


def _repeat(func: Any, args: Any, kwargs: Mapping[str, Any]) -> Callable[[torch.dtype], Callable[[], object]]:
    """Like a call, but of numbers that are made when it is repeated."""
    kept = tree_map(lambda a: a.to("meta") if isinstance(a, Tensor) else a, (args, dict(kwargs)))

    def prepared(dtype: torch.dtype) -> Callable[[], object]:
        def fresh(a: object) -> object:
            if not isinstance(a, Tensor):
                return a
            like = torch.empty_strided(a.shape, a.stride(), dtype=dtype if a.is_floating_point() else a.dtype)
            return like.normal_() if like.is_floating_point() else like.zero_()

        again_args, again_kwargs = tree_map(fresh, kept)
        return lambda: func(*again_args, **again_kwargs)

    return prepared


def trained(recipe: str, size: str, data: Dataset, precision: str) -> dict[str, Any]:
    """One step: what its parts take."""
    torch.manual_seed(0)
    model = build(recipe, data.space, size)
    loop = begin(model, data, model.training_defaults, seed=0, precision=parse_precision(precision))
    loop.step(0.01)
    whole, found = seconds(lambda: loop.step(0.01)), dict[str, Calls]()
    for _ in range(3):  # the least counts, as for the whole step
        with Timer() as timer:
            loop.step(0.01)
        found = {
            name: min(calls, found.get(name, calls), key=lambda c: c.seconds) for name, calls in timer.calls.items()
        }
    whole = min(whole, seconds(lambda: loop.step(0.01)))  # before and after, since the load of a machine changes
    products = {name: calls for name, calls in found.items() if calls.flops}
    passes = {name: calls for name, calls in found.items() if not calls.flops}
    flops, spent = (sum(getattr(calls, part) for calls in products.values()) for part in ("flops", "seconds"))
    memory = sum(calls.seconds for calls in passes.values())
    alone = sum(_alone(calls, parse_precision(precision).weights) for calls in products.values())
    return {
        "recipe": recipe,
        "data": data.name,
        "size": size,
        "precision": precision,
        "batch": model.training_defaults.batch_size,
        "ms": 1e3 * whole,
        "gflop": flops / 1e9,
        "gflops": flops / whole / 1e9,
        "of_achievable": alone / whole,
        "products": spent / whole,
        "memory": memory / whole,
        "python": 1 - (spent + memory) / whole,
        "achievable_gflops": flops / alone / 1e9,
        "slowest_products": _slowest(products, whole),
        "slowest_passes": _slowest(passes, whole),
    }


def _alone(calls: Calls, dtype: torch.dtype) -> float:
    """The seconds of these calls if each is as fast as it can be alone, or was in the step if that was faster."""
    assert calls.again is not None
    call = calls.again(dtype)
    call()
    return min(calls.number * seconds(call), calls.seconds)


def _slowest(found: Mapping[str, Calls], whole: float, most: int = 6) -> list[dict[str, Any]]:
    """The operations that take most, with their share of the step."""
    ordered = sorted(found.items(), key=lambda pair: -pair[1].seconds)[:most]
    return [
        {
            "call": name.replace("torch.", ""),
            "number": calls.number,
            "share": round(calls.seconds / whole, 4),
            "gflops": round(calls.flops / max(calls.seconds, 1e-9) / 1e9, 1),
        }
        for name, calls in ordered
    ]


# --- sampling ---------------------------------------------------------------------------------------------------------


@contextmanager
def held(model: GenerativeModel, precision: str) -> Iterator[None]:
    """Weights in a precision."""
    with nullcontext() if precision == "float32" else inference(model, precision):
        yield


def sampled(recipe: str, size: str, data: Dataset, precisions: tuple[str, ...], n: int = 256) -> dict[str, Any]:
    """The cost of a sample as it is drawn by default, and what its evaluations take at their cheapest."""
    torch.manual_seed(0)
    model = build(recipe, data.space, size)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network: dict[tuple[str, int], float] = {}
    for precision in precisions:
        for batch in BATCHES:
            with held(model, precision), _timed_networks(model) as spent, count_evaluations(model.estimand) as count:
                model.sample(batch, batch_size=batch)
                network[precision, batch] = spent[0] / count.rows
    with count_evaluations(model.estimand) as count:
        cost = seconds(lambda: model.sample(n), 1) / n
    evaluations = count.rows / n
    best = min(network, key=lambda key: network[key])
    return {
        "recipe": recipe,
        "size": size,
        "evaluations": evaluations,
        "ms": 1e3 * cost,
        "ratio": cost / (evaluations * network[best]),
        "cheapest": f"{best[0]}, {best[1]} rows",
        "evaluation_ms": {f"{p}, {b} rows": round(1e3 * value, 4) for (p, b), value in network.items()},
    }


@contextmanager
def _timed_networks(model: GenerativeModel) -> Iterator[list[float]]:
    """Adds up the processor time inside the networks of the estimand."""
    spent, started = [0.0], [0.0]

    def before(module: nn.Module, args: Any) -> None:
        started[0] = time.thread_time()

    def after(module: nn.Module, args: Any, output: Any) -> None:
        spent[0] += time.thread_time() - started[0]

    nets = [module.net for module in model.estimand.modules() if isinstance(getattr(module, "net", None), nn.Module)]
    handles = [h for net in nets for h in (net.register_forward_pre_hook(before), net.register_forward_hook(after))]
    try:
        yield spent
    finally:
        for handle in handles:
            handle.remove()


# --- the command ------------------------------------------------------------------------------------------------------


def row(line: Mapping[str, Any]) -> dict[str, Any]:
    """A step as a row of the table."""
    return {
        "recipe": line["recipe"],
        "data": line["data"],
        "size": line["size"],
        "precision": line["precision"],
        "batch": line["batch"],
        "step, ms": round(line["ms"]),
        "GFLOP": round(line["gflop"], 1),
        "GFLOP/s": round(line["gflops"]),
        "GFLOP/s of its products alone": round(line["achievable_gflops"]),
        "of achievable": f"{line['of_achievable']:.2f}",
        "products": f"{line['products']:.2f}",
        "passes over memory": f"{line['memory']:.2f}",
        "Python": f"{line['python']:.2f}",
        "slowest passes": ", ".join(
            f"{p['call'].removeprefix('aten.')} {p['share']:.2f}" for p in line["slowest_passes"][:3]
        ),
    }


def result(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The table that the page of benchmarks shows."""
    return {
        "title": "A training step against the rate that its products reach alone",
        "order": 8,
        "machine": f"one core of {os.cpu_count()}, {machine()['cpu']}, load {os.getloadavg()[0]:.0f}; processor time",
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "seeds": 1,
        "command": shlex.join(["python", "benchmarks/profile_steps.py", *sys.argv[1:]]),
        "rows": rows,
        "notes": [
            'Shares are of the time of a step. Products are convolutions, too. "Of achievable" divides the time that '
            "all products of a step take alone, or in the step where that was faster, by the time of the step. Half "
            "of it is wanted. Other work that disturbs the products more than the whole step makes shares exceed 1."
        ],
    }


def main() -> None:
    """Profile, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", default=",".join(RECIPES))
    parser.add_argument("--sizes", default="s")
    parser.add_argument("--precisions", default="bf16,float32")
    parser.add_argument("--only", choices=("training", "sampling"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    precisions, sizes, rows = tuple(options.precisions.split(",")), options.sizes.split(","), []
    recipes = [
        (recipe, source or "fashion-mnist")
        for recipe, _, source in (r.partition("@") for r in options.recipes.split(","))
    ]
    data = {source: load(source) for _, source in recipes}
    steps = itertools.product(precisions, recipes, sizes) if options.only != "sampling" else ()
    for precision, (recipe, source), size in steps:
        line = trained(recipe, size, data[source], precision)
        print(json.dumps(line, indent=1), flush=True)
        rows.append(row(line))
        if options.out is not None:
            options.out.write_text(json.dumps(result(rows), indent=1) + "\n", encoding="utf-8")
    for (recipe, source), size in itertools.product(recipes, sizes) if options.only != "training" else ():
        print(json.dumps(sampled(recipe, size, data[source], precisions), indent=1), flush=True)


if __name__ == "__main__":
    main()
