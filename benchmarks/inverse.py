"""Inverse problems on Fashion-MNIST with one trained diffusion model, untrained for them.

Usage: python benchmarks/inverse.py RUN [--n 16] [--draws 4] [--steps 40] [--sigma 0.05] [--iterations 4] [--out
inverse.png]

RUN is the folder of a run, for example of ``fourfold fit diffusion fashion-mnist --budget 120s --out RUN``. For each
task test images are measured with noise, and ``draws`` samples of the posterior drawn for each. Printed, in encoded
units where images span [-1, 1]:

* residual: root mean square of ``(y - H x) / sigma_y`` of the samples; 1 where they explain the measurement,
* error of the mean of the draws and of one draw, root mean square over pixels; of exact samples the ratio is
  ``sqrt((1 + 1 / draws) / 2)`` at the least,
* the error of the prior mean of all test images, which knows nothing of ``y``.

The picture has a row for each of 8 images: truth, measurement, 3 draws, for each task side by side.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from fourfold.core import GenerativeModel
from fourfold.engine import Run
from fourfold.engine.choice import inference
from fourfold.samplers.inverse import Blur, Inpainting, Operator, Posterior, SuperResolution
from fourfold.samplers.ode import DPMSolver
from fourfold.spaces.images import montage


def tasks() -> Mapping[str, Operator]:
    """The lower half hidden, means of 4 x 4 pixels, a blur of two pixels."""
    mask = torch.zeros(28, 28)
    mask[:14] = 1
    return {"inpainting": Inpainting(mask), "super-resolution x4": SuperResolution(4), "deblurring": Blur(2.0)}


def rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def solve(model: GenerativeModel, operator: Operator, x: Tensor, arguments: argparse.Namespace) -> list[Tensor]:
    """Measure, draw, print; return the columns of the picture."""
    truth = model.encode(x).x
    exact = operator(truth)
    y = exact + arguments.sigma * torch.randn(exact.shape, generator=torch.Generator().manual_seed(0))
    sampler = Posterior(operator, y, arguments.sigma, DPMSolver(arguments.steps), arguments.iterations)
    start = time.perf_counter()
    with inference(model, arguments.precision):
        raw = model.with_parts(sampler=sampler).sample(len(x) * arguments.draws)
    seconds = time.perf_counter() - start
    draws = (raw.float() / 127.5 - 1).unflatten(0, (arguments.draws, len(x)))
    residual = rms(torch.stack([y - operator(d) for d in draws])) / arguments.sigma
    print(
        f"residual {residual:.2f}, error of the mean {rms(draws.mean(0) - truth):.3f}, of a draw "
        f"{rms(draws - truth):.3f}, "
        f"{1e3 * seconds / len(raw):.0f} ms a draw",
        flush=True,
    )
    shown = y.repeat_interleave(4, -1).repeat_interleave(4, -2) if y.shape != truth.shape else y
    seen = ((shown.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return [x, seen, *raw.unflatten(0, (arguments.draws, len(x)))[:3]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--sigma", type=float, default=0.05)
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--out", type=Path, default=Path("inverse.png"))
    arguments = parser.parse_args()
    run = Run.load(arguments.run)
    test = run.dataset().test.x
    x = test[: arguments.n]
    print(f"prior mean: error {rms((test.float().mean(0) - x) / 127.5):.3f}")
    columns: list[Tensor] = []
    for name, operator in tasks().items():
        print(f"{name:<20}", end=" ")
        columns += solve(run.model, operator, x, arguments)
    grid = torch.stack([c[:8] for c in columns], 1).flatten(0, 1)
    montage(grid, run.model.space, len(columns)).save(arguments.out)  # type: ignore[arg-type]
    print(arguments.out)


if __name__ == "__main__":
    main()
