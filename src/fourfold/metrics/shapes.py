"""Shape and trend: how alike the columns are, and how alike their pairs are."""

from __future__ import annotations

import itertools
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.metrics.floor import Draws, floors_of
from fourfold.metrics.rows import Array, Columns
from fourfold.metrics.score import Floor, Measurement, jackknives

__all__ = ["Trends", "associations", "correlations", "quality", "shapes"]

MOST_COLUMNS = 100
"""Largest number of columns whose pairs are compared. Of more, so many are drawn."""
BINS = 10
"""Intervals of a quantity beside a category."""
LEAST_CORRELATION, LEAST_ASSOCIATION = 0.5, 0.3
"""Pearson's correlation and Cramér's V of the references, beyond which a pair counts."""


def shapes(x: Tensor, y: Tensor, columns: Columns) -> Tensor:
    """The likeness of each column of samples and references, ``(C,)`` from 0 to 1.

    It is NaN where the references have no value, and 0 where the samples alone have none.

    A quantity: ``1 - sup |F - G|`` of the distribution functions (Kolmogorov and Smirnov). A category: ``1 - 1/2 Σ |p
    - q|`` (total variation). Gaps are left out, as in Column Shapes of sdmetrics: :func:`~fourfold.metrics.tables.gaps`
    compares those.

    Args:
        x: samples, ``(n, C)``.
        y: references, ``(m, C)``.
        columns: their meaning.

    Reference: https://docs.sdv.dev/sdmetrics (KSComplement, TVComplement)
    """
    a, b = x.double().numpy(), y.double().numpy()
    return torch.tensor([_shape(a[:, j], b[:, j], flag) for j, flag in enumerate(columns.categorical)])


def _shape(a: Array, b: Array, categorical: bool) -> float:
    a, b = (v[~np.isnan(v)] for v in (a, b))
    if not len(a) or not len(b):
        return 0.0 if len(b) else float("nan")
    values, place = np.unique(np.concatenate([a, b]), return_inverse=True)
    p, q = (np.bincount(part, minlength=len(values)) / len(part) for part in (place[: len(a)], place[len(a) :]))
    return 1 - float(np.abs(p - q).sum() / 2 if categorical else np.abs(np.cumsum(p - q)).max())


@final
class Trends:
    """The likeness of each pair of columns of samples and references, from 0 to 1: Column Pair Trends of sdmetrics.

    Two quantities: ``1 - |r - s| / 2`` of Pearson's correlations, of the rows that have both. NaN where one of them is
    constant. Else ``1 - 1/2 Σ |p - q|`` over the cells of the contingency table, a gap being a category. A quantity is
    cut into ten intervals between its own extremes. Only pairs that belong together count: NaN where the references
    have a correlation of at most 0.5, or an association (Cramér's V) of at most 0.3.

    Args:
        y: references, ``(m, C)``.
        columns: of the rows.
        least: association of a pair that counts. By default as in sdmetrics.

    Reference: https://docs.sdv.dev/sdmetrics (CorrelationSimilarity, ContingencySimilarity); Cramér 1946,
    Mathematical Methods of Statistics, chapter 21.
    """

    def __init__(self, y: Tensor, columns: Columns, least: float = LEAST_ASSOCIATION) -> None:
        self.places = np.arange(len(columns.names))
        if len(self.places) > MOST_COLUMNS:
            self.places = np.sort(np.random.default_rng(0).choice(self.places, MOST_COLUMNS, replace=False))
        self.columns = columns = columns.part(self.places.tolist())
        pairs = np.array(list(itertools.combinations(range(len(self.places)), 2)), dtype=np.int64).reshape(-1, 2)
        categorical = np.array(columns.categorical, dtype=bool)
        self.linear = pairs[~categorical[pairs].any(1)]
        self.tables = pairs[categorical[pairs].any(1)]
        rows = self._rows(y)
        self.sizes = [int(np.nan_to_num(rows[:, j], nan=-1).max(initial=0)) + 3 for j in range(rows.shape[1])]
        self.correlations, codes = correlations(rows), self._codes(rows)
        i, j = self.linear.T
        self.linear = self.linear[np.abs(self.correlations[i, j]) > LEAST_CORRELATION]
        tables = [((i, j), self._table(codes, i, j) / len(rows)) for i, j in self.tables]
        dependent = [(pair, table) for pair, table in tables if self.association(table, *pair) > least]
        self.tables = np.array([pair for pair, _ in dependent], dtype=np.int64).reshape(-1, 2)
        self.counts = [table for _, table in dependent]

    def __call__(self, x: Tensor) -> Tensor:
        """The score of each pair, those of two quantities first, ``(P,)``."""
        rows = self._rows(x)
        i, j = self.linear.T
        linear = 1 - np.abs(correlations(rows)[i, j] - self.correlations[i, j]) / 2
        codes = self._codes(rows)
        tables = [
            # where samples have categories that the references lack, their share is missing on the other side
            1 - (np.abs(table / len(rows) - reference).sum() + 1 - table.sum() / len(rows)) / 2
            for (i, j), reference in zip(self.tables, self.counts, strict=True)
            for table in (self._table(codes, i, j),)
        ]
        return torch.from_numpy(np.concatenate([linear, np.array(tables, dtype=np.float64)]))

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The columns of each score."""
        return [(int(i), int(j)) for i, j in self.places[np.concatenate([self.linear, self.tables])]]

    def _rows(self, x: Tensor) -> Array:
        """The columns that are looked at."""
        return x[:, self.places].double().numpy()

    def _codes(self, rows: Array) -> npt.NDArray[np.int64]:
        """Columns as small integers ``(C, n)``: the last code of a column is a gap. -1: ``y`` lacks the category."""
        return np.stack(
            [
                _categories(rows[:, j], self.sizes[j]) if categorical else _intervals(rows[:, j])
                for j, categorical in enumerate(self.columns.categorical)
            ]
        )

    def _size(self, column: int) -> int:
        """The number of codes of a column."""
        return self.sizes[column] if self.columns.categorical[column] else BINS + 2

    def association(self, table: Array, i: int, j: int) -> float:
        """Cramér's V of a table of shares."""
        p = table.reshape(self._size(i), self._size(j))
        p = p[p.sum(1) > 0][:, p.sum(0) > 0]
        if min(p.shape) < 2:
            return 0.0
        square = (p**2 / (p.sum(1, keepdims=True) * p.sum(0, keepdims=True))).sum() - 1
        return float(np.sqrt(square / (min(p.shape) - 1)))

    def _table(self, codes: npt.NDArray[np.int64], i: int, j: int) -> Array:
        pair_mask = (codes[i] >= 0) & (codes[j] >= 0)
        cells = (codes[i] * self._size(j) + codes[j])[pair_mask]
        return np.bincount(cells, minlength=self._size(i) * self._size(j)).astype(np.float64)


def _categories(values: Array, size: int) -> npt.NDArray[np.int64]:
    """Categories from 1, 0 for one that no list holds, ``size - 1`` for a gap, -1 beyond the references' categories."""
    codes = np.where(np.isnan(values), size - 2, np.nan_to_num(values)).astype(np.int64) + 1
    return np.where((codes >= size - 1) & ~np.isnan(values), -1, codes)


def _intervals(values: Array) -> npt.NDArray[np.int64]:
    """Ten intervals between the extremes. The largest value and gaps come eleventh, as ``numpy.digitize`` counts."""
    return np.digitize(values, np.histogram_bin_edges(values[~np.isnan(values)], BINS)).astype(np.int64)


def associations(x: Tensor, columns: Columns) -> Array:
    """Pearson's correlation of each pair of quantities, and Cramér's V of every other pair. ``(C, C)``."""
    tables = Trends(x, columns, least=-1.0)
    matrix = tables.correlations.copy()
    for (i, j), table in zip(tables.tables, tables.counts, strict=True):
        matrix[i, j] = matrix[j, i] = tables.association(table, i, j)
    return matrix


def correlations(rows: Array) -> Array:
    """Pearson's correlation of each pair of columns ``(C, C)``, over the rows that have both. NaN for a constant."""
    observed_mask = ~np.isnan(rows)
    centre = np.where(observed_mask, rows, 0).sum(0) / np.maximum(observed_mask.sum(0), 1)
    values = np.where(observed_mask, rows - centre, 0)
    scale = np.maximum(np.abs(values).max(0, initial=0), 1e-300)
    values, observed_mask = values / scale, observed_mask.astype(np.float64)
    n, total, square = observed_mask.T @ observed_mask, values.T @ observed_mask, (values**2).T @ observed_mask
    spread = np.maximum(n * square - total**2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (n * (values.T @ values) - total * total.T) / np.sqrt(spread * spread.T)
    constant = (spread <= 1e-12 * n * square) | (n < 2)
    return np.where(constant | constant.T, np.nan, r)


def quality(x: Tensor, y: Tensor, columns: Columns, train: Tensor | Draws | None = None) -> list[Measurement]:
    """The mean of shape and trend, which are means over columns and over pairs, then each of them.

    Without a pair that belongs together there is no trend, and the quality is the shape.

    Args:
        x: samples.
        y: references.
        columns: of the rows.
        train: training rows, for the floors.
    """
    trends = Trends(y, columns)

    def statistic(rows: Tensor) -> Tensor:
        shape, trend = shapes(rows, y, columns).nanmean(), trends(rows).nanmean()
        return torch.stack([torch.stack([shape, trend]).nanmean(), shape, trend])

    scores = jackknives(lambda keep: statistic(x[keep]), len(x))
    floors = [Floor()] * 3 if train is None else floors_of(train, len(x), statistic)
    pairs = len(trends.linear) + len(trends.tables)
    names = ("quality[shape and trend]", "shape[columns]", "trend[pairs]")
    whole = "mean of the next two" if pairs else "the next, since no pair of columns belongs together"
    about = (whole, f"mean of {x.shape[1]} columns", f"mean of {pairs} pairs that belong together")
    words = f"as sdmetrics defines it; {len(x)} samples against {len(y)} test rows; interval over samples: jackknife"
    measurements = [
        Measurement(name, value, low, high, n=len(x), protocol=f"{of}, {words}", better="higher", share=True).beside(
            floor
        )
        for name, of, (value, low, high), floor in zip(names, about, scores, floors, strict=True)
    ]
    return measurements if pairs else measurements[:2]
