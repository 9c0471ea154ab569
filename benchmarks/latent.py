"""Bits per dimension of test images of Fashion-MNIST by several likelihoods of the same weights, each with its kind.

    python benchmarks/latent.py [RECIPE ...] [--budget 120s] [--size s] [--seed 0] [--images 2000] [--solved 256]

By default the recipes are ``latent-variable`` and ``latent-variable/ladder``, scored by the evidence lower bound and by
importance-weighted bounds, and ``diffusion``, scored by its variational bound and by its probability-flow ODE, two
probes each, on the first ``--solved`` images, both being slow. An importance-weighted bound is never below the evidence
lower bound in expectation; a lower bound and an estimate are not ranked against each other. The interval is 95 % over
images.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping

import fourfold
from fourfold.core import GenerativeModel, Likelihood
from fourfold.data import Split, load
from fourfold.estimands import Denoiser
from fourfold.likelihoods import DiffusionBound
from fourfold.likelihoods.ode import ProbabilityFlow
from fourfold.paradigms.latent import Elbo, ImportanceWeighted

DEFAULTS = ("latent-variable", "latent-variable/ladder", "diffusion")


def likelihoods(model: GenerativeModel) -> Mapping[str, Likelihood]:
    """What is known of how the likelihood of a model can be had."""
    if isinstance(model.estimand, Denoiser):
        return {"variational": DiffusionBound(), "ODE": ProbabilityFlow(probes=2)}
    return {"ELBO": Elbo(), "IWAE-8": ImportanceWeighted(8), "IWAE-64": ImportanceWeighted(64)}


def measure(model: GenerativeModel, test: Split, images: int, solved: int) -> None:
    """Print one line for each likelihood."""
    for name, likelihood in likelihoods(model).items():
        n = solved if isinstance(model.estimand, Denoiser) else images
        start = time.perf_counter()
        log_p = model.with_parts(likelihood=likelihood).log_prob(test.x[:n], batch_size=128)
        bits, seconds = log_p.bits_per_dim.double(), time.perf_counter() - start
        half = 1.96 * bits.std().item() / math.sqrt(n)
        print(
            f"  {name:12} {bits.mean():.4f} ± {half:.4f} bits/dim, {log_p.kind.value}, {n} images, {seconds:.0f} s",
            flush=True,
        )


def main() -> None:
    """Read the command line, train each recipe and score it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=list(DEFAULTS))
    parser.add_argument("--budget", default="120s")
    parser.add_argument("--size", default="s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--solved", type=int, default=256)
    options = parser.parse_args()
    data = load("fashion-mnist", seed=options.seed)
    for name in options.recipes:
        run = fourfold.fit(name, data, budget=options.budget, size=options.size, seed=options.seed)
        steps, seconds = run.card["steps"], run.card["seconds"]
        print(f"{name} ({options.size}): {steps} steps in {seconds:.0f} s, {run.card['precision']['name']}", flush=True)
        measure(run.model, data.test, options.images, options.solved)


if __name__ == "__main__":
    main()
