"""Forecasts as whole distributions: the next days or hours of a series given its past, beside Chronos' rows.

    python benchmarks/forecasts.py FOLDER [--only exchange_rate,etth] [--recipes flow/maf,autoregressive]
        [--steps 2000] [--size xs] [--seeds 3] [--out benchmarks/results/forecasts.json]

FOLDER holds ``exchange_rate.txt.gz`` (laiguokun/multivariate-time-series-data) and ``ETTh1.csv.gz``, ``ETTh2.csv.gz``
(zhouhaoyi/ETDataset). A model of ``Vectors`` given ``Vectors`` learns p(next H values | the L values before them, and
covariates) from all windows of all series that end before the last H values. It draws 400 futures of each last window.
The values are scaled by the past alone: exchange rates become steps in units of the past steps' spread, temperatures
and loads differences from the past mean in units of the past spread. Covariates are the hours of the day and the week.

The score is Chronos' (its ``evaluate.py``): the weighted quantile loss over quantiles .1 to .9, and MASE of the median.
Seasonal naive is recomputed here and agrees with the published row. Chronos' rows are zero-shot, ours train on the
series.
One window per series: an interval over seeds says nothing of other windows.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from provenance import commit

import fourfold
from fourfold.data import Dataset, Split
from fourfold.machine.hardware import machine
from fourfold.runs.files import write_json
from fourfold.spaces import Vectors

QUANTILES = np.arange(1, 10) / 10
DRAWS = 400
NOTES = (
    "Weighted quantile loss over the quantiles .1 to .9 and MASE of the median, as Chronos computes them; lower is "
    "better. Chronos is not trained on these series. One window per series: seeds say nothing of other windows."
)
PUBLISHED = {
    "exchange_rate": {
        "seasonal naive": (1.74018, 0.012984),
        "T5 tiny": (1.662, 0.010851),
        "Bolt base": (1.710, 0.012007),
        "Bolt mini": (1.352, 0.009347),
    },
    "etth": {
        "seasonal naive": (0.93162, 0.122090),
        "T5 tiny": (0.818, 0.085782),
        "Bolt base": (0.748, 0.070622),
        "Bolt mini": (0.806, 0.077404),
    },
}
"""MASE and weighted quantile loss of Chronos' published rows."""


@dataclass(frozen=True)
class Task:
    """Series, and how windows of them are made.

    Attributes:
        series: the values of each.
        hours: hours since a Monday of each value, or ``None`` without covariates.
        horizon: values that are forecast.
        past: values that a forecast is conditional on.
        season: period of the naive forecast.
        steps: whether changes are modelled, and not values.
    """

    series: list[np.ndarray]
    hours: list[np.ndarray] | None
    horizon: int
    past: int
    season: int
    steps: bool

    def scale(self, past: np.ndarray, series: np.ndarray) -> np.ndarray:
        """The unit of each window ``(N, L)``: the spread of its past, at least a share of that of the series."""
        if self.steps:
            return np.maximum(np.diff(past, axis=1).std(1, keepdims=True), 0.3 * np.diff(series).std())
        return np.maximum(past.std(1, keepdims=True), 0.2 * series.std())

    def condition(self, past: np.ndarray, scale: np.ndarray, hours: np.ndarray | None) -> np.ndarray:
        """The past in its own units, the log of the unit, and waves of the time of day and of the week."""
        origin = past[:, -1:] if self.steps else past.mean(1, keepdims=True)
        parts = [(past - origin) / scale, np.log(scale)]
        if hours is not None:
            turns = 2 * np.pi * hours[:, None] / np.array([24, 168])
            parts += [np.sin(turns), np.cos(turns)]
        return np.concatenate(parts, 1)

    def encode(self, future: np.ndarray, past: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Future values in the units of their past."""
        if self.steps:
            return np.diff(np.concatenate([past[:, -1:], future], 1), axis=1) / scale
        return (future - past.mean(1, keepdims=True)) / scale

    def decode(self, z: np.ndarray, past: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`encode`, of many draws for one past."""
        return past[:, -1:] + np.cumsum(z * scale, 1) if self.steps else past.mean(1, keepdims=True) + z * scale


def tasks(folder: Path) -> dict[str, Task]:
    """Both sets."""
    rates = np.loadtxt(folder / "exchange_rate.txt.gz", delimiter=",").T
    series, hours = [], []
    for number in (1, 2):
        frame = pd.read_csv(folder / f"ETTh{number}.csv.gz", parse_dates=["date"])
        series += [frame[column].to_numpy(float) for column in frame.columns[1:]]
        hours += [(frame.date.dt.hour + 24 * frame.date.dt.day_of_week).to_numpy()] * (len(frame.columns) - 1)
    return {
        "exchange_rate": Task(list(rates), None, 30, 60, 5, steps=True),
        "etth": Task(series, hours, 24, 168, 24, steps=False),
    }


def dataset(name: str, task: Task, seed: int) -> Dataset:
    """All windows that end before the last ``horizon`` values. The latest 7 % of each series are held out."""
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"train": [], "later": []}
    for i, values in enumerate(task.series):
        values = values[: -task.horizon]
        windows = np.lib.stride_tricks.sliding_window_view(values, task.past + task.horizon)
        past, future = windows[:, : task.past], windows[:, task.past :]
        hours = None if task.hours is None else task.hours[i][task.past : task.past + len(windows)]
        scale, cut = task.scale(past, values), round(0.93 * len(windows))
        x, cond = task.encode(future, past, scale), task.condition(past, scale, hours)
        parts["train"].append((x[: cut - task.horizon], cond[: cut - task.horizon]))
        parts["later"].append((x[cut:], cond[cut:]))
    joined = {
        key: [torch.tensor(np.concatenate(part)).float() for part in zip(*pairs, strict=True)]
        for key, pairs in parts.items()
    }
    order = torch.randperm(len(joined["later"][0]), generator=torch.Generator().manual_seed(seed))[:4000]
    halves = [Split(*(part[rows] for part in joined["later"])) for rows in order.chunk(2)]
    space = Vectors(task.horizon, given=Vectors(joined["train"][1].shape[1]))
    return Dataset(name, space, Split(*joined["train"]), *halves, digest=f"{seed}", source="benchmark")


def scores(task: Task, forecasts: np.ndarray) -> tuple[float, float]:
    """MASE of the medians, and the weighted quantile loss, of quantiles ``(S, 9, H)`` of all series."""
    truth = np.stack([values[-task.horizon :] for values in task.series])
    errors = truth[:, None] - forecasts
    level = QUANTILES[:, None]
    loss = 2 * np.maximum(level * errors, (level - 1) * errors).sum((0, 2)).mean() / np.abs(truth).sum()
    past = [values[: -task.horizon] for values in task.series]
    naive = np.array([np.abs(values[task.season :] - values[: -task.season]).mean() for values in past])
    return float((np.abs(errors[:, 4]).mean(1) / naive).mean()), float(loss)


def naive(task: Task) -> np.ndarray:
    """The last season again and again, as nine equal quantiles."""
    place = np.arange(task.horizon) % task.season - task.season
    rows = [values[: -task.horizon][place] for values in task.series]
    return np.repeat(np.stack(rows)[:, None], 9, 1)


def forecasts(task: Task, run: fourfold.Run) -> np.ndarray:
    """Quantiles of draws for the last window of each series, ``(S, 9, H)``."""
    quantiles = []
    for i, values in enumerate(task.series):
        past = values[None, -task.horizon - task.past : -task.horizon]
        hours = None if task.hours is None else task.hours[i][-task.horizon :][:1]
        scale = task.scale(past, values[: -task.horizon])
        cond = torch.tensor(task.condition(past, scale, hours)[0]).float()
        futures = task.decode(run.sample(DRAWS, cond, seed=1).numpy(), past, scale)
        quantiles.append(np.quantile(futures, QUANTILES, axis=0))
    return np.stack(quantiles)


def line(name: str, system: str, results: Sequence[tuple[float, float]], seconds: str, trained: str) -> dict[str, Any]:
    """A row of the table: means over seeds, and the least and the greatest loss."""
    mase, loss = ([result[i] for result in results] for i in range(2))
    spread = f" ({min(loss):.5f} to {max(loss):.5f})" if len(results) > 1 else ""
    figures = {"MASE": f"{statistics.mean(mase):.3f}", "quantile loss": f"{statistics.mean(loss):.5f}{spread}"}
    row = {"data": name, "system": system, **figures, "processor seconds": seconds, "trained on the series": trained}
    print(row, flush=True)
    return row


def contest(name: str, task: Task, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The published rows, seasonal naive, and each recipe with every seed."""
    for system, figures in PUBLISHED[name].items():
        yield line(name, f"{system}, published", [figures], "", "no")
    yield line(name, "seasonal naive", [scores(task, naive(task))], "", "no")
    for recipe in options.recipes.split(","):
        results, seconds = [], []
        for seed in range(options.seeds):
            start = time.process_time()
            data = dataset(name, task, seed)
            run = fourfold.fit(recipe, data, budget=f"{options.steps} steps", size=options.size, seed=seed)
            seconds.append(time.process_time() - start)
            results.append(scores(task, forecasts(task, run)))
        yield line(name, f"fourfold {recipe}", results, f"{statistics.mean(seconds):.0f}", "yes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="exchange_rate,etth")
    parser.add_argument("--recipes", default="flow/maf,autoregressive")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--size", default="xs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    every = tasks(options.folder)
    rows = [row for name in options.only.split(",") for row in contest(name, every[name], options)]
    if options.out is not None:
        about = {
            "title": "Forecasts: the next 30 days of exchange rates, the next 24 hours of ETTh",
            "order": 3,
            "machine": f"{machine()['cpu']}, {os.cpu_count()} cores, no GPU",
            "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
            "commit": commit(),
            "seeds": options.seeds,
            "command": f"python benchmarks/forecasts.py FOLDER --steps {options.steps}",
        }
        write_json(options.out, {**about, "rows": rows, "notes": NOTES})


if __name__ == "__main__":
    main()
