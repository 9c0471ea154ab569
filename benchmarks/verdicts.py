"""How often the verdict of a comparison errs, and how often it finds a difference that is there.

Usage: python benchmarks/verdicts.py [--only likelihood mmd ...] [--repeats 200] [--out results/verdicts.json]

Nothing is trained. Each model is a Gaussian ``N(mu, I)`` in two dimensions, and the data are ``N(0, I)``. Models that
are equally far from the data, in different directions, are equally good: their mean log-densities differ from that of
the data by ``r² / 2`` nats. Each repeat draws test rows, training rows and samples anew, scores the models as
``compare`` does, and asks :func:`fourfold.tournament.ranking.lead`, as its verdict does. With several seeds, each
training moves ``mu`` by a normal step of 0.1. With five folds each fifth of the rows has a training of its own.

A row has the percentages of repeats in which
- *equal*: any of several equal models (``r = 0.6``) is called significantly worse than another: 5 at most;
- *as training data*: any of several perfect models (``r = 0``) is called worse than training data: 5 at most;
- *wrong*: a worse model is called better than one better model (``r = 0.3`` against 0.6, 0.135 nats a row): 5 at most;
- *power*: that better model is named best, and every other significantly worse;
- *pairs*: the mean share of the worse models that are called significantly worse;
- *floor*: the models of ``r = 0.6`` are all seen to be worse than training data.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from provenance import commit
from torch import Tensor

from fourfold.core import LogProb
from fourfold.metrics import Measurement, coverage, frechet_distance, mmd
from fourfold.metrics.floor import choose_draws
from fourfold.metrics.rows import Columns
from fourfold.metrics.score import Floor
from fourfold.metrics.twosample import two_sample_auc
from fourfold.tasks.evaluation import mean_likelihood
from fourfold.tournament import combine
from fourfold.tournament.entries import pool
from fourfold.tournament.ranking import Lead, at_floor, lead
from fourfold.vocabulary import Kind

FAR, NEAR = 0.6, 0.3
"""Distances of a model's mean from that of the data."""
STEP = 0.1
"""Standard deviation of a training's mean in each direction, where there are several seeds."""

Scorer: TypeAlias = Callable[[Tensor, int, torch.Generator], list[Measurement]]
"""The scores of models, of which ``(k, S, 2)`` holds the mean of each training, on ``n`` test rows."""


@dataclass(frozen=True)
class Row:
    """One line of the table: percentages, as the head of this file describes them."""

    score: str
    models: int
    n: int
    seeds: int
    equal: float
    as_training_data: float | None
    wrong: float
    power: float
    pairs: float
    floor: float | None
    repeats: int


def by_likelihood(means: Tensor, n: int, generator: torch.Generator) -> list[Measurement]:
    """Mean log-densities in nats a row, exact."""
    rows = torch.randn(n, 2, generator=generator)
    nats = -(rows - means[:, :, None]).square().sum(-1) / 2 - math.log(2 * math.pi)
    return [combine([mean_likelihood(LogProb(row, Kind.EXACT), "nats") for row in of_model]) for of_model in nats]


def by_folds(means: Tensor, n: int, generator: torch.Generator) -> list[Measurement]:
    """The same where each fifth of the rows is judged by a training of its own, in another direction from the data."""
    angles = 2 * math.pi * torch.rand(5, len(means), 1, generator=generator)
    x, y = means.unbind(-1)
    turned = torch.stack([angles.cos() * x - angles.sin() * y, angles.sin() * x + angles.cos() * y], -1)
    return [pool(scores) for scores in zip(*(by_likelihood(part, n // 5, generator) for part in turned), strict=True)]


def by_samples(measure: Callable[..., Measurement]) -> Scorer:
    """The scores of ``n`` samples of each training against ``n`` test rows, beside the floor of training rows.

    All models share the floor, which is computed once.
    """

    def scores(means: Tensor, n: int, generator: torch.Generator) -> list[Measurement]:
        rows, train = (torch.randn(size, 2, generator=generator) for size in (n, 4 * n))
        samples = means[:, :, None] + torch.randn(*means.shape[:2], n, 2, generator=generator)
        first = measure(samples[0, 0], rows, features="f", train=choose_draws(train, n))
        floor = Floor(first.floor, first.floor_low, first.floor_high)
        return [combine([measure(x, rows, features="f").beside(floor) for x in of_model]) for of_model in samples]

    return scores


def of_trees(x: Tensor, y: Tensor, features: str, train: object = None) -> Measurement:
    """The two-sample AUC, whose floor is a law."""
    return two_sample_auc(x, y, Columns(("a", "b"), (False, False), ("", "")))


Cases: TypeAlias = tuple[tuple[int, int, int], ...]

SCORES: Mapping[str, tuple[Scorer, int, Cases]] = {
    "likelihood": (
        by_likelihood,
        5,
        ((2, 180, 1), (5, 50, 1), (5, 180, 1), (5, 500, 1), (12, 180, 1), (12, 500, 1), (5, 180, 3), (5, 500, 3)),
    ),
    "likelihood, 5 folds": (by_folds, 5, ((5, 500, 1),)),
    "mmd": (by_samples(mmd), 1, ((2, 180, 1), (5, 60, 1), (5, 180, 1), (5, 180, 3))),
    "frechet": (by_samples(frechet_distance), 1, ((2, 180, 1), (5, 60, 1), (5, 180, 1), (5, 180, 3))),
    "coverage": (by_samples(coverage), 1, ((5, 60, 1), (2, 180, 1), (5, 180, 1))),
    "trees": (by_samples(of_trees), 0, ((2, 60, 1), (5, 180, 1))),
}
"""How each score is computed, a factor of its repeats (0: a tenth), and its cases: models, test rows, seeds."""
FEW = 10
"""From so many models on, there are a quarter of the repeats: there are many pairs."""


def means_of(radii: Sequence[float], seeds: int, generator: torch.Generator) -> Tensor:
    """The means of models at some distances, in evenly spread directions, ``(k, S, 2)``."""
    angles = torch.arange(len(radii)) * (2 * math.pi / len(radii)) + 2 * math.pi * torch.rand(1, generator=generator)
    centres = torch.tensor(radii)[:, None] * torch.stack([angles.cos(), angles.sin()], 1)
    steps = STEP * torch.randn(len(radii), seeds, 2, generator=generator) if seeds > 1 else 0.0
    return centres[:, None] + steps


def leads(scorer: Scorer, radii: Sequence[float], n: int, seeds: int, repeats: int) -> Iterator[tuple[Lead, bool]]:
    """The verdict of each repeat on models that are called 0, 1, ..., and whether any of them is at its floor."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(repeats):
        scores = scorer(means_of(radii, seeds, generator), n, generator)
        by_name = {str(i): score for i, score in enumerate(scores)}
        yield lead(by_name), any(map(at_floor, scores))


def row(name: str, models: int, n: int, seeds: int, repeats: int) -> Row:
    """The rates of one case. Where trainings differ, none of them is as good as training data."""
    scorer, factor, _ = SCORES[name]
    repeats = (repeats * factor if factor else repeats // 10) // (4 if models >= FEW else 1)
    equal = [*leads(scorer, [FAR] * models, n, seeds, repeats)]
    better = [ranking for ranking, _ in leads(scorer, [NEAR] + [FAR] * (models - 1), n, seeds, repeats)]
    behind = [models - len(unbeaten(ranking)) for ranking in better]
    floors = "likelihood" not in name
    perfect = [*leads(scorer, [0.0] * models, n, seeds, repeats)] if floors and seeds == 1 else []
    return Row(
        name,
        models,
        n,
        seeds,
        percent(len(unbeaten(ranking)) < models for ranking, _ in equal),
        percent(len(unbeaten(ranking)) < models for ranking, _ in perfect) if perfect else None,
        percent("0" not in unbeaten(ranking) for ranking in better),
        percent(unbeaten(ranking) == {"0"} for ranking in better),
        100 * sum(behind) / (len(behind) * (models - 1)),
        percent(not near for _, near in equal) if floors else None,
        repeats,
    )


def unbeaten(ranking: Lead) -> set[str]:
    """The models that are not called significantly worse than another."""
    return {*ranking.leaders, *ranking.near}


def percent(cases: Iterator[bool]) -> float:
    """The percentage of cases that are true."""
    values = list(cases)
    return round(100 * sum(values) / len(values), 1)


# --- the table --------------------------------------------------------------------------------------------------------

HEAD = ("score", "models", "n", "seeds", "equal", "as training data", "wrong", "power", "pairs", "floor", "repeats")
WIDTHS = (6, 4, 6, 6, 9, 6, 6, 6, 6, 6)
"""Columns of the terminal that each number takes, after 19 of the score."""


def line(cells: Sequence[object]) -> str:
    """A row in at most 80 columns."""
    words = ["" if cell is None else f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells]
    name, *rest = (word.replace("as training data", "as train").replace("repeats", "times") for word in words)
    return f"{name:<19}" + "".join(f"{word:>{width}}" for word, width in zip(rest, WIDTHS, strict=True)).rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(SCORES), choices=SCORES, help="scores")
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results") / "verdicts.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(line(HEAD))
    for name in arguments.only:
        rows, start = [], time.process_time()
        for case in SCORES[name][2]:
            rows.append(row(name, *case, arguments.repeats))
            print(line([*asdict(rows[-1]).values()]), flush=True)
            write(arguments.out, name, rows, time.process_time() - start)


def write(path: Path, name: str, rows: Sequence[Row], seconds: float) -> None:
    """Put the rows of a score in the place of its former ones."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": [], "runs": {}}
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    cells = [dict(zip(HEAD, asdict(row).values(), strict=True)) for row in rows]
    rest = [row for row in before["rows"] if row["score"] != name]
    runs = {**before["runs"], name: f"{date}, commit {commit()}, {seconds:.0f} s of processor time"}
    result = {
        "title": "Verdicts: percentages of errors, and of differences that are found",
        "order": 4,
        "command": "benchmarks/verdicts.py",
        "date": date,
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "runs": runs,
        "notes": [
            "Models are Gaussians in closed form; benchmarks/verdicts.py describes the columns. *equal*, *as training "
            "data* and *wrong* are errors, of 5 % at most; the others are powers.",
            "Runs: " + "; ".join(f"{key}: {run}" for key, run in runs.items()) + ".",
        ],
        "rows": sorted(rest + cells, key=lambda cell: list(SCORES).index(cell["score"])),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
