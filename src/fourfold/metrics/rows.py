"""Rows of mixed columns as the measures see them: numbers ``(n, C)``, categories by their index."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["Array", "Columns", "Metric", "byte_digests", "digests", "join_labels"]

Array: TypeAlias = npt.NDArray[np.float64]


@final
@dataclass(frozen=True)
class Columns:
    """The meaning of the numbers of a row. A missing value is NaN.

    Attributes:
        names: of the columns.
        categorical: whether a number is the index of a category.
        units: what a quantity is measured in: only quantities of one unit are compared with each other.
        target: the column that is predicted from the others. ``None``: none is.
    """

    names: tuple[str, ...]
    categorical: tuple[bool, ...]
    units: tuple[str, ...] = ()
    target: int | None = None

    @cached_property
    def categorical_columns(self) -> list[int]:
        """Indices of the categorical columns."""
        return [i for i, flag in enumerate(self.categorical) if flag]

    @cached_property
    def quantities(self) -> list[int]:
        """Indices of the columns of quantities."""
        return [i for i, flag in enumerate(self.categorical) if not flag]

    def part(self, places: Sequence[int]) -> Columns:
        """Some of the columns, without a target."""
        names, units = (tuple(of[i] for i in places) for of in (self.names, self.units))
        return Columns(names, tuple(self.categorical[i] for i in places), units)

    def labelled(self, name: str) -> Columns:
        """The same columns and a category behind them, the target."""
        return Columns((*self.names, name), (*self.categorical, True), (*self.units, ""), len(self.names))


def join_labels(x: Tensor, labels: Tensor) -> Tensor:
    """Rows ``(N, C)`` with their labels ``(N,)`` as a last column, ``(N, C + 1)``."""
    return torch.cat([x, labels[:, None].to(x)], 1)


def digests(x: Tensor) -> npt.NDArray[np.int64]:
    """A number of 64 bits for each row of ``(N, C)``: equal for equal rows, gaps included, and else by chance only.

    Each value is mixed by the finaliser of SplitMix64, and the sum of odd multiples is taken modulo 2^64.

    Reference: Steele, Lea, Flood 2014, Fast Splittable Pseudorandom Number Generators,
    https://doi.org/10.1145/2660193.2660195
    """
    return np.concatenate([_mixed(_as_words(part)) for part in torch.split(x, 65536)])


def byte_digests(x: Tensor) -> Tensor:
    """:func:`digests` of the bytes of examples ``(N, *)``, ``(N,)`` int64: of one type of numbers, and faster."""
    return torch.cat([torch.from_numpy(_mixed(_as_bytes(part))) for part in torch.split(x, 65536)])


def _as_words(x: Tensor) -> npt.NDArray[np.uint64]:
    values = x.double().numpy() + 0.0  # -0.0 becomes 0.0
    return np.where(np.isnan(values), 0.5e300, values).view(np.uint64)


def _as_bytes(x: Tensor) -> npt.NDArray[np.uint64]:
    rows = np.ascontiguousarray(x.numpy()).reshape(len(x), math.prod(x.shape[1:])).view(np.uint8)
    return np.ascontiguousarray(np.pad(rows, ((0, 0), (0, -rows.shape[1] % 8)))).view(np.uint64)


def _mixed(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """A number of 64 bits for each row of words ``(N, W)``."""
    odd = np.random.default_rng(0).integers(0, 2**63, words.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    z = words
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return ((z ^ (z >> np.uint64(31))) * odd).sum(1, dtype=np.uint64).view(np.int64)


@final
class Metric:
    """Distances between rows: the squares add up over columns, and each column adds at most 1.

    Two categories are 0 or 1 apart. Two quantities are apart by the share of the data between them, so that heavy
    tails and units do not matter. A gap is 1 apart from a category, and at least 0.87 from a quantity.

    Args:
        data: rows that the shares are taken from, ``(N, C)``.
        columns: of the rows.
    """

    QUANTILES = 1024
    """Points of a distribution function."""
    BLOCK = 2048
    """Rows that are measured at once."""

    def __init__(self, data: Tensor, columns: Columns) -> None:
        self.columns = columns
        rows = data.double().numpy()
        self.grids = {j: _grid(rows[:, j], self.QUANTILES) for j in columns.quantities}
        self.counts = {
            j: int(np.nan_to_num(rows[:, j], nan=-1).max(initial=0)) + 2 for j in columns.categorical_columns
        }

    def embed(self, x: Tensor) -> Tensor:
        """Points ``(n, D)`` float32 whose squared Euclidean distances are those of the rows."""
        parts = []
        for j in range(x.shape[1]):
            value, gap = x[:, j].double(), x[:, j].isnan()
            if self.columns.categorical[j]:
                last = self.counts[j] - 1  # a category that the data lack
                code = torch.where(gap, last + 1, value.nan_to_num(0).clamp(-1, last).where(value >= 0, last))
                parts.append(torch.nn.functional.one_hot(code.long(), last + 2) * 0.5**0.5)
            else:
                place = torch.from_numpy(np.interp(value.nan_to_num(0).numpy(), *self.grids[j]))
                parts += [place.where(~gap, 0.5)[:, None], gap[:, None] * 0.75**0.5]
        return torch.cat([part.float() for part in parts], 1)

    def nearest(self, x: Tensor, points: Tensor, count: int = 1) -> tuple[Tensor, Tensor]:
        """Distances to the ``count`` nearest of other points, and their places, the nearest first, ``(n, count)``.

        Points are from :meth:`embed`. Where there are fewer, distances are infinite. Places are found in float32, and
        the distances are measured in float64.
        """
        parts = [(part, part.square().sum(1)) for part in torch.split(points, 4 * self.BLOCK)]
        places = []
        for block in torch.split(x, self.BLOCK):
            best = [_smallest(torch.addmm(norm[None], block, part.T, alpha=-2), count) for part, norm in parts]
            values = torch.cat([b[0] for b in best], 1)
            place = torch.cat([b[1] + 4 * self.BLOCK * i for i, b in enumerate(best)], 1)
            order = values.sort(dim=1, stable=True)
            places.append(place.gather(1, order.indices[:, :count]).where(order.values[:, :count].isfinite(), -1))
        place = torch.cat(places)
        distance = (x[:, None].double() - points[place].double()).norm(dim=2)
        return distance.where(place >= 0, torch.inf), place


def _smallest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The smallest values of each row and their places, ``(n, count)``. Those that are taken become infinite."""
    best = []
    for _ in range(count):
        best.append(values.min(1))
        values.scatter_(1, best[-1].indices[:, None], torch.inf)
    return torch.stack([b.values for b in best], 1), torch.stack([b.indices for b in best], 1)


def _grid(values: Array, points: int) -> tuple[Array, Array]:
    """Values of a quantity and the share of the data below each, ties at their middle."""
    ordered = np.sort(values[~np.isnan(values)])
    if not len(ordered):
        return np.zeros(1), np.zeros(1)
    at = np.unique(ordered[np.linspace(0, len(ordered) - 1, points).round().astype(np.int64)])
    share = (np.searchsorted(ordered, at, "left") + np.searchsorted(ordered, at, "right")) / (2 * len(ordered))
    return at, share
