"""Quality of the two paradigms that sample in one pass, after a fixed time of training on Fashion-MNIST.

    python benchmarks/one_pass.py [latent-variable] [adversarial] [--budget 120s] [--size s] [--seed 0] [--grid FOLDER]

Prints, for each paradigm, the steps done, the milliseconds of a sample, the Frechet distance of 2,000 samples to 2,000
test images in ``efficientnet-lite0`` features with its interval, and the floor: as many training images against the
same.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

import fourfold
from fourfold.data import Dataset, load
from fourfold.metrics.features import cached, image_features
from fourfold.metrics.frechet import frechet_distance
from fourfold.tasks.evaluation import draw, examples
from fourfold.vocabulary import Kind

NAMES = ("latent-variable", "adversarial")


def measure(name: str, data: Dataset, budget: str, size: str, seed: int, grid: Path | None) -> str:
    """Train one preset for the budget and describe what came of it in one line."""
    start = time.perf_counter()
    run = fourfold.fit(name, data, budget=budget, size=size, seed=seed)
    seconds = time.perf_counter() - start
    references = examples(data, 2000)
    drawn = draw(run.model, 2000, seed=seed)
    if grid is not None:
        save_grid(drawn.x, grid / f"{name.replace('/', '-')}.png")
    features = image_features("efficientnet-lite0")
    train, test = references.train.features(cached(features, references.train.pool)), cached(features, references.test)
    score = frechet_distance(features(drawn.x), test, features=features.name, train=train, protocol=features.protocol)
    likelihood = run.log_prob(data.test.x[:1000])
    bits = (
        "no likelihood"
        if likelihood.kind is Kind.NONE
        else f"{likelihood.bits_per_dim.mean():.3f} bits/dim ({likelihood.kind})"
    )
    return (
        f"{name} ({size}): {run.card['steps']} steps in {run.card['seconds']:.0f} s of training "
        f"({seconds:.0f} s in all, {run.card['precision']['name']}), {1e3 * drawn.seconds / 2000:.2f} ms/sample, "
        f"{score.name} {score.value:.1f} [{score.low:.1f}, {score.high:.1f}], floor {score.floor:.1f}, {bits}"
    )


def save_grid(x: torch.Tensor, path: Path, side: int = 10) -> None:
    """The first ``side * side`` grey images as one PNG."""
    from PIL import Image

    _, _, height, width = x.shape
    rows = x[: side * side, 0].reshape(side, side, height, width).permute(0, 2, 1, 3)
    Image.fromarray(rows.reshape(side * height, side * width).numpy()).save(path)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paradigms", nargs="*", default=list(NAMES))
    parser.add_argument("--budget", default="120s")
    parser.add_argument("--size", default="s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--grid", type=Path, default=None)
    arguments = parser.parse_args()
    data = load("fashion-mnist", seed=arguments.seed, data_dir=arguments.data_dir)
    for name in arguments.paradigms:
        print(measure(name, data, arguments.budget, arguments.size, arguments.seed, arguments.grid), flush=True)


if __name__ == "__main__":
    main()
