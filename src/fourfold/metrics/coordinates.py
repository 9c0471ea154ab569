"""Coordinates of examples without a network: points whose Euclidean distances mean something."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from fourfold.metrics.features import Features
from fourfold.metrics.rows import Columns, Metric

__all__ = ["OneHot", "RowPoints", "TokenCounts", "leading"]

ROWS = 500
"""Rows from which principal components are computed."""
BUCKETS = 64
"""Counts of single tokens, and as many of pairs. Tokens beyond share a count."""


@final
class OneHot(Features):
    """Categories as unit vectors: two different ones are the square root of two apart."""

    name = "one-hot"
    protocol = "categories as unit vectors"

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self, x: Tensor) -> Tensor:
        return functional.one_hot(x.long(), self.count).float()


@final
class TokenCounts(Features):
    """Square roots of the counts of tokens and of pairs of neighbours, hashed into :data:`BUCKETS` each.

    The Euclidean distance of square roots of counts is that of Hellinger.
    """

    name = "token counts"
    protocol = f"square roots of the counts of tokens and of pairs of neighbours, {BUCKETS} buckets each"

    def __call__(self, x: Tensor) -> Tensor:
        ids = x.long()
        pairs = 1_000_003 * ids[:, :-1] + ids[:, 1:]
        return torch.cat([self._counts(ids), self._counts(pairs * 2_654_435_761 // 65_536)], 1)

    @staticmethod
    def _counts(ids: Tensor) -> Tensor:
        counts = torch.zeros(len(ids), BUCKETS)
        return counts.scatter_add_(1, ids % BUCKETS, torch.ones(ids.shape)).sqrt()


@final
class RowPoints(Features):
    """Rows of mixed columns as the points of :class:`~fourfold.metrics.rows.Metric`.

    Args:
        numbers: maps raw examples to numbers ``(n, C)``, or ``(n, L, C)`` where an example has several rows. A gap is
            NaN. So is a row behind the end, which may be infinite.
        data: raw examples that shares are taken from.
        columns: the meaning of the numbers.
    """

    name = "rows"
    protocol = "quantities by the share of the data below them, categories as unit vectors"

    def __init__(self, numbers: Callable[[Tensor], Tensor], data: Tensor, columns: Columns) -> None:
        self.numbers = numbers
        self.metric = Metric(self._rows(data), columns)

    def _rows(self, x: Tensor) -> Tensor:
        numbers = self.numbers(x)
        return numbers.masked_fill(numbers.isinf(), torch.nan).reshape(-1, numbers.shape[-1])

    def __call__(self, x: Tensor) -> Tensor:
        return self.metric.embed(self._rows(x)).reshape(len(x), -1)


def leading(points: Tensor, most: int) -> Callable[[Tensor], Tensor]:
    """The map of points ``(n, D)`` to their ``most`` leading principal components, or to themselves if ``D <= most``.

    Args:
        points: the data, of which the first :data:`ROWS` are used.
        most: the largest number of components.
    """
    if points.shape[1] <= most:
        return lambda x: x
    rows = points[:ROWS].double()
    mean = rows.mean(0)
    axes = torch.linalg.svd(rows - mean, full_matrices=False).Vh[:most].T
    return lambda x: ((x.double() - mean) @ axes).float()
