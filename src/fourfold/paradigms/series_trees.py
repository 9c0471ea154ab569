"""Trees of rows over time, beside vector autoregressions: rows of a series given the rows before.

    p(x_ti | x_<t, x_t<i) = s_i0 p_trees + sum_k s_ik p_k,    k: laws of numbers by linear predictions

:class:`~fourfold.nn.trees.ColumnTrees` of runs of rows as one row give ``p_trees``, and
:class:`~fourfold.nn.row_regression.RowRegression` the others. The shares ``s`` of a column are those under which the
last fifth of the training rows is likeliest by models of the others. So the mixture loses to either only where this
part of the series misjudges it. A series of few rows is modelled so better than by a network.

The length of a keyed sequence and its start are counted. Missing rows stand before its first one, and the trees also
have the number of each row as a feature, and the time of the row before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.codecs.sequences import RowCodes
from fourfold.codecs.table import ColumnTokens
from fourfold.core import Codec, FreeCodec, Measure, Noise
from fourfold.estimands import Conditionals, Continuing
from fourfold.maths.categorical import categorical, quantile
from fourfold.nn.row_regression import LAWS, RowRegression
from fourfold.nn.trees import ColumnTrees
from fourfold.spaces.columns import MISSING
from fourfold.spaces.sequences import ABSENT

__all__ = ["SeriesTrees"]

ROUNDS = 50
"""Steps of expectation and maximisation of the shares."""
PART = 0.2
"""The part of the rows, at their end, that the shares are fitted to."""
LEAST = 10
"""Rows of this part, at least."""


@dataclass
class _Drawn:
    """Codes ``(B, length, C)`` of which the first ``count`` values were handed out, and lengths ``(B,)``."""

    rows: Tensor
    count: int = 0
    lengths: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))


@final
class SeriesTrees(Conditionals, Continuing):
    """``p(x_ti | x_<t, x_t<i)`` of windows of a series, or of keyed sequences: see the module.

    Args:
        net: the trees, whose columns are those of each of some rows, one row after the other.
        tokens: the tokens of one row.
        numbers: the laws of the columns that hold numbers. ``None``: there are none.
        length: rows of a window, or the most rows of a sequence.
        fixed: columns that all rows of a window share: the name of its series.
        starts: of keyed sequences, the counted distribution of their starts, which the order column holds.
        order: the place of the order column.
    """

    measure = Measure.COUNTING
    fitted = True
    shares: Tensor
    log_lengths: Tensor

    def __init__(
        self,
        net: ColumnTrees,
        tokens: ColumnTokens,
        numbers: RowRegression | None,
        length: int,
        fixed: Sequence[int] = (),
        starts: ColumnTokens | None = None,
        order: int = 0,
    ) -> None:
        super().__init__()
        self.net, self.tokens, self.numbers, self.length, self.fixed = net, tokens, numbers, length, tuple(fixed)
        self.starts, self.order = starts, order
        self.columns = len(tokens.sizes)
        self.run = net.columns // self.columns
        self.event = (length * self.columns,)
        laws = 0 if numbers is None else LAWS
        self.register_buffer("shares", torch.eye(1, 1 + laws, dtype=torch.float64).repeat(self.columns, 1))
        if starts is not None:
            self.register_buffer("log_lengths", torch.full((length,), -math.log(length), dtype=torch.float64))

    @property
    def summary(self) -> str:
        return f"{super().summary}: trees of {self.run} rows one after the other, beside linear predictions of numbers"

    # --- fitting ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def fit(self, x: Tensor, cond: Tensor | None, codec: Codec) -> None:
        """Grow the trees and regress, on the first rows for the shares, and then on all."""
        assert isinstance(codec, (FreeCodec, RowCodes))  # the codecs of these models
        runs, place = self._runs(codec.space.reduce(x), codec)
        first = len(runs) - int(PART * len(runs))
        self.shares.fill_(0)[:, 0] = 1
        if self.numbers is not None and len(runs) - first >= LEAST:
            self._fit(runs[:first], None if place is None else place[:first])
            training = self.training
            nats = self.eval()._parts(runs[first:], None if place is None else place[first:])[:, :, -1]
            self._set_shares(nats.masked_fill(self._without_value(runs[first:, -1]), 0.0))
            self.train(training)
        self._fit(runs, place)

    def _runs(self, x: Tensor, codec: Codec) -> tuple[Tensor, Tensor | None]:
        """All runs of rows ``(M, run, C)`` in a series ``(N, C)``, in windows or sequences ``(B, length, C)``.

        Of keyed sequences also the places of their last rows, ``(M, 2)``.
        """
        if self.starts is not None:
            there = x[..., self.order] != ABSENT
            counts = torch.bincount(there.sum(1) - 1, minlength=self.length).double()
            self.log_lengths.copy_(((counts + 1 / self.length) / (counts.sum() + 1)).log())
            self.starts.fit(x[:, 0, self.order, None])
            runs, place = self._of_sequences(x)
            return runs[there], place[there]
        if x.ndim == 3:
            return x.unfold(1, self.run, 1).transpose(2, 3).flatten(0, 1), None
        source = codec.innermost
        assert isinstance(source, RowCodes)  # the codec of these models
        starts, runs = source.space.starts(x), x.unfold(0, self.run, 1).transpose(1, 2)
        if starts is None:
            return runs, None
        places = starts.unsqueeze(1) + torch.arange(self.length - self.run + 1)
        return runs[torch.unique(places)], None

    def _of_sequences(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The run that ends with each row of keyed sequences ``(B, T, C)``, ``(B, T, run, C)``, and its place.

        A place is the number of the row, and the time of the row before it, or of the row itself if it is the first,
        ``(B, T, 2)``. The first row has no step.
        """
        assert self.starts is not None
        column = self.starts.space.modelled[0]
        low, high = column.span
        step = x[..., self.order]
        time = (step.masked_fill(step == ABSENT, 0).cumsum(1) - low).double() / max(high - low, 1)
        time = torch.cat([time[:, :1], time[:, :-1]], 1)
        number = torch.arange(x.shape[1], dtype=torch.float64, device=x.device).expand_as(time)
        rows = x.clone()
        rows[:, 0, self.order] = MISSING
        rows = F.pad(rows, (0, 0, self.run - 1, 0), value=MISSING)
        return rows.unfold(1, self.run, 1).transpose(2, 3), torch.stack([number, time], 2).float()

    def _fit(self, runs: Tensor, place: Tensor | None) -> None:
        self.tokens.fit(runs[:, -1])
        z = self._tokenize(runs)[0].flatten(1)
        masses, edges = (part.repeat(self.run, 1) for part in (self.tokens.token_masses(), self.tokens.token_edges()))
        self.net.fit(z, place, masses, edges)
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
        if self.starts is not None:
            return self._nats_of_sequences(rows).flatten(1).float()
        runs = rows.unfold(1, self.run, 1).transpose(2, 3)
        nats = self._nats(runs.flatten(0, 1)).view(*runs.shape)
        return torch.cat([nats[:, 0, :-1], nats[:, :, -1]], 1).flatten(1).float()

    def _nats_of_sequences(self, x: Tensor) -> Tensor:
        """``log p`` of the values of keyed sequences ``(B, length, C)``. That of the length is the first one's."""
        assert self.starts is not None
        there = x[..., self.order] != ABSENT
        runs, place = self._of_sequences(x)
        rows = self._nats(runs[there], place[there])[:, -1]
        nats = rows.new_zeros(x.shape).masked_scatter(there.unsqueeze(2), rows)
        nats[:, 0, self.order] = self.starts.places(x[:, 0, self.order, None])[2][:, 0]
        nats[:, 0, 0] += self.log_lengths[there.sum(1) - 1]
        return nats

    def _nats(self, runs: Tensor, place: Tensor | None = None) -> Tensor:
        """``log p`` of the values of runs ``(B, run, C)``, each given those before it in its run."""
        return (self._parts(runs, place) + self.shares.log().T[:, None, None]).logsumexp(0)

    def _parts(self, runs: Tensor, place: Tensor | None = None) -> Tensor:
        """``log p`` of the values of runs ``(B, run, C)`` by trees and each law, ``(M, B, run, C)``, float64.

        Of keyed sequences only those of the last row count.
        """
        z, log_mass = self._tokenize(runs)
        trees = self.net(z.flatten(1), place).view(runs.shape).double() + log_mass
        if self.fixed:
            mask = torch.zeros_like(runs, dtype=torch.bool)
            mask[:, 1:, list(self.fixed)] = True
            same = torch.where(runs == runs.roll(1, 1), 0.0, -torch.inf).double()
            trees = torch.where(mask, same, trees)
        parts = trees.repeat(self.shares.shape[1], 1, 1, 1)
        if self.numbers is not None:
            columns = list(self.tokens.graded)
            for t in range(1 if place is None else self.run - 1, self.run):
                parts[1:, :, t, columns] = self.numbers(self._last_three(runs[:, : t + 1]))
        return parts

    def _without_value(self, rows: Tensor) -> Tensor:
        """Which values ``(*, C)`` are not there, though their column has no gaps: those before a keyed sequence."""
        return (rows == MISSING) & (self.tokens.gaps < 0)

    def _tokenize(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of rows ``(*, C)``, and log-masses given these. A value that is not there has any token."""
        rows = torch.where(self._without_value(rows), self._any(rows), rows)
        z, log_mass = self.tokens.tokenize(rows.flatten(0, -2))
        return z.view(rows.shape), log_mass.view(rows.shape)

    def _any(self, like: Tensor) -> Tensor:
        """A value of each column, ``(C,)``."""
        return like.new_tensor([column.span[0] for column in self.tokens.space.modelled])

    def _last_three(self, rows: Tensor) -> Tensor:
        """The numbers of the last three rows of some, ``(B, 3, Q)``: the first is missing where there are two."""
        return F.pad(rows[:, -3:, list(self.tokens.graded)], (0, 0, max(3 - rows.shape[1], 0), 0), value=MISSING)

    # --- drawing ------------------------------------------------------------------------------------------------------

    def begin(self, batch: int, cond: Tensor | None = None) -> _Drawn:
        shape = (batch, self.length, self.columns)
        return _Drawn(torch.full(shape, ABSENT, dtype=torch.long, device=self.shares.device))

    def draw(self, state: _Drawn, noise: Noise, temperature: float = 1.0) -> tuple[Tensor, _Drawn]:
        t, i = divmod(state.count, self.columns)
        if t == i == 0:
            state.lengths = self._lengths(state.rows, 0, noise)
        if i == 0:
            self._draw_row(state.rows, t, state.lengths, noise, temperature)
        state.count += 1
        return state.rows[:, t, i], state

    def go_on(self, x: Tensor, rows: int, noise: Noise, cond: Tensor | None = None) -> Tensor:
        state = x.clone().view(len(x), self.length, self.columns)
        state[:, rows:] = ABSENT
        lengths = self._lengths(state, rows, noise)
        for t in range(rows, self.length):
            self._draw_row(state, t, lengths, noise, 1.0)
        return state.flatten(1)

    def _lengths(self, rows: Tensor, count: int, noise: Noise) -> Tensor:
        """Lengths ``(B,)`` of sequences of which ``count`` rows are known. If none is, their starts are drawn too."""
        there = (rows[:, :count, self.order] != ABSENT).sum(1)
        if self.starts is None:
            return torch.full_like(there, self.length)
        u = noise.uniform(2)
        if count == 0:
            token = torch.zeros(len(rows), 1, dtype=torch.long, device=rows.device)
            rows[:, 0, self.order] = self.starts.at(token, u[:, 1:].double())[:, 0]
        log_p = self.log_lengths.index_fill(0, torch.arange(max(count - 1, 0), device=rows.device), -torch.inf)
        lengths = 1 + categorical(log_p.expand(len(rows), -1), u[:, 0])
        return torch.where(there == count, lengths, there)

    def _draw_row(self, rows: Tensor, t: int, lengths: Tensor, noise: Noise, temperature: float) -> None:
        """Draw row ``t`` of the sequences that have it, in place."""
        u, alive = noise.uniform(self.columns, 4).double(), (lengths > t).nonzero().flatten()
        if not len(alive):
            return
        u, some = u[alive], rows[alive, : t + 1]
        place, first = None, self.starts is not None and t == 0  # a first row has a start already, and no step
        columns = [i for i in range(self.columns) if not (first and i == self.order)]
        some[:, t, columns] = self._any(some)[columns]
        run = some[:, -self.run :]
        if self.starts is not None:
            runs, places = self._of_sequences(some)
            run, place = runs[:, t].clone(), places[:, t]
        z = torch.zeros(len(run), self.net.columns, dtype=torch.long, device=rows.device)
        block = run.shape[1] - 1
        if block:
            z[:, : block * self.columns] = self._tokenize(run[:, :-1])[0].flatten(1)
        last = block * self.columns
        for i in range(self.columns):
            token = self._tokenize(run[:, -1])[0]
            if block and i in self.fixed:
                run[:, -1, i] = run[:, -2, i]
            elif i in columns:
                token[:, i] = categorical(self.net(z, place, last + i) / temperature, u[:, i, 0].float())
                value = self.tokens.at(token, u[:, i, 1:2].expand(-1, self.columns), i)[:, i]
                run[:, -1, i] = self._by_laws(run, i, value, u[:, i]) if block and i in self.tokens.graded else value
            z[:, last + i] = self._tokenize(run[:, -1])[0][:, i]
        some[:, t, columns] = run[:, -1, columns]
        rows[alive, t] = some[:, t]

    def _by_laws(self, run: Tensor, i: int, value: Tensor, u: Tensor) -> Tensor:
        """Values of column ``i`` by the trees, or by a law that is drawn by the shares, ``(B,)``."""
        assert self.numbers is not None
        part = quantile(self.shares[i].cumsum(0), u[:, 3])
        law = (part - 1).clamp(min=0)
        by_law = self.numbers.draw(self._last_three(run), self.tokens.graded.index(i), law, u[:, 1:3])
        return torch.where(part == 0, value, by_law)
