"""S1. Forecasts as whole distributions: the next days or hours of a series given its past, beside Chronos' rows.

A model of ``Vectors`` given ``Vectors`` learns p(next H values | the L values before them, and covariates) from all
windows of all series that end before the last H values. It draws 400 futures of each last window. The values are scaled
by the past alone: exchange rates become steps in units of the past steps' spread, temperatures and loads differences
from the past mean in units of the past spread. Covariates are the hours of the day and the week.

The score is Chronos' (its ``evaluate.py``): the weighted quantile loss over quantiles .1 to .9, and MASE of the median.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy import stats

import fourfold
from fourfold.data import Dataset, Split
from fourfold.spaces import Vectors
from published_rows import Anchor, Line, Options, Row, chosen, located, spread

QUANTILES = np.arange(1, 10) / 10
DRAWS = 400
RATES, HOURS = "exchange_rate", "ETTh"
ORIGINS = {
    RATES: "laiguokun/multivariate-time-series-data, exchange_rate/exchange_rate.txt.gz",
    HOURS: "zhouhaoyi/ETDataset, ETT-small/ETTh1.csv and ETTh2.csv, compressed by gzip",
}
PUBLISHED = {
    RATES: {
        "seasonal naive": (1.74018, 0.012984),
        "Chronos-Bolt mini": (1.352, 0.009347),
        "Chronos-T5 tiny": (1.662, 0.010851),
        "Chronos-Bolt tiny": (1.686, 0.011477),
        "Chronos-Bolt base": (1.710, 0.012007),
        "Chronos-T5 large": (2.344, 0.014841),
    },
    HOURS: {
        "seasonal naive": (0.93162, 0.122090),
        "Chronos-Bolt base": (0.748, 0.070622),
        "Chronos-Bolt tiny": (0.794, 0.074809),
        "Chronos-Bolt mini": (0.806, 0.077404),
        "Chronos-T5 large": (0.782, 0.078844),
        "Chronos-T5 tiny": (0.818, 0.085782),
    },
}
"""MASE and weighted quantile loss of Chronos' published rows."""


@dataclass(frozen=True)
class Setting:
    """A recipe, and its steps at size xs."""

    recipe: str
    steps: int

    def __str__(self) -> str:
        return f"{self.recipe} xs, {self.steps} steps"


CANDIDATES = (Setting("flow/maf", 1500), Setting("autoregressive", 1000))


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


@functools.cache
def task(name: str, options: Options) -> Task:
    """The series of a set."""
    if name == RATES:
        path = located(options, "forecast/exchange_rate.txt.gz", ORIGINS[RATES])
        return Task(list(np.loadtxt(path, delimiter=",").T), None, 30, 60, 5, steps=True)
    series, hours = [], []
    for number in (1, 2):
        path = located(options, f"forecast/ETTh{number}.csv.gz", ORIGINS[HOURS])
        frame = pd.read_csv(path, parse_dates=["date"])
        series += [frame[column].to_numpy(float) for column in frame.columns[1:]]
        hours += [(frame.date.dt.hour + 24 * frame.date.dt.day_of_week).to_numpy()] * (len(frame.columns) - 1)
    return Task(series, hours, 24, 168, 24, steps=False)


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


def random_walk(task: Task) -> np.ndarray:
    """Normal steps without drift, of the spread of the steps of the past: quantiles ``(S, 9, H)``."""
    rows, root = [], np.sqrt(np.arange(1, task.horizon + 1))
    for values in task.series:
        past = values[-task.horizon - task.past : -task.horizon]
        rows.append(past[-1] + stats.norm.ppf(QUANTILES)[:, None] * np.diff(past).std() * root)
    return np.stack(rows)


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


def anchors(name: str, options: Options) -> Iterator[Anchor]:
    """Seasonal naive by both figures."""
    series = task(name, options)
    both = PUBLISHED[name]["seasonal naive"], scores(series, naive(series))
    for figure, published, ours in zip(NAMES, *both, strict=True):
        yield Anchor(f"{figure} of seasonal naive", published, ours, 1e-5)


def walk(name: str, series: Task) -> Line:
    """The line of a random walk, which needs no training."""
    figures = dict(zip(NAMES, scores(series, random_walk(series)), strict=True))
    return Line(name, f"random walk, normal steps of the last {series.past}", figures, reference=True, seeds=1)


def measure(name: str, options: Options) -> Iterator[Line]:
    """The recipe that later windows of the same series choose."""
    series = task(name, options)
    yield walk(name, series)

    def fit(setting: Setting, seed: int) -> fourfold.Run:
        data, budget = dataset(name, series, seed), options.steps(setting.steps)
        return fourfold.fit(setting.recipe, data, budget=budget, size="xs", seed=seed, progress=False)

    def validation(run: fourfold.Run) -> float:
        held_out = dataset(name, series, 0).validation
        return -run.model.log_prob(held_out.x, held_out.cond).nats.mean().item()

    winner = chosen(CANDIDATES, fit, validation, options)
    results = [scores(series, forecasts(series, run)) for run in winner.runs]
    figures = {figure: spread([result[i] for result in results]) for i, figure in enumerate(NAMES)}
    yield Line(name, f"fourfold {winner.setting}", figures, seconds=winner.cost, seeds=len(results))


NAMES = ("MASE", "quantile loss")
ROW = Row(
    title="Forecasts of exchange rates and ETTh (S1)",
    figure="quantile loss",
    lower=True,
    protocol="The last 30 days of eight exchange rates and the last 24 hours of 14 series: weighted quantile loss over "
    "the quantiles .1 to .9, and MASE of the median, with seasons of 5 and 24. One window per series.",
    source="amazon-science/chronos-forecasting at 95185d1, scripts/evaluation/results",
    data="; ".join(ORIGINS.values()) + ", in the folder forecast",
    chosen="recipe by the likelihood of the latest 7 % of the windows, half of which choose the weights",
    interval="least and most of the seeds, which say nothing of other windows",
    sets=tuple(ORIGINS),
    published=tuple(
        Line(
            name,
            system,
            dict(zip(NAMES, values, strict=True)),
            source="zero-shot.csv",
            reference=system == "seasonal naive",
        )
        for name, systems in PUBLISHED.items()
        for system, values in systems.items()
    ),
    anchors=anchors,
    measure=measure,
    differs={"data": "trained on the past of these series, Chronos on others"},
)
