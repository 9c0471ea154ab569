"""Rows of tables as networks read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from fourfold.core import Reading
from fourfold.nn.columns import CodeEmbedding
from fourfold.nn.reading.numbers import MOST, Ramps, Standardiser, ramps_of
from fourfold.nn.reading.registry import reading
from fourfold.nn.resnet import ResMLP
from fourfold.spaces import Table
from fourfold.spaces.columns import MISSING, Categorical, Modelled
from fourfold.spaces.sequences import ABSENT

__all__ = ["RowReading", "RowVectors", "categories_of"]


def categories_of(columns: Sequence[Modelled]) -> tuple[int, ...]:
    """The number of categories of each column. 0 for a number or a time."""
    return tuple(len(column.categories) if isinstance(column, Categorical) else 0 for column in columns)


@final
class RowVectors(nn.Module):
    """The codes of a row as numbers of order one, ``(B, C)`` to ``(B, width)`` float32.

    A number or a time is standardised and has ramps, and a flag says whether it is missing. A category is an embedding.
    A missing category has one of its own. That of an unseen one, which no row trains, begins as the mean of all: zeros.

    Args:
        categories: the number of categories of each column, 0 for a number or a time.
        embedding: length of the vector of a category.
        ramps: the most ramps of a number, see :class:`~fourfold.nn.reading.numbers.Ramps`.
    """

    origin: Tensor
    counts: Tensor

    def __init__(self, categories: Sequence[int], embedding: int = 8, ramps: int = MOST) -> None:
        super().__init__()
        self.quantities = [i for i, count in enumerate(categories) if not count]
        self.categorical = [i for i, count in enumerate(categories) if count]
        self.width = (2 + ramps) * len(self.quantities) + embedding * len(self.categorical)
        self.register_buffer("origin", torch.zeros(len(self.quantities), dtype=torch.long))
        self.register_buffer("counts", torch.tensor([categories[i] for i in self.categorical]), persistent=False)
        self.standardised = Standardiser(len(self.quantities))
        self.ramps = Ramps(len(self.quantities), ramps)
        sizes = [categories[i] + 2 for i in self.categorical]
        self.embedding = CodeEmbedding(sizes, embedding) if sizes else None
        if self.embedding is not None:
            with torch.no_grad():
                self.embedding.table.weight[self.embedding.offsets + self.counts + 1] = 0.0

    def _numbers(self, x: Tensor) -> Tensor:
        """The distances of quantities from their origin, float64. A missing one is NaN."""
        codes = x[:, self.quantities]
        return (codes - self.origin).double().masked_fill(codes <= ABSENT, torch.nan)

    def fit(self, x: Tensor) -> None:
        """Take the statistics of codes ``(N, C)``."""
        codes = x[:, self.quantities]
        for i, column in enumerate(codes.T):
            values = column[column > ABSENT]
            self.origin[i] = values.median() if len(values) else 0
        numbers = self._numbers(x)
        self.standardised.fit(numbers)
        self.ramps.fit(numbers)

    def forward(self, x: Tensor) -> Tensor:
        numbers = self._numbers(x)
        parts = [self.standardised(numbers), numbers.isnan().float(), self.ramps(numbers)]
        if self.embedding is not None:
            codes = x[:, self.categorical]
            places = torch.where(codes == MISSING, self.counts, torch.where(codes < 0, self.counts + 1, codes))
            parts.append(self.embedding(places).flatten(1).float())
        return torch.cat(parts, 1)


@final
class RowReading(Reading):
    """The numbers that stand for a row, and a small network of them.

    Args:
        categories: the number of categories of each column, 0 for a number or a time.
        ramps: the most ramps of a number.
        hidden: outputs and width of the network.
    """

    def __init__(self, categories: Sequence[int], ramps: int = MOST, hidden: int = 64) -> None:
        vectors = RowVectors(categories, ramps=ramps)
        super().__init__(vectors.width + hidden)
        self.vectors, self.net = vectors, ResMLP(vectors.width, hidden, hidden, 2)

    def fit(self, cond: Tensor) -> None:
        self.vectors.fit(cond)

    def features(self, cond: Tensor) -> Tensor:
        z = self.vectors(cond)
        return torch.cat([z, self.net(z)], 1)


@reading.register
def _(given: Table, attends: bool = False) -> RowReading:
    return RowReading(categories_of(given.modelled), ramps_of(given.observed))
