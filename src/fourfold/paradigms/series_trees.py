"""Trees of rows over time, beside vector autoregressions: rows of a series given the rows before.

    p(x_ti | x_<t, x_t<i) = s_i0 p_trees + sum_k s_ik p_k,    k: laws of numbers by linear predictions

:class:`~fourfold.nn.trees.ColumnTrees` of runs of rows as one row give ``p_trees``, and
:class:`~fourfold.nn.row_regression.RowRegression` the others. The shares ``s`` of a column are those under which the
last fifth of the training rows is likeliest by models of the others. So the mixture loses to either only where this
part of the series misjudges it. A series of few rows is modelled so better than by a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.codecs.sequences import RowCodes
from fourfold.codecs.table import ColumnTokens
from fourfold.core import Codec, Measure, Noise
from fourfold.estimands import Conditionals, Continuing
from fourfold.maths.categorical import categorical
from fourfold.nn.row_regression import LAWS, RowRegression
from fourfold.nn.trees import ColumnTrees
from fourfold.spaces.columns import MISSING

__all__ = ["SeriesTrees"]

ROUNDS = 50
"""Steps of expectation and maximisation of the shares."""
PART = 0.2
"""The part of the rows, at their end, that the shares are fitted to."""
LEAST = 10
"""Rows of this part, at least."""


@dataclass
class _Drawn:
    """Codes ``(B, length, C)`` of which the first ``count`` values were handed out."""

    rows: Tensor
    count: int = 0


@final
class SeriesTrees(Conditionals, Continuing):
    """``p(x_ti | x_<t, x_t<i)`` of windows of a series: see the module.

    Args:
        net: the trees, whose columns are those of each of some rows, one row after the other.
        tokens: the tokens of one row.
        numbers: the laws of the columns that hold numbers. ``None``: there are none.
        length: rows of a window.
        fixed: columns that all rows of a window share: the name of its series.
    """

    measure = Measure.COUNTING
    fitted = True
    shares: Tensor

    def __init__(
        self,
        net: ColumnTrees,
        tokens: ColumnTokens,
        numbers: RowRegression | None,
        length: int,
        fixed: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.net, self.tokens, self.numbers, self.length, self.fixed = net, tokens, numbers, length, tuple(fixed)
        self.columns = len(tokens.sizes)
        self.run = net.columns // self.columns
        self.event = (length * self.columns,)
        laws = 0 if numbers is None else LAWS
        self.register_buffer("shares", torch.eye(1, 1 + laws, dtype=torch.float64).repeat(self.columns, 1))

    @property
    def summary(self) -> str:
        return f"{super().summary}: trees of {self.run} rows one after the other, beside linear predictions of numbers"

    # --- fitting ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def fit(self, x: Tensor, cond: Tensor | None, codec: Codec) -> None:
        """Grow the trees and regress, on the first rows for the shares, and then on all."""
        runs = self._runs(x, codec)
        first = len(runs) - int(PART * len(runs))
        self.shares.fill_(0)[:, 0] = 1
        if self.numbers is not None and len(runs) - first >= LEAST:
            self._fit(runs[:first])
            training = self.training
            self._set_shares(self.eval()._parts(runs[first:])[:, :, -1])
            self.train(training)
        self._fit(runs)

    def _runs(self, x: Tensor, codec: Codec) -> Tensor:
        """All runs of rows in a series ``(N, C)`` or in windows ``(B, length, C)``: ``(M, run, C)``."""
        if x.ndim == 3:
            return x.unfold(1, self.run, 1).transpose(2, 3).flatten(0, 1)
        source = codec.innermost
        assert isinstance(source, RowCodes)  # the codec of these models
        starts, runs = source.space.starts(x), x.unfold(0, self.run, 1).transpose(1, 2)
        if starts is None:
            return runs
        places = starts.unsqueeze(1) + torch.arange(self.length - self.run + 1)
        return runs[torch.unique(places)]

    def _fit(self, runs: Tensor) -> None:
        self.tokens.fit(runs[:, -1])
        z = self.tokens.tokenize(runs.flatten(0, 1))[0].view(len(runs), -1)
        masses, edges = (part.repeat(self.run, 1) for part in (self.tokens.token_masses(), self.tokens.token_edges()))
        self.net.fit(z, None, masses, edges)
        if self.numbers is not None:
            self.numbers.fit(self._last_three(runs))

    def _set_shares(self, nats: Tensor) -> None:
        """Expectation and maximisation of the shares, by ``log p`` of rows ``(M, N, C)``."""
        masses = (nats - nats.amax(0)).exp().permute(2, 1, 0).nan_to_num(0.0)
        share = torch.full_like(self.shares, 1 / len(nats))
        for _ in range(ROUNDS):
            joint = share.unsqueeze(1) * masses
            rows = (joint / joint.sum(2, keepdim=True).clamp(min=1e-300)).sum(1)
            share = (rows + 1 / len(nats)) / (rows + 1 / len(nats)).sum(1, keepdim=True)
        numbers = torch.tensor([i in self.tokens.graded for i in range(self.columns)])
        self.shares.copy_(torch.where(numbers.unsqueeze(1), share, self.shares))

    # --- masses -------------------------------------------------------------------------------------------------------

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        rows = x.view(len(x), self.length, self.columns)
        runs = rows.unfold(1, self.run, 1).transpose(2, 3)
        nats = self._nats(runs.flatten(0, 1)).view(*runs.shape)
        return torch.cat([nats[:, 0, :-1], nats[:, :, -1]], 1).flatten(1).float()

    def _nats(self, runs: Tensor) -> Tensor:
        """``log p`` of the values of runs ``(B, run, C)``, each given those before it in its run."""
        return (self._parts(runs) + self.shares.log().T[:, None, None]).logsumexp(0)

    def _parts(self, runs: Tensor) -> Tensor:
        """``log p`` of the values of runs ``(B, run, C)`` by trees and each law, ``(M, B, run, C)``, float64."""
        z, log_mass = (part.view(runs.shape) for part in self.tokens.tokenize(runs.flatten(0, 1)))
        trees = self.net(z.flatten(1)).view(runs.shape).double() + log_mass
        if self.fixed:
            mask = torch.zeros_like(runs, dtype=torch.bool)
            mask[:, 1:, list(self.fixed)] = True
            same = torch.where(runs == runs.roll(1, 1), 0.0, -torch.inf).double()
            trees = torch.where(mask, same, trees)
        parts = trees.repeat(self.shares.shape[1], 1, 1, 1)
        if self.numbers is not None:
            columns = list(self.tokens.graded)
            for t in range(1, self.run):
                parts[1:, :, t, columns] = self.numbers(self._last_three(runs[:, : t + 1]))
        return parts

    def _last_three(self, rows: Tensor) -> Tensor:
        """The numbers of the last three rows of some, ``(B, 3, Q)``: the first is missing where there are two."""
        return F.pad(rows[:, -3:, list(self.tokens.graded)], (0, 0, max(3 - rows.shape[1], 0), 0), value=MISSING)

    # --- drawing ------------------------------------------------------------------------------------------------------

    def begin(self, batch: int, cond: Tensor | None = None) -> _Drawn:
        return _Drawn(torch.zeros(batch, self.length, self.columns, dtype=torch.long, device=self.shares.device))

    def draw(self, state: _Drawn, noise: Noise, temperature: float = 1.0) -> tuple[Tensor, _Drawn]:
        t, i = divmod(state.count, self.columns)
        if i == 0:
            self._draw_row(state.rows, t, noise, temperature)
        state.count += 1
        return state.rows[:, t, i], state

    def go_on(self, x: Tensor, rows: int, noise: Noise, cond: Tensor | None = None) -> Tensor:
        state = x.clone().view(len(x), self.length, self.columns)
        for t in range(rows, self.length):
            self._draw_row(state, t, noise, 1.0)
        return state.flatten(1)

    def _draw_row(self, rows: Tensor, t: int, noise: Noise, temperature: float) -> None:
        """Draw row ``t`` of some, in place."""
        u, block = noise.uniform(self.columns, 4).double(), min(t, self.run - 1)
        rows[:, t] = rows[:, t - 1] if t else self.tokens.at(torch.zeros_like(rows[:, 0]), u[:, :, 0])
        run = rows[:, t - block : t + 1]
        z = torch.zeros(len(rows), self.net.columns, dtype=torch.long, device=rows.device)
        z[:, : block * self.columns] = self.tokens.tokenize(run[:, :-1].flatten(0, 1))[0].view(len(rows), -1)
        first = block * self.columns
        for i in range(self.columns):
            if block and i in self.fixed:
                z[:, first + i] = z[:, first - self.columns + i]
                continue
            token = self.tokens.tokenize(run[:, -1])[0]
            token[:, i] = categorical(self.net(z, None, first + i) / temperature, u[:, i, 0].float())
            value = self.tokens.at(token, u[:, i, 1:2].expand(-1, self.columns))[:, i]
            if block and i in self.tokens.graded:
                value = self._by_laws(run, i, value, u[:, i])
            run[:, -1, i] = value
            z[:, first + i] = self.tokens.tokenize(run[:, -1])[0][:, i]

    def _by_laws(self, run: Tensor, i: int, value: Tensor, u: Tensor) -> Tensor:
        """Values of column ``i`` by the trees, or by a law that is drawn by the shares, ``(B,)``."""
        assert self.numbers is not None
        part = torch.searchsorted(self.shares[i].cumsum(0), u[:, 3].contiguous(), right=True)
        law = (part - 1).clamp(0, LAWS - 1)
        drawn = self.numbers.draw(self._last_three(run), self.tokens.graded.index(i), law, u[:, 1:3])
        return torch.where(part == 0, value, drawn)
