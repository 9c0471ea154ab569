"""Bins of a number: where they begin, and the share of the outer ones that lies beyond the span."""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

from fourfold.spaces import Table
from fourfold.spaces.columns import Graded, Modelled

__all__ = ["bins_of", "even", "padded", "tail_shares", "token_sizes"]

MOST = 0.99
"""The share of a bin that lies beyond the span, at most: its values have a mass in any case."""


def token_sizes(space: Table, bins: int) -> tuple[int, ...]:
    """The number of tokens of each column: its categories, or bins, and one for "missing"."""
    return tuple(
        (min(bins, c.span[1] - c.span[0] + 1) if isinstance(c, Graded) else c.span[1] + 1) + c.missing
        for c in space.modelled
    )


def tail_shares(column: Modelled, shares: tuple[float, float]) -> tuple[float, float]:
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


def even(span: tuple[int, int], count: int) -> list[int]:
    """The first values of ``count`` bins of nearly one width, and the value behind the last."""
    width = span[1] - span[0] + 1
    return [span[0] + width * k // count for k in range(count + 1)]


def padded(starts: list[list[int]]) -> list[list[int]]:
    """Rows of one length. The padding lies beyond every value."""
    longest = max(map(len, starts), default=0)
    return [row + [2**63 - 1] * (longest - len(row)) for row in starts]


def bins_of(values: npt.NDArray[np.int64], low: int, high: int, count: int) -> npt.NDArray[np.int64]:
    """The first values of ``count`` bins for sorted or unsorted values within a span, and the value behind the last.

    A value that more values have than a bin would hold is a bin of its own. It costs a second bin, for the values
    behind it. The rest is cut at its quantiles. Bins that are then left over halve those of most values.
    """
    if count == high - low + 1 or not len(values):
        return np.array(even((low, high), count), dtype=np.int64)
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
