"""Rows over time as networks read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from fourfold.core import Reading, States
from fourfold.nn.pooled import pooled
from fourfold.nn.reading.numbers import MOST, ramps_of
from fourfold.nn.reading.registry import reading
from fourfold.nn.reading.rows import RowVectors, categories_of
from fourfold.nn.transformer import TransformerBlock
from fourfold.spaces import Sequences
from fourfold.spaces.sequences import ABSENT

__all__ = ["SequenceReading"]


@final
class SequenceReading(Reading):
    """The last row, the length and, of keyed sequences, the start, and the mean of a small transformer over all rows.

    Args:
        categories: the number of categories of each column, 0 for a number or a time.
        length: the most rows.
        order: the place of the column that holds steps.
        keyed: whether that column holds the start of the sequence in the first row.
        ramps: the most ramps of a number.
        hidden: width of the transformer.
        depth, heads: its layers and attention heads.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("positions",)

    def __init__(
        self,
        categories: Sequence[int],
        length: int,
        order: int,
        keyed: bool,
        ramps: int = MOST,
        hidden: int = 64,
        depth: int = 2,
        heads: int = 2,
    ) -> None:
        rows, start = RowVectors(categories, ramps=ramps), RowVectors([0], ramps=ramps) if keyed else None
        super().__init__(rows.width + 1 + (0 if start is None else start.width) + hidden)
        self.rows, self.start, self.order, self.states = rows, start, order, hidden
        self.entry = nn.Linear(rows.width, hidden)
        self.positions = nn.Parameter(0.5 * torch.randn(length, hidden))
        self.layers = nn.ModuleList(TransformerBlock(hidden, heads) for _ in range(depth))

    def _split(self, cond: Tensor) -> tuple[Tensor, Tensor]:
        """The rows with steps alone, and the starts ``(B, 1)``."""
        start = cond[:, 0, self.order, None]
        if self.start is None:
            return cond, start
        first = torch.arange(cond.shape[1], device=cond.device)[:, None] == 0
        at_order = torch.arange(cond.shape[2], device=cond.device) == self.order
        return cond.masked_fill(first & at_order, 0), start

    def fit(self, cond: Tensor) -> None:
        rows, start = self._split(cond)
        self.rows.fit(rows[cond[..., self.order] != ABSENT])
        if self.start is not None:
            self.start.fit(start)

    def features(self, cond: Tensor) -> Tensor:
        return self.steps(cond)[0]

    def steps(self, cond: Tensor) -> tuple[Tensor, States]:
        """The sequence is that of the transformer's rows."""
        mask, (rows, start) = cond[..., self.order] != ABSENT, self._split(cond)
        z, count = self.rows(rows.flatten(0, 1)).unflatten(0, rows.shape[:2]), mask.sum(1)
        last = z[torch.arange(len(z), device=z.device), (count - 1).clamp(min=0)]
        share = 2 * count[:, None] / rows.shape[1] - 1
        mean, states = pooled(self.entry(z.to(self.entry.weight.dtype)) + self.positions, mask, self.layers)
        parts = [last, share, mean]
        return torch.cat(parts if self.start is None else [*parts, self.start(start)], 1), states


@reading.register
def _(given: Sequences, attends: bool = False) -> SequenceReading:
    ramps = ramps_of(given.observed)
    return SequenceReading(categories_of(given.modelled), given.length, given.at, given.key is not None, ramps)
