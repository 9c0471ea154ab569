"""Every value of a row as a normal real, or quantities as reals beside categories as tokens."""

from __future__ import annotations

import dataclasses
import math
from typing import final

import numpy as np
import torch
from torch import Tensor

from fourfold.codecs.table.tokens import ROWS, ColumnTokens
from fourfold.core import Codec, Measure, Noise
from fourfold.maths.normal import log_phi
from fourfold.spaces import Table
from fourfold.spaces.columns import MISSING, UNSEEN, Graded

__all__ = ["GaussianColumns", "MixedColumns"]


@final
class GaussianColumns(Codec):
    """Each value of a row as a normal real, ``(B, C)``: ``z = Phi^-1(F(x-) + u p(x))`` with ``u ~ U[0, 1)``.

    ``F`` is the distribution function of each column's values in the training data, by the bins of
    :class:`ColumnTokens`, so every column of codes is standard normal. With ``log |det| = sum_i log p(x_i) - log
    phi(z_i)``, whose exponent is the width of a value's interval, ``E_u[log p(z)] + log |det| <= log P(x)``. Categories
    and gaps are intervals like
    numbers: a model of codes has to learn them, but their shares are right from the start.

    Args:
        space: of the rows.
        bins: the most bins of a number.
    """

    measure = Measure.LEBESGUE
    random = True
    bound = "with dequantisation it bounds the log-mass of the values from below"
    below: Tensor

    def __init__(self, space: Table, bins: int = 512) -> None:
        super().__init__()
        self.space, self.event, self.tokens = space, space.shape, ColumnTokens(space, bins)
        even = [[k / size for k in range(size + 1)] for size in self.tokens.sizes]
        longest = max(map(len, even))
        table = torch.tensor([row + [2.0] * (longest - len(row)) for row in even], dtype=torch.float64)
        self.register_buffer("below", table)

    def fit(self, x: Tensor) -> None:
        """Take the shares of the tokens. Half an example more for each leaves none without mass."""
        self.tokens.fit(x)
        z, log_mass = self.tokens.tokenize(x[:: -(-len(x) // ROWS)])
        for i, size in enumerate(self.tokens.sizes):
            counts = torch.bincount(z[torch.isfinite(log_mass[:, i]), i], minlength=size).double() + 0.5
            self.below[i, 1 : size + 1] = counts.cumsum(0) / counts.sum()

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        u = torch.rand(x.shape, device=x.device) if noise is None else noise.uniform(*self.event)
        z, log_det = self.reals(x, u)
        return z, log_det.sum(1).float()

    def reals(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """The codes of raw rows for uniform ``u``, and each column's part of ``log |det|``, ``(B, C)`` all."""
        token, smaller, log_mass = self.tokens.places(x)
        low, share = self._interval(token)
        place = (smaller + u * log_mass.exp()).clamp(0, 1)  # within the interval of the token
        z = normal(low + share * place)
        return z.float(), share.log() + log_mass - log_phi(z)

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


@final
class MixedColumns(Codec):
    """A row as tokens and reals side by side, ``(B, C + R)`` float32: a token of each column, a real of each quantity.

    The token of a category is its number, or "missing". That of a quantity is "elsewhere", one of its most frequent
    values (such as 0), or "missing", and the real says where "elsewhere" is, as in :class:`GaussianColumns`. Beside
    another token the real has no meaning and is drawn from ``N(0, 1)``. With ``log |det| = sum_r log p(x_r) - log
    phi(z_r)``, where ``p(x_r) = 1`` beside another token,

        log P(x) >= E_u[log p(tokens, reals)] + log |det|.

    Args:
        space: of the rows.
        bins: the most bins of the distribution function of a quantity.
        spikes: how many of a quantity's most frequent values are tokens.
    """

    measure = Measure.MIXED
    random = True
    bound = GaussianColumns.bound
    frequent: Tensor

    def __init__(self, space: Table, bins: int = 512, spikes: int = 4) -> None:
        super().__init__()
        self.space = space
        self.graded = tuple(i for i, column in enumerate(space.modelled) if isinstance(column, Graded))
        columns = [space.modelled[i] for i in self.graded]
        self.spiked = tuple(min(spikes, c.span[1] - c.span[0]) for c in columns)
        sizes = [column.span[1] + 1 + column.missing for column in space.modelled]
        for i, column, count in zip(self.graded, columns, self.spiked, strict=True):
            sizes[i] = 1 + count + column.missing
        self.sizes, self.event = tuple(sizes), (len(sizes) + len(columns),)
        complete = tuple(dataclasses.replace(column, missing=False) for column in columns)
        self.quantities = GaussianColumns(Table(complete), bins) if complete else None
        rows = [
            [c.span[0] + k if k < n else UNSEEN for k in range(spikes)]
            for c, n in zip(columns, self.spiked, strict=True)
        ]
        self.register_buffer("frequent", torch.tensor(rows, dtype=torch.int64).reshape(len(columns), spikes))

    def fit(self, x: Tensor) -> None:
        """Find the frequent values of each quantity, and the distribution function of its other values."""
        if self.quantities is None:
            return
        rows = x[:: -(-len(x) // ROWS), list(self.graded)]
        for g, (column, count) in enumerate(zip(self.quantities.space.modelled, self.spiked, strict=True)):
            low, high = column.span
            inside = (rows[:, g] >= low) & (rows[:, g] <= high)
            values, counts = np.unique(rows[:, g][inside].cpu().numpy(), return_counts=True)
            frequent = values[np.argsort(-counts, kind="stable")][:count].tolist()
            frequent += [value for value in range(low, low + 2 * count) if value not in frequent]
            self.frequent[g, :count] = torch.tensor(frequent[:count], dtype=torch.int64)
        self.quantities.fit(rows.masked_fill(self._spikes(rows)[1], UNSEEN))

    def _spikes(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The token of each quantity if it is one of the frequent values, and whether it is, ``(B, R)`` both."""
        same = rows.unsqueeze(2) == self.frequent
        return same.int().argmax(2) + 1, same.any(2)

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        last = torch.tensor(self.sizes, device=x.device) - 1
        tokens = torch.where(x == MISSING, last, x.clamp(min=0).minimum(last))
        categories = x.index_fill(1, torch.tensor(self.graded, dtype=torch.int64, device=x.device), 0)
        log_det = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        log_det.masked_fill_((categories == UNSEEN).any(1), -torch.inf)
        if self.quantities is None:
            return tokens.float(), log_det.float()
        columns = list(self.graded)
        rows = x[:, columns]
        token, elsewhere = self._spikes(rows)[0], ~self._spikes(rows)[1] & (rows != MISSING)
        tokens[:, columns] = torch.where(rows == MISSING, last[columns], token.masked_fill(elsewhere, 0))
        u = torch.rand(rows.shape, device=x.device) if noise is None else noise.uniform(len(columns))
        z, parts = self.quantities.reals(rows, u)
        free = normal(u.double())
        log_det += torch.where(elsewhere, parts, -log_phi(free)).sum(1)
        return torch.cat([tokens.float(), torch.where(elsewhere, z, free.float())], 1), log_det.float()

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        last = torch.tensor(self.sizes, device=z.device) - 1
        tokens = z[:, : len(self.sizes)].round().long()
        gaps = (tokens == last) & torch.tensor([column.missing for column in self.space.modelled], device=z.device)
        x = tokens.clone()
        if self.quantities is not None:
            columns = list(self.graded)
            spike = torch.gather(self.frequent, 1, (tokens[:, columns] - 1).clamp(0, self.frequent.shape[1] - 1).T).T
            x[:, columns] = torch.where(tokens[:, columns] > 0, spike, self.quantities.decode(z[:, len(self.sizes) :]))
        return x.masked_fill(gaps, MISSING)


def normal(v: Tensor) -> Tensor:
    """``Phi^-1(v)``, float64 in and out."""
    return math.sqrt(2) * torch.erfinv((2 * v - 1).clamp(-1 + 1e-12, 1 - 1e-12))
