"""Models of images with a likelihood: bits per dimension and Frechet distance on Fashion-MNIST after a budget.

    python benchmarks/pixels.py autoregressive [--budget 600s] [--size auto] [--test 10000] [--grid samples.png]
    python benchmarks/pixels.py flow --budget 120s

Bits are the mean of ``-log2 p(x) / 784`` over test images, with its standard error. A flow draws one dequantising noise
for each image, which makes its bits an upper bound. Adds a row to ``results/pixels.json``. Run it alone on the machine.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from provenance import commit
from torch import Tensor

import fourfold
from fourfold.machine.hardware import machine
from fourfold.runs.files import write_json
from fourfold.tasks.evaluation import examples, headline

RESULTS = Path(__file__).parent / "results" / "pixels.json"
SAMPLES = 2000


def save_grid(images: Tensor, path: str, columns: int = 10) -> None:
    """``(n, 1, H, W)`` of bytes as one picture, twice enlarged."""
    from PIL import Image

    n, _, h, w = images.shape
    grid = images.view(n // columns, columns, h, w).permute(0, 2, 1, 3).reshape(n // columns * h, columns * w)
    Image.fromarray(grid.numpy()).resize((2 * columns * w, 2 * n // columns * h), 0).save(path)


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Train, score and sample."""
    data = fourfold.load("fashion-mnist")
    run = fourfold.fit(options.recipe, data, budget=options.budget, size=options.size, seed=options.seed, say=print)
    row: dict[str, Any] = {"recipe": options.recipe, "budget": options.budget, "size": run.card["size"]}
    row |= {"steps": run.card["steps"], "precision": run.card["precision"]["name"], "threads": torch.get_num_threads()}
    for name, split in (("training", data.train), ("test", data.test)):
        likelihood = run.model.log_prob(split.x[: options.test], batch_size=100)
        bits = likelihood.bits_per_dim
        row |= {f"bits/dim, {name}": round(bits.mean().item(), 4), "kind": str(likelihood.kind)}
        row |= {"standard error": round(bits.std().item() / len(bits) ** 0.5, 4), "images": len(bits)}
    start, references = time.perf_counter(), examples(data, SAMPLES)
    x = run.sample(SAMPLES, seed=options.seed, given=references.cond)
    row |= {"2,000 samples, s": round(time.perf_counter() - start, 1)}
    if options.grid:
        save_grid(x[:100], options.grid)
    return row | {"Frechet distance": round(headline(x, data, references).value, 1), "seed": options.seed}


def save(row: dict[str, Any], path: Path) -> None:
    """Add a row, in the place of an earlier one of the same recipe, budget, size and seed."""
    key = ("recipe", "budget", "size", "seed", "threads")
    rows_before = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = [row_before for row_before in rows_before if any(row_before[name] != row[name] for name in key)]
    about = {
        "title": "Fashion-MNIST: bits per dimension and samples of one model",
        "order": 4,
        "machine": f"{machine()['cpu']}, {os.cpu_count()} cores, no GPU",
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "seeds": 1,
        "command": "python benchmarks/pixels.py RECIPE --budget BUDGET",
    }
    write_json(path, about | {"rows": [*rows, row]})


def main() -> None:
    """Read the command line, measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--size", default="auto")
    parser.add_argument("--budget", default="600s")
    parser.add_argument("--test", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--grid", default=None)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    row = measured(options)
    print(json.dumps(row, indent=1))
    save(row, options.out)


if __name__ == "__main__":
    main()
