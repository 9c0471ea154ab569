"""Every value of a row as a token."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.baselines.codes import Marginal, most_cells
from fourfold.codecs.table.bins import bins_of, even, padded, tail_shares, token_sizes
from fourfold.core import Measure, Noise, TokenwiseCodec
from fourfold.maths.categorical import quantile_between
from fourfold.maths.tails import log_mass as log_tail
from fourfold.maths.tails import mass_from, steps_beyond
from fourfold.spaces import Table
from fourfold.spaces.columns import MISSING, Graded, Modelled

__all__ = ["ROWS", "ColumnTokens"]

ROWS = 200_000
"""Rows from which a codec takes its statistics, at most."""
PADDING = torch.iinfo(torch.int64).max
"""Stands for no value in a buffer of values."""
DENSE = 16
"""Quantiles of a counted distribution by which a bin is placed."""
TINY = 1e-12
"""The least mass of a bin whose values are counted."""


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
        evenly = [even(column.span, count) for column, count in zip(columns, self.binned, strict=True)]
        self.register_buffer("starts", torch.tensor(padded(evenly), dtype=torch.int64))
        self._rows, self._memory = rows, ((0, 0), list[Marginal]())
        atoms, cells = max((rows // c.support for c in columns), default=0), most_cells(rows)
        for name, most in ("atoms", atoms), ("edges", cells + 1):
            self.register_buffer(name, torch.full((len(columns), most), PADDING) if rows else None)
        for name, most in ("masses", atoms), ("cells", cells):
            self.register_buffer(name, torch.zeros(len(columns), most, dtype=torch.float64) if rows else None)
        self._set_tails([tail_shares(c, (1 / n, 1 / n)) for c, n in zip(columns, self.binned, strict=True)])

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
            starts = bins_of(values, *self.space.modelled[i].span, count)
            self.starts[g, : count + 1] = torch.from_numpy(starts)
            if self.ends is not None and len(values):
                shares = float((values < starts[1]).mean()), float((values >= starts[-2]).mean())
                if marginals:  # whose masses hold the tails
                    below = marginals[g].below(starts[[1, -2]])
                    shares = below[0] - marginals[g].beyond[0], 1 - below[1] - marginals[g].beyond[1]
                self.ends[g] = self.ends.new_tensor(tail_shares(self.space.modelled[i], shares))

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
                parts_of_column = atoms[: counts[0]], masses[: counts[0]], edges[: counts[1]], cells[: counts[1] - 1]
                fitted = Marginal(column, 0.0, *parts_of_column) if counts[1] else Marginal.fit(column, atoms[:0])
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

    def _value(self, inner: Tensor, first: Tensor, width: Tensor, column: int | None) -> Tensor:
        """The value of a bin at a mass of the smaller ones, ``(B, C)``: the inverse of :meth:`_inside`."""
        x = first + (inner * width).long().minimum(width - 1)
        for i, marginal in zip(self.graded, self._marginals(), strict=False):
            if column not in (None, i):
                continue
            low, count = first[:, i].cpu().numpy(), width[:, i].cpu().numpy()
            start, end = marginal.below(low), marginal.below(low + count)
            mask = (count > 1) & (end - start > TINY)
            last = np.where(mask, low + count - 1, low)
            value = marginal.quantile(start + inner[:, i].cpu().numpy() * (end - start), (low, last))
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

    def at(self, token: Tensor, place: Tensor, column: int | None = None) -> Tensor:
        """The raw value at a ``place`` in [0, 1) of each token's mass, ``(B, C)`` both: :meth:`places` inverted.

        Where one column alone is asked for, the others may hold any value of their token.
        """
        (first, width), (low, high), place = self.ranges(token), self._shares(token), place.double()
        inner = ((place - low) / (1 - low - high)).clamp(0, 1)
        x = self._value(inner, first, width, column)
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
