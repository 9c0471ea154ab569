"""Quality against steps of the few-step models.

Usage: python benchmarks/few_steps.py images|vectors [--recipe few-step] [--budget 600s] [--size s] [--seed 0] [--plot
FILE]

* ``images``: trains on Fashion-MNIST for the budget (teacher and student together, where there is a teacher), draws
  2,000 samples by 1, 2, 4 and 20 steps, and prints their Frechet distance to 2,000 test images in efficientnet-lite0
  features, with the floor beside it; then the teacher's by its own sampler of 20 steps. ``--plot`` writes a grid of
  samples, one row for each number of steps from the same noise, the teacher's last.
* ``vectors``: the same on two moons and eight Gaussians, with the squared maximum mean discrepancy.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

import fourfold
from fourfold.core import GenerativeModel
from fourfold.data import Dataset, load
from fourfold.engine.choice import inference
from fourfold.metrics import References
from fourfold.tasks.evaluation import examples, headline

STEPS = (1, 2, 4, 20)


def trained(arguments: argparse.Namespace, dataset: Dataset) -> GenerativeModel:
    """The model after its budget."""
    return fourfold.fit(
        arguments.recipe, dataset, budget=arguments.budget, size=arguments.size, seed=arguments.seed, say=print
    ).model


def drawn(model: GenerativeModel, dataset: Dataset, references: References, words: str) -> Tensor:
    """Samples of one sampler, of which the headline is printed."""
    start = time.perf_counter()
    with inference(model):
        x = model.sample(len(references.test))
    print(
        f"{words}: {headline(x, dataset, references)}; {len(x)} samples in {time.perf_counter() - start:.1f} s",
        flush=True,
    )
    return x


def sweep(model: GenerativeModel, dataset: Dataset) -> list[Tensor]:
    """Every number of steps, then the teacher."""
    references, rows = examples(dataset), []
    for steps in STEPS:
        sampler = dataclasses.replace(model.sampler, steps=steps)  # type: ignore[type-var]
        rows.append(drawn(model.with_parts(sampler=sampler), dataset, references, repr(sampler)))
    teachers = [drawn(s.model, dataset, references, f"{s.name}, {s.model.sampler!r}") for s in model.stages()]
    return rows + teachers


def images(arguments: argparse.Namespace) -> None:
    """Fashion-MNIST."""
    dataset = load("fashion-mnist")
    rows = sweep(trained(arguments, dataset), dataset)
    if arguments.plot:
        grid = torch.cat([torch.cat(list(x[:24, 0]), 1) for x in rows])
        picture = Image.fromarray(grid.numpy())
        picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST).save(arguments.plot)


def vectors(arguments: argparse.Namespace) -> None:
    """Two data sets in the plane."""
    for name in ("two-moons", "eight-gaussians"):
        dataset = load(name)
        print(name)
        sweep(trained(arguments, dataset), dataset)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    works = {"images": images, "vectors": vectors}
    parser.add_argument("work", choices=works)
    parser.add_argument("--recipe", default="few-step")
    parser.add_argument("--budget", default="600s")
    parser.add_argument("--size", default="s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    works[arguments.work](arguments)


if __name__ == "__main__":
    main()
