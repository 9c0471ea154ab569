"""Codecs of tables: every cell as a token, or as a real number."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.core import Codec, Measure, Noise, PiecewiseCodec
from fourfold.spaces import Table
from fourfold.spaces.columns import MISSING, UNSEEN, Graded

__all__ = ["CellTokens", "GaussianCells"]

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
    gaps: Tensor

    def __init__(self, space: Table, bins: int = 512) -> None:
        super().__init__()
        self.space, self.event = space, space.shape
        self.sizes = token_sizes(space, bins)
        self.graded = tuple(i for i, column in enumerate(space.modelled) if isinstance(column, Graded))
        columns = [space.modelled[i] for i in self.graded]
        self.binned = tuple(self.sizes[i] - column.missing for i, column in zip(self.graded, columns, strict=True))
        gaps = [size - 1 if column.missing else -1 for size, column in zip(self.sizes, space.modelled, strict=True)]
        self.register_buffer("gaps", torch.tensor(gaps), persistent=False)
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
        z = torch.where(gap, last, x.clamp(min=0).minimum(last))
        if self.graded:
            columns, most = list(self.graded), torch.tensor(self.binned, device=x.device) - 1
            token = torch.searchsorted(self.starts, x[:, columns].T.contiguous(), right=True).T - 1
            foreign[:, columns] |= ~gap[:, columns] & ((token < 0) | (token > most))
            z[:, columns] = torch.where(gap[:, columns], last[columns], token.clamp(min=0).minimum(most))
        return z, -self.cells(z)[1].double().log().float().masked_fill(foreign, torch.inf)

    def cells(self, token: Tensor) -> tuple[Tensor, Tensor]:
        """The first raw cell of each token ``(B, C)``, and how many cells it stands for."""
        first, width = token.clone(), torch.ones_like(token)
        if self.graded:
            columns = list(self.graded)
            k = token[:, columns].minimum(torch.tensor(self.binned, device=token.device) - 1).T
            first[:, columns] = torch.gather(self.starts, 1, k).T
            width[:, columns] = torch.gather(self.starts.diff(dim=1), 1, k).T
        gap = token == self.gaps
        return first.masked_fill(gap, MISSING), width.masked_fill(gap, 1)

    def at(self, token: Tensor, place: Tensor) -> Tensor:
        """The raw cell at a ``place`` in [0, 1) of each token's cells, ``(B, C)`` both."""
        first, width = self.cells(token)
        return first + (place.double() * width).long().minimum(width - 1)

    def decode(self, z: Tensor, noise: Noise | None = None, allowed: Mapping[int, Tensor] | None = None) -> Tensor:
        """Raw rows; a column that ``allowed`` names is drawn among its allowed cells only."""
        u = torch.rand(z.shape, device=z.device) if noise is None else noise.uniform(*self.event)
        x = self.at(z, u)
        for i, some in (allowed or {}).items():
            known, (first, width) = torch.unique(some).to(z.device), self.cells(z)
            low = torch.searchsorted(known, first[:, i].contiguous())
            count = torch.searchsorted(known, (first + width)[:, i].contiguous()) - low
            x[:, i] = known[(low + (u[:, i].double() * count).long()).clamp(max=len(known) - 1)]
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


@final
class GaussianCells(Codec):
    """Each cell of a row as a normal real, ``(B, C)``: ``z = Phi^-1(F(x-) + u p(x))`` with ``u ~ U[0, 1)``.

    ``F`` is the distribution function of each column's cells in the training data, by the bins of :class:`CellTokens`,
    so every column of codes is standard normal. With ``log |det| = sum_i log p(x_i) - log phi(z_i)``, whose exponent is
    the width of a cell's interval, ``E_u[log p(z)] + log |det| <= log P(x)``. Levels and "missing" are intervals like
    numbers: a model of codes has to learn what is in them, but their shares are right from the start.

    Args:
        space: of the rows.
        bins: the most bins of a number.
    """

    measure = Measure.LEBESGUE
    random = True
    bound = "with dequantisation it bounds the log-mass of the cells from below"
    below: Tensor

    def __init__(self, space: Table, bins: int = 512) -> None:
        super().__init__()
        self.space, self.event, self.tokens = space, space.shape, CellTokens(space, bins)
        even = [[k / size for k in range(size + 1)] for size in self.tokens.sizes]
        longest = max(map(len, even))
        table = torch.tensor([row + [2.0] * (longest - len(row)) for row in even], dtype=torch.float64)
        self.register_buffer("below", table)

    def fit(self, x: Tensor) -> None:
        """Take the shares of the tokens; half an example more for each leaves none without mass."""
        self.tokens.fit(x)
        z = self.tokens.pieces(x[:: -(-len(x) // ROWS)])[0]
        for i, size in enumerate(self.tokens.sizes):
            counts = torch.bincount(z[:, i], minlength=size).double() + 0.5
            self.below[i, 1 : size + 1] = counts.cumsum(0) / counts.sum()

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        token, log_mass = self.tokens.pieces(x)
        u = torch.rand(x.shape, device=x.device) if noise is None else noise.uniform(*self.event)
        low, share = self._interval(token)
        first, width = self.tokens.cells(token)
        place = (((x - first).double() + u) / width).clamp(0, 1)  # within the interval of the token
        z = math.sqrt(2) * torch.erfinv((2 * (low + share * place) - 1).clamp(-1 + 1e-12, 1 - 1e-12))
        log_phi = -(z.square() + math.log(2 * math.pi)) / 2
        return z.float(), (share.log() + log_mass - log_phi).sum(1).float()

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        v = torch.special.ndtr(z.double()).clamp(0, 1 - 1e-12)
        last = torch.tensor(self.tokens.sizes, device=z.device) - 1
        token = torch.searchsorted(self.below, v.T.contiguous(), right=True).T - 1
        token = token.clamp(min=0).minimum(last)
        low, share = self._interval(token)
        return self.tokens.at(token, ((v - low) / share).clamp(0, 1 - 1e-12))

    def _interval(self, token: Tensor) -> tuple[Tensor, Tensor]:
        """Lower end and length of the interval of each token, ``(B, C)`` float64 both."""
        low, high = (torch.gather(self.below, 1, token.T + k).T for k in (0, 1))
        return low, high - low


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
