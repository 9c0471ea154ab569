"""Rows as categories and quantities: the coordinates in which classical models are fitted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import singledispatch
from typing import NamedTuple, final

import torch
from torch import Tensor

from fourfold.core import Space
from fourfold.spaces import Table, Vectors
from fourfold.spaces.columns import MISSING, Categorical, Graded

__all__ = ["Frame", "RowParts", "frame_of"]


class RowParts(NamedTuple):
    """Rows by their parts."""

    tokens: Tensor
    """The category of each discrete value, ``(N, D)`` int64. -1 where a column does not have it."""
    values: Tensor
    """The quantities in units of their standard deviation in training, ``(N, Q)`` float64. NaN where missing."""

    def rows(self, index: Tensor | slice) -> RowParts:
        """Some of the rows."""
        return RowParts(self.tokens[index], self.values[index])


class Frame(ABC):
    """How the raw rows of a space are taken apart, in the scale of some training rows, and put together again.

    Attributes:
        sizes: the number of categories of each discrete value.
        target: the place of the discrete value that a space is judged by predicting, or ``None``.
        step: the distance of neighbouring values of each quantity, ``(Q,)``. 0: it is real, and has a density.
        low, high: the least and the greatest value of each quantity that can be, ``(Q,)``.
    """

    sizes: tuple[int, ...] = ()
    target: int | None = None

    def __init__(self, raw: Tensor, step: float, low: Tensor, high: Tensor) -> None:
        observed_mask = ~torch.isnan(raw)
        count = observed_mask.sum(0).clamp(min=1)
        self.mean = raw.nan_to_num().sum(0) / count
        variance = (raw - self.mean).nan_to_num().square().sum(0) / count
        self.scale = torch.where(variance > 0, variance.sqrt(), 1.0)
        self.step = step / self.scale
        self.low, self.high = (low - self.mean) / self.scale, (high - self.mean) / self.scale

    @abstractmethod
    def parts(self, x: Tensor) -> RowParts:
        """The parts of raw rows."""

    def training_parts(self, x: Tensor) -> RowParts:
        """The parts of rows that a model is fitted to. Quantities beyond the span of their column lie at its end."""
        return self.parts(x)

    @abstractmethod
    def raw(self, parts: RowParts) -> Tensor:
        """The raw rows of parts."""

    def scaled(self, raw: Tensor) -> Tensor:
        """Quantities in units of their standard deviation."""
        return (raw - self.mean) / self.scale


@final
class _Reals(Frame):
    """Vectors: quantities alone, with densities."""

    def __init__(self, x: Tensor) -> None:
        end = torch.full((x.shape[1],), torch.inf, dtype=torch.float64)
        super().__init__(x.double(), 0.0, -end, end)

    def parts(self, x: Tensor) -> RowParts:
        return RowParts(torch.zeros(len(x), 0, dtype=torch.long), self.scaled(x.double()))

    def raw(self, parts: RowParts) -> Tensor:
        return (parts.values * self.scale + self.mean).float()


@final
class _Codes(Frame):
    """Rows of a table. Beside a quantity stands a discrete value of its own: whether it is missing."""

    def __init__(self, space: Table, x: Tensor) -> None:
        self.space = space
        self.graded = [i for i, column in enumerate(space.modelled) if isinstance(column, Graded)]
        self.sizes = tuple(
            len(c.categories) + c.missing if isinstance(c, Categorical) else 1 + c.missing for c in space.modelled
        )
        target = space.columns.index(space.target) if space.target is not None else None
        self.target = target if target not in self.graded else None
        limits = [c.limits for c in space.modelled if isinstance(c, Graded)]
        low, high = torch.tensor(limits, dtype=torch.float64).reshape(-1, 2).T
        super().__init__(_quantities(space.winsorised(x)[:, self.graded]), 1.0, low, high)

    def training_parts(self, x: Tensor) -> RowParts:
        return self.parts(self.space.winsorised(x))

    def parts(self, x: Tensor) -> RowParts:
        last = torch.tensor(self.sizes) - 1
        graded = torch.zeros(len(self.sizes), dtype=torch.bool).index_fill(0, torch.tensor(self.graded).long(), True)
        tokens = torch.where(graded & (x != MISSING), 0, torch.where(x == MISSING, last, x))
        possible = torch.tensor([column.missing for column in self.space.modelled])
        wrong = ((x == MISSING) & ~possible) | self.space.foreign(x) | (tokens < 0) | (tokens > last)
        return RowParts(tokens.masked_fill(wrong, -1), self.scaled(_quantities(x[:, self.graded])))

    def raw(self, parts: RowParts) -> Tensor:
        last = torch.tensor(self.sizes) - 1
        gap = torch.tensor([column.missing for column in self.space.modelled]) & (parts.tokens == last)
        x = parts.tokens.clone()
        x[:, self.graded] = (parts.values * self.scale + self.mean).nan_to_num().round().long()
        return x.masked_fill(gap, MISSING)


def _quantities(codes: Tensor) -> Tensor:
    """Codes as float64, NaN where they are missing."""
    return codes.double().masked_fill(codes == MISSING, torch.nan)


@singledispatch
def frame_of(space: Space, x: Tensor) -> Frame:
    """The frame of a space, in the scale of raw training rows.

    Raises:
        TypeError: for a space that is not registered.
    """
    raise TypeError(f"space of a frame must be Vectors or Table, got {type(space).__name__}")


@frame_of.register
def _(space: Vectors, x: Tensor) -> Frame:
    return _Reals(x)


@frame_of.register
def _(space: Table, x: Tensor) -> Frame:
    return _Codes(space, x)
