"""Fashion-MNIST: exact bits per dimension of the whole test set after a budget.

    python benchmarks/pixels.py [--seconds 600] [--size s] [--test 10000]

Run it alone on the machine.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

import fourfold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--size", default="s")
    parser.add_argument("--test", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = fourfold.load("fashion-mnist")
    torch.manual_seed(options.seed)
    model = fourfold.build("autoregressive", data.space, options.size)
    batch = model.encode(data.train.x[: model.training_defaults.batch_size])
    with FlopCounterMode(display=False) as counter:
        model.terms()["likelihood"](batch).mean().backward()
    model.zero_grad()
    work, count = counter.get_total_flops(), sum(p.numel() for p in model.parameters())
    print(f"{options.size}: {count / 1e6:.2f}M parameters, {work / 1e9:.0f} GFLOP per step", flush=True)
    seconds, losses = [], []
    for step in fourfold.train(model, data.train, budget=f"{options.seconds}s", precision="bf16", seed=options.seed):
        seconds.append(step.seconds)
        losses.append(step.losses["likelihood"])
        if step.index % 50 == 0:
            print(f"step {step.index}: {statistics.mean(losses[-50:]) / 0.693147:.4f} bits/dim", flush=True)
    rate = 1 / statistics.median(seconds)
    print(f"{len(seconds)} steps, {rate * len(batch.x):.0f} images/s, {work * rate / 1e9:,.0f} GFLOP/s", flush=True)
    start = time.perf_counter()
    bits = model.log_prob(data.test.x[: options.test], batch_size=128).bits_per_dim
    error = bits.std().item() / len(bits) ** 0.5
    print(
        f"test: {bits.mean():.4f} ± {error:.4f} bits/dim of {len(bits)} images in {time.perf_counter() - start:.0f} s"
    )
    start = time.perf_counter()
    model.sample(64)
    print(f"64 samples in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
