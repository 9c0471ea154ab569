"""A condition as plain numbers, for what learns from numbers alone, such as trees."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Space
from fourfold.core.conditions import unknown
from fourfold.nn.reading.numbers import Standardiser
from fourfold.nn.reading.rows import categories_of
from fourfold.spaces import Categories, Table
from fourfold.spaces.sequences import ABSENT

__all__ = ["FlatNumbers", "flat_values"]

HOT = 32
"""Categories of a value that have a number of their own, at most. The rest have none."""


@final
class FlatNumbers(nn.Module):
    """Numbers of order one that stand for conditions: ``(B, *)`` to ``(B, width)`` float32, zeros for an unknown one.

    A number is standardised, and a flag says whether it is missing. A category is one of several zeros and ones. The
    last number says whether the condition is unknown.

    Args:
        categories: of each value of a condition, the number of its categories, and 0 for a number.
    """

    def __init__(self, categories: Sequence[int]) -> None:
        super().__init__()
        self.quantities = [i for i, count in enumerate(categories) if not count]
        self.hot = [(i, min(count, HOT)) for i, count in enumerate(categories) if count]
        self.standardised = Standardiser(len(self.quantities))
        self.width = 2 * len(self.quantities) + sum(count for _, count in self.hot) + 1

    def fit(self, cond: Tensor) -> None:
        """Take the statistics of conditions ``(N, *)``."""
        self.standardised.fit(self._numbers(cond.flatten(1) if cond.ndim > 1 else cond[:, None]))

    def _numbers(self, values: Tensor) -> Tensor:
        """The quantities, float64. A missing one is NaN."""
        part = values[:, self.quantities]
        missing = part <= ABSENT if part.dtype == torch.int64 else part.isnan()
        return part.double().masked_fill(missing, torch.nan)

    def forward(self, cond: Tensor | None, batch: int) -> Tensor:
        if cond is None:
            return F.pad(self.standardised.mean.new_zeros(batch, self.width - 1), (0, 1), value=1.0)
        values = cond.flatten(1) if cond.ndim > 1 else cond[:, None]
        numbers, hidden = self._numbers(values), unknown(cond)
        if not self.quantities:  # an unknown label may also be -1
            hidden = hidden | (values < 0).all(1)
        parts = [self.standardised(numbers), numbers.isnan().float()]
        parts += [(values[:, [i]] == torch.arange(count, device=values.device)).float() for i, count in self.hot]
        return torch.cat([torch.cat(parts, 1).masked_fill(hidden[:, None], 0.0), hidden[:, None].float()], 1)


@singledispatch
def flat_values(given: Space) -> tuple[int, ...]:
    """The number of categories of each value of a condition, and 0 for a number. Any space is its numbers."""
    return (0,) * given.dims


@flat_values.register
def _(given: Categories) -> tuple[int, ...]:
    return (len(given.names),)


@flat_values.register
def _(given: Table) -> tuple[int, ...]:
    return categories_of(given.modelled)
