"""Flows of images: the bound in bits per dimension of Fashion-MNIST's test images after a fixed time of training.

    python benchmarks/flow.py [--recipe flow] [--size s] [--budget 300s] [--test 2000] [--grid samples.png]

Prints the mean of ``-log2`` of the density of the dequantised image per pixel, one uniform draw for each image: an
upper bound of the bits (``lower_bound`` of the log-probability), with its standard error over images. Run it alone on
the machine.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor

import fourfold


def save_grid(images: Tensor, path: str, columns: int = 10) -> None:
    """``(n, 1, H, W)`` of bytes as one picture, twice enlarged."""
    from PIL import Image

    n, _, h, w = images.shape
    grid = images.view(n // columns, columns, h, w).permute(0, 2, 1, 3).reshape(n // columns * h, columns * w)
    Image.fromarray(grid.numpy()).resize((2 * columns * w, 2 * n // columns * h), 0).save(path)


def main() -> None:
    """Read the command line, train, score and sample."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="flow")
    parser.add_argument("--size", default="s")
    parser.add_argument("--budget", default="300s")
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--grid", default=None)
    options = parser.parse_args()
    data = fourfold.load("fashion-mnist")
    run = fourfold.fit(options.recipe, data, budget=options.budget, size=options.size, seed=options.seed, say=print)
    card = run.card
    print(f"{card['parameters']} parameters, {card['steps']} steps, {card['precision']['name']}", flush=True)
    for name, split in (("training", data.train), ("test", data.test)):
        found = run.model.log_prob(split.x[: options.test], batch_size=100)
        if found.kind is fourfold.Kind.NONE:
            print(found.note)
            break
        bits = found.bits_per_dim
        error = bits.std().item() / len(bits) ** 0.5
        print(f"{name}: {bits.mean():.4f} ± {error:.4f} bits/dim of {len(bits)} images, kind {found.kind}", flush=True)
    start = time.perf_counter()
    images = run.sample(60, seed=options.seed, cond=torch.arange(60) % 10)
    print(f"60 samples in {time.perf_counter() - start:.1f} s")
    if options.grid:
        save_grid(images, options.grid)


if __name__ == "__main__":
    main()
