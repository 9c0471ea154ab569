"""Speed and quality of the diffusion presets on Fashion-MNIST, and of coupled noise on vectors.

Usage: python benchmarks/diffusion.py rate|sampling|quality [--budget 120s] [--size s] [--recipe diffusion] [--seed 0]
       python benchmarks/diffusion.py coupling --budget "600 steps" --size xs [--seeds 3] [--data
           gaussian-mixture,checkerboard] [--out benchmarks/results/coupling.json]

* ``rate``: training GFLOP/s of the preset, counted floating-point operations of forward and backward over the measured
  time of whole steps (loss, backward, clipping, optimizer, average), by the fastest stable precision.
* ``sampling``: images a second with 20 network evaluations and bf16 weights.
* ``quality``: trains for the budget, draws 2,000 samples and prints their Frechet distance to 2,000 test images in
  efficientnet-lite0 features, with the floor beside it.
* ``coupling``: trains ``diffusion/velocity`` and ``diffusion/optimal-transport`` for the same budget with each seed,
  and writes the squared maximum mean discrepancy of 4,000 samples to the test set at few and at many steps of Heun's
  rule.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

import fourfold
from fourfold.core import GenerativeModel
from fourfold.data import Dataset, load
from fourfold.engine.choice import inference
from fourfold.metrics import mmd
from fourfold.samplers.ode import Heun
from fourfold.tasks.evaluation import examples, headline


def flops(model: GenerativeModel, dataset: Dataset) -> float:
    """Floating-point operations of one step's forward and backward pass."""
    n = model.training_defaults.batch_size
    labels = None if dataset.train.cond is None else dataset.train.cond[:n]
    with FlopCounterMode(display=False) as counter:
        for term in model.terms().values():
            term(model.encode(dataset.train.x[:n], labels)).mean().backward()
    return float(counter.get_total_flops())


def rate(arguments: argparse.Namespace) -> None:
    """Train for the budget and divide the operations by the median time of a step."""
    dataset = load("fashion-mnist")
    counted = flops(fourfold.build(arguments.recipe, dataset.space, arguments.size), dataset)
    times: list[float] = []
    fourfold.fit(
        arguments.recipe,
        dataset,
        budget=arguments.budget,
        size=arguments.size,
        observe=lambda step: times.append(step.seconds),
        say=print,
    )
    seconds = sorted(times)[len(times) // 2]
    print(f"{counted / 1e9:.1f} GFLOP a step, {seconds * 1e3:.1f} ms: {counted / seconds / 1e9:.0f} GFLOP/s")


def sampling(arguments: argparse.Namespace) -> None:
    """Draw with an untrained network: its speed does not depend on its weights."""
    dataset = load("fashion-mnist")
    model = fourfold.build(arguments.recipe, dataset.space, arguments.size)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    count = sum(p.numel() for p in model.estimand.parameters())
    with inference(model):
        model.sample(256)
        start = time.perf_counter()
        model.sample(1024)
    speed = 1024 / (time.perf_counter() - start)
    print(f"{model.sampler}, {count / 1e6:.2f}M parameters: {speed:.0f} images/s")


def quality(arguments: argparse.Namespace) -> None:
    """Train, sample, compare."""
    dataset = load("fashion-mnist")
    run = fourfold.fit(
        arguments.recipe, dataset, budget=arguments.budget, size=arguments.size, seed=arguments.seed, say=print
    )
    start = time.perf_counter()
    with inference(run.model):
        x = run.model.sample(2000)
    print(f"2,000 samples in {time.perf_counter() - start:.1f} s")
    print(headline(x, dataset, examples(dataset)))


def coupling(arguments: argparse.Namespace) -> None:
    """Independent against optimally coupled noise, by steps."""
    rows = []
    for name in arguments.data.split(","):
        dataset = load(name)
        for recipe in ("diffusion/velocity", "diffusion/optimal-transport"):
            values = [_by_steps(recipe, dataset, arguments, seed) for seed in range(arguments.seeds)]
            for steps in values[0]:
                mmds = [value[steps] for value in values]
                rows.append({"data": name, "recipe": recipe, "heun_steps": steps, "mmd2": mmds})
                print(
                    f"{name:<18} {recipe:<28} Heun({steps})  MMD^2 {1e3 * statistics.mean(mmds):7.3f}e-3 {mmds}",
                    flush=True,
                )
    settings = {"budget": arguments.budget, "size": arguments.size, "seeds": arguments.seeds, "samples": 4000}
    out = Path(arguments.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n")


def _by_steps(recipe: str, dataset: Dataset, arguments: argparse.Namespace, seed: int) -> dict[int, float]:
    """The discrepancy of one training's samples for each number of steps."""
    run = fourfold.fit(recipe, dataset, budget=arguments.budget, size=arguments.size, seed=seed, precision="float32")
    models = {steps: run.model.with_parts(sampler=Heun(steps)) for steps in (1, 2, 4, 10)}
    return {
        steps: mmd(model.sample(4000, seed=seed), dataset.test.x[:4000], features="raw").value
        for steps, model in models.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    works = {"rate": rate, "sampling": sampling, "quality": quality, "coupling": coupling}
    parser.add_argument("work", choices=works)
    parser.add_argument("--budget", default="120s")
    parser.add_argument("--size", default="s")
    parser.add_argument("--recipe", default="diffusion")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3, help="of coupling")
    parser.add_argument("--data", default="gaussian-mixture,checkerboard", help="of coupling")
    parser.add_argument("--out", default="benchmarks/results/coupling.json", help="of coupling")
    arguments = parser.parse_args()
    works[arguments.work](arguments)


if __name__ == "__main__":
    main()
