"""Energy-based models: quality of samples, how their chains do, and the bracket of their likelihood.

    python benchmarks/energy.py vectors [two-moons] [--recipe energy] [--budget 60s] [--size s] [--seed 0] [--plot FILE]
    python benchmarks/energy.py images [fashion-mnist] [--recipe energy] [--budget 120s] [--n 2000] [--plot FILE]

``vectors`` prints MMD^2 x 1000 of 2,000 samples to 2,000 test examples, in raw coordinates, with its kernel, its
interval and its floor (as many training examples against the same); the acceptance, split R-hat and effective sample
size of chains at the end of sampling; log Z between forward and reverse annealing, and so the test log-likelihood
between two numbers; in two dimensions also both by quadrature, which the bracket must hold. ``images`` prints the
Frechet distance in the features that the data allow (samples drawn with networks in bfloat16), the cost of a sample,
and of a classifier the accuracy of its logits on all test examples.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch

import fourfold
from fourfold.core import Noise
from fourfold.data import Dataset, load
from fourfold.engine.choice import inference
from fourfold.estimands import Energy
from fourfold.likelihoods.annealing import bracket_log_z
from fourfold.metrics import mmd
from fourfold.paradigms.energy import ClassifierEnergy
from fourfold.runs.run import Run
from fourfold.samplers.langevin import MALA
from fourfold.tasks.evaluation import draw, examples, headline


def vectors(run: Run, data: Dataset, seed: int, plot: Path | None) -> None:
    """Samples against test examples, chains, and the likelihood between two numbers."""
    references, model = examples(data, 2000), run.model
    drawn = draw(model, len(references.test), seed, references.cond)
    score = mmd(drawn.x, references.test, features="raw", train=references.train)
    print(
        f"  MMD^2 x 1000 = {1e3 * score.value:.3f} [{1e3 * score.low:.3f}, {1e3 * score.high:.3f}], floor "
        f"{1e3 * score.floor:.3f}; {drawn.evaluations:.0f} evaluations, "
        f"{1e3 * drawn.seconds / len(drawn.x):.2f} ms/sample\n  ({score.protocol})"
    )
    if plot is not None:
        scatter(drawn.x, references.test, plot)
    energy = model.estimand
    noise = Noise(seed, 0, 32, "chains")
    chains = MALA(2000, 0.05, warmup=200).run(energy, noise, None, model.codec.encode(drawn.x[:32])[0], keep=1)
    print(f"  chains from samples: {chains.diagnose()}")
    log_z = bracket_log_z(energy, chains=500, temperatures=200, sampler=model.sampler, seed=seed)
    print(f"  {log_z}")
    nats = model.log_prob(data.test.x)
    mean, error = nats.mean()
    low, high = log_z.interval(2)
    print(
        f"  log-likelihood of test examples in {mean - high:.4f} .. {mean - low:.4f} nats (± {error:.3f} over examples)"
    )
    if energy.event == (2,):
        exact = summed(energy)
        print(f"  by quadrature: log Z = {exact:.4f}, log-likelihood {mean - exact:.4f} nats")
    if data.density is not None:
        print(
            f"  the exact one of the density that was sampled: {float(data.density.log_prob(data.test.x).mean()):.4f}"
        )


@torch.no_grad()
def summed(energy: Energy, reach: float = 8.0, cells: int = 1000) -> float:
    """``log Z`` of an energy of two standardised columns: the midpoint rule on the square of half-side ``reach``."""
    line = (torch.arange(cells) + 0.5) * (2 * reach / cells) - reach
    parts = [-energy(torch.stack([line, line.new_full((cells,), float(y))], 1)).double() for y in line]
    return float(torch.cat(parts).logsumexp(0)) + 2 * math.log(2 * reach / cells)


def images(run: Run, data: Dataset, seed: int, plot: Path | None, n: int) -> None:
    """Samples against test images, and the labels that a classifier gives them."""
    energy = run.model.estimand
    if isinstance(energy, ClassifierEnergy):
        with torch.no_grad():
            right = energy.logits(run.model.codec.encode(data.test.x)[0]).argmax(1) == data.test.cond
        print(f"  accuracy of the logits on {len(right)} test examples: {float(right.float().mean()):.4f}", flush=True)
    references = examples(data, n)
    with inference(run.model):
        drawn = draw(run.model, len(references.test), seed, references.cond)
    print(
        f"  {headline(drawn.x, data, references)}; {drawn.evaluations:.0f} evaluations, {drawn.seconds:.0f} s for all"
    )
    if plot is not None:
        from PIL import Image

        _, _, height, width = drawn.x.shape
        order = torch.arange(100) if references.cond is None else by_label(references.cond)
        rows = drawn.x[order, 0].reshape(10, 10, height, width).permute(0, 2, 1, 3).reshape(10 * height, 10 * width)
        picture = (rows.float() * 255 / (run.model.space.n_values - 1)).to(torch.uint8)  # type: ignore[attr-defined]
        Image.fromarray(picture.numpy()).save(plot)


def by_label(cond: torch.Tensor) -> torch.Tensor:
    """The indices of a hundred samples, ten of each of ten labels."""
    return torch.cat([(cond == label).nonzero()[:10, 0] for label in range(10)])


def scatter(x: torch.Tensor, test: torch.Tensor, path: Path) -> None:
    """The first two columns of samples and of test examples side by side, as counts on a grid."""
    from PIL import Image

    low, high = test[:, :2].amin(0) - 0.5, test[:, :2].amax(0) + 0.5
    grids = []
    for points in (x, test):
        cell = ((points[:, :2] - low) / (high - low) * 300).long().clamp(0, 299)
        grids.append(torch.zeros(300, 300).index_put_((299 - cell[:, 1], cell[:, 0]), torch.ones(len(cell)), True))
    Image.fromarray((255 - 120 * torch.cat(grids, 1)).clamp(0, 255).to(torch.uint8).numpy()).save(path)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["vectors", "images"])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--recipe", default="energy")
    parser.add_argument("--budget")
    parser.add_argument("--size", default="s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--n", type=int, default=2000, help="samples of images, and as many references")
    parser.add_argument("--data-dir")
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    of_vectors = arguments.what == "vectors"
    data = load(
        arguments.data or ("two-moons" if of_vectors else "fashion-mnist"),
        seed=arguments.seed,
        data_dir=arguments.data_dir,
    )
    budget = arguments.budget or ("60s" if of_vectors else "120s")
    run = fourfold.fit(arguments.recipe, data, budget=budget, size=arguments.size, seed=arguments.seed)
    card = run.card
    print(
        f"{arguments.recipe} on {data.name}: {card['parameters']} parameters, {card['steps']} steps in "
        f"{card['seconds']:.0f} s, "
        f"{card['precision']['name']}",
        flush=True,
    )
    if of_vectors:
        vectors(run, data, arguments.seed, arguments.plot)
    else:
        images(run, data, arguments.seed, arguments.plot, arguments.n)


if __name__ == "__main__":
    main()
