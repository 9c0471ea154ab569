"""The season of a series: after how many rows its rows are alike, as days of a week or hours of a day."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fourfold.data.schema import Coded, as_numbers
from fourfold.machine.libraries import pandas as pd

__all__ = ["season_of"]

SEASONS = range(3, 32)
"""Rows of a season, from three on, since models see the two rows before, to the days of a month."""
ROWS = 5_000
"""Rows that a season is looked for in, at most: the first ones."""
WINDOWS = 4
"""The fewest windows of two seasons that a series has."""
REGULAR = 0.9
"""The share of rows that follow the row before by about the usual step, at least."""
UNEVEN = 0.15
"""By so much steps may differ from the usual one, as months do in days."""
HOT = 8
"""Categories that are looked at one by one, at most."""
LEAST = 15.0
"""Nats that a season gains, at least."""
GAIN = 0.02
"""Nats that it gains for each row, at least."""
NEAR = 0.6
"""A divisor of the best season is one if it gains this share of its nats."""
FOLDS = 3
"""Parts of the rows, one after the other, each of which judges predictions that are fitted on the others."""
FAR = 5.0
"""Steps of more than so many usual ones count as these."""


def season_of(
    columns: Sequence[Coded], places: npt.NDArray[np.int64], series: npt.NDArray[np.int64], share: float
) -> int | None:
    """After how many rows the rows of series are alike, or ``None``.

    A season of ``s`` rows is judged by predictions of the step to each row. All see the step before, and how far the
    last row lies from the mean of earlier ones. Those of the season also see how far it lies from the row ``s`` rows
    before, or the step to that row. The season gains ``n / 2 log(e / e_s)`` nats on ``n`` rows, with squared errors
    ``e`` without and ``e_s`` with it. That must be more than the seasons of one row less and one row more gain. Of the
    best one and its divisors, the shortest is taken that gains nearly as much.

    Args:
        columns: of the rows, without those that name or order them.
        places: the place of each row in its order.
        series: the number of each row's series.
        share: the first part of each series that is for training. The others are not looked at.
    """
    if not len(series):
        return None
    order = np.lexsort((places, series))
    series, places = series[order], places[order]
    lengths = np.bincount(series)
    number = np.arange(len(series)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    rows = float(np.median(lengths))
    longest = min(int(rows / (2 * WINDOWS)) - 1, SEASONS[-1])
    share = min(share, 1 - 4 * (longest + 1) / rows)  # a held-out part has at least a window of two seasons
    order, series, places = (part[number < share * lengths[series]][:ROWS] for part in (order, series, places))
    steps = np.diff(places)[series[1:] == series[:-1]]
    usual = np.median(steps) if len(steps) else 0
    regular = usual > 0 and (np.abs(steps / usual - 1) < UNEVEN).mean() >= REGULAR
    seasons = [s for s in SEASONS if s <= longest] if regular else []
    numbers = [part for column in columns for part in _numbers(column, order)] if seasons else []
    if not numbers:
        return None
    values, last = np.stack(numbers, 1), max(seasons) + 1
    gains = np.array([_gain(values, series, s, last) for s in range(min(seasons) - 1, last + 1)])
    peaks = (gains[1:-1] >= gains[:-2]) & (gains[1:-1] >= gains[2:]) & (gains[1:-1] > 0)
    if not peaks.any():
        return None
    gain = dict(zip(seasons, np.where(peaks, gains[1:-1], 0), strict=True))
    best = max(seasons, key=gain.__getitem__)
    return next(s for s in seasons if best % s == 0 and gain[s] >= NEAR * gain[best])


def _numbers(column: Coded, rows: npt.NDArray[np.int64]) -> list[npt.NDArray[np.float64]]:
    """The numbers of a column in units of the usual step, without gaps, or flags of all categories but the first."""
    places, inverse = np.unique(column.inverse[rows], return_inverse=True)
    gap = int(places[0] < 0)
    numbers = as_numbers(column.distinct.iloc[places[gap:]].astype(str))
    if np.isnan(numbers).any() or len(numbers) <= 2:
        return [(inverse == k).astype(float) for k in range(1, len(places))] if len(places) <= HOT else []
    values = pd.Series(np.append(np.full(gap, np.nan), numbers)[inverse]).ffill().bfill().fillna(0.0).to_numpy()
    step = np.abs(np.diff(values))
    return [values / (np.median(step) or step.mean() or 1.0)]


def _gain(numbers: npt.NDArray[np.float64], series: npt.NDArray[np.int64], season: int, longest: int) -> float:
    """Nats that a season gains, or 0 if they are too few. All seasons are judged on the same rows.

    Args:
        numbers: of each row, ``(N, Q)``.
        series: the number of each row's series.
        season: of so many rows.
        longest: the longest season that is looked at.
    """
    rows = np.flatnonzero(series[longest + 1 :] == series[: -longest - 1]) + longest + 1
    if len(rows) < 2 * LEAST:
        return 0.0
    last, past = numbers[rows - 1], numbers[rows - season]
    mean = np.mean([numbers[rows - d] for d in range(1, longest + 1)], 0)
    differences = (
        last - numbers[rows - 2],
        mean - last,
        numbers[rows] - last,
        past - last,
        past - numbers[rows - season - 1],
    )
    recent, level, step, value, change = (difference.clip(-FAR, FAR) for difference in differences)
    error, *errors = (_errors(np.stack([recent, level, *part], 2), step) for part in ([], [value], [change]))
    gain = 0.5 * len(rows) * float(np.log(error / np.minimum(*errors)).sum())
    return gain if gain >= max(LEAST, GAIN * len(rows)) else 0.0


def _errors(features: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The mean square error of each number ``(N, Q)`` by its own features ``(N, Q, F)``, in parts fitted on others."""
    a = np.concatenate([features, np.ones((*y.shape, 1))], 2)
    parts = [(a[rows], y[rows]) for rows in np.array_split(np.arange(len(y)), FOLDS)]
    squares = np.stack([np.einsum("nqf,nqg->qfg", part, part) for part, _ in parts])
    products = np.stack([np.einsum("nqf,nq->qf", part, target) for part, target in parts])
    squares, products = squares.sum(0) - squares + 0.1 * np.eye(a.shape[2]), products.sum(0) - products
    weights = np.linalg.solve(squares, products[..., None])[..., 0]
    errors = [y - np.einsum("nqf,qf->nq", part, w) for (part, y), w in zip(parts, weights, strict=True)]
    return np.square(np.concatenate(errors)).mean(0) + 1e-9
