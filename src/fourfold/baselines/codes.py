"""The distribution of one column of a table, counted."""

from __future__ import annotations

from typing import final

import numpy as np
import numpy.typing as npt

from fourfold.spaces.columns import MISSING, Categorical, Codes, Modelled

__all__ = ["Marginal"]

Floats = npt.NDArray[np.float64]


@final
class Marginal:
    """Masses of the codes of a column that add up to 1 over all of them, counted from training rows.

    A gap has the mass ``(count + 1/2) / (N + 1)``. A category has ``(count + 1/L) / (n + 1)``. A quantity that occurs
    ``c`` times has ``(c - d) / n``, and the rest is spread over a histogram of the different codes (absolute
    discounting, ``d = n_1 / (n_1 + 2 n_2)`` from the numbers of codes that occur once and twice). So frequent values
    keep their mass, and a column in which no value repeats becomes its histogram. The ends of the histogram have
    geometric tails: no code is impossible.

    Args:
        column: of the table.
        codes: of the training rows, ``(N,)``.

    Reference: Ney, Essen, Kneser 1994, On Structuring Probabilistic Dependences, https://doi.org/10.1006/csla.1994.1001
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
        once, twice, different = np.sum(counts == 1), np.sum(counts == 2), len(counts)
        discount = (once + 0.5) / (once + 2 * twice + 1)
        self.masses = (counts - discount) / len(values)
        number = min(int(np.ceil(2 * different ** (1 / 3))), different)
        first = np.linspace(0, different, number + 1).round().astype(np.int64)
        self.edges = np.append(self.atoms[first[:-1]], self.atoms[-1] + 1)
        share = discount * different / len(values)
        self.bins = share * np.diff(first) / (different + 2)
        self.tail, self.width = share / (different + 2), int(self.atoms[-1] - self.atoms[0] + 1)

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
