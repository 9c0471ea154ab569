"""The distribution of one column of a table, counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from fourfold.spaces.columns import MISSING, Categorical, Codes, Modelled

__all__ = ["Marginal"]

Floats = npt.NDArray[np.float64]
Scale = Callable[[Floats | Codes], Floats]

CELLS = 96
"""Cells of equal length on each scale of a quantity."""
WIDTHS = (0.6, 0.3, 0.15, 0.06)
"""Standard deviations of kernels, as parts of that of the values."""
REPEATED = (1, 2, 5)
"""How many rows hold a value that is counted by itself, at least: a part of the mixture each."""
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
    accident do not become a peak. A value lies beyond either end with probability ``d / (n + 2)``, where ``d = n_1 /
    (n_1 + 2 n_2)`` by the numbers of values that occur once and twice: the tails are geometric, no code is impossible.

    Args:
        column: of the table.
        codes: of the training rows, ``(N,)``.

    Reference: Jelinek, Mercer 1980, Interpolated estimation of Markov source parameters from sparse data; Smyth,
    Wolpert 1999, Linearly combining density estimators via stacking, https://doi.org/10.1023/A:1007511322260
    """

    def __init__(self, column: Modelled, codes: Codes) -> None:
        values = codes[(codes != MISSING) & _modelled_mask(column, codes)]
        self.gap = (np.sum(codes == MISSING) + 0.5) / (len(codes) + 1) if column.missing else 0.0
        if isinstance(column, Categorical):
            self.atoms: Codes = np.arange(len(column.categories))
            counts = np.bincount(values, minlength=len(self.atoms))
            self.masses: Floats = (counts + 1 / len(self.atoms)) / (len(values) + 1)
            self.edges, self.bins, self.tail, self.width = self.atoms[:0], self.masses[:0], 0.0, 1
        else:
            self._count(values if len(values) else np.array(column.span, dtype=np.int64))
        self.of_atoms, self.of_bins = (np.concatenate([[0.0], np.cumsum(m)]) for m in (self.masses, self.bins))

    def _count(self, values: Codes) -> None:
        self.atoms, counts = np.unique(values, return_counts=True)
        self.edges, smooth, left_out = _smoothed(values, self.atoms, counts)
        exact = []
        for least in REPEATED:
            total = counts[counts >= least].sum()
            exact.append(np.where(counts >= least, counts, 0) / max(total, 1))
            left_out.append(np.where(counts > least, counts - 1, 0) / max(total - 1, 1))
        weights = _stacked(np.stack(left_out), counts)
        self.masses = weights[len(smooth) :] @ np.stack(exact)
        bins, share = weights[: len(smooth)] @ np.stack(smooth), 1 - self.masses.sum()
        once, twice = np.sum(counts == 1), np.sum(counts == 2)
        self.tail = min((once + 0.5) / (once + 2 * twice + 1) / (len(values) + 2), share / 3)
        self.bins, self.width = bins * (share - 2 * self.tail) / bins.sum(), int(self.edges[-1] - self.edges[0])

    def mass(self, codes: Codes) -> Floats:
        """The mass of each code. 0 for a category that the column does not have, and for a gap where none can be."""
        at = np.searchsorted(self.atoms, codes).clip(max=len(self.atoms) - 1)
        total = np.where(self.atoms[at] == codes, self.masses[at], 0.0)
        if len(self.bins):
            place = np.searchsorted(self.edges, codes, "right") - 1
            inside = (place >= 0) & (place < len(self.bins))
            place = place.clip(0, len(self.bins) - 1)
            total += np.where(inside, self.bins[place] / np.diff(self.edges)[place], 0.0)
            beyond = np.maximum(self.edges[0] - codes, codes - self.edges[-1] + 1).astype(np.float64)
            ratio = self.width / (self.width + 1)
            total += np.where(inside, 0.0, self.tail * (1 - ratio) * ratio ** np.maximum(beyond - 1, 0))
        return np.where(codes == MISSING, self.gap, (1 - self.gap) * total)

    def below(self, codes: Codes) -> Floats:
        """The mass of all smaller codes. A gap is the smallest."""
        total = self.of_atoms[np.searchsorted(self.atoms, codes)]
        if len(self.bins):
            low, high = self.edges[0], self.edges[-1]
            place = (np.searchsorted(self.edges, codes, "right") - 1).clip(0, len(self.bins) - 1)
            part = ((codes - self.edges[place]) / np.diff(self.edges)[place]).clip(0, 1)
            total = total + self.of_bins[place] + self.bins[place] * part
            ratio = self.width / (self.width + 1)
            total += self.tail * ratio ** np.maximum((low - codes).astype(np.float64), 0)
            total += self.tail * (1 - ratio ** np.maximum((codes - high).astype(np.float64), 0))
        return np.where(codes == MISSING, 0.0, self.gap + (1 - self.gap) * total)

    def quantile(self, u: Floats) -> Codes:
        """The largest code with at most the mass ``u`` below it, by halving: the inverse of :meth:`below`."""
        reach = 64 * self.width if len(self.bins) else 0
        low = np.full(len(u), self.atoms[0] - reach, dtype=np.int64)
        high = np.full(len(u), self.atoms[-1] + reach, dtype=np.int64)
        while (low < high).any():
            middle = high - (high - low) // 2
            right = self.below(middle) <= u
            low, high = np.where(right, middle, low), np.where(right, high, middle - 1)
        return np.where(u < self.gap, MISSING, low)


def _modelled_mask(column: Modelled, codes: Codes) -> npt.NDArray[np.bool_]:
    """Which codes the column holds."""
    if not isinstance(column, Categorical):
        return codes > MISSING + 1  # neither a gap nor unseen
    return (codes >= 0) & (codes < len(column.categories))


def _smoothed(values: Codes, atoms: Codes, counts: Codes) -> tuple[Codes, list[Floats], list[Floats]]:
    """Edges of cells, and of each smooth distribution the masses of cells and those of atoms by the other rows."""
    different, alone = len(atoms), counts == 1
    first = np.linspace(0, different, min(int(np.ceil(2 * different ** (1 / 3))), different) + 1).round().astype(int)
    bounds = np.append(atoms[first[:-1]], atoms[-1] + 1)
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
        ends, centres = scale(edges), scale((edges[:-1] + edges[1:] - 1) / 2)
        deviation = max(float(np.std(scale(values))), 1e-12)
        for width in WIDTHS:
            places = torch.from_numpy((ends - centres[:, None]) / (width * deviation))
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
