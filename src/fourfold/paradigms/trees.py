"""Autoregressive models whose conditionals are trees: grown at once, smoothed by steps.

    log p(x) = sum_i log p(x_o(i) | x_o(<i)),    by the trees of each column, in an order o of the columns

:class:`~fourfold.nn.trees.ColumnTrees` says how a tree is grown and smoothed. The trees of a column know the columns
before it alone, so these models have one order. Rows with given values are drawn whole, until some agree.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from fourfold.core import Codec, Measure, Noise
from fourfold.estimands import Conditionals, PartialRows
from fourfold.maths.categorical import categorical
from fourfold.nn.trees import ColumnTrees

__all__ = ["TreeConditionals"]


@final
class TreeConditionals(Conditionals):
    """``p(x_i | x_<i, c)`` of the columns of a table, by trees.

    Args:
        net: the trees of each column.
        columns: how many there are.
    """

    measure = Measure.COUNTING

    def __init__(self, net: ColumnTrees, columns: int) -> None:
        super().__init__()
        self.net, self.event = net, (columns,)

    @property
    def reads_condition(self) -> bool:  # type: ignore[override]
        """True if the trees have features of labels."""
        return self.net.classes > 0

    @property
    def summary(self) -> str:
        return f"{super().summary}: a mixture of {self.net.trees} trees for each column"

    def fit(self, x: Tensor, cond: Tensor | None, codec: Codec) -> None:
        """Grow the trees on the codes of training examples, and count the rows in their nodes."""
        self.net.fit(codec.encode(x)[0], cond)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        masses: Tensor = self.net(x, cond)
        return masses

    def begin(self, batch: int, cond: Tensor | None = None) -> PartialRows:
        return PartialRows(torch.zeros(batch, *self.event, dtype=torch.long, device=self.net.counts.device), cond)

    def draw(self, state: PartialRows, noise: Noise, temperature: float = 1.0) -> tuple[Tensor, PartialRows]:
        """The next column. All are drawn in the order of the trees when the first is asked for."""
        for i in () if state.count else self.net.order:
            state.x[:, i] = categorical(self.net(state.x, state.cond, i) / temperature, noise.uniform())
        state.count += 1
        return state.x[:, state.count - 1], state
