"""Codecs of tables: every cell as a token."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.core import Measure, Noise, PiecewiseCodec
from fourfold.spaces import Table
from fourfold.spaces.columns import MISSING, UNSEEN, Graded

__all__ = ["CellTokens"]

ROWS = 200_000
"""Rows from which a codec takes its statistics, at most."""


@final
class CellTokens(PiecewiseCodec):
    """Each cell of a row as a token, ``(B, C)`` int64: a level, a bin of a number, or, as the last one, "missing".

    A bin is a run of neighbouring cells: a frequent cell such as 0 has a bin of its own, and the rest is cut at
    quantiles of the training data. Together the bins of a column hold each cell of its span once. A token stands for
    its cells alike, ``p(cell | bin) = 1 / width``, so

        log p(x) = log p(tokens) - sum_i log width(token_i),

    and masses of tokens that sum to 1 make masses of rows that sum to 1. A cell outside the span of the schema has no
    mass.

    Args:
        space: of the rows.
        bins: the most bins of a number. A column of fewer cells has one bin for each cell.
    """

    measure = Measure.COUNTING
    starts: Tensor

    def __init__(self, space: Table, bins: int = 512) -> None:
        super().__init__()
        self.space, self.event = space, space.shape
        self.sizes = token_sizes(space, bins)
        self.graded = tuple(i for i, column in enumerate(space.modelled) if isinstance(column, Graded))
        columns = [space.modelled[i] for i in self.graded]
        self.binned = tuple(self.sizes[i] - column.missing for i, column in zip(self.graded, columns, strict=True))
        evenly = [_even(column.span, count) for column, count in zip(columns, self.binned, strict=True)]
        self.register_buffer("starts", torch.tensor(_padded(evenly), dtype=torch.int64))

    def fit(self, x: Tensor) -> None:
        """Place the bins of each number by its values, those of at most ``ROWS`` rows."""
        rows = x[:: -(-len(x) // ROWS)]
        for g, (i, count) in enumerate(zip(self.graded, self.binned, strict=True)):
            low, high = self.space.modelled[i].span
            values = rows[:, i].cpu().numpy()
            values = values[(values >= low) & (values <= high)]
            self.starts[g, : count + 1] = torch.from_numpy(_bins(values, low, high, count))

    def pieces(self, x: Tensor) -> tuple[Tensor, Tensor]:
        last = torch.tensor(self.sizes, device=x.device) - 1
        gap, foreign = x == MISSING, x == UNSEEN
        z, width = torch.where(gap, last, x.clamp(min=0).minimum(last)), torch.ones_like(x)
        if self.graded:
            columns, count = list(self.graded), torch.tensor(self.binned, device=x.device)
            token = torch.searchsorted(self.starts, x[:, columns].T.contiguous(), right=True).T - 1
            foreign[:, columns] |= ~gap[:, columns] & ((token < 0) | (token >= count))
            token = token.clamp(min=0).minimum(count - 1)
            z[:, columns] = torch.where(gap[:, columns], last[columns], token)
            width[:, columns] = torch.gather(self.starts.diff(dim=1), 1, token.T).T.masked_fill(gap[:, columns], 1)
        return z, -width.double().log().float().masked_fill(foreign, torch.inf)

    def decode(self, z: Tensor, noise: Noise | None = None, allowed: Mapping[int, Tensor] | None = None) -> Tensor:
        """Raw rows; the cells of the columns ``allowed`` are drawn among those allowed alone."""
        x, allowed = z.clone(), allowed or {}
        graded = len(self.graded)
        u = torch.rand(len(z), graded) if noise is None else noise.uniform(graded) if graded else z.new_zeros(len(z), 0)
        for g, i in enumerate(self.graded):
            token = z[:, i].clamp(max=self.binned[g] - 1)
            first, end = self.starts[g, token], self.starts[g, token + 1]
            if i in allowed:
                cells = allowed[i].to(z.device).sort().values
                first, end = torch.searchsorted(cells, first), torch.searchsorted(cells, end)
            place = first + (u[:, g].double() * (end - first)).long()
            x[:, i] = cells[place.clamp(max=len(cells) - 1)] if i in allowed else place
        for i, column in enumerate(self.space.modelled):
            if column.missing:
                x[:, i].masked_fill_(z[:, i] == self.sizes[i] - 1, MISSING)
        return x

    def log_shares(self, piece: int, allowed: Tensor) -> Tensor:
        column, size = self.space.modelled[piece], self.sizes[piece]
        if isinstance(column, Graded):
            g = self.graded.index(piece)
            starts = self.starts[g, : self.binned[g] + 1]
            cells = torch.unique(allowed[allowed != MISSING]).to(starts.device)
            share = torch.searchsorted(cells, starts).diff().double() / starts.diff()
        else:
            share = torch.zeros(column.span[1] + 1, dtype=torch.float64, device=allowed.device)
            share[allowed[(allowed >= 0) & (allowed < len(share))]] = 1.0
        if column.missing:
            share = torch.cat([share, (allowed == MISSING).any().double()[None].to(share.device)])
        assert len(share) == size
        return share.log()


def token_sizes(space: Table, bins: int) -> tuple[int, ...]:
    """The number of tokens of each column: its levels, or bins, and one for "missing"."""
    return tuple(
        (min(bins, c.span[1] - c.span[0] + 1) if isinstance(c, Graded) else c.span[1] + 1) + c.missing
        for c in space.modelled
    )


def _even(span: tuple[int, int], count: int) -> list[int]:
    """The first cells of ``count`` bins of nearly one width, and the cell behind the last."""
    width = span[1] - span[0] + 1
    return [span[0] + width * k // count for k in range(count + 1)]


def _padded(starts: list[list[int]]) -> list[list[int]]:
    """Rows of one length; the padding lies beyond every cell."""
    longest = max(map(len, starts), default=0)
    return [row + [2**63 - 1] * (longest - len(row)) for row in starts]


def _bins(values: npt.NDArray[np.int64], low: int, high: int, count: int) -> npt.NDArray[np.int64]:
    """The first cells of ``count`` bins for sorted or unsorted cells within a span, and the cell behind the last.

    A cell that more values have than a bin would hold is a bin of its own; it costs a second bin, for the cells behind
    it. The rest is cut at its quantiles. Bins that are then left over halve those of most values.
    """
    if count == high - low + 1 or not len(values):
        return np.array(_even((low, high), count), dtype=np.int64)
    cells, counts = np.unique(values, return_counts=True)
    spiky = np.zeros(len(cells), dtype=bool)
    while (left := count - 1 - 2 * int(spiky.sum())) > 0:
        more = ~spiky & (counts > max(int(counts[~spiky].sum()) / left, 1))
        room = np.flatnonzero(more)[np.argsort(-counts[more], kind="stable")][: left // 2]
        if not len(room):
            break
        spiky[room] = True
    starts = {low, *cells[spiky].tolist(), *(cells[spiky] + 1).tolist()} - {high + 1}
    rest, weight = cells[~spiky], counts[~spiky].cumsum()
    if (left := count - len(starts)) > 0 and len(rest):
        cut = np.searchsorted(weight, weight[-1] * np.arange(1, left + 1) / (left + 1))
        starts |= set(rest[np.minimum(cut, len(rest) - 1)].tolist())
    return _halved(sorted(starts), cells, counts, high + 1, count)


def _halved(
    starts: list[int], cells: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], end: int, count: int
) -> npt.NDArray[np.int64]:
    """``count`` bins: while there are fewer, the one of most values among those of several cells is cut in two."""
    below = np.concatenate([[0], counts.cumsum()])

    def held(first: int, last: int) -> tuple[float, int, int, int]:
        values = below[np.searchsorted(cells, last)] - below[np.searchsorted(cells, first)]
        return -float(values), first - last, first, last

    heap = [held(a, b) for a, b in zip(starts, [*starts[1:], end], strict=True) if b - a > 1]
    heapq.heapify(heap)
    found = set(starts)
    while len(found) < count:
        _, _, first, last = heapq.heappop(heap)
        middle = (first + last) // 2
        found.add(middle)
        for a, b in ((first, middle), (middle, last)):
            if b - a > 1:
                heapq.heappush(heap, held(a, b))
    return np.array([*sorted(found), end], dtype=np.int64)
