"""Tiny Shakespeare: nats per character after a budget, and sampling speed.

    python benchmarks/text.py PATH_TO_TEXT [--seconds 55] [--size m]

The first 90 % of the characters train, the last 10 % are scored, every one of them once. Run it alone on the
machine; beside other work, with OMP_WAIT_POLICY=passive in the environment.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import fourfold
from fourfold.core import Batch, GenerativeModel
from fourfold.paradigms.autoregressive import score_text
from fourfold.spaces import Text


def windows(ids: Tensor, model: GenerativeModel) -> Callable[[int], Batch]:
    """Batches of random windows as a function of the step."""
    length, size = model.space.shape[0], model.training_defaults.batch_size

    def batch(step: int) -> Batch:
        start = torch.randint(len(ids) - length + 1, (size, 1), generator=torch.Generator().manual_seed(step))
        return Batch(ids[start + torch.arange(length)])

    return batch


def flops(model: GenerativeModel, batch: Batch) -> int:
    """Floating-point operations of one step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        model.terms()["likelihood"](batch).mean().backward()
    model.zero_grad()
    return counter.get_total_flops()


def tokens_per_second(model: GenerativeModel, batch: int, repeats: int = 5) -> float:
    """Median rate of drawing whole examples."""
    model.sample(batch)
    seconds = []
    for seed in range(repeats):
        start = time.perf_counter()
        model.sample(batch, seed=seed)
        seconds.append(time.perf_counter() - start)
    return batch * model.space.shape[0] / statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--seconds", type=int, default=55)
    parser.add_argument("--size", default="m")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    text = options.text.read_text()
    space = Text("".join(sorted(set(text))), options.length)
    ids = space.parse(text)
    cut = int(0.9 * len(ids))
    torch.manual_seed(options.seed)
    model = fourfold.build("autoregressive", space, options.size)
    batches = windows(ids[:cut], model)
    work, count = flops(model, batches(0)), sum(p.numel() for p in model.parameters())
    print(f"{options.size}: {count / 1e6:.2f}M parameters, {work / 1e9:.0f} GFLOP per step", flush=True)
    steps = list(fourfold.train(model, batches, budget=f"{options.seconds}s", precision="bf16", seed=options.seed))
    rate = 1 / statistics.median(step.seconds for step in steps)
    tokens = rate * model.training_defaults.batch_size * options.length
    print(f"{len(steps)} steps; {tokens:,.0f} tokens/s, {work * rate / 1e9:,.0f} GFLOP/s", flush=True)
    start = time.perf_counter()
    nats = score_text(model, ids[cut:], stride=options.length // 4).mean().item()
    print(f"validation: {nats:.4f} nats per character, scored in {time.perf_counter() - start:.0f} s", flush=True)
    print("".join(space.show(model.sample(1)[0]).splitlines(keepends=True)[:8]))
    small = fourfold.build("autoregressive", Text(space.vocabulary, 256), "s")
    count = sum(p.numel() for p in small.parameters())
    for batch in (1, 64):
        print(
            f"sampling, {count / 1e6:.2f}M parameters, batch {batch}: {tokens_per_second(small, batch):,.0f} tokens/s"
        )


if __name__ == "__main__":
    main()
