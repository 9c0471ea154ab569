"""Trees of rows over time, beside vector autoregressions: rows of a series given the rows before.

:class:`~fourfold.nn.row_mixture.RowMixture` gives ``p(x_ti | x_<t, x_t<i)`` from the two rows before. A second one
also sees the row of one season before, and the row before that. It serves the rows of a window that lie far enough
behind its beginning. A series of few rows is modelled so better than by a network.

The length of a keyed sequence and its start are counted. Missing rows stand before its first one, and the trees also
have the number of each row as a feature, and the time of the row before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.codecs.sequences import RowCodes
from fourfold.codecs.table import ColumnTokens
from fourfold.core import Codec, FreeCodec, Measure, Noise
from fourfold.estimands import Conditionals, Continuing
from fourfold.maths.categorical import categorical
from fourfold.nn.row_mixture import RowMixture
from fourfold.spaces.columns import MISSING
from fourfold.spaces.sequences import ABSENT

__all__ = ["SeriesTrees"]


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
        recent: rows given the rows right before them.
        length: rows of a window, or the most rows of a sequence.
        starts: of keyed sequences, the counted distribution of their starts, which the order column holds.
        order: the place of the order column.
        seasonal: rows of a window given those of one season before, too. ``None``: there is no season.
    """

    measure = Measure.COUNTING
    fitted = True
    log_lengths: Tensor

    def __init__(
        self,
        recent: RowMixture,
        length: int,
        starts: ColumnTokens | None = None,
        order: int = 0,
        seasonal: RowMixture | None = None,
    ) -> None:
        super().__init__()
        self.recent, self.seasonal, self.length, self.starts, self.order = recent, seasonal, length, starts, order
        self.columns = recent.columns
        self.event = (length * self.columns,)
        if starts is not None:
            self.register_buffer("log_lengths", torch.full((length,), -math.log(length), dtype=torch.float64))

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        return tuple(part.net for part in (self.recent, self.seasonal) if part is not None)

    @property
    def summary(self) -> str:
        rows = f"trees of {self.recent.reach + 1} rows one after the other"
        season = "" if self.seasonal is None else f", and of those {self.seasonal.reach - 1} rows before"
        return f"{super().summary}: {rows}{season}, beside linear predictions of numbers"

    # --- fitting ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def fit(self, x: Tensor, cond: Tensor | None, codec: Codec) -> None:
        """Fit rows given those before, and count lengths and starts. Data alone decide."""
        assert isinstance(codec, (FreeCodec, RowCodes))  # the codecs of these models
        x = codec.space.reduce(x)
        if self.starts is not None:
            there = x[..., self.order] != ABSENT
            counts = torch.bincount(there.sum(1) - 1, minlength=self.length).double()
            self.log_lengths.copy_(((counts + 1 / self.length) / (counts.sum() + 1)).log())
            self.starts.fit(x[:, 0, self.order, None])
            runs, place = self._of_sequences(x)
            self.recent.fit(runs[there], place[there])
            return
        for part in (self.recent, self.seasonal):
            if part is not None:
                part.fit(self._runs(x, part, codec))

    def _runs(self, x: Tensor, part: RowMixture, codec: Codec) -> Tensor:
        """All runs of rows ``(M, R, C)`` in a series ``(N, C)``, or in windows ``(B, length, C)``."""
        if x.ndim == 3:
            return self._of_windows(x, part).flatten(0, 1)
        source = codec.innermost
        assert isinstance(source, RowCodes)  # the codec of these models
        starts, runs = source.space.starts(x), self._of_windows(x.unsqueeze(0), part)[0]
        if starts is None:
            return runs
        places = starts.unsqueeze(1) + torch.arange(self.length - part.reach)
        return runs[torch.unique(places)]

    def _of_windows(self, x: Tensor, part: RowMixture) -> Tensor:
        """The run that ends with each row of ``(B, T, C)`` that has all rows before it, ``(B, T - reach, R, C)``."""
        length, reach = x.shape[1], part.reach
        return torch.stack([x[:, reach - d : max(length - d, 0)] for d in (*part.before, 0)], 2)

    def _of_sequences(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The run that ends with each row of keyed sequences ``(B, T, C)``, ``(B, T, R, C)``, and its place.

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
        rows = F.pad(rows, (0, 0, self.recent.reach, 0), value=MISSING)
        return self._of_windows(rows, self.recent), torch.stack([number, time], 2).float()

    # --- masses -------------------------------------------------------------------------------------------------------

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        rows = x.view(len(x), self.length, self.columns)
        nats = self._nats_of_windows(rows) if self.starts is None else self._nats_of_sequences(rows)
        return nats.flatten(1).float()

    def _nats_of_windows(self, x: Tensor) -> Tensor:
        """``log p`` of the values of windows ``(B, length, C)``."""
        part = self.seasonal
        early = x if part is None else x[:, : part.reach]
        runs = self._of_windows(early, self.recent)
        nats = self.recent(runs.flatten(0, 1)).view(runs.shape)
        nats = torch.cat([nats[:, 0, :-1], nats[:, :, -1]], 1)
        if part is None:
            return nats
        runs = self._of_windows(x, part)
        return torch.cat([nats, part(runs.flatten(0, 1)).view(runs.shape)[:, :, -1]], 1)

    def _nats_of_sequences(self, x: Tensor) -> Tensor:
        """``log p`` of the values of keyed sequences ``(B, length, C)``. That of the length is the first one's."""
        assert self.starts is not None
        there = x[..., self.order] != ABSENT
        runs, place = self._of_sequences(x)
        rows = self.recent(runs[there], place[there])[:, -1]
        nats = rows.new_zeros(x.shape).masked_scatter(there.unsqueeze(2), rows)
        nats[:, 0, self.order] = self.starts.places(x[:, 0, self.order, None])[2][:, 0]
        nats[:, 0, 0] += self.log_lengths[there.sum(1) - 1]
        return nats

    # --- drawing ------------------------------------------------------------------------------------------------------

    def begin(self, batch: int, cond: Tensor | None = None) -> _Drawn:
        shape = (batch, self.length, self.columns)
        return _Drawn(torch.full(shape, ABSENT, dtype=torch.long, device=self.recent.shares.device))

    def draw(self, state: _Drawn, noise: Noise, temperature: float = 1.0) -> tuple[Tensor, _Drawn]:
        t, i = divmod(state.count, self.columns)
        if t == i == 0:
            state.lengths = self._lengths(state.rows, 0, noise)
        if i == 0:
            self._draw_row(state.rows, t, state.lengths, noise, temperature)
        state.count += 1
        return state.rows[:, t, i], state

    def go_on(
        self, x: Tensor, rows: int, noise: Noise, cond: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        state = x.clone().view(len(x), self.length, self.columns)
        stays = torch.zeros_like(state, dtype=torch.bool) if mask is None else mask.view(state.shape)
        state[:, rows:] = state[:, rows:].masked_fill(~stays[:, rows:], ABSENT)
        lengths = self._lengths(state, rows, noise)
        for t in range(rows, self.length):
            self._draw_row(state, t, lengths, noise, 1.0, stays[:, t].all(0))
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

    def _draw_row(
        self, rows: Tensor, t: int, lengths: Tensor, noise: Noise, temperature: float, stays: Tensor | None = None
    ) -> None:
        """Draw row ``t`` of the sequences that have it, in place. Columns that stay, bool ``(C,)``, have a value."""
        u, alive = noise.uniform(self.columns, 4).double(), (lengths > t).nonzero().flatten()
        if not len(alive):
            return
        u, some = u[alive], rows[alive, : t + 1]
        first = self.starts is not None and t == 0  # a first row has a start already, and no step
        there = [] if stays is None else stays.nonzero().flatten().tolist()
        columns = [i for i in range(self.columns) if i not in there and not (first and i == self.order)]
        some[:, t, columns] = self.recent.any_row(some)[columns]
        part, place = self.recent, None
        if self.seasonal is not None and t >= self.seasonal.reach:
            part = self.seasonal
        run = some[:, [t - d for d in (*part.before, 0) if d <= t]]
        if self.starts is not None:
            runs, places = self._of_sequences(some)
            run, place = runs[:, t], places[:, t]
        row = part.draw(run, place, u, columns, temperature)
        some[:, t, columns] = row[:, columns]
        rows[alive, t] = some[:, t]
