"""The distribution of one column of a table, counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self, final

import numpy as np
import numpy.typing as npt
import torch

from fourfold.maths.tails import mass_from
from fourfold.spaces.columns import MISSING, Codes, Graded, Modelled

__all__ = ["Marginal", "most_cells"]

Floats = npt.NDArray[np.float64]
Scale = Callable[[Floats | Codes], Floats]

CELLS = 96
"""Cells of equal length on each scale of a quantity."""
WIDTHS = (0.6, 0.3, 0.15, 0.06)
"""Standard deviations of kernels, as parts of that of the values."""
REPEATED = (1, 2, 5)
"""How many rows hold a value that is counted by itself, at least: a part of the mixture each, if a column allows it."""
ROUNDS = 50
"""Steps of expectation and maximisation."""
PRIOR = 0.5
"""Rows that each part of the mixture has before any is seen."""
LEAST = 1e-200
"""The least mass of a value that is left out."""


@final
class Marginal:
    """Masses of the codes of a column that add up to 1 over all of them, counted from training rows.

    A gap has the mass ``(count + 1/2) / (N + 1)``. A category has ``(count + 1/L) / (n + 1)``. A quantity has a mixture

        p(x) = sum_j w_j p_j(x)

    of counted values, those that at least 1, 2 and 5 rows hold, of a histogram of the different values with equally
    many in each bin, and of kernels about all values and about the different ones, of several widths, on the scale of
    the values and on ``asinh`` of them. The weights are those under which each value is likeliest by the other rows, by
    expectation and maximisation. So prices keep the mass of their endings, while two measurements that agree by
    accident do not become a peak. Values that fewer rows than the support of the column hold are not counted by
    themselves, and those beyond its span are drawn from its tails, as :mod:`~fourfold.maths.tails` says.

    Args:
        column: of the table.
        gap: the mass of a gap.
        atoms: the values that are counted by themselves, ascending, ``(K,)``.
        masses: of the atoms, ``(K,)``.
        edges: the ends of cells, ascending, ``(E + 1,)``: from the first value of the span to the last one and 1 more.
        cells: the masses of the cells, whose values are alike, ``(E,)``. With ``masses`` they add up to 1.

    Reference: Jelinek, Mercer 1980, Interpolated estimation of Markov source parameters from sparse data; Smyth,
    Wolpert 1999, Linearly combining density estimators via stacking, https://doi.org/10.1023/A:1007511322260
    """

    def __init__(self, column: Modelled, gap: float, atoms: Codes, masses: Floats, edges: Codes, cells: Floats) -> None:
        self.column, self.gap = column, gap
        self.atoms, self.masses, self.edges, self.cells = atoms, masses, edges, cells
        self.rooms = [abs(limit - end) for limit, end in zip(_limits(column), column.span, strict=True)]
        self.beyond = [column.beyond[k] if isinstance(column, Graded) and self.rooms[k] else 0.0 for k in (0, 1)]
        self.of_atoms, self.of_cells = (np.concatenate([[0.0], np.cumsum(m)]) for m in (masses, cells))

    @classmethod
    def fit(cls, column: Modelled, codes: Codes) -> Self:
        """The distribution of the codes of training rows, ``(N,)``."""
        low, high = column.span
        values = codes[(codes >= low) & (codes <= high)]
        gap = (np.sum(codes == MISSING) + 0.5) / (len(codes) + 1) if column.missing else 0.0
        if isinstance(column, Graded):
            return cls(column, gap, *_atoms_and_cells(column, values if len(values) else np.array([low, high])))
        counts = np.bincount(values, minlength=high + 1)
        return cls(column, gap, np.arange(high + 1), (counts + 1 / (high + 1)) / (len(values) + 1), counts[:0], _NONE)

    def mass(self, codes: Codes) -> Floats:
        """The mass of each code. 0 for a category that the column does not have, and for a gap where none can be."""
        if not len(self.atoms):
            total = np.zeros(len(codes))
        else:
            at = np.searchsorted(self.atoms, codes).clip(max=len(self.atoms) - 1)
            total = np.where(self.atoms[at] == codes, self.masses[at], 0.0)
        if len(self.cells):
            place = (np.searchsorted(self.edges, codes, "right") - 1).clip(0, len(self.cells) - 1)
            total += self.cells[place] / np.diff(self.edges)[place]
            inside = (codes >= self.edges[0]) & (codes < self.edges[-1])
            tails = [self._tail(side, steps) - self._tail(side, steps + 1) for side, steps in self._steps(codes)]
            total = np.where(inside, (1 - sum(self.beyond)) * total, tails[0] + tails[1])
        return np.where(codes == MISSING, self.gap, (1 - self.gap) * total)

    def below(self, codes: Codes) -> Floats:
        """The mass of all smaller codes. A gap is the smallest."""
        total = self.of_atoms[np.searchsorted(self.atoms, codes)]
        if len(self.cells):
            place = (np.searchsorted(self.edges, codes, "right") - 1).clip(0, len(self.cells) - 1)
            part = ((codes - self.edges[place]) / np.diff(self.edges)[place]).clip(0, 1)
            total = (1 - sum(self.beyond)) * (total + self.of_cells[place] + self.cells[place] * part)
            (_, down), (_, up) = self._steps(codes)
            total += self._tail(0, down + 1) + self.beyond[1] - self._tail(1, up)
        return np.where(codes == MISSING, 0.0, self.gap + (1 - self.gap) * total)

    def quantile(self, u: Floats, within: tuple[Codes, Codes] | None = None) -> Codes:
        """The largest code with at most the mass ``u`` below it, by halving: the inverse of :meth:`below`.

        Args:
            u: masses, ``(B,)``.
            within: the least and the greatest code that can be, ``(B,)`` each. By default those of the column.
        """
        low, high = within or tuple(np.full(len(u), end, dtype=np.int64) for end in _limits(self.column))
        while (low < high).any():
            middle = high - (high - low) // 2
            right = self.below(middle) <= u
            low, high = np.where(right, middle, low), np.where(right, high, middle - 1)
        return np.where(u < self.gap, MISSING, low)

    def _steps(self, codes: Codes) -> tuple[tuple[int, Codes], tuple[int, Codes]]:
        """How many steps codes lie beyond each end, at least 0."""
        present = np.where(codes == MISSING, self.edges[0], codes)
        return (0, (self.edges[0] - present).clip(0)), (1, (present - self.edges[-1] + 1).clip(0))

    def _tail(self, side: int, steps: Codes) -> Floats:
        """The mass of values so many steps beyond an end or more. That of all beyond for 1 step or less."""
        if not self.beyond[side]:
            return np.zeros(len(steps))
        assert isinstance(self.column, Graded)
        room, scale = torch.tensor(self.rooms[side]), torch.tensor(self.column.scale[side], dtype=torch.float64)
        share: Floats = mass_from(torch.from_numpy(steps).clamp(min=1).minimum(room + 1), scale, room).numpy()
        return self.beyond[side] * share


def _limits(column: Modelled) -> tuple[int, int]:
    """The first and the last code that has a mass."""
    return column.limits if isinstance(column, Graded) else column.span


_NONE: Floats = np.zeros(0)


def most_cells(rows: int) -> int:
    """The most cells of the distribution of so many rows."""
    return 2 * CELLS + _bins(rows) + 2


def _bins(different: int) -> int:
    """Bins of a histogram of different values."""
    return math.ceil(2 * different ** (1 / 3))


def _atoms_and_cells(column: Graded, values: Codes) -> tuple[Codes, Floats, Codes, Floats]:
    """Atoms and their masses, edges of cells and their masses, of values within the span of a column."""
    atoms, counts = np.unique(values, return_counts=True)
    edges, smooth, left_out = _smoothed(column, values, atoms, counts)
    exact = []
    for least in sorted({max(least, column.support) for least in REPEATED}):
        total = counts[counts >= least].sum()
        exact.append(np.where(counts >= least, counts, 0) / max(total, 1))
        left_out.append(np.where(counts > least, counts - 1, 0) / max(total - 1, 1))
    weights = _stacked(np.stack(left_out), counts)
    masses = weights[len(smooth) :] @ np.stack(exact)
    cells, (low, high) = weights[: len(smooth)] @ np.stack(smooth), column.span
    once, twice = np.sum(counts == 1), np.sum(counts == 2)
    outer = np.array([low < edges[0], high >= edges[-1]])
    new = (once + 0.5) / (once + 2 * twice + 1) / (len(values) + 2) * outer
    cells = np.concatenate([new[:1][outer[:1]], cells * ((1 - new.sum()) / cells.sum()), new[1:][outer[1:]]])
    return atoms[masses > 0], masses[masses > 0], np.unique([low, *edges, high + 1]), cells * (1 - masses.sum())


def _smoothed(column: Graded, values: Codes, atoms: Codes, counts: Codes) -> tuple[Codes, list[Floats], list[Floats]]:
    """Edges of cells, and of each smooth distribution the masses of cells and those of atoms by the other rows.

    Edges lie between the values, and the first and the last one as far outside as values are from each other.
    """
    different, alone = len(atoms), counts == 1
    first = np.linspace(0, different, min(_bins(different), different) + 1).round().astype(int)
    apart = (atoms[-1] - atoms[0]) // different
    ends = max(atoms[0] - apart, column.low), min(atoms[-1] + apart, column.high) + 1
    bounds = np.array([ends[0], *((atoms[first[1:-1] - 1] + atoms[first[1:-1]] + 1) // 2), ends[1]])
    middle = np.median(values)
    spread = max(float(np.median(np.abs(values - middle))), 1.0)
    scales: list[tuple[Scale, Scale]] = [
        (lambda x: x.astype(np.float64), lambda y: y.astype(np.float64)),
        (lambda x: np.arcsinh((x - middle) / spread), lambda y: np.sinh(y) * spread + middle),
    ]
    low, high = int(bounds[0]), int(bounds[-1])
    grids = [back(np.linspace(scale(bounds)[0], scale(bounds)[-1], CELLS + 1)).round() for scale, back in scales]
    edges = np.unique(np.concatenate([*(grid.astype(np.int64) for grid in grids), bounds]).clip(low, high))
    cell, lengths = np.searchsorted(edges, atoms, "right") - 1, np.diff(edges).astype(np.float64)

    place = np.searchsorted(bounds, edges[:-1], "right") - 1
    inside, length = np.diff(first)[place], np.diff(bounds)[place]
    smooth = [inside / different * lengths / length]
    left_out = [(inside[cell] - alone) / np.maximum(different - alone, 1) / length[cell]]
    for scale, _ in scales:
        borders, centres = scale(edges), scale((edges[:-1] + edges[1:] - 1) / 2)
        deviation = max(float(np.std(scale(values))), 1e-12)
        for width in WIDTHS:
            places = torch.from_numpy((borders - centres[:, None]) / (width * deviation))
            kernel = np.diff(torch.special.ndtr(places).numpy(), axis=1)
            kernel /= np.maximum(kernel.sum(1, keepdims=True), LEAST)
            for rows, removed in ((counts, np.ones(different)), (np.ones(different), alone)):
                total = np.bincount(cell, rows, minlength=len(lengths)) @ kernel
                others = np.maximum(rows.sum() - removed, 1)
                smooth.append(total / rows.sum())
                left_out.append((total[cell] - removed * kernel[cell, cell]).clip(0) / others / lengths[cell])
    return edges, smooth, left_out


def _stacked(left_out: Floats, counts: Codes) -> Floats:
    """The weights of parts ``(J,)`` by the masses ``(J, K)`` that they give to values without one of their rows."""
    weights, left_out = np.full(len(left_out), 1 / len(left_out)), left_out + LEAST
    for _ in range(ROUNDS):
        joint = weights[:, None] * left_out
        weights = (joint / joint.sum(0)) @ counts + PRIOR
        weights /= weights.sum()
    return weights
