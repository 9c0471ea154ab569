"""Samplers of one trained diffusion model at equal numbers of network evaluations, on Fashion-MNIST.

Usage: python benchmarks/samplers.py RUN [--n 2000] [--evaluations 5,10,20,40] [--samplers DDIM,Heun,...] [--seed 0]

RUN is the folder of a run, for example of ``fourfold fit diffusion fashion-mnist --budget 120s --out RUN``. Each
sampler gets as many steps as the evaluations pay for; the count printed is the one measured by a hook. Figures are
Frechet distances of ``n`` samples to as many test images in efficientnet-lite0 features, the floor beside them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping

import torch

from fourfold.core import Sampler, count_evaluations
from fourfold.engine import Run
from fourfold.engine.choice import inference
from fourfold.samplers import ode, sde
from fourfold.tasks.evaluation import examples, headline

SAMPLERS: Mapping[str, Callable[[int], Sampler]] = {
    "Euler": ode.Euler,
    "DDIM": ode.DDIM,
    "Heun": lambda n: ode.Heun((n + 1) // 2),
    "DPM-Solver++ 2M": ode.DPMSolver,
    "DPM-Solver++ 3M": ode.DPMSolver3,
    "UniPC 2": lambda n: ode.UniPC(n, 1),
    "UniPC 3": lambda n: ode.UniPC(n, 2),
    "DEIS 2": lambda n: ode.DEIS(n, 2),
    "DEIS 3": lambda n: ode.DEIS(n, 3),
    "DDPM": sde.DDPM,
    "SDE-DPM-Solver++ 2M": sde.SDEDPMSolver,
    "Euler-Maruyama": sde.EulerMaruyama,
    "predictor-corrector": lambda n: sde.PredictorCorrector((n + 1) // 2),
    "stochastic Heun": lambda n: sde.StochasticHeun((n + 1) // 2),
    "annealed Langevin": lambda n: sde.AnnealedLangevin(max(1, n // 5), moves=4),
}
"""From the number of evaluations that may be spent to the sampler that spends about as many."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--evaluations", default="5,10,20,40")
    parser.add_argument("--samplers", default=",".join(SAMPLERS))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    run = Run.load(arguments.run)
    dataset = run.dataset()
    references = examples(dataset, arguments.n)
    run.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for name in arguments.samplers.split(","):
        for evaluations in map(int, arguments.evaluations.split(",")):
            model = run.model.with_parts(sampler=SAMPLERS[name](evaluations))
            start = time.perf_counter()
            with inference(model), count_evaluations(model.estimand) as count:
                x = model.sample(arguments.n, seed=arguments.seed)
            seconds = time.perf_counter() - start
            score = headline(x, dataset, references)
            print(f"{name:<20} {count.rows / arguments.n:6.1f} evaluations {seconds:6.1f} s  {score}", flush=True)


if __name__ == "__main__":
    main()
