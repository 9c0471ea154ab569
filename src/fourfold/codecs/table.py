"""Codecs of tables: every value as a token, as a real number, or both: categories as tokens and quantities as reals."""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Mapping
from typing import final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.baselines.codes import Marginal, most_cells
from fourfold.core import Codec, Measure, Noise, TokenwiseCodec
from fourfold.maths.categorical import categorical, quantile_between
from fourfold.maths.tails import log_mass as log_tail
from fourfold.maths.tails import mass_from, steps_beyond
from fourfold.spaces import Table
from fourfold.spaces.columns import MISSING, UNSEEN, Graded, Modelled

__all__ = ["CORNER", "FAR", "ColumnTokens", "GaussianColumns", "MixedColumns", "RealRows"]

MOST = 0.99
"""The share of a bin that lies beyond the span, at most: its values have a mass in any case."""
ROWS = 200_000
"""Rows from which a codec takes its statistics, at most."""
CORNER = 0.1
"""The standard deviation of a category about its corner, as a part of the corner's distance from 0."""
PADDING = torch.iinfo(torch.int64).max
"""Stands for no value in a buffer of values."""
DENSE = 16
"""Quantiles of a counted distribution by which a bin is placed."""
TINY = 1e-12
"""The least mass of a bin whose values are counted."""
FAR = 5.0
"""The distance from 0 of the corners of a target, in standard deviations of a quantity."""


@final
class ColumnTokens(TokenwiseCodec):
    """Each value of a row as a token, ``(B, C)`` int64: a category, a bin of a number, or, as the last one, "missing".

    A bin is a run of neighbouring values: a frequent value such as 0 has a bin of its own, and the rest is cut at
    quantiles of the training data. Together the bins of a column hold each value of its span once. A token stands for
    its values alike, ``p(value | bin) = 1 / width``. With ``rows``, for few rows, it stands for them as the column
    by itself is counted: values that repeat keep their mass, and the rest is smooth (see
    :class:`~fourfold.baselines.codes.Marginal`). Bins are then cut at the quantiles of that distribution. The first and
    the last bin also stand for the values beyond the span: with probability ``e`` the value lies there, and decays as
    :mod:`~fourfold.maths.tails` says. So

        log p(x) = log p(tokens) + sum_i log p(x_i | token_i),

    and masses of tokens that sum to 1 make masses of rows that sum to 1. A value outside the limits of its column
    (:attr:`~fourfold.spaces.columns.Graded.limits`) has no mass. The column says the probability ``b`` of a value
    beyond its end. Where a share ``k`` of the training values lies in the bin, ``e = b / (b + k)``.

    Args:
        space: of the rows.
        bins: the most bins of a number. A column of fewer values has one bin for each value.
        rows: the training values of a number that are counted, at most. 0: values of a bin are alike.

    The counted distributions are buffers: the values of at least as many rows as a column's support, their masses, and
    cells of the other values. So no tensor holds a value that fewer rows have.
    """

    measure = Measure.COUNTING
    starts: Tensor
    atoms: Tensor | None
    masses: Tensor
    edges: Tensor
    cells: Tensor
    gaps: Tensor
    ends: Tensor | None
    scales: Tensor
    rooms: Tensor

    def __init__(self, space: Table, bins: int = 512, rows: int = 0) -> None:
        super().__init__()
        self.space, self.event = space, space.shape
        self.sizes = token_sizes(space, bins)
        self.graded = tuple(i for i, column in enumerate(space.modelled) if isinstance(column, Graded))
        columns = [column for column in space.modelled if isinstance(column, Graded)]
        self.binned = tuple(self.sizes[i] - column.missing for i, column in zip(self.graded, columns, strict=True))
        gaps = [size - 1 if column.missing else -1 for size, column in zip(self.sizes, space.modelled, strict=True)]
        self.register_buffer("gaps", torch.tensor(gaps), persistent=False)
        evenly = [_even(column.span, count) for column, count in zip(columns, self.binned, strict=True)]
        self.register_buffer("starts", torch.tensor(_padded(evenly), dtype=torch.int64))
        self._rows, self._memory = rows, ((0, 0), list[Marginal]())
        atoms, cells = max((rows // c.support for c in columns), default=0), most_cells(rows)
        for name, most in ("atoms", atoms), ("edges", cells + 1):
            self.register_buffer(name, torch.full((len(columns), most), PADDING) if rows else None)
        for name, most in ("masses", atoms), ("cells", cells):
            self.register_buffer(name, torch.zeros(len(columns), most, dtype=torch.float64) if rows else None)
        self._set_tails([_tail_shares(c, (1 / n, 1 / n)) for c, n in zip(columns, self.binned, strict=True)])

    def _set_tails(self, shares: list[tuple[float, float]]) -> None:
        """Scale and room of both tails of each column, ``(2, C)``, and the shares of its outer bins that lie there."""
        scales, rooms = ([[fill] * len(self.sizes) for _ in range(2)] for fill in (1.0, 0))
        for i in self.graded:
            column = self.space.modelled[i]
            assert isinstance(column, Graded)
            least, most = column.limits
            for side, room in enumerate((column.low - least, most - column.high)):
                scales[side][i], rooms[side][i] = column.scale[side], room
        self.register_buffer("scales", torch.tensor(scales, dtype=torch.float64), persistent=False)
        self.register_buffer("rooms", torch.tensor(rooms, dtype=torch.int64), persistent=False)
        tails = any(map(any, rooms))  # older schemas have none
        ends = torch.tensor(shares, dtype=torch.float64) if tails else None
        self.register_buffer("ends", ends)

    def fit(self, x: Tensor) -> None:
        """Place the bins of each number by its values, those of at most ``ROWS`` rows."""
        rows, inside = x[:: -(-len(x) // ROWS)], list[npt.NDArray[np.int64]]()
        for g, i in enumerate(self.graded):
            low, high = self.space.modelled[i].span
            values = np.sort(rows[:, i].cpu().numpy())
            inside.append(values[(values >= low) & (values <= high)])
            if self.atoms is not None:
                self._count(g, inside[g][:: -(-len(inside[g]) // self._rows) or 1])
        levels = [(np.arange(DENSE * count) + 0.5) / (DENSE * count) for count in self.binned]
        marginals = self._marginals()
        for g, marginal in enumerate(marginals):
            inside[g] = marginal.quantile(levels[g]).clip(*self.space.modelled[self.graded[g]].span)
        for g, (i, count, values) in enumerate(zip(self.graded, self.binned, inside, strict=True)):
            starts = _bins(values, *self.space.modelled[i].span, count)
            self.starts[g, : count + 1] = torch.from_numpy(starts)
            if self.ends is not None and len(values):
                shares = float((values < starts[1]).mean()), float((values >= starts[-2]).mean())
                if marginals:  # whose masses hold the tails
                    below = marginals[g].below(starts[[1, -2]])
                    shares = below[0] - marginals[g].beyond[0], 1 - below[1] - marginals[g].beyond[1]
                self.ends[g] = self.ends.new_tensor(_tail_shares(self.space.modelled[i], shares))

    def tokenize(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, _, log_mass = self.places(x)
        return z, log_mass.float()

    def _tokens(self, x: Tensor) -> Tensor:
        """The token of each raw value ``(B, C)``. Any of its column where a value has no mass."""
        last = torch.tensor(self.sizes, device=x.device) - 1
        z = torch.where(x == MISSING, last, x.clamp(min=0).minimum(last))
        if self.graded:
            columns, most = list(self.graded), torch.tensor(self.binned, device=x.device) - 1
            token = torch.searchsorted(self.starts, x[:, columns].T.contiguous(), right=True).T - 1
            z[:, columns] = torch.where(x[:, columns] == MISSING, last[columns], token.clamp(min=0).minimum(most))
        return z

    def places(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Token, place and log-mass of raw values, ``(B, C)`` each. The latter two given the token, in float64.

        The place is the mass of the smaller values of the token. A value without mass has the log-mass ``-inf``.
        """
        token, foreign = self._tokens(x), self.space.foreign(x)
        (first, width), (low, high) = self.ranges(token), self._shares(token)
        x = torch.where(foreign, first, x)
        before, share = self._inside(token, x, first, width)
        inner = 1 - low - high
        place, log_mass = low + inner * before, (inner * share).log()
        below, above = x < first, x >= first + width
        outer = below | above
        if outer.is_meta or bool(outer.any()):  # on the meta device only shapes count
            j = torch.where(below, first - x, x - first - width + 1).clamp(min=1)
            share, scale, room = self._tail(below, low, high)
            smaller = torch.where(below, share * mass_from(j + 1, scale, room), 1 - share * mass_from(j, scale, room))
            place = torch.where(outer, smaller, place)
            log_mass = torch.where(outer, share.log() + log_tail(j, scale, room), log_mass)
        return token, place, log_mass.masked_fill(foreign, -torch.inf)

    def _marginals(self) -> list[Marginal]:
        """The counted distribution of each number. Built once for the buffers that hold it."""
        if self.atoms is None or self.atoms.is_meta:
            return []
        version = (self.atoms.data_ptr(), self.atoms._version)
        if version != self._memory[0]:
            parts = [
                [part.numpy() for part in buffer.cpu()] for buffer in (self.atoms, self.masses, self.edges, self.cells)
            ]
            self._memory = version, []
            for i, atoms, masses, edges, cells in zip(self.graded, *parts, strict=True):
                column, counts = self._complete(i), [int((places != PADDING).sum()) for places in (atoms, edges)]
                counted = atoms[: counts[0]], masses[: counts[0]], edges[: counts[1]], cells[: counts[1] - 1]
                fitted = Marginal(column, 0.0, *counted) if counts[1] else Marginal.fit(column, atoms[:0])
                self._memory[1].append(fitted)
        return self._memory[1]

    def _count(self, g: int, values: npt.NDArray[np.int64]) -> None:
        """Put the counted distribution of the values of a number into the buffers."""
        assert self.atoms is not None
        marginal = Marginal.fit(self._complete(self.graded[g]), values)
        for buffer, fill, part in (
            (self.atoms, PADDING, marginal.atoms),
            (self.masses, 0.0, marginal.masses),
            (self.edges, PADDING, marginal.edges),
            (self.cells, 0.0, marginal.cells),
        ):
            buffer[g].fill_(fill)[: len(part)] = torch.from_numpy(part)

    def _complete(self, i: int) -> Modelled:
        """The column of a number, without gaps."""
        return dataclasses.replace(self.space.modelled[i], missing=False)

    def _inside(self, token: Tensor, x: Tensor, first: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """The mass of the values of a bin below ``x``, and of ``x``, ``(B, C)`` float64 both. A bin has the mass 1."""
        before, share = (x - first) / width.double(), 1 / width.double()
        for i, marginal in zip(self.graded, self._marginals(), strict=False):
            low, inside = first[:, i].cpu().numpy(), ((x >= first) & (x < first + width))[:, i].cpu().numpy()
            values = np.where(inside, x[:, i].cpu().numpy(), low)
            start, end = marginal.below(low), marginal.below(low + width[:, i].cpu().numpy())
            mask = (width[:, i].cpu().numpy() > 1) & (end - start > TINY)
            whole = np.where(mask, end - start, 1.0)
            inner = torch.from_numpy(mask).to(x.device)
            masses = (
                torch.from_numpy(part / whole).to(x.device)
                for part in (marginal.below(values) - start, marginal.mass(values))
            )
            before[:, i], share[:, i] = (
                torch.where(inner, a, b[:, i]) for a, b in zip(masses, (before, share), strict=True)
            )
        return before, share

    def _value(self, token: Tensor, inner: Tensor, first: Tensor, width: Tensor) -> Tensor:
        """The value of a bin at a mass of the smaller ones, ``(B, C)``: the inverse of :meth:`_inside`."""
        x = first + (inner * width).long().minimum(width - 1)
        for i, marginal in zip(self.graded, self._marginals(), strict=False):
            low, count = first[:, i].cpu().numpy(), width[:, i].cpu().numpy()
            start, end = marginal.below(low), marginal.below(low + count)
            value = marginal.quantile(start + inner[:, i].cpu().numpy() * (end - start)).clip(low, low + count - 1)
            mask = (count > 1) & (end - start > TINY)
            x[:, i] = torch.where(torch.from_numpy(mask).to(x.device), torch.from_numpy(value).to(x.device), x[:, i])
        return x

    def token_masses(self) -> Tensor:
        """The mass of each token of each number by the counted values, ``(C, most)`` float64. Zeros without them."""
        masses = torch.zeros(len(self.sizes), max(self.sizes), dtype=torch.float64)
        for g, (i, marginal) in enumerate(zip(self.graded, self._marginals(), strict=False)):
            edges = self.starts[g, : self.binned[g] + 1].cpu().numpy()
            below = marginal.below(edges)
            below[0], below[-1] = 0.0, 1.0
            masses[i, : self.binned[g]] = torch.from_numpy(np.diff(below))
        return masses

    def token_edges(self) -> Tensor:
        """Where the values of each token of a number begin, and the last ones end, ``(C, most + 1)`` float64."""
        edges = torch.zeros(len(self.sizes), max(self.sizes) + 1, dtype=torch.float64)
        for g, (i, count) in enumerate(zip(self.graded, self.binned, strict=True)):
            edges[i, : count + 1] = self.starts[g, : count + 1].double().cpu() - 0.5
        return edges

    def _shares(self, token: Tensor) -> tuple[Tensor, Tensor]:
        """The shares of each token that lie below and above the span of its column, ``(B, C)`` float64 both."""
        low, high = (torch.zeros(token.shape, dtype=torch.float64, device=token.device) for _ in range(2))
        if self.ends is not None:
            columns, most = list(self.graded), torch.tensor(self.binned, device=token.device) - 1
            low[:, columns] = self.ends[:, 0] * (token[:, columns] == 0)
            high[:, columns] = self.ends[:, 1] * (token[:, columns] == most)
        return low, high

    def _tail(self, below: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Share, scale and room of the lower tail where ``below``, else of the upper one, ``(B, C)`` each."""
        share, scale = torch.where(below, low, high), torch.where(below, self.scales[0], self.scales[1])
        return share, scale, torch.where(below, self.rooms[0], self.rooms[1]).clamp(min=1)

    def ranges(self, token: Tensor) -> tuple[Tensor, Tensor]:
        """The first raw value of each token ``(B, C)``, and how many values it stands for."""
        first, width = token.clone(), torch.ones_like(token)
        if self.graded:
            columns = list(self.graded)
            k = token[:, columns].minimum(torch.tensor(self.binned, device=token.device) - 1).T
            first[:, columns] = torch.gather(self.starts, 1, k).T
            width[:, columns] = torch.gather(self.starts.diff(dim=1), 1, k).T
        gap = token == self.gaps
        return first.masked_fill(gap, MISSING), width.masked_fill(gap, 1)

    def at(self, token: Tensor, place: Tensor) -> Tensor:
        """The raw value at a ``place`` in [0, 1) of each token's mass, ``(B, C)`` both: :meth:`places` inverted."""
        (first, width), (low, high), place = self.ranges(token), self._shares(token), place.double()
        inner = ((place - low) / (1 - low - high)).clamp(0, 1)
        x = self._value(token, inner, first, width)
        below, above = place < low, (place >= 1 - high) & (high > 0)
        if bool((below | above).any()):
            share, scale, room = self._tail(below, low, high)
            v = torch.where(below, low - place, place - (1 - high)) / share.clamp(min=1e-300)
            j = steps_beyond(v, scale, room)
            x = torch.where(below, first - j, torch.where(above, first + width - 1 + j, x))
        return x

    def decode(self, z: Tensor, noise: Noise | None = None, restrictions: Mapping[int, Tensor] | None = None) -> Tensor:
        """Raw rows. A column with ``restrictions`` is drawn among these values only."""
        u = torch.rand(z.shape, device=z.device) if noise is None else noise.uniform(*self.event)
        x = self.at(z, u)
        for i, values in (restrictions or {}).items():
            allowed, token, mass = self._masses(i, values.to(z.device))
            before = torch.cat([mass.new_zeros(1), mass.cumsum(0)])
            low, high = (torch.searchsorted(token, z[:, i].contiguous(), right=right) for right in (False, True))
            x[:, i] = allowed[quantile_between(before, u[:, i], low, high)]
        return x

    def log_shares(self, position: int, values: Tensor) -> Tensor:
        _, token, mass = self._masses(position, values.to(self.starts.device))
        return mass.new_zeros(self.sizes[position]).index_add(0, token, mass).log()

    def _masses(self, i: int, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Some values of a column in the order of their tokens, these, and the masses given them, ``(K,)`` each."""
        values, alone = torch.unique(values), self._alone(i)
        token, _, log_mass = (part.squeeze(1) for part in alone.places(values[:, None]))
        order = token.argsort(stable=True)
        order = order[torch.isfinite(log_mass[order])]
        return values[order], token[order], log_mass[order].exp()

    def _alone(self, i: int) -> ColumnTokens:
        """The codec of one column."""
        g = self.graded.index(i) if i in self.graded else None
        rows = 0 if g is None or self.atoms is None else self._rows
        alone = ColumnTokens(Table((self.space.modelled[i],)), 1 if g is None else self.binned[g], rows)
        alone = alone.to(self.starts.device)
        if g is not None:
            alone.starts = self.starts[g : g + 1, : self.binned[g] + 1]
            for name in ("atoms", "masses", "edges", "cells"):
                part = getattr(self, name)
                setattr(alone, name, None if part is None else part[g : g + 1])
            alone.ends = None if self.ends is None or alone.ends is None else self.ends[g : g + 1]
        return alone


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


@final
class RealRows(Codec):
    """A row as one vector of reals: each category a corner of a simplex, each quantity in its standard deviation.

    A category ``k`` is ``z ~ N(a e_k, (a w)^2)``, and ``z`` is read as a draw of ``p(k | z)`` for equal shares of the
    categories. A quantity is spread over the cell of its grid, ``z = (x + u - mean) / scale`` with ``u ~ U[-1/2,
    1/2)``. A quantity that may be missing has two corners beside it. Where it is missing, ``z`` is a draw of ``N(m,
    d^2)`` about its linear prediction from the rest of the row, so that gaps leave the correlations of the codes. With

        log |det| = - sum_categories log sum_j N(z; a e_j, (a w)^2) - sum_quantities log scale,

    where ``- log N(z; m, d^2)`` takes the place of the last for a missing value, ``E[log p(z)] + log |det| <= log
    P(x)``. ``a`` is 1, but :data:`FAR` for the target if it is a category. It is the first part of the vector.

    Args:
        space: of the rows.
        classes: the most categories of a target that is far.
    """

    measure = Measure.LEBESGUE
    random = True
    bound = GaussianColumns.bound
    mean: Tensor
    scale: Tensor
    spread: Tensor
    weights: Tensor
    deviation: Tensor

    def __init__(self, space: Table, classes: int = 12) -> None:
        super().__init__()
        self.space = space
        self.graded = tuple(i for i, column in enumerate(space.modelled) if isinstance(column, Graded))
        sizes = [1 if i in self.graded else c.span[1] + 1 for i, c in enumerate(space.modelled)]
        sizes = [size + column.missing for size, column in zip(sizes, space.modelled, strict=True)]
        far = [i for i, c in enumerate(space.columns) if c == space.target and i not in self.graded]
        far = [i for i in far if 1 < sizes[i] <= classes]
        near = [i for i, size in enumerate(sizes) if i not in far and (size > 1 or i not in self.graded)]
        self.corners, self.sizes, self.far = (*far, *near), tuple(sizes), sum(sizes[i] for i in far)
        self.lengths = [sizes[i] for i in self.corners]
        self.event = (sum(self.lengths) + len(self.graded),)
        spread = [FAR if i in far else 1.0 for i in self.corners for _ in range(sizes[i])]
        self.register_buffer("spread", torch.tensor(spread), persistent=False)
        self.register_buffer("mean", torch.zeros(len(self.graded), dtype=torch.float64))
        self.register_buffer("scale", torch.ones(len(self.graded), dtype=torch.float64))
        self.register_buffer("weights", torch.zeros(len(self.graded), *self.event, dtype=torch.float64))
        self.register_buffer("deviation", torch.ones(len(self.graded), dtype=torch.float64))

    def fit(self, x: Tensor) -> None:
        """Take mean and standard deviation of each quantity, and its regression on the others where it has gaps.

        The standard deviation is at least a step of the grid.
        """
        x = x[:: -(-len(x) // ROWS)]
        values = _quantities(x[:, list(self.graded)])
        self.mean.copy_(values.nanmean(0).nan_to_num())
        self.scale.copy_((values - self.mean).square().nanmean(0).sqrt().nan_to_num().clamp(min=1.0))
        z, rest = (values - self.mean) / self.scale, self._rest(x, (values - self.mean) / self.scale)
        for g in range(len(self.graded)):
            rows = ~z[:, g].isnan()
            if bool(rows.all()) or not bool(rows.any()):
                continue
            inputs = rest[rows].index_fill(1, torch.tensor([sum(self.lengths) + g]), 0.0)
            gram = inputs.T @ inputs + torch.eye(inputs.shape[1], dtype=torch.float64)
            self.weights[g] = torch.linalg.solve(gram, inputs.T @ z[rows, g])
            self.deviation[g] = (z[rows, g] - inputs @ self.weights[g]).square().mean().sqrt().clamp(min=0.01)

    def _rest(self, x: Tensor, z: Tensor) -> Tensor:
        """The corners of a row and its standardised quantities, with 0 for a gap, ``(B, *event)`` float64."""
        corners = [F.one_hot(token, size) for token, size in zip(self._tokens(x), self.lengths, strict=True)]
        return torch.cat([*(corner.double() for corner in corners), z.nan_to_num()], 1)

    def _tokens(self, x: Tensor) -> list[Tensor]:
        """The categories of raw rows, the last one where a value is missing, ``(B,)`` for each that is a corner."""
        last = zip(self.corners, self.lengths, strict=True)
        observed = {i: torch.zeros_like(x[:, i]) if i in self.graded else x[:, i] for i in self.corners}
        return [torch.where(x[:, i] == MISSING, size - 1, observed[i].clamp(0, size - 1)) for i, size in last]

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        quantity = _quantities(x[:, list(self.graded)])
        u = torch.rand(quantity.shape, device=x.device) if noise is None else noise.uniform(quantity.shape[1])
        eps = torch.randn(len(x), *self.event, device=x.device) if noise is None else noise.normal(*self.event)
        rest, eps = self._rest(x, (quantity - self.mean) / self.scale), eps.double()
        free = rest @ self.weights.T + self.deviation * eps[:, sum(self.lengths) :]
        density = log_phi(eps[:, sum(self.lengths) :]) - self.deviation.log()
        log_det = torch.where(quantity.isnan(), -density, -self.scale.log()).sum(1)
        z = torch.where(quantity.isnan(), free, (quantity + u.double() - 0.5 - self.mean) / self.scale)
        parts, place = [], 0
        for token, size in zip(self._tokens(x), self.lengths, strict=True):
            corner = F.one_hot(token, size) + CORNER * eps[:, place : place + size]
            log_det += self._log_det(corner, float(self.spread[place]))
            parts.append(corner * self.spread[place])
            place += size
        possible = torch.tensor([column.missing for column in self.space.modelled], device=x.device)
        foreign = ((x == MISSING) & ~possible) | self.space.foreign(x) | (x == UNSEEN)
        log_det = log_det.masked_fill(foreign.any(1), -torch.inf)
        return torch.cat([*parts, z], 1).float(), log_det.float()

    @staticmethod
    def _log_det(corner: Tensor, spread: float) -> Tensor:
        """``-log sum_j N(z; a e_j, (a w)^2)`` of ``z / a``, ``(B, K)``."""
        size, square = corner.shape[1], corner.square().sum(1, keepdim=True)
        exponent = -(square - 2 * corner + 1) / (2 * CORNER**2)
        return size * math.log(CORNER * spread * math.sqrt(2 * math.pi)) - exponent.logsumexp(1)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        u = torch.full((len(z), len(self.corners)), 0.5) if noise is None else noise.uniform(len(self.corners))
        value = z[:, sum(self.lengths) :].double() * self.scale + self.mean
        x, place = torch.zeros(len(z), len(self.sizes), dtype=torch.int64, device=z.device), 0
        for g, i in enumerate(self.graded):
            least, most = self.space.modelled[i].limits  # type: ignore[attr-defined]
            x[:, i] = value[:, g].round().clamp(least, most).long()
        for c, (i, size) in enumerate(zip(self.corners, self.lengths, strict=True)):
            corner = z[:, place : place + size] / self.spread[place]
            token = categorical(corner / CORNER**2, u[:, c].to(z.device))
            gap = (token == size - 1) & self.space.modelled[i].missing
            x[:, i] = torch.where(gap, MISSING, x[:, i] if i in self.graded else token)
            place += size
        return x


def _quantities(x: Tensor) -> Tensor:
    """Codes of quantities as float64, NaN where they are missing."""
    return x.double().masked_fill(x <= UNSEEN, torch.nan)


def normal(v: Tensor) -> Tensor:
    """``Phi^-1(v)``, float64 in and out."""
    return math.sqrt(2) * torch.erfinv((2 * v - 1).clamp(-1 + 1e-12, 1 - 1e-12))


def log_phi(z: Tensor) -> Tensor:
    """The log-density of the standard normal distribution."""
    return -(z.square() + math.log(2 * math.pi)) / 2


def token_sizes(space: Table, bins: int) -> tuple[int, ...]:
    """The number of tokens of each column: its categories, or bins, and one for "missing"."""
    return tuple(
        (min(bins, c.span[1] - c.span[0] + 1) if isinstance(c, Graded) else c.span[1] + 1) + c.missing
        for c in space.modelled
    )


def _tail_shares(column: Modelled, shares: tuple[float, float]) -> tuple[float, float]:
    """The shares ``e = b / (b + k)`` of the first and the last bin that lie beyond the span of a column.

    Args:
        column: says the probabilities ``b`` of a value beyond.
        shares: ``k``, of values in both bins.
    """
    assert isinstance(column, Graded)
    least, most = column.limits
    beyond = (column.beyond[0] if least < column.low else 0.0, column.beyond[1] if most > column.high else 0.0)
    low, high = (b and min(b / (b + k), MOST) for b, k in zip(beyond, shares, strict=True))
    return low, high


def _even(span: tuple[int, int], count: int) -> list[int]:
    """The first values of ``count`` bins of nearly one width, and the value behind the last."""
    width = span[1] - span[0] + 1
    return [span[0] + width * k // count for k in range(count + 1)]


def _padded(starts: list[list[int]]) -> list[list[int]]:
    """Rows of one length. The padding lies beyond every value."""
    longest = max(map(len, starts), default=0)
    return [row + [2**63 - 1] * (longest - len(row)) for row in starts]


def _bins(values: npt.NDArray[np.int64], low: int, high: int, count: int) -> npt.NDArray[np.int64]:
    """The first values of ``count`` bins for sorted or unsorted values within a span, and the value behind the last.

    A value that more values have than a bin would hold is a bin of its own. It costs a second bin, for the values
    behind it. The rest is cut at its quantiles. Bins that are then left over halve those of most values.
    """
    if count == high - low + 1 or not len(values):
        return np.array(_even((low, high), count), dtype=np.int64)
    values, counts = np.unique(values, return_counts=True)
    spiky = np.zeros(len(values), dtype=bool)
    while (bins_left := count - 1 - 2 * int(spiky.sum())) > 0:
        more = ~spiky & (counts > max(int(counts[~spiky].sum()) / bins_left, 1))
        room = np.flatnonzero(more)[np.argsort(-counts[more], kind="stable")][: bins_left // 2]
        if not len(room):
            break
        spiky[room] = True
    starts = {low, *values[spiky].tolist(), *(values[spiky] + 1).tolist()} - {high + 1}
    rest, weight = values[~spiky], counts[~spiky].cumsum()
    if (bins_left := count - len(starts)) > 0 and len(rest):
        cuts = np.searchsorted(weight, weight[-1] * np.arange(1, bins_left + 1) / (bins_left + 1))
        starts |= set(rest[np.minimum(cuts, len(rest) - 1)].tolist())
    return _halved(sorted(starts), values, counts, high + 1, count)


def _halved(
    starts: list[int], values: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], end: int, count: int
) -> npt.NDArray[np.int64]:
    """``count`` bins: while there are fewer, the one of most values among those of several values is cut in two."""
    below = np.concatenate([[0], counts.cumsum()])

    def entry(first: int, last: int) -> tuple[float, int, int, int]:
        total = below[np.searchsorted(values, last)] - below[np.searchsorted(values, first)]
        return -float(total), first - last, first, last

    heap = [entry(a, b) for a, b in zip(starts, [*starts[1:], end], strict=True) if b - a > 1]
    heapq.heapify(heap)
    edges = set(starts)
    while len(edges) < count:
        _, _, first, last = heapq.heappop(heap)
        middle = (first + last) // 2
        edges.add(middle)
        for a, b in ((first, middle), (middle, last)):
            if b - a > 1:
                heapq.heappush(heap, entry(a, b))
    return np.array([*sorted(edges), end], dtype=np.int64)
